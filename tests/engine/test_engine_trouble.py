"""An engine goes on after this computer's troubles: a full disk and a busy vault are waited out; nothing is lost."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2pshare.engine import engine as engine_module
from p2pshare.engine import retry
from p2pshare.engine.desk import VaultDesk
from p2pshare.errors import DiskTrouble, VaultBusy
from p2pshare.model.views import ShareState
from p2pshare.service.people import People
from p2pshare.store.packs import PackStore
from tests.engine.engines import knows_address, running
from tests.meetings import reaches, until
from tests.studies import make_study
from tests.world import Person, one_person, two_people


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_TROUBLE_SECONDS", 0.05)
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.05)


async def a_share(ana: Person, rao: Person, folder: Path) -> bytes:
    make_study(folder / "in", 3)
    await ana.imports(folder / "in")
    (scan,) = await ana.library.listed()
    return await ana.offers.create("rao", [scan.scan.hex()], "")


async def test_a_disk_that_was_full_while_a_share_came_in_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        share = await a_share(ana, rao, tmp_path)
        async with running(rao) as his, running(ana):
            await knows_address(ana, rao, his.address)
            await until(reaches(ana, share, ShareState.OFFERED))
            refused = 0

            def full(self: PackStore, builder: Any) -> Any:
                nonlocal refused
                refused += 1
                raise DiskTrouble("there is no space left")

            async def refused_twice() -> bool:
                return refused >= 2

            with monkeypatch.context() as patched:
                patched.setattr(PackStore, "write", full)
                await rao.inbox.accept(share.hex())
                await until(refused_twice)
                assert await rao.state(share) in (ShareState.ACCEPTED, ShareState.SENDING)
            await until(reaches(ana, share, ShareState.IMPORTED))
        assert len(await rao.exported(tmp_path / "out")) == 3
        assert await rao.check() == []


async def test_a_vault_that_was_busy_when_it_was_looked_after_is_looked_after_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh, tries = People.refresh_prekeys, 0

    async def looked_after() -> bool:
        return tries >= 3

    async def busy_at_first(self: People) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise VaultBusy
        await refresh(self)

    async with one_person(tmp_path) as ana:
        monkeypatch.setattr(People, "refresh_prekeys", busy_at_first)
        async with running(ana) as node:
            await until(looked_after)
            assert not node.task.done()
            assert (await ana.log()).count("engine-trouble") == 2


async def test_a_fault_of_the_program_in_one_session_ends_that_session_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt, faults = VaultDesk.outgoing_receipt, 0

    async def faulty_at_first(self: VaultDesk) -> Any:
        nonlocal faults
        faults += 1
        if faults == 1:
            raise ZeroDivisionError
        return await receipt(self)

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    monkeypatch.setattr(VaultDesk, "outgoing_receipt", faulty_at_first)
    async with two_people(tmp_path) as (ana, rao):
        share = await a_share(ana, rao, tmp_path)
        async with running(rao) as his, running(ana) as hers:
            await knows_address(ana, rao, his.address)
            await until(reaches(ana, share, ShareState.OFFERED))
            assert not his.task.done()
            assert not hers.task.done()
    assert len(told) == 1
