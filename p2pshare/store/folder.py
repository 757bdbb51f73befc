"""The folder of a vault: what lies where in it, and the two small files that open it.

    vault.p2pv                 header with the slots (docs/format.md §5)
    keys.p2ps                  this device's own keys (§6)
    vault.db                   SQLCipher database, with vault.db-wal and vault.db-shm while it is open
    packs/XX/ID.p2pk           packs (§4); XX is the first byte of ID
    snapshots/ID.p2pk          packs that hold snapshots of the database
    engine.lock                held by the one process that sends and receives
    maintenance.lock           held shared by pack writers, exclusively by erase, repair and the like
    *.tmp                      a write that did not finish; worthless

Rule 1: every name is ours; nothing that came from outside is ever part of a path.
Rule 2: folders are 0700 and files 0600, whatever the umask.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from p2pshare.errors import AlreadyExists, DamagedVault, NoVault
from p2pshare.model.ids import PackId
from p2pshare.model.limits import VAULT_FILE_MAX
from p2pshare.store.diskio import TEMP_SUFFIX, disk_trouble, remove_durably, sync_folder, write_whole

PACK_SUFFIX = ".p2pk"


@dataclass(frozen=True, slots=True)
class VaultFolder:
    """The vault folder at `path`, which need not exist yet."""

    path: Path

    @property
    def header(self) -> Path:
        """The vault header."""
        return self.path / "vault.p2pv"

    @property
    def keys(self) -> Path:
        """The keys file."""
        return self.path / "keys.p2ps"

    @property
    def database(self) -> Path:
        """The database; SQLite adds `-wal` and `-shm` to the name."""
        return self.path / "vault.db"

    @property
    def packs(self) -> Path:
        """The folder of the packs' folders."""
        return self.path / "packs"

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots."""
        return self.path / "snapshots"

    @property
    def engine_lock(self) -> Path:
        """Locked by the engine's process; always empty."""
        return self.path / "engine.lock"

    @property
    def maintenance_lock(self) -> Path:
        """Locked by whoever writes packs or tidies up; always empty."""
        return self.path / "maintenance.lock"

    def pack_path(self, pack_id: PackId) -> Path:
        """Where the pack `pack_id` lies."""
        name = pack_id.hex()
        return self.packs / name[:2] / f"{name}{PACK_SUFFIX}"

    def snapshot_path(self, pack_id: PackId) -> Path:
        """Where the snapshot `pack_id` lies."""
        return self.snapshots / f"{pack_id.hex()}{PACK_SUFFIX}"

    @property
    def exists(self) -> bool:
        """Whether there is a vault: its header is there."""
        return self.header.is_file()

    def create(self) -> None:
        """Make the empty folders of a new vault, durably. The header, written last, makes it a vault.

        Raises:
            AlreadyExists: there is something at `path` that is not an empty folder; it was not touched.
            DiskTrouble: the disk refused.
        """
        with disk_trouble("the vault's folder cannot be made"):
            if self.path.is_dir():
                if any(self.path.iterdir()):
                    raise AlreadyExists("the folder is not empty")
            elif self.path.exists() or self.path.is_symlink():
                raise AlreadyExists("that is not a folder")
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for folder in (self.packs, self.snapshots):
                folder.mkdir(mode=0o700)
            for first in range(256):  # now, and not when the first pack of each is waited for
                (self.packs / f"{first:02x}").mkdir(mode=0o700)
        sync_folder(self.packs)
        sync_folder(self.path)
        sync_folder(self.path.absolute().parent)

    def read_header(self) -> bytes:
        """The bytes of the header.

        Raises:
            NoVault: there is none.
            DamagedVault: it is empty, or larger than any header.
            DiskTrouble: it cannot be read.
        """
        data = self._read_small(self.header)
        if data is None:
            raise NoVault
        return data

    def write_header(self, data: bytes) -> None:
        """Replace the header durably. Raises `DiskTrouble`; see `diskio.write_whole`."""
        self._write_small(self.header, data)

    def read_keys(self) -> bytes:
        """The bytes of the keys file.

        Raises:
            NoVault: there is no vault here at all.
            DamagedVault: there is a header but no keys file, or it is empty, or larger than any keys file.
            DiskTrouble: it cannot be read.
        """
        data = self._read_small(self.keys)
        if data is None:
            raise DamagedVault(f"{self.keys.name} is missing") if self.exists else NoVault()
        return data

    def write_keys(self, data: bytes) -> None:
        """Replace the keys file durably. Raises `DiskTrouble`; see `diskio.write_whole`."""
        self._write_small(self.keys, data)

    def temps(self) -> Iterator[Path]:
        """Temporary files of packs and snapshots: of writes that did not finish, or are under way elsewhere.

        Those of the header and the keys file are not among them: they are written without `locks.maintenance`.
        """
        folders = [self.packs, self.snapshots]
        with disk_trouble("the vault's folder cannot be listed"):
            if self.packs.is_dir():
                folders += [entry for entry in self.packs.iterdir() if entry.is_dir()]
            for folder in folders:
                if folder.is_dir():
                    yield from (entry for entry in folder.iterdir() if entry.name.endswith(TEMP_SUFFIX))

    def sweep_temps(self) -> int:
        """Remove left-over temporary files and return how many there were.

        Only while holding `locks.maintenance` exclusively: nobody is then between a temporary file and its commit.
        """
        left = sorted(self.temps())
        remove_durably(left)
        return len(left)

    def too_open(self) -> list[str]:
        """What in the vault other users of this computer could read or change, in words; empty if all is well."""
        with disk_trouble("the vault's folder cannot be examined"):
            return [f"{_shown(entry, self.path)}: {why}" for entry in self._entries() if (why := _openness(entry))]

    def _entries(self) -> Iterator[Path]:
        yield self.path
        for folder, folders, files in os.walk(self.path):
            yield from (Path(folder, name) for name in sorted(folders) + sorted(files))

    def _read_small(self, path: Path) -> bytes | None:
        with disk_trouble(f"{path.name} cannot be read"):
            try:
                with path.open("rb") as file:
                    data = file.read(VAULT_FILE_MAX + 1)
            except FileNotFoundError:
                return None
        if not data:
            raise DamagedVault(f"{path.name} is empty")
        if len(data) > VAULT_FILE_MAX:
            raise DamagedVault(f"{path.name} is too large")
        return data

    def _write_small(self, path: Path, data: bytes) -> None:
        if not 0 < len(data) <= VAULT_FILE_MAX:
            raise ValueError(f"{path.name} would have {len(data)} bytes")
        write_whole(path, data)


def _openness(entry: Path) -> str | None:
    """Why `entry` is not for its owner only, or None; an entry that went away meanwhile is no matter."""
    try:
        found = entry.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return "it is a link to somewhere else"
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    if found.st_mode & 0o077:
        return f"other users have access (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def _shown(entry: Path, base: Path) -> str:
    return "the vault's folder" if entry == base else str(entry.relative_to(base))
