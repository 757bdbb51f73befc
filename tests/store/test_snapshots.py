"""Snapshots: what packs do not hold, written after changes, the newest two kept, and no prekey secret in them."""

import asyncio
import secrets
from pathlib import Path

import pytest

from p2pshare.errors import DamagedPack
from p2pshare.store import audit, people, snapshots
from p2pshare.store.locks import maintenance
from p2pshare.store.snapshots import Snapshot
from tests import traces
from tests.meetings import imported
from tests.studies import make_study
from tests.world import Person, one_person, two_people


async def something_happens(ana: Person, detail: str = "") -> None:
    async with ana.vault.db.transaction() as tx:
        await audit.enter(tx, ana.vault.identity.device, "something", {"detail": detail}, ana.clock())


async def written(ana: Person) -> bool:
    ana.clock.advance(1)
    return await snapshots.write_if_needed(ana.vault, ana.clock())


def newest(ana: Person) -> Snapshot:
    found = snapshots.read_newest(ana.vault)
    assert found is not None
    return found


async def test_a_snapshot_is_written_only_when_something_worth_one_happened(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        assert snapshots.read_newest(ana.vault) is None
        assert await written(ana)
        assert not await written(ana)
        await something_happens(ana)
        assert await written(ana)
        assert not await written(ana)


async def test_what_is_read_back_is_what_was_in_the_tables(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        for who in (ana, rao):
            await written(who)
            for name, table in newest(who).tables.items():
                rows = await who.vault.db.rows(f"SELECT {', '.join(table.columns)} FROM {name}")  # noqa: S608
                if name == "meta":  # the number of the snapshot itself came later
                    assert set(table.rows) == {row for row in rows if row[0] != "snapshot"}
                else:
                    assert list(table.rows) == rows, name
        assert {"person", "device", "share", "letter_out", "letter_in", "receipt_in", "log"} <= set(newest(ana).tables)


async def test_no_prekey_secret_is_in_a_snapshot(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await written(ana)
        (own,) = await people.own_prekeys(ana.vault.db)
        assert not traces.in_snapshot(ana.vault, own.secret)
        assert not traces.in_snapshot(ana.vault, own.secret[:32])
        assert "prekey" not in newest(ana).tables


async def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for number in range(5):
            await something_happens(ana, f"number {number}")
            await written(ana)
            assert len(list(ana.vault.snapshots.ids())) == min(2, number + 1)
        assert traces.in_snapshot(ana.vault, "number 4")


async def test_after_an_erasure_only_the_new_one_is_left(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for _ in range(2):
            await something_happens(ana)
            await written(ana)
        before = set(ana.vault.snapshots.ids())
        async with maintenance(ana.vault.folder, exclusive=True):
            await snapshots.replace_all(ana.vault, ana.clock())
        (left,) = ana.vault.snapshots.ids()
        assert left not in before


async def test_one_larger_than_a_pack_is_read_back(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for _ in range(10):
            await something_happens(ana, secrets.token_hex(1_000_000))
        await written(ana)
        assert len(list(ana.vault.snapshots.ids())) >= 2
        assert len(newest(ana).tables["log"].rows) == 11
        assert snapshots.problems(ana.vault) == []


async def test_a_damaged_one_is_named_and_the_one_before_it_is_read(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await something_happens(ana, "first")
        await written(ana)
        (first,) = ana.vault.snapshots.ids()
        await something_happens(ana, "second")
        await written(ana)
        (second,) = set(ana.vault.snapshots.ids()) - {first}
        flipped(ana.vault.folder.snapshot_path(second), 60)
        assert all(second.hex() in line for line in snapshots.problems(ana.vault))
        assert len(snapshots.problems(ana.vault)) >= 1
        assert newest(ana).log_number == 2
        flipped(ana.vault.folder.snapshot_path(first), 60)
        with pytest.raises(DamagedPack):
            snapshots.read_newest(ana.vault)


def flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


async def test_a_part_that_is_missing_is_a_problem(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        for _ in range(10):
            await something_happens(ana, secrets.token_hex(1_000_000))
        await written(ana)
        for pack_id in list(ana.vault.snapshots.ids()):
            path = ana.vault.folder.snapshot_path(pack_id)
            data = path.read_bytes()
            path.unlink()
            ana.vault.snapshots.close()
            assert "a part is missing" in snapshots.problems(ana.vault)[0]
            path.write_bytes(data)


async def test_it_is_left_to_the_next_time_while_somebody_writes_packs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "_PATIENCE", 0.05)
    async with one_person(tmp_path) as ana:
        async with maintenance(ana.vault.folder, exclusive=False):
            assert not await written(ana)
        assert await written(ana)


async def test_two_processes_that_write_at_once_write_one(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, one_person(tmp_path) as also_ana:
        assert sorted(await asyncio.gather(written(ana), written(also_ana))) == [False, True]
        assert len(list(ana.vault.snapshots.ids())) == 1


async def test_a_snapshot_is_of_one_moment(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao), one_person(tmp_path, "Ana") as also_ana:
        make_study(tmp_path / "in", 1)
        await ana.imports(tmp_path / "in")
        (scan,) = await ana.library.listed()

        async def keep_offering() -> None:
            for _ in range(15):
                await also_ana.offers.create("rao", [scan.scan.hex()], "")

        offering = asyncio.create_task(keep_offering())
        while not offering.done():
            await something_happens(ana)
            if await written(ana):
                tables = newest(ana).tables
                letters = len(tables["letter_out"].rows)
                assert len(tables["share"].rows) == letters
                assert [row[tables["feed_out"].columns.index("number")] for row in tables["feed_out"].rows] in (
                    [], [letters],
                )  # fmt: skip
        await offering
        assert rao is not None


@pytest.mark.parametrize("erased", [False, True])
async def test_one_that_could_not_be_read_back_is_not_written_and_check_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, erased: bool
) -> None:
    async with one_person(tmp_path) as ana:
        await written(ana)
        before = newest(ana)
        await something_happens(ana, secrets.token_hex(20_000))
        monkeypatch.setattr(snapshots, "_SNAPSHOT_MAX", 20_000)
        if erased:
            async with maintenance(ana.vault.folder, exclusive=True):
                await snapshots.replace_all(ana.vault, ana.clock())
            assert snapshots.read_newest(ana.vault) is None  # the earlier one names what was erased
        else:
            assert not await written(ana)
            assert newest(ana) == before
        (line,) = await snapshots.missing(ana.vault)
        assert line in [problem.what for problem in await ana.check()]
        monkeypatch.setattr(snapshots, "_SNAPSHOT_MAX", 1 << 20)
        await something_happens(ana)
        assert await written(ana)
        assert await ana.check() == []
