"""Vectors of a vault's own small files: the header with its slots, the keys file, recovery codes, the log's chain."""

from collections.abc import Iterator

from msgspec.structs import replace
from writing import Segment, Value, Vector, cut, flipped, seeded, seeded_secrets

from p2pshare.crypto.audit import LOG_START, link
from p2pshare.crypto.labels import kdf, mac, u32
from p2pshare.crypto.recovery import format_code
from p2pshare.crypto.vaultkeys import (
    KeyfileSecret,
    PassphraseSecret,
    RecoverySecret,
    VaultKeys,
    new_generation,
    new_vault,
    seal_secrets,
    write_header,
)
from p2pshare.model.ids import VaultId
from p2pshare.model.packed import encode
from p2pshare.model.vaultfile import SlotKind, VaultHeader, VaultSecrets

VAULT_ID = VaultId(seeded("vault id", 16))
CODE = seeded("recovery code", 32)
KEYFILE = seeded("key file", 64)
PASSPHRASE = "caf\u00e9 am Fluss"
BAD = "damaged-vault"


def vectors() -> Iterator[Vector]:
    """All of them."""
    with seeded_secrets("vault"):
        given = (PassphraseSecret(PASSPHRASE, 65, 2), RecoverySecret(CODE), KeyfileSecret(KEYFILE))
        first, first_keys = new_vault(VAULT_ID, 1_700_000_000, given[1:])
        header, keys = new_generation(first, first_keys, given)
        yield from _headers(header, keys)
        yield from _numbers(header, keys)
        yield from _keys_files(keys)
    yield from _recovery_codes()
    yield from _log()


# --- headers ----------------------------------------------------------------------------------------------


def _file(packed: bytes, keys: VaultKeys, prelude: bytes = b"P2PV\x01\x01") -> list[Segment]:
    body = prelude + u32(len(packed)) + packed
    tag = mac(kdf(keys.vault_key(2), "vault/header", VAULT_ID + u32(2)), body)
    return _noted(body + tag)


def _noted(data: bytes) -> list[Segment]:
    size = len(data) - 42
    return cut(data, (4, "magic"), (1, "version"), (1, "suite"), (4, "length"), (size, "VaultHeader"), (32, "tag"))


def _header(name: str, layer: str, expect: str, what: str, file: list[Segment], **secret: Value) -> Vector:
    given: dict[str, Value] = {"secret": dict(secret or {"kind": "recovery", "bytes": CODE}), "file": file}
    return Vector(f"header-{name}", "vault", layer, expect, what, given)


def _headers(header: VaultHeader, keys: VaultKeys) -> Iterator[Vector]:
    data = write_header(header, keys)
    good, tag = _noted(data), "header tag"
    result: dict[str, Value] = {"generation": 2, "vault_key": keys.vault_key(2), "older_vault_key": keys.vault_key(1)}
    opened = _header("by-recovery-code", tag, "ok", "Opened with the recovery code.", good)
    yield Vector(opened.name, "vault", tag, "ok", opened.what, opened.input, result)
    yield _header("by-passphrase", tag, "ok", "Opened with the passphrase.", good, kind="passphrase", text=PASSPHRASE)
    what = "The same passphrase with its accent as a character of its own: NFC makes it the same."
    yield _header("by-passphrase-decomposed", tag, "ok", what, good, kind="passphrase", text="cafe\u0301 am Fluss")
    yield _header("by-key-file", tag, "ok", "Opened with the key file.", good, kind="keyfile", bytes=KEYFILE)
    what = "Another passphrase: the case differs."
    yield _header("wrong-passphrase", "slot", "locked", what, good, kind="passphrase", text="Caf\u00e9 am Fluss")
    yield _header("wrong-code", "slot", "locked", "Another code.", good, kind="recovery", bytes=flipped(CODE, 0))
    without = replace(header, slots=tuple(s for s in header.slots if s.kind is not SlotKind.RECOVERY))
    yield _header("no-such-slot", "slot", "locked", "There is no recovery slot.", _file(encode(without), keys))
    none = replace(header, slots=())
    yield _header("no-slots", "slot", "locked", "There are no slots.", _file(encode(none), keys))
    yield _header("tag-changed", tag, "not-authentic", "A bit of the tag.", _noted(flipped(data, -1)))
    created = replace(header, created=header.created + 1)
    file = _noted(data[:10] + encode(created) + data[-32:])
    yield _header("created-changed", tag, "not-authentic", "Another time of creation under the old tag.", file)
    (older,) = header.previous
    damaged = replace(header, previous=(replace(older, wrapped=flipped(older.wrapped, 0)),))
    file = _noted(data[:10] + encode(damaged) + data[-32:])
    what = "The older vault key's wrapping was changed: the vault opens, without that key."
    yield _header("previous-changed", tag, "not-authentic", what, file)
    yield _header("version-raised", "header", "unsupported", "Version 2.", _noted(data[:4] + b"\x02" + data[5:]))
    yield _header("suite-changed", "header", "unsupported", "Suite 0.", _noted(data[:5] + b"\x00" + data[6:]))
    yield _header("magic-changed", "header", BAD, "Its magic is P2PS.", _noted(b"P2PS" + data[4:]))
    yield _header("trailing-byte", "header", BAD, "One byte after it.", _noted(data + b"\x00"))
    yield _header("cut", "header", BAD, "It ends after 30 bytes.", [(data[:30], "the first 30 bytes")])
    yield _header("length-changed", "header", BAD, "The length is one more.", _noted(flipped(data, 9)))
    huge: list[Segment] = [(data[:10], "its beginning"), (b"\x00", "more than 64 KiB", 65_536)]
    yield _header("too-large", "header", BAD, "It is larger than 64 KiB.", huge)


