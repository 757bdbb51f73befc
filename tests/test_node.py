import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from p2pshare import node
from p2pshare.crypto.slots import KeyfileSecret
from p2pshare.errors import AlreadyExists, CannotListen, EngineTaken, Locked, NoVault
from p2pshare.store import snapshots
from p2pshare.store.locks import engine_held
from p2pshare.store.vault import Vault
from tests.studies import make_study
from tests.world import KEY, NOON, one_person, vault_path


def noon() -> int:
    return NOON


async def made(folder: Path) -> Path:
    """A vault of Ana's that nobody has open."""
    async with one_person(folder):
        return vault_path(folder, "Ana")


async def test_set_up_makes_a_vault_with_a_snapshot_and_gives_the_fingerprint(vault_dir: Path) -> None:
    fingerprint = await node.set_up(vault_dir, [KEY], "Ana", noon)
    vault = await Vault.open(vault_dir, KEY)
    try:
        assert fingerprint == vault.identity.person_id.hex()
        assert await vault.name() == "Ana"
        assert snapshots.read_newest(vault) is not None
    finally:
        await vault.close()


async def test_set_up_touches_no_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(AlreadyExists):
        await node.set_up(tmp_path, [KEY], "Ana", noon)
    assert (tmp_path / "mine").read_text() == "keep me"


async def test_an_open_vault_has_every_service_on_one_clock(tmp_path: Path) -> None:
    async with node.opened(await made(tmp_path), KEY, noon) as ana:
        assert await ana.library.listed() == []
        assert await ana.people.listed() == []
        assert await ana.offers.listed() == []
        assert await ana.inbox.listed() == []
        assert [entry.time for entry in await ana.upkeep.log(limit=None)] == [NOON]
        assert ana.library is ana.library


async def test_no_vault_and_a_wrong_key_are_different_refusals(tmp_path: Path) -> None:
    with pytest.raises(NoVault):
        async with node.opened(tmp_path / "nothing", KEY, noon):
            pass
    with pytest.raises(Locked):
        async with node.opened(await made(tmp_path), KeyfileSecret(bytes(32)), noon):
            pass


async def test_what_was_imported_is_in_a_snapshot_when_the_vault_is_closed(tmp_path: Path) -> None:
    path = await made(tmp_path)
    make_study(tmp_path / "disc", 3)
    async with node.importing(path, KEY, lambda _: None, now=noon) as (ana, importer):
        report = await importer.run([tmp_path / "disc"])
        assert len(report.studies) == 1
        number = (await ana.upkeep.log(limit=None))[-1].number
    vault = await Vault.open(path, KEY)
    try:
        newest = snapshots.read_newest(vault)
        assert newest is not None
        assert newest.log_number == number
    finally:
        await vault.close()


async def test_a_vault_that_is_only_read_gets_no_new_snapshot(tmp_path: Path) -> None:
    path = await made(tmp_path)
    async with node.opened(path, KEY, noon):
        pass
    before = sorted(p.name for p in path.rglob("*") if p.is_file())
    async with node.opened(path, KEY, noon) as ana:
        await ana.library.listed()
    assert sorted(p.name for p in path.rglob("*") if p.is_file()) == before


async def test_a_vault_is_closed_also_when_the_work_fails(tmp_path: Path) -> None:
    path = await made(tmp_path)
    with pytest.raises(AlreadyExists):
        async with node.opened(path, KEY, noon) as ana:
            raise AlreadyExists
    with pytest.raises(RuntimeError, match="closed"):
        await ana.library.listed()


async def test_an_interrupted_erasure_is_finished_when_the_vault_is_opened(tmp_path: Path) -> None:
    path = await made(tmp_path)
    make_study(tmp_path / "disc", 1)
    async with node.importing(path, KEY, lambda _: None, now=noon) as (ana, importer):
        await importer.run([tmp_path / "disc"])
        [(pack,)] = await ana.vault.db.rows("SELECT pack_id FROM pack")
        async with ana.vault.db.transaction() as tx:
            await tx.execute("DELETE FROM study")
            await tx.execute("DELETE FROM pack")
            await tx.execute("INSERT INTO doomed_pack VALUES (?, 'erased')", (pack,))
    async with node.opened(path, KEY, noon) as ana:
        assert pack not in ana.vault.packs.ids()
        assert await ana.vault.db.rows("SELECT * FROM doomed_pack") == []


async def test_serve_says_where_it_listens_and_lets_go_when_cancelled(tmp_path: Path) -> None:
    path = await made(tmp_path)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(node.serve(path, KEY, ("127.0.0.1", 0), ready.set_result, now=noon))
    try:
        async with asyncio.timeout(20):
            assert (await ready).startswith("127.0.0.1:")
        with pytest.raises(EngineTaken):
            await node.serve(path, KEY, ("127.0.0.1", 0), lambda _: None, now=noon)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    async with node.opened(path, KEY, noon) as ana:
        assert not engine_held(ana.vault.folder)


async def test_serve_says_when_it_cannot_listen(tmp_path: Path) -> None:
    with pytest.raises(CannotListen):
        await node.serve(await made(tmp_path), KEY, ("192.0.2.1", 0), lambda _: None, now=noon)
