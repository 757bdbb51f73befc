"""Upkeep: whatever is not as it was written is found and named, and slots can be replaced."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pshare.crypto.slots import RecoverySecret
from p2pshare.errors import DamagedDatabase, DamagedVault, Locked
from p2pshare.service.unlocking import KeyfileSecret, new_recovery_sheet
from p2pshare.service.upkeep import Problem, Upkeep
from p2pshare.store import snapshots
from p2pshare.store.locks import EngineLock
from p2pshare.store.vault import Vault
from tests.meetings import imported
from tests.studies import make_study
from tests.world import KEY, NOON, Person, one_person, two_people, vault_path


async def with_everything(folder: Path) -> Path:
    """The folder of a closed vault that has a bit of everything; its scan is called "Knee" and "Shoulder"."""
    async with two_people(folder) as (ana, rao):
        make_study(folder / "in" / "a", 3, StudyDescription="Knee")
        make_study(folder / "in" / "b", 1, 1024, 1100, StudyDescription="Shoulder")
        await ana.imports(folder / "in")
        await imported(ana, rao)
        await snapshots.write_if_needed(ana.vault, NOON)
    return vault_path(folder, "Ana")


async def found(path: Path, *, read_data: bool = True) -> list[Problem]:
    vault = await Vault.open(path, KEY)
    try:
        return await Upkeep(vault, lambda: NOON).check(read_data=read_data, told=lambda *_: None)
    finally:
        await vault.close()


def flip(path: Path, at: int) -> Callable[[], None]:
    """Flip one bit, and return what flips it back."""

    def turn() -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    turn()
    return turn


async def test_a_vault_that_is_as_it_was_written_has_no_problems(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    assert await found(path) == []
    assert await found(path, read_data=False) == []


async def test_a_flipped_bit_anywhere_in_a_pack_is_found_and_names_the_scan_it_touches(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    vault = await Vault.open(path, KEY)
    rows = await vault.db.rows(
        "SELECT DISTINCT p.pack_id, s.description FROM pack p JOIN chunk c ON c.pack = p.pack"
        " JOIN instance i ON i.object = c.object JOIN study s ON s.study = i.study"
    )
    paths = {vault.folder.pack_path(pack_id): (pack_id.hex(), description) for pack_id, description in rows}
    await vault.close()
    assert len(paths) == 2
    for pack, (name, description) in paths.items():
        size = pack.stat().st_size
        for at in (0, 5, 20, 43, 44, 300, size // 2, size - 16 - 50, size - 16, size - 8, size - 1):
            back = flip(pack, at)
            problems = await found(path)
            assert any(name in p.what and any(description in s for s in p.scans) for p in problems), at
            assert not any("Shoulder" in s for p in problems for s in p.scans if description == "Knee"), at
            back()
    assert await found(path) == []


async def test_damage_to_what_opens_a_pack_is_found_without_reading_all_of_it(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    pack = next((path / "packs").rglob("*.p2pk"))
    for at in (0, 43, pack.stat().st_size - 1, pack.stat().st_size - 20):
        back = flip(pack, at)
        assert len(await found(path, read_data=False)) >= 1, at
        back()


async def test_a_pack_that_is_missing_or_cut_is_named(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    for pack in list((path / "packs").rglob("*.p2pk")):
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-1])
        assert any(pack.stem in p.what for p in await found(path))
        pack.unlink()
        assert any(pack.stem in p.what for p in await found(path))
        pack.write_bytes(whole)
        pack.chmod(0o600)
    assert await found(path) == []


async def test_a_flipped_bit_anywhere_in_the_database_is_found(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    database = path / "vault.db"
    size = database.stat().st_size
    for at in (0, 100, 4095, 4096, *range(5000, size, size // 5), size - 1):
        back = flip(database, at)
        with contextlib.suppress(DamagedDatabase):  # it may not even open
            assert any(p.what.startswith("database: ") for p in await found(path)), at
        back()
    assert await found(path) == []


async def test_a_flipped_bit_anywhere_in_a_snapshot_is_found(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    for snapshot in (path / "snapshots").iterdir():
        size = snapshot.stat().st_size
        for at in (0, 10, 43, 44, 200, size // 2, size - 17, size - 1):
            back = flip(snapshot, at)
            problems = await found(path, read_data=False)
            assert any(p.what.startswith("snapshot: ") and snapshot.stem in p.what for p in problems), at
            back()
    assert await found(path) == []


async def test_a_flipped_bit_anywhere_in_the_keys_file_keeps_the_vault_shut_and_says_which_file_it_is(
    tmp_path: Path,
) -> None:
    path = await with_everything(tmp_path)
    for at in range(0, (path / "keys.p2ps").stat().st_size, 7):
        back = flip(path / "keys.p2ps", at)
        with pytest.raises(DamagedVault, match=r"keys"):
            await found(path)
        back()
    assert await found(path) == []


async def test_a_flipped_bit_anywhere_in_the_header_keeps_the_vault_shut_or_is_named(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    shut = named = 0
    for at in range(0, (path / "vault.p2pv").stat().st_size, 3):
        back = flip(path / "vault.p2pv", at)
        try:
            assert any("vault.p2pv" in p.what for p in await found(path, read_data=False)), at
            named += 1
        except (DamagedVault, Locked):
            shut += 1
        except Exception as error:
            raise AssertionError(f"byte {at}: {error!r}") from error
        back()
    assert shut
    assert named
    assert await found(path) == []


async def test_a_row_that_points_nowhere_or_elsewhere_is_found(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    for statement in (
        "DELETE FROM chunk WHERE number = 2",
        "UPDATE chunk SET offset = offset + 1 WHERE number = 0",
        "UPDATE object SET key = zeroblob(32) WHERE kind = 'dicom'",
        "UPDATE object SET sha256 = zeroblob(32) WHERE kind = 'dicom'",
        "UPDATE log SET detail = '{}' WHERE number = 2",
        "INSERT INTO pack (pack_id, generation, scope, size) VALUES (zeroblob(16), 1, 1, 9)",
    ):
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
        vault = await Vault.open(copy, KEY)
        async with vault.db.transaction() as tx:
            await tx.execute(statement)
        await vault.close()
        assert len(await found(copy)) >= 1, statement
        shutil.rmtree(copy)


async def test_a_file_that_others_could_read_is_a_problem(tmp_path: Path) -> None:
    path = await with_everything(tmp_path)
    (path / "keys.p2ps").chmod(0o644)
    (problem,) = await found(path)
    assert "keys.p2ps" in problem.what


async def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await ana.upkeep.check(read_data=True, told=lambda *done: told.append(done))
    assert told[-1] == (1, 1)


async def test_a_replaced_slot_opens_the_vault_and_the_one_before_does_not(tmp_path: Path) -> None:
    old, new = KEY, KeyfileSecret(b"another key file, with other bytes")
    recovery = new_recovery_sheet(tmp_path / "sheet", "Ana")
    async with one_person(tmp_path) as ana:
        await ana.upkeep.replace_slots([new, recovery])
        assert (await ana.log())[-1] == "unlocking-changed"
    path = vault_path(tmp_path, "Ana")
    for secret in (new, recovery):
        await (await Vault.open(path, secret)).close()
    for secret in (old, RecoverySecret(bytes(32))):
        with pytest.raises(Locked):
            await Vault.open(path, secret)


async def test_whoever_serves_is_named_only_while_it_does(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        async with ana.vault.db.transaction() as tx:
            await tx.execute("UPDATE engine SET address = '127.0.0.1:1'")
        assert await ana.upkeep.serving() == ""
        lock = EngineLock.take(ana.vault.folder)
        assert await ana.upkeep.serving() == "127.0.0.1:1"
        lock.release()
        assert await ana.upkeep.serving() == ""


async def test_the_log_can_be_read_from_its_end(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        await ana.people.block("rao")
        assert [e.kind for e in await ana.upkeep.log(limit=1)] == ["person-blocked"]
        assert isinstance(ana, Person)
