"""Lists as one SQL parameter."""

from pathlib import Path

from p2pshare.store.params import blobs, texts
from tests.world import one_person


async def test_sqlite_reads_back_every_blob_and_text_of_a_list(tmp_path: Path) -> None:
    some_blobs = [b"", b"\0\xff", bytes(range(256))]
    some_texts = ["", "'); DROP TABLE study; --", 'a"b\\c', "日本 😀", "\x1b[2J"]
    async with one_person(tmp_path) as ana:
        rows = await ana.vault.db.rows("SELECT unhex(value) FROM json_each(?)", (blobs(some_blobs),))
        assert [bytes(row[0]) for row in rows] == some_blobs
        rows = await ana.vault.db.rows("SELECT value FROM json_each(?)", (texts(some_texts),))
        assert [row[0] for row in rows] == some_texts


async def test_an_empty_list_finds_nothing(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        assert await ana.vault.db.rows("SELECT 1 FROM json_each(?)", (blobs([]),)) == []
