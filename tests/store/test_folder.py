"""The layout of a vault on disk, and its small files."""

import os
from pathlib import Path

import pytest

from p2pshare.errors import AlreadyExists, DamagedVault, DiskTrouble, NoVault
from p2pshare.model.ids import PackId
from p2pshare.model.limits import VAULT_FILE_MAX
from p2pshare.store.folder import VaultFolder

PACK_ID = PackId(bytes.fromhex("ab" + "01" * 15))


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    folder = VaultFolder(tmp_path / "some" / "vault")
    folder.create()
    return folder


def test_a_new_folder_is_empty_and_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = VaultFolder(tmp_path / "some" / "vault")
        folder.create()
    finally:
        os.umask(before)
    assert not folder.exists
    assert sorted(entry.name for entry in folder.path.iterdir()) == ["packs", "snapshots"]
    assert folder.too_open() == []


def test_an_empty_folder_that_is_there_is_taken_and_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    folder = VaultFolder(tmp_path)
    folder.create()
    assert folder.too_open() == []


@pytest.mark.parametrize("what", ["file", "full folder", "dangling link"])
def test_what_is_there_is_not_touched(tmp_path: Path, what: str) -> None:
    path = tmp_path / "vault"
    if what == "file":
        path.write_bytes(b"mine")
    elif what == "full folder":
        path.mkdir()
        (path / "letter.txt").touch()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(AlreadyExists):
        VaultFolder(path).create()
    assert [entry.name for entry in tmp_path.rglob("*")] in (["vault"], ["vault", "letter.txt"])


def test_packs_and_snapshots_have_their_places() -> None:
    folder = VaultFolder(Path("v"))
    assert folder.pack_path(PACK_ID) == Path("v/packs/ab") / ("ab" + "01" * 15 + ".p2pk")
    assert folder.snapshot_path(PACK_ID) == Path("v/snapshots") / ("ab" + "01" * 15 + ".p2pk")


def test_the_small_files_come_back_as_they_were_written(folder: VaultFolder) -> None:
    folder.write_keys(b"keys")
    folder.write_header(b"header")
    assert folder.exists
    assert folder.read_header() == b"header"
    assert folder.read_keys() == b"keys"
    folder.write_header(bytes(VAULT_FILE_MAX))
    assert len(folder.read_header()) == VAULT_FILE_MAX
    assert folder.too_open() == []


def test_no_vault_and_a_vault_without_keys_are_different(folder: VaultFolder, tmp_path: Path) -> None:
    for nothing in (folder, VaultFolder(tmp_path / "nowhere")):
        with pytest.raises(NoVault):
            nothing.read_header()
        with pytest.raises(NoVault):
            nothing.read_keys()
    folder.write_header(b"header")
    with pytest.raises(DamagedVault, match=r"keys\.p2ps is missing"):
        folder.read_keys()


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (bytes(VAULT_FILE_MAX + 1), "too large")])
def test_a_file_of_an_impossible_size_is_damaged(folder: VaultFolder, content: bytes, words: str) -> None:
    folder.header.write_bytes(content)
    folder.keys.write_bytes(content)
    with pytest.raises(DamagedVault, match=rf"vault\.p2pv is {words}"):
        folder.read_header()
    with pytest.raises(DamagedVault, match=rf"keys\.p2ps is {words}"):
        folder.read_keys()
    with pytest.raises(ValueError, match="bytes"):
        folder.write_header(content)
    assert folder.header.read_bytes() == content


def test_a_file_that_cannot_be_read_is_disk_trouble(folder: VaultFolder) -> None:
    folder.header.mkdir()
    with pytest.raises(DiskTrouble, match=r"vault\.p2pv cannot be read"):
        folder.read_header()


def test_left_over_temporary_files_are_swept_and_nothing_else(folder: VaultFolder) -> None:
    folder.write_header(b"header")
    shelf = folder.packs / "ab"
    temps = [shelf / "x.p2pk.1.tmp", folder.snapshots / "y.p2pk.2.tmp"]
    writing = folder.path / "keys.p2ps.0.tmp"  # by somebody who holds no lock that keeps us away
    kept = [folder.header, writing, shelf / "x.p2pk", folder.snapshots / "y.p2pk", folder.path / "tmp"]
    for path in temps + kept[1:]:
        path.touch()
    assert set(folder.temps()) == set(temps)
    assert folder.sweep_temps() == 2
    assert not any(path.exists() for path in temps)
    assert all(path.exists() for path in kept)
    assert folder.sweep_temps() == 0


def test_what_others_could_read_is_named(folder: VaultFolder, tmp_path: Path) -> None:
    folder.write_header(b"header")
    folder.header.chmod(0o644)
    folder.packs.chmod(0o710)
    folder.keys.symlink_to(tmp_path / "elsewhere")
    folder.path.chmod(0o755)
    assert folder.too_open() == [
        "the vault's folder: other users have access (mode 0755)",
        "packs: other users have access (mode 0710)",
        "keys.p2ps: it is a link to somewhere else",
        "vault.p2pv: other users have access (mode 0644)",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_named(folder: VaultFolder) -> None:
    folder.write_header(b"header")
    os.chown(folder.header, 12345, 12345)
    assert folder.too_open() == ["vault.p2pv: it belongs to another user"]
