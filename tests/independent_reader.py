"""A reader of all that p2pshare writes, made from docs/format.md as a stranger would: it shares no code with p2pshare.

    python -m tests.independent_reader VAULT --recovery-file SHEET -o DIR

writes every file in a vault to a folder, each named by its SHA-256. Section numbers are those of docs/format.md.
"""

import argparse
import hmac
import sqlite3
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.independent import shapes
from tests.independent.basics import check_prelude, digest, kdf, label, open_once, u32
from tests.independent.chunks import MIB, check_commitment, check_shape, chunk_count, open_chunk, read_keyring
from tests.independent.database import decrypted
from tests.independent.msgpack import Refused, refuse_unless, unpack

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


# --- §4 packs ---


@dataclass
class Object:
    """An object, put together from the parts of all packs."""

    commitment: bytes
    key: bytes | None = None
    end: dict[str, Any] | None = None
    scope: int = 0
    owner: bytes = b""
    packs: int = 0
    chunks: dict[int, bytes] = field(default_factory=dict)

    def opened(self, key: bytes | None = None) -> bytes:
        """The plaintext, with everything checked that docs/format.md lets a reader check."""
        key = key or self.key
        if not (self.end and key):
            raise Refused("an object without its end or key")
        check_commitment(key, self.commitment)
        size, count = self.end["size"], chunk_count(self.end["size"])
        refuse_unless(sorted(self.chunks) == list(range(count)), "an object with a chunk missing")
        stored = [self.chunks[n] for n in range(count)]
        digests = b"".join(digest(chunk) for chunk in stored)
        check_shape(
            {**self.end, "commitment": self.commitment, "lengths": [len(c) for c in stored], "digests": digests}
        )
        lengths = [MIB] * (count - 1) + [size - MIB * (count - 1)]
        plain = b"".join(open_chunk(key, n, n == count - 1, lengths[n], stored[n]) for n in range(count))
        refuse_unless(self.end["sha256"] in (None, digest(plain)), "an object that is not what was stored")
        return plain