def _numbers(header: VaultHeader, keys: VaultKeys) -> Iterator[Vector]:
    passphrase = {"kind": "passphrase", "text": PASSPHRASE}
    stretched = next(slot for slot in header.slots if slot.kind is SlotKind.PASSPHRASE)

    def changed(name: str, layer: str, expect: str, what: str, **fields: object) -> Vector:
        slots = tuple(replace(s, **fields) if s is stretched else s for s in header.slots)
        file = _file(encode(replace(header, slots=slots)), keys)
        return _header(name, layer, expect, what, file, **passphrase)

    yield changed("memory-below-floor", "header", BAD, "Argon2id with 8 MiB.", memory_mib=8)
    yield changed("memory-4-tib", "header", BAD, "Argon2id with 4 TiB: refused before it runs.", memory_mib=1 << 22)
    yield changed("memory-negative", "header", BAD, "Argon2id with -1 MiB.", memory_mib=-1)
    yield changed("passes-below-floor", "header", BAD, "Argon2id with one pass.", passes=1)
    yield changed("passes-raised", "header", BAD, "Argon2id with 4,294,967,295 passes.", passes=0xFFFFFFFF)
    yield changed("lanes-raised", "header", BAD, "Argon2id with 4 lanes.", lanes=4)
    what = "65 MiB lowered to 64, above the floor: the wrapping notices."
    yield changed("memory-lowered", "slot", "locked", what, memory_mib=64)
    yield changed("slot-id-changed", "slot", "locked", "Another slot id.", slot_id=seeded("other slot", 16))
    yield changed("slot-salt-changed", "slot", "locked", "Another salt.", salt=seeded("other salt", 16))
    yield changed("slot-salt-short", "header", BAD, "A salt of 8 bytes.", salt=bytes(8))
    yield changed(
        "slot-kind-changed", "header", BAD, "A key file slot with numbers for Argon2id.", kind=SlotKind.KEYFILE
    )
    recovery = next(slot for slot in header.slots if slot.kind is SlotKind.RECOVERY)
    moved = replace(recovery, kind=SlotKind.KEYFILE)
    file = _file(encode(replace(header, slots=(moved,))), keys)
    what = "The recovery slot called a key file slot, and a key file whose hash is not the code."
    yield _header("slot-of-another-kind", "slot", "locked", what, file, kind="keyfile", bytes=KEYFILE)
    file = _file(encode(replace(header, vault_id=seeded("other vault", 16))), keys)
    yield _header("slot-of-another-vault", "slot", "locked", "The slots of one vault in the header of another.", file)
    file = _file(encode(replace(header, generation=3)), keys)
    yield _header("generation-raised", "slot", "locked", "Generation 3 with the slots of generation 2.", file)
    file = _file(encode(replace(header, slots=header.slots * 6)), keys)
    yield _header("18-slots", "header", BAD, "More than 16 slots.", file)
    older = header.previous[0]
    file = _file(encode(replace(header, previous=(replace(older, generation=2),))), keys)
    what = "The current generation among the older ones, under a good tag."
    yield _header("previous-not-older", "header", BAD, what, file)
    file = _file(encode(header) + b"\xc0", keys)
    yield _header("value-trailing", "header", BAD, "A second value after the VaultHeader, under a good tag.", file)


# --- keys files, codes, log -------------------------------------------------------------------------------


