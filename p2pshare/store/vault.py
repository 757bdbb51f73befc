"""An open vault: its keys, its database and its packs, made once per process and passed to every service.

Rule 1: the passphrase is stretched before anything is opened, in a thread, and forgotten at once.
Rule 2: a vault appears whole or not at all: set-up builds it beside its place and renames it there.
"""

import asyncio
import secrets
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from p2pshare.crypto.keys import SigningKey, certify, check_certificate, device_id, new_knock_key, new_prekey, person_id
from p2pshare.crypto.slots import Secret
from p2pshare.crypto.vaultkeys import (
    VaultKeys,
    new_vault,
    open_secrets,
    seal_secrets,
    unlock,
    write_header,
)
from p2pshare.errors import AlreadyExists, DamagedVault, Forged
from p2pshare.model.ids import DeviceId, PersonId, VaultId
from p2pshare.model.vaultfile import VaultHeader, VaultSecrets
from p2pshare.store import audit, people
from p2pshare.store.db import Database, Transaction
from p2pshare.store.diskio import sync_folder
from p2pshare.store.folder import VaultFolder
from p2pshare.store.packs import PackStore
from p2pshare.store.schema import MIGRATIONS


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """Who this vault is: the person key, this device's key, and the knock keys that contacts may use, newest first."""

    person: SigningKey
    device: SigningKey
    certified: int
    certificate: bytes
    knock_keys: tuple[bytes, ...] = field(repr=False)
    person_id: PersonId = field(init=False)
    device_id: DeviceId = field(init=False)

    def __post_init__(self) -> None:
        """Derive the two fingerprints."""
        object.__setattr__(self, "person_id", person_id(self.person.public))
        object.__setattr__(self, "device_id", device_id(self.device.public))

    @classmethod
    def fresh(cls, now: int) -> "OwnIdentity":
        """A new person with one device, certified by the person key."""
        person, device = SigningKey.generate(), SigningKey.generate()
        return cls(person, device, now, certify(person, device, now), (new_knock_key(),))

    @classmethod
    def from_secrets(cls, stored: VaultSecrets) -> "OwnIdentity":
        """The identity that the keys file holds. Raises DamagedVault when its parts do not fit together."""
        person, device = SigningKey.from_seed(stored.person_seed), SigningKey.from_seed(stored.device_seed)
        try:
            check_certificate(person.public, device.public, stored.certified, stored.certificate)
        except Forged:
            raise DamagedVault("keys.p2ps") from None
        return cls(person, device, stored.certified, stored.certificate, stored.knock_keys)

    def to_secrets(self) -> VaultSecrets:
        """What the keys file holds."""
        return VaultSecrets(
            person_seed=self.person.seed,
            device_seed=self.device.seed,
            certified=self.certified,
            certificate=self.certificate,
            knock_keys=self.knock_keys,
        )


class Vault:
    """One person's encrypted store on one machine, open."""

    def __init__(
        self, folder: VaultFolder, header: VaultHeader, keys: VaultKeys, identity: OwnIdentity, db: Database
    ) -> None:
        """Take what `open` and `create` made."""
        self.folder = folder
        self.header = header
        self.keys = keys
        self.identity = identity
        self.db = db
        self.packs = PackStore(folder, keys)
        self.snapshots = PackStore(folder, keys, snapshots=True)
        self.header_authentic = True
        self._keys_file = b""
        self._identity_lock = threading.Lock()

    @classmethod
    async def create(cls, path: Path, secret_slots: Sequence[Secret], name: str, now: int) -> "Vault":
        """Make a vault at `path` (absent or an empty folder) and return it open. Raises AlreadyExists."""
        path = await asyncio.to_thread(_free_place, path)
        building = VaultFolder(path.with_name(f".{path.name}.setup-{secrets.token_hex(4)}"))
        await asyncio.to_thread(building.create)
        try:
            vault_id = VaultId(secrets.token_bytes(16))
            header, keys = await asyncio.to_thread(new_vault, vault_id, now, secret_slots)
            identity = OwnIdentity.fresh(now)
            building.write_keys(seal_secrets(keys, identity.to_secrets()))
            building.write_header(write_header(header, keys))
            db = await Database.open(building.database, keys.database_key(), MIGRATIONS, create=True)
            try:
                async with db.transaction() as tx:
                    await _enter_self(tx, identity, name, now)
            finally:
                await db.close()
            await asyncio.to_thread(_put_in_place, building.path, path)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, building.path, ignore_errors=True)
            raise
        return await cls._opened(VaultFolder(path), header, keys)

    @classmethod
    async def open(cls, path: Path, secret: Secret) -> "Vault":
        """Open the vault at `path`. Raises NoVault, Locked, DamagedVault or DamagedDatabase."""
        folder = VaultFolder(path)
        data = await asyncio.to_thread(folder.read_header)
        header, keys, authentic = await asyncio.to_thread(unlock, data, secret)
        vault = await cls._opened(folder, header, keys)
        vault.header_authentic = authentic
        return vault

    @classmethod
    async def _opened(cls, folder: VaultFolder, header: VaultHeader, keys: VaultKeys) -> "Vault":
        identity = OwnIdentity.from_secrets(open_secrets(keys, folder.read_keys()))
        db = await Database.open(folder.database, keys.database_key(), MIGRATIONS)
        return cls(folder, header, keys, identity, db)

    async def close(self) -> None:
        """Close the database and forget open files."""
        self.packs.close()
        self.snapshots.close()
        await self.db.close()

    def replace_header(self, header: VaultHeader) -> None:
        """Write a changed header (slots, generations), whole."""
        self.folder.write_header(write_header(header, self.keys))
        self.header = header

    def replace_identity(self, identity: OwnIdentity) -> None:
        """Write a changed keys file (knock keys), whole."""
        data = seal_secrets(self.keys, identity.to_secrets())
        with self._identity_lock:
            self.folder.write_keys(data)
            self._keys_file, self.identity = data, identity

    def reload_identity(self) -> None:
        """Take over knock keys that another process changed. Cheap when nothing changed."""
        with self._identity_lock:
            data = self.folder.read_keys()
            if data != self._keys_file:
                self.identity = OwnIdentity.from_secrets(open_secrets(self.keys, data))
                self._keys_file = data

    async def name(self) -> str:
        """The name on my card."""
        row = await self.db.row("SELECT value FROM meta WHERE key = 'name'")
        return bytes(row[0]).decode() if row else ""


async def _enter_self(tx: Transaction, identity: OwnIdentity, name: str, now: int) -> None:
    await tx.execute("INSERT INTO meta (key, value) VALUES ('name', ?)", (name.encode(),))
    prekey, secret = new_prekey(identity.device, 1, now)
    await people.enter_own_prekey(tx, prekey, secret, now)
    await audit.enter(tx, identity.device, "setup", {"name": name}, now)


def _free_place(path: Path) -> Path:
    path = path.absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise AlreadyExists(str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _put_in_place(built: Path, path: Path) -> None:
    built.rename(path)
    sync_folder(path.parent)
