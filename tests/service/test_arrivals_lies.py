"""Arrivals whose sender lies: refused before an image is asked for, and nothing that is here is harmed."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from p2pshare.crypto.stream import object_id
from p2pshare.errors import WrongChunk
from p2pshare.model.ids import ShareId
from p2pshare.model.objects import Keyring, Layout, ObjectShape
from p2pshare.model.packed import encode
from p2pshare.model.ports import ChunkRun, Sealed, StoredChunk
from p2pshare.model.views import ShareState
from p2pshare.service import offers
from p2pshare.store.shares import Direction
from tests.meetings import accepted, imported, meeting, reaches, until
from tests.studies import make_study
from tests.world import two_people


def lying(monkeypatch: pytest.MonkeyPatch, lie: Callable[[Any], Any]) -> None:
    """Let every layout and keyring that is offered say what `lie` makes of it."""
    monkeypatch.setattr(offers, "encode", lambda value: encode(lie(value)))


def in_layout(change: Callable[[ObjectShape], ObjectShape]) -> Callable[[Any], Any]:
    def lie(value: Any) -> Any:
        if not isinstance(value, Layout):
            return value
        return replace(value, added=tuple((change(group[0]), *group[1:]) for group in value.added))

    return lie


def in_keyring(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def lie(value: Any) -> Any:
        return (
            replace(value, added=(change(value.added[0]), *value.added[1:])) if isinstance(value, Keyring) else value
        )  # fmt: skip

    return lie


def one_key_for_two(value: Any) -> Any:
    if not isinstance(value, Layout):
        return value
    ((first, second, *others),) = value.added
    twin = replace(second, commitment=first.commitment)
    twin = replace(twin, object_id=object_id(twin.commitment, twin.size, twin.digests))
    return replace(value, added=((first, twin, *others),))


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (in_layout(lambda s: replace(s, size=s.size + 1)), "malformed"),
        (in_layout(lambda s: replace(s, lengths=(s.lengths[0] + 512,))), "malformed"),
        (in_layout(lambda s: replace(s, digests=bytes(32))), "malformed"),
        (in_layout(lambda s: replace(s, object_id=bytes(32))), "malformed"),
        (lambda v: replace(v, added=(v.added[0][1:],)) if isinstance(v, Layout) else v, "malformed"),
        (lambda v: replace(v, added=(*v.added, ())) if isinstance(v, Layout) else v, "malformed"),
        (lambda v: replace(v, removed=(bytes(32),)) if isinstance(v, Layout) else v, "malformed"),
        (lambda v: replace(v, base=bytes(32)) if isinstance(v, Layout) else v, "base missing"),
        (one_key_for_two, "malformed"),
        (in_keyring(lambda e: replace(e, key=bytes(32))), "share-corrupt"),
        (in_keyring(lambda e: replace(e, sha256=b"short")), "malformed"),
        (in_keyring(lambda e: replace(e, object_id=bytes(32))), "malformed"),
        (lambda v: replace(v, added=v.added[1:]) if isinstance(v, Keyring) else v, "malformed"),
    ],
)  # fmt: skip
async def test_a_layout_or_keyring_that_lies_is_refused_before_any_image_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: Callable[[Any], Any], why: str
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        lying(monkeypatch, lie)
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:
            await until(reaches(ana, share, ShareState.REFUSED))
        assert len(met.chunks_sent()) == 2
        assert (await ana.share(share, Direction.OUT)).why.startswith(why)
        assert (await rao.log()).count("share-refused") == 1
        assert await rao.library.listed() == []
        assert await rao.check() == []


async def test_a_share_under_a_known_objects_key_cannot_harm_what_is_here(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        with pytest.MonkeyPatch.context() as patched:
            lying(patched, one_key_for_two)
            async with ana.vault.db.transaction() as tx:  # as if it had never been shared: everything is sent again
                await tx.execute("UPDATE share SET state = 'revoked' WHERE direction = 'out'")
            share = await accepted(ana, rao)
            async with meeting(ana, rao):
                await until(reaches(ana, share, ShareState.REFUSED))
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert await rao.check() == []


@pytest.mark.parametrize("lie", [{"objects": 1}, {"objects": 4}, {"chunks": 4}, {"stored_bytes": 1}])
async def test_a_letter_whose_totals_lie_is_refused_before_any_image_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, int]
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        letter = offers.ShareLetter
        monkeypatch.setattr(offers, "ShareLetter", lambda **fields: letter(**{**fields, **lie}))
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:
            await until(reaches(ana, share, ShareState.REFUSED))
        assert len(met.chunks_sent()) == 2


def flipped(chunks: list[StoredChunk]) -> list[StoredChunk]:
    first, *others = chunks
    data = bytearray(first.data)
    data[-1] ^= 1
    return [replace_data(first, bytes(data)), *others]


def swapped(chunks: list[StoredChunk]) -> list[StoredChunk]:
    return [replace_data(each, other.data) for each, other in zip(chunks, reversed(chunks), strict=True)]


def replace_data(chunk: StoredChunk, data: bytes | memoryview) -> StoredChunk:
    return StoredChunk(chunk.object_id, chunk.number, Sealed(bytes(data)))


@pytest.mark.parametrize("lie", [flipped, swapped])
@pytest.mark.parametrize("images", [2, 60])  # found out at the end, or while others still come
async def test_whoever_sends_other_bytes_than_promised_is_left_and_none_of_them_becomes_durable(
    tmp_path: Path, lie: Callable[[list[StoredChunk]], list[StoredChunk]], images: int
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", images, 128, 128)  # all stored lengths are alike
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:
            serve, own = met.desks[0].serve, set[bytes]()

            async def lies(share_id: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
                chunks = list(await serve(share_id, runs, room))
                own.update(chunk.object_id for chunk in chunks[:2] if len(own) < 2)
                return chunks if chunks[0].object_id in own else lie(chunks)

            met.desks[0].serve = lies  # type: ignore[method-assign]
            ended = await asyncio.wait_for(met.sessions[1], 10)
        assert isinstance(ended.error, WrongChunk)
        query = "SELECT c.digest, p.pack_id, c.offset, c.length FROM chunk c JOIN pack p USING (pack)"
        rows = await rao.vault.db.rows(query)
        for digest, pack_id, offset, length in rows:
            assert hashlib.sha256(rao.vault.packs.read(pack_id, offset, length)).digest() == digest
        assert await rao.check() == []
        async with meeting(ana, rao):  # an honest sender is taken up where that one was left
            await until(reaches(ana, share, ShareState.DELIVERED))


async def test_one_who_sends_a_wrong_chunk_and_hangs_up_is_known_for_it_and_leaves_no_pack_behind(
    tmp_path: Path,
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 4, 128, 128)
        await ana.imports(tmp_path / "in")
        share = await accepted(ana, rao)
        async with meeting(ana, rao) as met:
            serve = met.desks[0].serve

            async def lies(share_id: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
                chunks = list(await serve(share_id, runs, room))
                if len(chunks) < 4:
                    return chunks
                met.sessions[0].cancel()
                return flipped(chunks)[:2]

            met.desks[0].serve = lies  # type: ignore[method-assign]
            ended = await asyncio.wait_for(met.sessions[1], 10)
        assert await rao.state(share) is not ShareState.DELIVERED
        assert {pack.hex() for pack in rao.vault.packs.ids()} == {
            row[0].hex() for row in await rao.vault.db.rows("SELECT pack_id FROM pack")
        }
        assert ended.error is None or isinstance(ended.error, WrongChunk)
