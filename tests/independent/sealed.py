"""Cards, words, envelopes, letters and receipts: docs/format.md §7 and §8; and the log's chain, §10."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from nacl.bindings import crypto_sign_seed_keypair

from tests.independent import shapes
from tests.independent.basics import (
    aead_open,
    check_prelude,
    check_signature,
    digest,
    hkdf_expand,
    label,
    lp,
    u32,
    u64,
)
from tests.independent.msgpack import Refused, refuse_unless, unpack

SUITE_ID = b"HPKE" + (0x647A).to_bytes(2, "big") + b"\x00\x01" + b"\x00\x03"  # RFC 9180 §5.1
X_WING_LABEL = bytes.fromhex("5c2e2f2f5e5c")  # a picture of an X-wing


def public_key(seed: bytes) -> bytes:
    """The Ed25519 public key of a seed."""
    return bytes(crypto_sign_seed_keypair(seed)[0])


def person_id(public: bytes) -> bytes:
    """The fingerprint of a person key."""
    return digest(label("fp/person"), public)


def device_id(public: bytes) -> bytes:
    """The fingerprint of a device key."""
    return digest(label("fp/device"), public)


# --- §7 cards ---


def read_card(data: bytes) -> dict[str, Any]:
    """A card, with every signature on it verified."""
    check_prelude(data, b"P2PC")
    refuse_unless(74 <= len(data) <= 65536 and data[6:10] == u32(len(data) - 74), "a card of another length")
    packed = data[10:-64]
    card: dict[str, Any] = unpack(packed, shapes.CARD)
    check_signature(card["person"], "sig/card", packed, data[-64:])
    refuse_unless(card["name"].strip() and len(card["name"]) <= 200, "a card's name")
    keys = [entry["device"] for entry in card["devices"]]
    refuse_unless(keys and len(set(keys)) == len(keys), "a card's devices")
    for entry in card["devices"]:
        refuse_unless(all(is_address(address) for address in entry["addresses"]), "an address")
        fields = card["person"] + entry["device"] + u64(entry["certified"])
        check_signature(card["person"], "sig/device", fields, entry["certificate"][:64])
        check_signature(entry["device"], "sig/owner", fields, entry["certificate"][64:])
        check_prekey(entry["device"], entry["prekey"])
    return card


def is_address(address: str) -> bool:
    """Whether `address` is HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not re.fullmatch("[1-9][0-9]{0,4}", port) or int(port) > 65535 or len(host) > 253:
        return False
    try:
        if re.fullmatch(r"\[[^%]*\]", host):
            return bool(ipaddress.IPv6Address(host[1:-1]))
        if re.search(r"(^|\.)[0-9]+$", host):
            return bool(ipaddress.IPv4Address(host))
    except ValueError:
        return False
    labels = host.removesuffix(".").split(".")
    return all(re.fullmatch("(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", label) for label in labels)


def check_prekey(device: bytes, prekey: Mapping[str, Any]) -> None:
    """Whether the device signed the prekey, and it is one that can be sealed to."""
    fields = device + u64(prekey["number"]) + u64(prekey["created"]) + prekey["public"]
    check_signature(device, "sig/prekey", fields, prekey["signature"])
    try:
        MLKEM768PublicKey.from_public_bytes(prekey["public"][:1184])  # checks the modulus
        other = X25519PublicKey.from_public_bytes(prekey["public"][1184:])
        X25519PrivateKey.generate().exchange(other)  # refuses points of small order
    except ValueError:
        raise Refused("a prekey that is no key") from None


def word_numbers(one: bytes, other: bytes) -> list[int]:
    """Which eight words of the BIP-39 list two people see, counted from 0."""
    argon = Argon2id(salt=digest(label("words"))[:16], length=11, iterations=3, lanes=1, memory_cost=256 * 1024)
    bits = int.from_bytes(argon.derive(label("words") + min(one, other) + max(one, other)), "big")
    return [bits >> shift & 2047 for shift in range(77, -1, -11)]


# --- §8 envelopes ---


