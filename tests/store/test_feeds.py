"""Feeds: letters numbered and chained, acknowledged forward only, and what came in kept in its place."""

from pathlib import Path

from p2pshare.crypto.seal import check_letter, sign_receipt
from p2pshare.model.ids import NO_LETTER, DeviceId, Epoch, ShareId
from p2pshare.model.letters import AnswerLetter, FeedHead, Letter, ReceiptBody, RefusedLetter, RevokeLetter
from p2pshare.service import post
from p2pshare.store import feeds
from tests.world import NOON, Person, two_people

SHARE = ShareId(b"s" * 16)
OTHER_DEVICE = DeviceId(b"d" * 32)


async def written(ana: Person, rao: Person, count: int) -> list[Letter]:
    async with ana.vault.db.transaction() as tx:
        for number in range(count):
            await post.write(tx, ana.vault, rao.peer.person_id, RevokeLetter(share=bytes([number]) * 16), NOON)
    return await ana.letters_to(rao)


def head_of(ana: Person, letter: Letter) -> FeedHead:
    return FeedHead(
        epoch=letter.epoch, number=letter.number, hash=check_letter(letter, ana.vault.identity.device.public)
    )  # fmt: skip


async def acknowledged(ana: Person, rao: Person, head: FeedHead, device: DeviceId | None = None) -> bool:
    async with ana.vault.db.transaction() as tx:
        return await feeds.acknowledge(tx, rao.peer.person_id, device or rao.peer.device_id, head)


async def numbers(ana: Person, rao: Person, device: DeviceId | None = None) -> list[int]:
    waiting = await feeds.unacknowledged(ana.vault.db, rao.peer.person_id, device or rao.peer.device_id)
    return [each.number for each in waiting]


async def test_each_letter_names_the_hash_of_the_one_before(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letters = await written(ana, rao, 3)
        assert [each.number for each in letters] == [1, 2, 3]
        assert len({each.epoch for each in letters}) == 1
        previous: bytes = NO_LETTER
        for letter in letters:
            assert letter.previous == previous
            previous = check_letter(letter, ana.vault.identity.device.public)


async def test_feeds_to_two_people_are_two_feeds(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        (to_rao,) = await written(ana, rao, 1)
        (to_myself,) = await written(ana, ana, 1)
        assert to_rao.number == to_myself.number == 1
        assert to_rao.epoch != to_myself.epoch


async def test_an_acknowledgement_covers_what_came_before_and_only_for_that_device(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letters = await written(ana, rao, 3)
        assert await acknowledged(ana, rao, head_of(ana, letters[1]))
        assert await numbers(ana, rao) == [3]
        assert await numbers(ana, rao, OTHER_DEVICE) == [1, 2, 3]


async def test_an_acknowledgement_never_moves_back(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letters = await written(ana, rao, 3)
        assert await acknowledged(ana, rao, head_of(ana, letters[2]))
        assert await acknowledged(ana, rao, head_of(ana, letters[0]))
        assert await numbers(ana, rao) == []


async def test_a_head_that_was_never_written_acknowledges_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        first, second, *_ = await written(ana, rao, 3)
        right = head_of(ana, second)
        for wrong in (
            FeedHead(epoch=right.epoch, number=2, hash=head_of(ana, first).hash),
            FeedHead(epoch=right.epoch, number=4, hash=right.hash),
            FeedHead(epoch=bytes(16), number=2, hash=right.hash),
        ):
            assert not await acknowledged(ana, rao, wrong)
        assert await numbers(ana, rao) == [1, 2, 3]


async def test_a_refusal_is_noted_at_the_letter_and_names_its_share(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        (letter,) = await written(ana, rao, 1)
        async with ana.vault.db.transaction() as tx:
            person = rao.peer.person_id
            known = RefusedLetter(epoch=letter.epoch, number=1, why="no")
            unknown = RefusedLetter(epoch=letter.epoch, number=2, why="no")
            assert await feeds.mark_refused(tx, person, known) == bytes(16)
            assert await feeds.mark_refused(tx, person, unknown) is None
        assert await ana.vault.db.rows("SELECT refused FROM letter_out") == [("no",)]


async def test_letters_that_come_in_move_the_head_and_forks_stop_it(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        first, second = await written(rao, ana, 2)
        device, epoch = rao.peer.device_id, Epoch(first.epoch)
        public = rao.vault.identity.device.public
        async with ana.vault.db.transaction() as tx:
            assert await feeds.in_head(tx, device, epoch) is None
            assert await feeds.latest_in_head(tx, device) == NO_LETTER
            await feeds.enter_letter(tx, device, first, check_letter(first, public), None, 10)
            await feeds.enter_letter(tx, device, second, check_letter(second, public), "no", 11)
            head = await feeds.in_head(tx, device, epoch)
            assert head is not None
            assert (head.number, head.hash, head.forked) == (2, check_letter(second, public), False)
            assert await feeds.latest_in_head(tx, device) == head.hash
            await feeds.enter_fork(tx, device, second, NO_LETTER, 12)
            assert set(await feeds.known_hashes(tx, device, epoch, 2)) == {head.hash, NO_LETTER}
            forked = await feeds.in_head(tx, device, epoch)
            assert forked is not None
            assert forked.forked
        assert await feeds.heads_for_receipt(ana.vault.db, device) == (
            FeedHead(epoch=epoch, number=2, hash=head.hash),
        )  # fmt: skip
        assert await feeds.refusals_for_receipt(ana.vault.db, device) == (
            RefusedLetter(epoch=epoch, number=2, why="no"),
        )  # fmt: skip


async def test_counters_of_receipts_grow_and_an_older_receipt_is_not_kept(tmp_path: Path) -> None:
    body = ReceiptBody(
        sender=bytes(32), recipient=bytes(32), counter=0, time=0, feeds=(), refused=(), shares=(), prekey=None
    )  # fmt: skip
    async with two_people(tmp_path) as (ana, rao):
        receipt = sign_receipt(rao.vault.identity.device, body)
        device = rao.peer.device_id
        async with ana.vault.db.transaction() as tx:
            assert [await feeds.next_receipt_counter(tx, device) for _ in range(3)] == [1, 2, 3]
            assert await feeds.next_receipt_counter(tx, OTHER_DEVICE) == 1
            kept = [await feeds.enter_receipt(tx, device, counter, receipt, NOON) for counter in (5, 5, 4, 6)]
            assert kept == [True, False, False, True]
        ((stored,),) = await ana.vault.db.rows("SELECT receipt FROM receipt_in")
        assert feeds.stored_receipt(stored) == receipt


async def test_an_answer_is_a_letter_of_its_own_kind(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        async with ana.vault.db.transaction() as tx:
            answer = AnswerLetter(share=SHARE, accepted=True, reason="")
            assert await post.write(tx, ana.vault, rao.peer.person_id, answer, NOON) == 1
        (waiting,) = await feeds.unacknowledged(ana.vault.db, rao.peer.person_id, rao.peer.device_id)
        assert (waiting.kind, waiting.share) == ("answer", SHARE)
