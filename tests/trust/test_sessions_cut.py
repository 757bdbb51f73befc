"""Chunks that do not arrive and sessions that are cut: what is missing is asked for again, and nothing else is."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from p2pshare.errors import P2PShareError
from p2pshare.model.views import ShareState
from p2pshare.store.shares import Direction
from p2pshare.sync.carriers.direct import dial
from p2pshare.sync.wire import Bye, Chunk, Done, Frame, Hello, Refused, decode_frame, encode_frame
from tests.engine.engines import known_device, knows_address, running
from tests.fakes import FakeLink
from tests.meetings import meeting, offered, reaches, until
from tests.studies import make_ct, make_study
from tests.world import Person, two_people

SMALL = 4  # images of one chunk
CHUNKS = 2 + SMALL + 3  # layout, keyring, and one image of three chunks


async def accepted(ana: Person, rao: Person, folder: Path) -> tuple[bytes, list[bytes]]:
    """A share of nine chunks that Dr Rao waits for, and the files of it."""
    files = [*make_study(folder, SMALL), make_ct(folder / "large", 1100, 1200)]
    await ana.imports(folder)
    share = await offered(ana, rao)
    await rao.inbox.accept(share.hex())
    return share, sorted(path.read_bytes() for path in files)


def on_chunks(link: FakeLink, does: Callable[[int], Awaitable[bool]]) -> None:
    """Ask `does` about every chunk that is about to be sent, by its place; one that it says no to is lost."""
    send, place = link.send, 0

    async def sending(frame: object) -> None:
        nonlocal place
        whole = frame if isinstance(frame, bytes) else b"".join(frame)  # type: ignore[arg-type]
        if whole[0] == 5:
            place += 1
            if not await does(place):
                return
        await send(whole)

    link.send = sending  # type: ignore[method-assign]


async def finishes(ana: Person, rao: Person, share: bytes, files: list[bytes], out: Path) -> list[tuple[bytes, int]]:
    """Let the share arrive and be opened; the chunks that this took."""
    async with meeting(ana, rao) as met:
        await until(reaches(ana, share, ShareState.DELIVERED))
    await rao.open_delivered()
    assert await rao.state(share) is ShareState.IMPORTED
    assert await rao.exported(out) == files
    assert await rao.check() == []
    return met.chunks_sent()


@pytest.mark.parametrize("place", [1, 2, 3, 6, CHUNKS])
async def test_a_dropped_chunk_is_asked_for_again(tmp_path: Path, place: int) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share, files = await accepted(ana, rao, tmp_path / "in")
        arriving = (2 if place <= 2 else CHUNKS) - 1  # without its layout or keyring, no image is asked for

        async def but_one(number: int) -> bool:
            return number != place

        async with meeting(ana, rao) as met:
            on_chunks(met.links[0], but_one)

            async def others() -> bool:
                return len(met.chunks_sent()) == arriving

            await until(others)
            await met.links[0].close()
            await met.sessions[1]
        assert await rao.state(share) in (ShareState.ACCEPTED, ShareState.SENDING)
        again = await finishes(ana, rao, share, files, tmp_path / "out")
        assert len(again) == CHUNKS - arriving
        assert not set(again) & set(met.chunks_sent())


@pytest.mark.parametrize("chunks", range(1, CHUNKS + 1))
async def test_a_session_cut_at_a_chunks_end_goes_on_with_the_next_chunk(tmp_path: Path, chunks: int) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share, files = await accepted(ana, rao, tmp_path / "in")
        async with meeting(ana, rao) as met:
            link = met.links[0]

            async def until_enough(number: int) -> bool:
                if number > chunks:
                    await link.close()
                return number <= chunks

            on_chunks(link, until_enough)

            async def cut() -> bool:
                return len(met.chunks_sent()) == chunks

            await until(cut)
            await link.close()
            await met.sessions[1]
        first = met.chunks_sent()
        assert len(first) == chunks
        assert await rao.state(share) is (ShareState.DELIVERED if chunks == CHUNKS else ShareState.SENDING)
        if chunks < CHUNKS:
            assert await rao.library.listed() == []
        then = await finishes(ana, rao, share, files, tmp_path / "out")
        assert len({*first, *then}) == len(first) + len(then) == CHUNKS


async def says(address: str, ana: Person, rao: Person, *frames: Frame) -> list[Frame]:
    """Let Ana's device, which speaks for itself here, say this to Dr Rao's; what it hears until that one leaves."""
    link = await dial(address, ana.vault.identity.device, await known_device(ana, rao))
    heard: list[Frame] = []
    try:
        for frame in frames:
            await link.send(encode_frame(frame))
        while data := await link.receive():
            heard.append(decode_frame(data))
    except P2PShareError:
        pass
    finally:
        await link.close()
    return heard


@pytest.mark.parametrize(
    "frames",
    [
        (Hello(1, 1 << 20), Chunk(b"o" * 32, 0, bytes(529))),  # type: ignore[arg-type]
        (Hello(1, 1 << 20), Refused(b"s" * 16, b"o" * 32, "why")),  # type: ignore[arg-type]
        (Hello(1, 1 << 20), Hello(1, 1 << 20)),
        (Done(),),
    ],
    ids=["a chunk nobody asked for", "a refusal of nothing", "two beginnings", "no beginning"],
)
async def test_a_peer_that_breaks_the_rules_is_left_and_is_in_the_log(
    tmp_path: Path, frames: tuple[Frame, ...]
) -> None:
    async with two_people(tmp_path) as (ana, rao), running(rao) as node:
        heard = await says(node.address, ana, rao, *frames)
        assert Bye("protocol-violation") in heard

        async def logged() -> bool:
            return "session-refused" in await rao.log()

        await until(logged)
        (entry,) = [e for e in await rao.upkeep.log(limit=None) if e.kind == "session-refused"]
        assert ana.peer.device_id.hex() in entry.detail
        assert "protocol-violation" in entry.detail
        (view,) = await rao.people.listed()
        assert "broke the rules" in view.trouble
        assert await rao.check() == []
        # and an honest session with the same device goes on as if nothing had been
        make_study(tmp_path / "in", 1)
        await ana.imports(tmp_path / "in")
        await knows_address(ana, rao, node.address)
        share = await ana.offers.create("Dr Rao", [(await ana.library.listed())[0].scan.hex()], "?")
        async with running(ana):
            await until(reaches(ana, share, ShareState.OFFERED))
        assert (await rao.share(share, Direction.IN)).state is ShareState.OFFERED
