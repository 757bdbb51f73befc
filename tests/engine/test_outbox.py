import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from p2pshare.engine import retry
from p2pshare.engine.changes import Changes
from p2pshare.engine.outbox import Outbox
from p2pshare.errors import EngineTaken, Forged, P2PShareError, Unreachable
from p2pshare.model.card import KnownDevice
from p2pshare.model.ids import DeviceId
from p2pshare.model.ports import Link
from tests.engine.engines import device_row, knows_address, nobody
from tests.fakes import link_pair
from tests.meetings import until
from tests.world import Person, introduce, two_people


class Dialer:
    """Remembers who was dialed when, and answers as it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, DeviceId]] = []
        self.times: list[float] = []
        self.error: Callable[[str], P2PShareError] | None = Unreachable
        self.sessions = 0
        self.session_lasts = 0.0

    async def dial(self, address: str, device: KnownDevice) -> Link:
        self.calls.append((address, device.device_id))
        self.times.append(time.monotonic())
        if self.error is not None:
            raise self.error(address)
        return link_pair()[0]

    async def on_link(self, _: Link, dialed: bool) -> None:
        assert dialed
        self.sessions += 1
        await asyncio.sleep(self.session_lasts)

    @property
    def addresses(self) -> list[str]:
        return [address for address, _ in self.calls]

    async def was_called(self, times: int) -> None:
        async def holds() -> bool:
            return len(self.calls) >= times

        await until(holds)


@asynccontextmanager
async def outbox(
    ana: Person, connected: Callable[[DeviceId], bool] = nobody, *, term: int = 0
) -> AsyncIterator[Dialer]:
    """Ana's outbox, at work."""
    dialer, changes = Dialer(), Changes(ana.vault.db)
    work = Outbox(ana.vault, ana.clock, changes, dialer.dial, term, connected, dialer.on_link)
    tasks = [asyncio.create_task(changes.run()), asyncio.create_task(work.run())]
    try:
        yield dialer
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def business(folder: Path, address: str = "rao.example:1") -> AsyncIterator[tuple[Person, Person]]:
    """Ana has a letter for Dr Rao, at an address where he may be."""
    async with two_people(folder) as (ana, rao):
        await ana.people.set_my_addresses(["ana.example:1"])
        if address:
            await knows_address(ana, rao, address)
        yield ana, rao


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of hundredths of seconds."""
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.02)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that no test sees the end of."""
    monkeypatch.setattr(retry, "FIRST_SECONDS", 200.0)


async def test_who_has_no_business_is_not_dialed(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await knows_address(ana, rao, "rao.example:1")
        async with outbox(ana) as dialer:
            await asyncio.sleep(0.3)
            assert dialer.calls == []


async def test_who_has_a_letter_to_get_is_dialed(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana) as dialer:
        await dialer.was_called(1)
        assert dialer.calls == [("rao.example:1", rao.peer.device_id)]


async def test_who_is_connected_is_not_dialed(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana, rao.peer.device_id.__eq__) as dialer:
        await asyncio.sleep(0.3)
        assert dialer.calls == []


async def test_a_blocked_person_is_not_dialed(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, _):
        await ana.people.block("Dr Rao")
        async with outbox(ana) as dialer:
            await asyncio.sleep(0.3)
            assert dialer.calls == []


@pytest.mark.usefixtures("quick")
async def test_waits_grow_while_nobody_answers(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, _), outbox(ana) as dialer:
        await dialer.was_called(6)
        waits = [b - a for a, b in zip(dialer.times, dialer.times[1:], strict=False)]
        assert waits[4] > 0.2  # ten times the first


@pytest.mark.usefixtures("slow")
async def test_after_a_failure_it_says_why_in_words_and_when_it_tries_again(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana) as dialer:
        await dialer.was_called(1)

        async def noted() -> bool:
            return (await device_row(ana, rao)).trouble != ""

        await until(noted)
        row = await device_row(ana, rao)
        assert row.trouble == (
            "nobody answers at rao.example:1: p2pshare may not be running there, or a firewall is in between"
        )
        assert row.next_try is not None
        assert ana.clock() + 150 <= row.next_try <= ana.clock() + 250
        assert len(dialer.calls) == 1


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lambda _: Unreachable("it closed before it showed who it is"), "closed the door"),
        (Forged, "somebody else answers at rao.example:1 (forged)"),
        (EngineTaken, "rao.example:1: engine-taken"),
    ],
)
async def test_each_failure_has_words_of_its_own(
    tmp_path: Path, error: Callable[[str], P2PShareError], words: str
) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana) as dialer:
        dialer.error = error

        async def noted() -> bool:
            return words in (await device_row(ana, rao)).trouble

        await until(noted)


