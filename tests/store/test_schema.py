"""The tables: strict, referring to each other, and forgetting what is deleted."""

from pathlib import Path

from p2pshare.store.db import Database
from p2pshare.store.schema import MIGRATIONS
from tests.studies import make_study
from tests.world import one_person

FTS5 = "study_text"  # a virtual table and its shadows, which cannot be strict


async def test_every_table_of_ours_is_strict(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        rows = await ana.vault.db.rows("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
        ours = {name: strict for name, strict in rows if not name.startswith((FTS5, "sqlite_"))}
        assert len(ours) > 20
        assert all(ours.values()), ours


async def test_every_reference_has_an_index_or_is_a_key_so_that_erasing_does_not_scan(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        db = ana.vault.db
        unindexed = []
        for (table,) in await db.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
            leading = set()
            for (index,) in await db.rows("SELECT name FROM pragma_index_list(?)", (table,)):
                first = await db.row("SELECT name FROM pragma_index_info(?) ORDER BY seqno LIMIT 1", (index,))
                leading.add(first[0] if first else "")
            for (column,) in await db.rows('SELECT "from" FROM pragma_foreign_key_list(?)', (table,)):
                keys = await db.rows("SELECT name FROM pragma_table_info(?) WHERE pk = 1", (table,))
                if column not in leading | {key[0] for key in keys}:
                    unindexed.append(f"{table}.{column}")
        # series: few rows for each study; a foreign key of two columns shows each of them
        assert sorted(unindexed) == ["instance.series", "share_object.direction"]


async def test_text_that_is_deleted_leaves_the_search_index_at_once(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        rows = await ana.vault.db.rows("SELECT v FROM study_text_config WHERE k = 'secure-delete'")
        assert rows == [(1,)]


async def test_a_search_index_that_another_process_changed_is_not_taken_for_damaged(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, one_person(tmp_path) as also_ana:
        for number in range(3):
            assert await ana.vault.db.integrity() == []
            make_study(tmp_path / str(number), 1)
            await also_ana.imports(tmp_path / str(number))
        assert await ana.vault.db.integrity() == []


async def test_a_new_database_is_at_the_last_migration(tmp_path: Path) -> None:
    async with await Database.open(tmp_path / "db", bytes(32), MIGRATIONS, create=True) as db:
        assert await db.row("PRAGMA user_version") == (len(MIGRATIONS),)
