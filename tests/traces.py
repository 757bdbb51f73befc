"""Looking for traces: whether bytes are anywhere in a vault: in its database, decrypted, or in its files."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from p2pshare.model.ids import PackId
from p2pshare.service.sealing import open_object
from p2pshare.store import scans, snapshots
from p2pshare.store.db import Value
from p2pshare.store.vault import Vault


def spellings(needle: str | bytes) -> list[bytes]:
    """The bytes that a text may be written as."""
    if isinstance(needle, bytes):
        return [needle, needle.hex().encode(), needle.hex().upper().encode()]
    return list({needle.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")})


async def in_database(vault: Vault, needle: str | bytes) -> list[str]:
    """Every "table.column" of the open database, the search index's own tables among them, that holds `needle`."""
    wanted = [each.lower() for each in spellings(needle)]
    found = set()
    for (table,) in await vault.db.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
        columns = [str(row[1]) for row in await vault.db.rows(f"PRAGMA table_xinfo('{table}')")]
        for row in await vault.db.rows(f"SELECT * FROM '{table}'"):  # noqa: S608 - names of our own
            for column, value in zip(columns, row, strict=False):
                if any(each in _as_bytes(value) for each in wanted):
                    found.add(f"{table}.{column}")
    return sorted(found)


def in_files(folder: Path, needles: Iterable[str | bytes]) -> list[str]:
    """The files below `folder` that hold any of `needles`, in bytes as they lie there or in their names."""
    wanted = [each for needle in needles for each in spellings(needle)]
    found = []
    for path in sorted(folder.rglob("*")):
        data = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        if any(each in data for each in wanted):
            found.append(path.relative_to(folder).as_posix())
    return found


async def in_objects(vault: Vault, needle: bytes) -> int:
    """How many stored objects, decrypted with the keys that the vault has, hold `needle`."""
    rows = await vault.db.rows("SELECT object_id, key, commitment, size, sha256 FROM object WHERE key IS NOT NULL")
    count = 0
    for object_id, key, commitment, size, sha256 in rows:
        places = (await scans.places_of(vault.db, [object_id])).get(object_id, [])
        count += needle in b"".join(open_object(vault.packs, key, commitment, size, sha256, places))
    return count


def in_snapshot(vault: Vault, needle: str | bytes) -> bool:
    """Whether the newest snapshot holds `needle`."""
    newest = snapshots.read_newest(vault)
    data = msgspec.msgpack.encode(newest)
    return any(each in data for each in spellings(needle))


def pack_ids(vault: Vault) -> set[PackId]:
    """The packs that lie on the disk."""
    return set(vault.packs.ids())


def _as_bytes(value: Value) -> bytes:
    match value:
        case bytes():
            return value.lower()
        case str():
            return value.lower().encode()
        case _:
            return b""