def open_envelope(data: bytes, device: bytes, prekeys: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The letter or receipt in an envelope for the device with that id; `prekeys` are pairs of public and secret."""
    check_prelude(data, b"P2PE")
    refuse_unless(6 + 1120 + 4096 + 16 <= len(data) <= 96 * 1024, "an envelope's size")
    for public, secret in prekeys:
        info = label("hpke/envelope") + data[4:6] + digest(public) + device
        try:
            plain = hpke_open(public, secret, info, data[6:])
        except Refused:
            continue
        length = int.from_bytes(plain[:4], "big")
        packed, padding = plain[4 : 4 + length], plain[4 + length :]
        expected = max(4096, padme(4 + length))
        refuse_unless(len(plain) == expected and not any(padding), "an envelope's padding")
        content: dict[str, Any] = unpack(packed, shapes.sealed_content)
        return content
    raise Refused("an envelope for somebody else")


def padme(length: int) -> int:
    """`length`, rounded up to tell little."""
    exponent = length.bit_length() - 1
    step = 1 << exponent - exponent.bit_length()
    return -(-length // step) * step


def hpke_open(public: bytes, secret: bytes, info: bytes, sealed: bytes) -> bytes:
    """RFC 9180 base mode, single shot, with an empty AAD."""
    psk_id_hash = _labeled_extract(b"", b"psk_id_hash", b"")
    context = b"\x00" + psk_id_hash + _labeled_extract(b"", b"info_hash", info)
    root = _labeled_extract(_x_wing(public, secret, sealed[:1120]), b"secret", b"")
    key, nonce = _labeled_expand(root, b"key", context, 32), _labeled_expand(root, b"base_nonce", context, 12)
    return aead_open(key, nonce, b"", sealed[1120:])


def _x_wing(public: bytes, secret: bytes, encapsulated: bytes) -> bytes:
    """The shared secret of X-Wing (draft-connolly-cfrg-xwing-kem, section 5.3), which HPKE uses as it is."""
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(secret[:64])
    x25519 = X25519PrivateKey.from_private_bytes(secret[64:])
    try:
        other = X25519PublicKey.from_public_bytes(encapsulated[1088:])
        secrets = ml_kem.decapsulate(encapsulated[:1088]) + x25519.exchange(other)
    except ValueError:
        raise Refused("an encapsulated key") from None
    return hashlib.sha3_256(secrets + encapsulated[1088:] + public[1184:] + X_WING_LABEL).digest()


def _labeled_extract(salt: bytes, name: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + SUITE_ID + name + key, "sha256")


def _labeled_expand(secret: bytes, name: bytes, info: bytes, length: int) -> bytes:
    return hkdf_expand(secret, length.to_bytes(2, "big") + b"HPKE-v1" + SUITE_ID + name + info, length)


# --- §8 letters and receipts ---


def check_letter(letter: Mapping[str, Any], sender: bytes) -> bytes:
    """The hash of a letter that the device with key `sender` signed: what the next one names."""
    refuse_unless(letter["number"] == 1 or any(letter["previous"]), "a letter's place in its feed")
    refuse_unless(letter["sender"] == device_id(sender), "a letter of another device")
    signed = letter["sender"] + letter["recipient"] + letter["epoch"] + u64(letter["number"]) + letter["previous"]
    signed += lp(letter["body"])
    check_signature(sender, "sig/letter", signed, letter["signature"])
    if letter["prekey"]:
        check_prekey(sender, letter["prekey"])
    return digest(label("letter/hash"), signed)


def letter_body(letter: Mapping[str, Any]) -> dict[str, Any]:
    """What a letter says."""
    body: dict[str, Any] = unpack(letter["body"], shapes.body)
    return body


def read_receipt(file: bytes, sender: bytes) -> dict[str, Any]:
    """What a receipt file says that the device with key `sender` signed."""
    check_prelude(file, b"P2PR")
    return check_receipt(unpack(file[6:], shapes.RECEIPT), sender)


def check_receipt(receipt: Mapping[str, Any], sender: bytes) -> dict[str, Any]:
    """What a receipt says that the device with key `sender` signed."""
    refuse_unless(len(receipt["body"]) <= 65536, "a receipt's size")
    check_signature(sender, "sig/receipt", receipt["body"], receipt["signature"])
    body: dict[str, Any] = unpack(receipt["body"], shapes.RECEIPT_BODY)
    refuse_unless(body["sender"] == device_id(sender), "a receipt of another device")
    if body["prekey"]:
        check_prekey(sender, body["prekey"])
    return body


# --- §10 the log ---


def log_hash(previous: bytes, number: int, time: int, kind: str, detail: str) -> bytes:
    """The hash of entry `number`."""
    fields = u64(number) + u64(time) + lp(kind.encode()) + lp(detail.encode())
    return digest(label("audit/link"), previous, fields)


def check_log(rows: Sequence[Mapping[str, Any]], device: bytes) -> None:
    """Whether the log's entries follow one another, and the device signed the last."""
    previous = bytes(32)
    for place, row in enumerate(sorted(rows, key=lambda row: row["number"]), 1):
        expected = log_hash(previous, row["number"], row["time"], row["kind"], row["detail"])
        refuse_unless(row["number"] == place and row["hash"] == expected, "an entry of the log")
        if row["signature"] is not None:
            check_signature(device, "sig/audit", row["hash"], row["signature"])
        previous = row["hash"]
    refuse_unless(rows and max(rows, key=lambda row: row["number"])["signature"], "a log whose end is not signed")
