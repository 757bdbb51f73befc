"""Shares as rows: what they cover, how they move, and which of their chunks count as exchanged."""

from pathlib import Path

import pytest

from p2pshare.crypto.codec import Codec
from p2pshare.errors import Ambiguous, NotFound
from p2pshare.model.ids import ObjectId, ShareId
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.objects import ObjectRef
from p2pshare.model.views import ShareState
from p2pshare.service.sealing import seal_object
from p2pshare.store import scans, shares
from p2pshare.store.shares import Direction, NewShare
from tests.meetings import imported
from tests.studies import make_study
from tests.world import Person, three_people, two_people

SHARE = ShareId(b"s" * 16)


def a_letter(share: ShareId = SHARE, question: str = "?", description: str = "CT") -> ShareLetter:
    sealed = seal_object(b"layout", Codec.RAW)
    ref = ObjectRef(shape=sealed.shape, key=sealed.key, sha256=sealed.sha256)
    summary = ScanSummary("1.2.3", "Doe^Jane", "", "20240115", description, "CT", 3, 1000)
    return ShareLetter(
        share=share, scans=(summary,), question=question, expires=77, layout=ref, keyring=ref, objects=3, chunks=3,
        stored_bytes=3000,
    )  # fmt: skip


async def entered(ana: Person, rao: Person, letter: ShareLetter, direction: Direction = Direction.OUT) -> None:
    new = NewShare(direction, rao.peer.person_id, rao.peer.device_id, ShareState.QUEUED, letter, None)
    async with ana.vault.db.transaction() as tx:
        await shares.enter(tx, new, ana.clock())


async def test_a_share_comes_back_as_it_was_entered(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letter = a_letter()
        await entered(ana, rao, letter)
        share = await ana.share(SHARE, Direction.OUT)
        assert (share.scans, share.question, share.expires) == (letter.scans, "?", 77)
        assert (share.objects, share.chunks_total, share.chunks_done, share.stored_bytes) == (3, 3, 0, 3000)
        assert await shares.letter_of(ana.vault.db, SHARE, Direction.OUT) == letter
        assert await shares.letter_of(ana.vault.db, SHARE, Direction.IN) is None


async def test_a_share_that_is_offered_anew_is_shown_as_it_is_now(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter(), Direction.IN)
        second = a_letter(question="Another question", description="Another scan")
        await entered(ana, rao, second, Direction.IN)
        share = await ana.share(SHARE, Direction.IN)
        assert share.question == "Another question"
        assert share.scans == second.scans
        assert share.layout == second.layout.shape.id


async def test_a_share_is_named_by_the_beginning_of_its_id_in_its_direction(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter(ShareId(bytes.fromhex("ab" * 16))))
        await entered(ana, rao, a_letter(ShareId(bytes.fromhex("ac" * 16))))
        assert (await shares.by_prefix(ana.vault.db, "AB", Direction.OUT)).share.hex() == "ab" * 16
        with pytest.raises(Ambiguous):
            await shares.by_prefix(ana.vault.db, "a", Direction.OUT)
        for text in ("", "ab ab", "%", "b"):
            with pytest.raises(NotFound):
                await shares.by_prefix(ana.vault.db, text, Direction.OUT)
        with pytest.raises(NotFound):
            await shares.by_prefix(ana.vault.db, "ab", Direction.IN)


async def test_a_share_covers_what_it_was_last_said_to_cover(tmp_path: Path) -> None:
    one, two, three = (ObjectId(bytes([n]) * 32) for n in (1, 2, 3))
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter())
        async with ana.vault.db.transaction() as tx:
            await shares.cover(tx, SHARE, Direction.OUT, [(one, 0), (two, -1)])
            await shares.cover(tx, SHARE, Direction.OUT, [(two, 1), (three, 0)])
        assert await shares.covered(ana.vault.db, SHARE, Direction.OUT) == {two: 1, three: 0}


async def test_a_receipt_once_kept_stays_when_the_share_moves_on(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter())
        share = await ana.share(SHARE, Direction.OUT)
        async with ana.vault.db.transaction() as tx:
            assert await shares.move(tx, share, ShareState.DELIVERED, "", 5, receipt=b"proof")
            delivered = await shares.get(tx, SHARE, Direction.OUT)
            assert delivered is not None
            assert await shares.move(tx, delivered, ShareState.REVOKED, "why", 6)
            assert not await shares.move(tx, delivered, ShareState.IMPORTED, "too late", 7)
        assert await shares.receipt_of(ana.vault.db, SHARE) == b"proof"
        moved = await ana.share(SHARE, Direction.OUT)
        assert (moved.state, moved.why, moved.changed) == (ShareState.REVOKED, "why", 6)


async def test_bytes_on_the_wire_add_up_and_chunks_done_are_set(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await entered(ana, rao, a_letter())
        async with ana.vault.db.transaction() as tx:
            await shares.count_done(tx, SHARE, Direction.OUT, 2)
        for wire_bytes in (10, 5):
            await shares.count_sent(ana.vault.db, SHARE, wire_bytes, None)
        share = await ana.share(SHARE, Direction.OUT)
        assert (share.chunks_done, share.wire_bytes) == (2, 15)


async def test_only_chunks_exchanged_with_that_person_count_as_here(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        for who in (ana, rao):
            (scan,) = await scans.listed(who.vault.db)
            objects = [i.object_id for i in await scans.instances_of(who.vault.db, scan)]
            other = rao if who is ana else ana
            with_other = await shares.exchanged_chunks(who.vault.db, other.peer.person_id, objects)
            assert with_other == {object_id: {0} for object_id in objects}
            assert await shares.exchanged_chunks(who.vault.db, eve.peer.person_id, objects) == {}


async def test_an_object_is_complete_only_with_its_last_chunk(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        make_study(tmp_path / "in", 1, 1024, 1100)
        await ana.imports(tmp_path / "in")
        (scan,) = await scans.listed(ana.vault.db)
        (instance,) = await scans.instances_of(ana.vault.db, scan)
        assert await shares.complete_objects(ana.vault.db, [instance.object_id]) == {instance.object_id}
        ((size, stored),) = await shares.stored_sizes(ana.vault.db, [instance.object_id])
        assert size == instance.size
        assert 0 < stored <= size + 3 * 529
        async with ana.vault.db.transaction() as tx:
            await tx.execute("DELETE FROM chunk WHERE number = 2")
        assert await shares.complete_objects(ana.vault.db, [instance.object_id]) == set()


async def test_only_a_share_that_was_delivered_can_be_built_on(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letter = a_letter()
        await entered(ana, rao, letter)
        for state in ShareState:
            share = await ana.share(SHARE, Direction.OUT)
            async with ana.vault.db.transaction() as tx:
                await shares.move(tx, share, state, "", 5)
            base = await shares.base_for(ana.vault.db, rao.peer.person_id, Direction.OUT, share.layout)
            assert (base is not None) == (state in (ShareState.DELIVERED, ShareState.IMPORTED)), state