def read_pack(data: bytes, vault_id: bytes, vault_keys: Mapping[int, bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """A pack's index, and its stored chunks in the order of the index, each with the digest that the index says."""
    refuse_unless(44 + 16 < len(data) <= 16 * MIB, "a pack's size")
    check_prelude(data, b"P2PK")
    header, trailer = data[:44], data[-16:]
    generation = int.from_bytes(header[24:28], "big")
    refuse_unless(header[6:8] == bytes(2) and header[8:24] == vault_id and generation in vault_keys, "a pack's header")
    offset, length = int.from_bytes(trailer[:8], "big"), int.from_bytes(trailer[8:12], "big")
    refuse_unless(trailer[12:] == b"KP2P" and offset >= 44 and offset + length + 16 == len(data), "a pack's trailer")
    index_key = kdf(vault_keys[generation], "vault/pack", header[28:44])
    index = unpack(open_once(index_key, header + trailer, data[offset : offset + length]), shapes.PACK_INDEX)
    at, chunks = 44, []
    for part in index["parts"]:
        refuse_unless(part["lengths"] and len(part["digests"]) == 32 * len(part["lengths"]), "a part of a pack")
        last = part["first"] + len(part["lengths"])
        refuse_unless(part["end"] is None or last == chunk_count(part["end"]["size"]), "the end of an object")
        for number, length in enumerate(part["lengths"]):
            chunks.append(data[at : at + length])
            refuse_unless(digest(chunks[-1]) == part["digests"][32 * number : 32 * number + 32], "a chunk's digest")
            at += length
    refuse_unless(at == offset, "a pack with more or fewer bytes than its index says")
    return index, chunks


# --- §5, §6 the vault ---


def read_header(data: bytes) -> dict[str, Any]:
    """The vault header, its form checked; it is not authentic before the tag was (`header_is_authentic`)."""
    check_prelude(data, b"P2PV")
    refuse_unless(42 <= len(data) <= 65536 and data[6:10] == u32(len(data) - 42), "a header of another length")
    header: dict[str, Any] = unpack(data[10:-32], shapes.VAULT_HEADER)
    return header


def slot_secret(slot: Mapping[str, Any], given: bytes | str) -> bytes:
    """What opens a slot, from a passphrase (text), the 32 bytes of a recovery code, or a key file's content."""
    match slot["kind"]:
        case "passphrase":
            words = unicodedata.normalize("NFC", str(given)).encode()
            memory = slot["memory_mib"] * 1024
            argon = Argon2id(
                salt=slot["salt"], length=32, iterations=slot["passes"], lanes=slot["lanes"], memory_cost=memory
            )
            return argon.derive(words)
        case "recovery":
            return bytes(given)  # type: ignore[arg-type]
        case _:
            return digest(bytes(given))  # type: ignore[arg-type]


def unlock(header: Mapping[str, Any], kind: str, given: bytes | str) -> dict[int, bytes]:
    """The vault keys, by generation, opened with the slot of that kind."""
    vault_id, generation = header["vault_id"], header["generation"]
    for slot in (slot for slot in header["slots"] if slot["kind"] == kind):
        params = u32(slot["memory_mib"]) + u32(slot["passes"]) + u32(slot["lanes"])
        bound = vault_id + slot["slot_id"] + u32(generation) + params
        wrapping = kdf(slot_secret(slot, given), f"slot/{kind}", bound, slot["salt"])
        newest = open_once(wrapping, label(f"slot/{kind}") + bound, slot["wrapped"])
        keys = {generation: newest}
        for older in header["previous"]:
            fields = u32(older["generation"])
            key = kdf(newest, "vault/previous", fields, older["salt"])
            keys[older["generation"]] = open_once(key, vault_id + fields, older["wrapped"])
        return keys
    raise Refused(f"no {kind} slot")


def header_is_authentic(data: bytes, header: Mapping[str, Any], vault_key: bytes) -> bool:
    key = kdf(vault_key, "vault/header", header["vault_id"] + u32(header["generation"]))
    return hmac.compare_digest(hmac.digest(key, data[:-32], "sha256"), data[-32:])


def recovery_code(sheet: str) -> bytes:
    """The 32 bytes of the recovery code on a sheet: two lines of seven groups of four."""
    lines = ["".join(line.upper().replace("-", " ").split()) for line in sheet.splitlines()]
    lines = [line.translate(str.maketrans("ILO", "110")) for line in lines]
    found = [line for line in lines if len(line) in (28, 56) and set(line) <= set(CROCKFORD)]
    letters = "".join(found)
    refuse_unless(len(letters) == 56, "no recovery code")
    number = 0
    for letter in letters[:52]:
        number = number * 32 + CROCKFORD.index(letter)
    code = (number >> 4).to_bytes(32, "big")
    check = int.from_bytes(digest(label("recovery/check"), code)[:3], "big") >> 4
    expected = "".join(CROCKFORD[check >> shift & 31] for shift in (15, 10, 5, 0))
    refuse_unless(number % 16 == 0 and letters[52:] == expected, "a typing error in the recovery code")
    return code


def read_keys_file(data: bytes, vault_id: bytes, generation: int, vault_key: bytes) -> dict[str, Any]:
    """The seeds and knock keys of a vault."""
    check_prelude(data, b"P2PS")
    refuse_unless(data[6:28] == bytes(2) + vault_id + u32(generation), "the keys file of another vault")
    key = kdf(vault_key, "vault/keys", vault_id + u32(generation), data[28:60])
    found: dict[str, Any] = unpack(open_once(key, data[:60], data[60:]), shapes.VAULT_SECRETS)
    return found


class Vault:
    """A vault's folder, opened."""

    def __init__(self, folder: Path, kind: str, given: bytes | str) -> None:
        self.folder = folder
        data = (folder / "vault.p2pv").read_bytes()
        self.header = read_header(data)
        self.id, self.generation = self.header["vault_id"], self.header["generation"]
        self.keys = unlock(self.header, kind, given)
        refuse_unless(header_is_authentic(data, self.header, self.keys[self.generation]), "the header's tag")
        self.packs_read = 0

    def secrets(self) -> dict[str, Any]:
        data = (self.folder / "keys.p2ps").read_bytes()
        return read_keys_file(data, self.id, self.generation, self.keys[self.generation])

    def objects(self, place: str = "packs") -> dict[bytes, Object]:
        """All objects, by commitment, put together from every pack under `packs` or `snapshots`."""
        found: dict[bytes, Object] = {}
        for path in sorted((self.folder / place).rglob("*.p2pk")):
            data = path.read_bytes()
            refuse_unless(data[28:44].hex() == path.stem, "a pack under another pack's name")
            index, chunks = read_pack(data, self.id, self.keys)
            self.packs_read += 1
            rest = iter(chunks)
            for part in index["parts"]:
                one = found.setdefault(part["commitment"], Object(part["commitment"]))
                one.key, one.end = one.key or part["key"], one.end or part["end"]
                one.scope, one.owner, one.packs = index["scope"], index["owner"], one.packs + 1
                one.chunks.update({part["first"] + n: next(rest) for n in range(len(part["lengths"]))})
        return found

    def files(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """What was stored or received: each file's `end`, and its bytes."""
        objects = [one for one in self.objects().values() if one.end]
        entries = self._keyring_entries(objects)
        for one in objects:
            assert one.end is not None
            entry = entries.get(one.end["object_id"])
            if one.key and one.end["kind"] in ("dicom", "file"):
                yield one.end, one.opened()
            elif not one.key and entry:
                plain = one.opened(entry["key"])
                refuse_unless(digest(plain) == entry["sha256"], "an object that is not what its keyring says")
                yield one.end, plain

    def _keyring_entries(self, objects: Iterable[Object]) -> dict[bytes, dict[str, Any]]:
        """What opens received objects: their keyrings came under keys that the letters of their shares give."""
        rings = [letter["keyring"] for letter in self.share_letters()]
        named = {ring["shape"]["object_id"]: ring for ring in rings if any(ring["key"])}  # zeros: erased
        found: dict[bytes, dict[str, Any]] = {}
        for one in objects:
            if one.end and one.end["object_id"] in named:
                ref = named[one.end["object_id"]]
                plain = one.opened(ref["key"])
                refuse_unless(digest(plain) == ref["sha256"], "a keyring that is not what its letter says")
                found |= {entry["object_id"]: entry for entry in read_keyring(plain)["added"]}
        return found

    def share_letters(self) -> list[dict[str, Any]]:
        """The bodies of the letters that offered shares, both ways, from the newest snapshot."""
        newest = self.snapshots()[-1:]
        return [unpack(row["letter"], shapes.body) for snapshot in newest for row in rows_of(snapshot, "share")]

    def snapshots(self) -> list[dict[str, Any]]:
        """Every snapshot, the newest last."""
        found = [unpack(one.opened(), shapes.SNAPSHOT) for one in self.objects("snapshots").values()]
        return sorted(found, key=lambda snapshot: (snapshot["log_number"], snapshot["created"]))

    def prekeys(self) -> list[tuple[bytes, bytes]]:
        """This device's prekeys: public and secret, as `open_envelope` takes them."""
        connection = sqlite3.connect(":memory:")
        try:
            connection.deserialize(self.database())
            rows = connection.execute("SELECT prekey, secret FROM prekey ORDER BY number DESC").fetchall()
        finally:
            connection.close()
        return [(unpack(prekey, shapes.PREKEY)["public"], secret) for prekey, secret in rows]

    def database(self) -> bytes:
        """The database as a plain SQLite file."""
        key = kdf(self.keys[self.generation], "vault/db", self.id + u32(self.generation))
        return decrypted((self.folder / "vault.db").read_bytes(), key)


def rows_of(snapshot: Mapping[str, Any], table: str) -> list[dict[str, Any]]:
    """The rows of one table of a snapshot, by column name."""
    columns, rows = snapshot["tables"][table]["columns"], snapshot["tables"][table]["rows"]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def main() -> int:
    """Write every file in a vault to a folder."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("vault", type=Path)
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--passphrase-file", type=Path)
    ways.add_argument("--recovery-file", type=Path)
    ways.add_argument("--key-file", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    try:
        vault = Vault(args.vault, *_given(args))
        args.output.mkdir(parents=True, exist_ok=True)
        for _, plain in vault.files():
            (args.output / digest(plain).hex()).write_bytes(plain)
    except Refused as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 1
    return 0


def _given(args: argparse.Namespace) -> tuple[str, bytes | str]:
    if args.passphrase_file:
        return "passphrase", args.passphrase_file.read_text(encoding="utf-8").splitlines()[0]
    if args.recovery_file:
        return "recovery", recovery_code(args.recovery_file.read_text(encoding="utf-8"))
    return "keyfile", args.key_file.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
