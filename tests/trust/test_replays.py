"""What was said before and is said again changes nothing: letters and receipts of a whole story, replayed."""

from pathlib import Path

import pytest

from p2pshare.errors import RemoteError
from p2pshare.model.ports import Sealed
from p2pshare.model.views import ShareState
from p2pshare.service.letters_in import LettersIn
from tests.engine.engines import everything_in
from tests.meetings import meeting, reaches, until
from tests.studies import make_study
from tests.world import Person, two_people

RECEIPT, ENVELOPE = 2, 3  # kinds of frames (docs/protocol.md §2)


async def takes_all(hearer: Person, teller: Person, frames: list[bytes]) -> None:
    """Let every receipt and letter among `frames` be brought by the device that made it."""
    letters = LettersIn(hearer.vault, hearer.clock, teller.peer, None)
    assert {RECEIPT, ENVELOPE} <= {frame[0] for frame in frames}
    for frame in frames:
        if frame[0] == RECEIPT:
            await letters.take_receipt(Sealed(frame[1:]))
        elif frame[0] == ENVELOPE:
            await letters.take_envelope(Sealed(frame[1:]))


async def state(person: Person) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table but the settings, where each card that is made is counted."""
    return {name: rows for name, rows in (await everything_in(person.vault)).items() if name != "meta"}


async def a_story(ana: Person, rao: Person, folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Ana offers twice and revokes once; Dr Rao accepts the first. Every frame that each sent."""
    make_study(folder, 3)
    await ana.imports(folder)
    scan = (await ana.library.listed())[0].scan.hex()
    sent: tuple[list[bytes], list[bytes]] = [], []
    share = await ana.offers.create("Dr Rao", [scan], "first")
    other = await ana.offers.create("Dr Rao", [scan], "second")
    for step in (ShareState.OFFERED, ShareState.DELIVERED, ShareState.IMPORTED):
        async with meeting(ana, rao) as met:
            await until(reaches(ana, share, step))
            if step is ShareState.IMPORTED:
                await until(reaches(rao, other, ShareState.REVOKED))
        for side, frames in enumerate(sent):
            frames += met.links[side].sent
        if step is ShareState.OFFERED:
            await rao.inbox.accept(share.hex())
        elif step is ShareState.DELIVERED:
            await rao.open_delivered()
            await ana.offers.revoke(other.hex())
    return sent


@pytest.mark.parametrize("backwards", [False, True])
async def test_a_whole_story_replayed_changes_nothing_on_either_side(tmp_path: Path, backwards: bool) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sent = await a_story(ana, rao, tmp_path / "in")
        for hearer, teller, frames in ((rao, ana, sent[0]), (ana, rao, sent[1])):
            await takes_all(hearer, teller, frames)  # the last ones may still have been on their way
        before = await state(ana), await state(rao)
        for hearer, teller, frames in ((rao, ana, sent[0]), (ana, rao, sent[1])):
            await takes_all(hearer, teller, frames[::-1] if backwards else frames)
        assert (await state(ana), await state(rao)) == before
        assert await ana.check() == await rao.check() == []


async def test_a_story_told_back_to_who_told_it_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sent = await a_story(ana, rao, tmp_path / "in")
        before = await state(ana), await state(rao)
        refused = 0
        for teller, other, frames in ((ana, rao, sent[0]), (rao, ana, sent[1])):
            letters = LettersIn(teller.vault, teller.clock, other.peer, None)
            for frame in frames:
                for take in (letters.take_receipt, letters.take_envelope):
                    if frame[0] in (RECEIPT, ENVELOPE):
                        with pytest.raises(RemoteError):
                            await take(Sealed(frame[1:]))
                        refused += 1
        assert refused > 10
        assert (await state(ana), await state(rao)) == before


async def test_a_replay_in_a_later_session_neither_ends_it_nor_keeps_the_news_out(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sent = await a_story(ana, rao, tmp_path / "in")
        before = await rao.log()
        share = await ana.offers.create("Dr Rao", [(await ana.library.listed())[0].scan.hex()], "third")
        async with meeting(ana, rao) as met:

            async def begun() -> bool:
                return len(met.links[0].sent) >= 1

            await until(begun)
            for frame in sent[0]:
                if frame[0] in (RECEIPT, ENVELOPE):
                    await met.links[0].send(frame)
            await until(reaches(ana, share, ShareState.OFFERED))
        assert (await rao.log())[len(before) :] == ["share-offered"]