def _keys_files(keys: VaultKeys) -> Iterator[Vector]:
    secrets_ = VaultSecrets(
        person_seed=seeded("person", 32),
        device_seed=seeded("device", 32),
        certified=1_700_000_000,
        certificate=seeded("certificate", 128),
        knock_keys=(seeded("knock", 32),),
    )
    older_keys = VaultKeys(VAULT_ID, 1, {1: keys.vault_key(1)})
    data = seal_secrets(keys, secrets_)

    def keys_file(name: str, expect: str, what: str, file: bytes) -> Vector:
        notes = ((4, "magic"), (1, "version"), (1, "suite"), (2, "zero"), (16, "vault id"), (4, "generation"))
        noted = cut(file, *notes, (32, "salt"), (-1, "sealed VaultSecrets"))
        given: dict[str, Value] = {"vault_id": VAULT_ID, "generation": 2, "vault_key": keys.vault_key(2)}
        result: dict[str, Value] = {"packed": encode(secrets_)} if expect == "ok" else {}
        return Vector(f"keys-file-{name}", "keys file", "keys file", expect, what, given | {"file": noted}, result)

    yield keys_file("good", "ok", "Opened with the vault key of generation 2.", data)
    yield keys_file("magic-changed", BAD, "Its magic is P2PV.", b"P2PV" + data[4:])
    yield keys_file("version-raised", "unsupported", "Version 2.", data[:4] + b"\x02" + data[5:])
    yield keys_file("zero-changed", BAD, "The two zero bytes are not zero.", flipped(data, 6))
    yield keys_file("vault-changed", BAD, "It is another vault's.", flipped(data, 8))
    yield keys_file("generation-changed", BAD, "It names generation 3.", flipped(data, 27))
    yield keys_file("salt-changed", BAD, "A bit of the salt.", flipped(data, 28))
    yield keys_file("sealed-changed", BAD, "A bit of the ciphertext.", flipped(data, 60))
    yield keys_file("cut", BAD, "Its last byte is missing.", data[:-1])
    what = "It is sealed under the older vault key, which somebody may know."
    yield keys_file("of-older-generation", BAD, what, seal_secrets(older_keys, secrets_))
    wrong = seal_secrets(keys, replace(secrets_, device_seed=bytes(31)))
    yield keys_file("seed-short", BAD, "It opens; the device seed has 31 bytes.", wrong)


def _recovery_codes() -> Iterator[Vector]:
    printed = format_code(CODE)
    first, second = printed.split("\n")
    letters = printed.replace(" ", "").replace("\n", "")

    def code(name: str, expect: str, what: str, text: str) -> Vector:
        result: dict[str, Value] = {"code": CODE} if expect == "ok" else {}
        return Vector(f"recovery-{name}", "recovery code", "recovery code", expect, what, {"text": text}, result)

    bad = "usage-error"
    yield code("printed", "ok", "As it is printed.", printed)
    sheet = (
        f"p2pshare: recovery sheet\nKeep this page where you keep your will.\n\n  {first}\n  {second}\n\nVault: 1f2e\n"
    )
    yield code("sheet", "ok", "Somewhere on a whole sheet.", sheet)
    confused = letters.lower().replace("0", "o").replace("1", "l")
    yield code("confused", "ok", "Lower case, O for 0, L for 1, no spaces.", confused)
    yield code("hyphens", "ok", "Hyphens between the groups, in one line.", "-".join(printed.split()))
    changed = ("3" if letters[0] != "3" else "4") + letters[1:]
    yield code("one-letter-changed", bad, "Its first letter is another.", changed)
    at = next(i for i in range(20, 40) if letters[i] != letters[i + 1])
    swapped = letters[:at] + letters[at + 1] + letters[at] + letters[at + 2 :]
    yield code("letters-swapped", bad, "Two neighbours changed places.", swapped)
    bits = letters[:51] + chr(ord(letters[51]) + 1) + letters[52:]
    yield code("zero-bits-set", bad, "The four zero bits after the code are not zero.", bits)
    yield code(
        "check-changed",
        bad,
        "The last letter of the check is another.",
        letters[:-1] + ("7" if letters[-1] != "7" else "8"),
    )
    yield code("short", bad, "One letter is missing.", letters[1:])
    yield code("letter-u", bad, "The letter U is not in the alphabet.", "U" + letters[1:])
    yield code("nothing", bad, "No code at all.", "I have lost the sheet.")


def _log() -> Iterator[Vector]:
    kind, detail = "import", '{"studies": 1}'
    first = link(LOG_START, 1, 1_700_000_000, kind, detail)
    given: dict[str, Value] = {
        "previous": LOG_START,
        "number": 1,
        "time": 1_700_000_000,
        "kind": kind,
        "detail": detail,
    }
    yield Vector("log-first", "log", "log", "ok", "The first entry.", given, {"hash": first})
    second = link(first, 2, 1_700_000_060, "send", "{}")
    given = {"previous": first, "number": 2, "time": 1_700_000_060, "kind": "send", "detail": "{}"}
    yield Vector("log-second", "log", "log", "ok", "The second entry, after log-first.", given, {"hash": second})