@pytest.mark.usefixtures("slow")
async def test_without_an_address_it_says_so_and_dials_nobody(tmp_path: Path) -> None:
    async with business(tmp_path, "") as (ana, rao), outbox(ana) as dialer:

        async def noted() -> bool:
            return "no address is known for Dr Rao" in (await device_row(ana, rao)).trouble

        await until(noted)
        assert (await device_row(ana, rao)).next_try is None
        assert dialer.calls == []


@pytest.mark.usefixtures("slow")
async def test_every_address_of_the_card_is_tried_in_turn(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await rao.people.set_my_addresses(["one.example:1", "two.example:2"])
        await introduce(ana, rao)
        await ana.people.set_my_addresses(["ana.example:1"])
        async with outbox(ana) as dialer:
            await dialer.was_called(2)
            assert dialer.addresses == ["one.example:1", "two.example:2"]


@pytest.mark.usefixtures("slow")
async def test_another_address_does_not_wait_for_the_old_one(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana) as dialer:
        await dialer.was_called(1)
        await knows_address(ana, rao, "new.example:2")
        await dialer.was_called(2)
        assert dialer.addresses[-1] == "new.example:2"


@pytest.mark.usefixtures("slow")
async def test_setting_the_same_address_again_tries_it_again(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana) as dialer:

        async def noted() -> bool:
            return (await device_row(ana, rao)).trouble != ""

        await until(noted)
        await knows_address(ana, rao, "rao.example:1")
        await dialer.was_called(2)


@pytest.mark.usefixtures("slow")
async def test_an_address_on_a_newer_card_does_not_wait_for_the_old_one(tmp_path: Path) -> None:
    async with business(tmp_path, "") as (ana, rao):
        await rao.people.set_my_addresses(["old.example:1"])
        await introduce(ana, rao)
        async with outbox(ana) as dialer:
            await dialer.was_called(1)
            await rao.people.set_my_addresses(["new.example:2"])
            await introduce(ana, rao)
            await dialer.was_called(2)
            assert dialer.addresses == ["old.example:1", "new.example:2"]


@pytest.mark.usefixtures("slow")
async def test_new_business_does_not_wait_out_an_old_failure(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, _), outbox(ana) as dialer:
        await dialer.was_called(1)
        await asyncio.sleep(0.3)
        assert len(dialer.calls) == 1
        await ana.people.set_my_addresses(["ana.example:2"])
        await dialer.was_called(2)
        assert dialer.times[1] - dialer.times[0] < 10


@pytest.mark.usefixtures("slow")
async def test_somebody_who_is_reached_has_no_trouble_any_more(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao), outbox(ana) as dialer:

        async def noted() -> bool:
            return (await device_row(ana, rao)).trouble != ""

        await until(noted)
        dialer.error, dialer.session_lasts = None, 60.0
        await ana.people.set_my_addresses(["ana.example:2"])
        await dialer.was_called(2)

        async def cleared() -> bool:
            row = await device_row(ana, rao)
            return (row.trouble, row.next_try) == ("", None)

        await until(cleared)
        assert dialer.sessions == 1


@pytest.mark.usefixtures("quick")
async def test_waits_grow_also_while_sessions_end_soon_after_they_began(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, _), outbox(ana) as dialer:
        dialer.error, dialer.session_lasts = None, 0.25  # long enough for the outbox to look at it meanwhile
        await dialer.was_called(6)
        waits = [b - a - dialer.session_lasts for a, b in zip(dialer.times, dialer.times[1:], strict=False)]
        assert waits[4] > 0.2


async def test_an_outbox_that_lost_its_term_notes_nothing_and_ends(tmp_path: Path) -> None:
    async with business(tmp_path) as (ana, rao):
        dialer, changes = Dialer(), Changes(ana.vault.db)
        work = Outbox(ana.vault, ana.clock, changes, dialer.dial, 9, nobody, dialer.on_link)
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(5):
                await work.run()
        assert caught.group_contains(EngineTaken)
        assert (await device_row(ana, rao)).trouble == ""
