"""Vectors of who is who: signatures, prekeys, cards, safety words."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec.structs import replace
from writing import Segment, Value, Vector, cut, flipped, seeded

from p2pshare.crypto.card import write_card
from p2pshare.crypto.keys import SigningKey, certify, device_id, person_id
from p2pshare.crypto.labels import u32, u64
from p2pshare.crypto.words import safety_words
from p2pshare.model.card import Card, DeviceEntry, Prekey
from p2pshare.model.packed import encode

GROUP_ORDER = (1 << 252) + 27742317777372353535851937790883648493  # RFC 8032 §5.1

ANN, ANNS_NODE = SigningKey(seeded("ann", 32)), SigningKey(seeded("ann's node", 32))
BOB, BOBS_NODE = SigningKey(seeded("bob", 32)), SigningKey(seeded("bob's node", 32))


def prekey_pair(name: str, device: SigningKey, number: int) -> tuple[Prekey, bytes]:
    """A prekey and its secret, the same every time."""
    secret = seeded(f"prekey {name}", 96)
    ml_kem = MLKEM768PrivateKey.from_seed_bytes(secret[:64]).public_key().public_bytes_raw()
    public = ml_kem + X25519PrivateKey.from_private_bytes(secret[64:]).public_key().public_bytes_raw()
    return signed_prekey(device, number, public), secret


def signed_prekey(device: SigningKey, number: int, public: bytes) -> Prekey:
    """`public` under the signature of `device`, whatever it is."""
    created = 1_700_000_000
    signature = device.sign("sig/prekey", device.public + u64(number) + u64(created) + public)
    return Prekey(number=number, created=created, public=public, signature=signature)


def with_s_raised(signature: bytes) -> bytes:
    """A signature that is right but for its encoding: S is larger by the order of the group (RFC 8032 §5.1.7)."""
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return signature[:32] + s.to_bytes(32, "little")


def vectors() -> Iterator[Vector]:
    """All of them."""
    yield from _signatures()
    yield from _prekeys()
    yield from _cards()
    yield from _words()


def _signatures() -> Iterator[Vector]:
    fields = b"fields"
    good = ANN.sign("sig/audit", fields)

    def signature(name: str, expect: str, what: str, value: bytes, public: bytes = ANN.public) -> Vector:
        given: dict[str, Value] = {"public": public, "name": "sig/audit", "fields": fields}
        given["signature"] = cut(value, (32, "R"), (-1, "S"))
        return Vector(f"signature-{name}", "signature", "signature", expect, what, given)

    yield signature("good", "ok", "Over the label and the fields.", good)
    yield signature("s-not-canonical", "forged", "S is larger by the order of the group.", with_s_raised(good))
    yield signature("bit-flipped", "forged", "A bit of R.", flipped(good, 0))
    yield signature("short", "forged", "63 bytes.", good[:63])
    yield signature("label-other", "forged", "Over another label.", ANN.sign("sig/letter", fields))
    yield signature("by-another", "forged", "By another key.", BOB.sign("sig/audit", fields))
    neutral = b"\x01" + bytes(31)
    what = "The key is the neutral point: R = 1, S = 0 fits every message where small order is allowed."
    yield signature("key-of-small-order", "forged", what, neutral + bytes(32), neutral)


def _prekeys() -> Iterator[Vector]:
    good, _ = prekey_pair("ann", ANNS_NODE, 7)

    def prekey(name: str, expect: str, what: str, value: Prekey) -> Vector:
        given: dict[str, Value] = {"device": ANNS_NODE.public, "number": value.number, "created": value.created}
        given["public"] = cut(value.public, (1184, "ML-KEM-768"), (-1, "X25519"))
        given["signature"] = value.signature
        return Vector(f"prekey-{name}", "prekey", "prekey", expect, what, given)

    yield prekey("good", "ok", "Prekey 7 of a device.", good)
    yield prekey("number-raised", "forged", "Its number was raised.", replace(good, number=8))
    yield prekey("created-changed", "forged", "Its time was changed.", replace(good, created=good.created + 1))
    yield prekey("public-changed", "forged", "A bit of its X25519 key.", replace(good, public=flipped(good.public, -1)))
    by_other = replace(good, signature=signed_prekey(BOBS_NODE, 7, good.public).signature)
    yield prekey("by-another-device", "forged", "Another device signed it.", by_other)
    short = signed_prekey(ANNS_NODE, 7, good.public[:-1])
    yield prekey("short", "malformed", "It is a byte short, under a good signature.", short)
    overflow = signed_prekey(ANNS_NODE, 7, b"\xff\xff\xff" + good.public[3:])
    what = "A coefficient of the ML-KEM key is above the modulus (FIPS 203 §7.2), under a good signature."
    yield prekey("ml-kem-modulus", "malformed", what, overflow)
    zero = signed_prekey(ANNS_NODE, 7, good.public[:1184] + bytes(32))
    what = "The X25519 key is zero: every secret made with it is zero (RFC 7748 §6.1). Under a good signature."
    yield prekey("x25519-zero", "malformed", what, zero)
    negative = replace(good, number=-1)
    yield prekey("number-negative", "malformed", "Its number is -1.", negative)
    yield prekey(
        "s-not-canonical",
        "forged",
        "Its signature has S too large.",
        replace(good, signature=with_s_raised(good.signature)),
    )


def _cards() -> Iterator[Vector]:
    entry = DeviceEntry(
        device=ANNS_NODE.public,
        certified=1_700_000_000,
        certificate=certify(ANN, ANNS_NODE, 1_700_000_000),
        prekey=prekey_pair("ann", ANNS_NODE, 7)[0],
        knock=seeded("ann's knock key", 32),
        addresses=("scans.example:7444", "192.0.2.7:7444", "[2001:db8::7]:7444"),
    )
    good = Card(name="Ann Example", person=ANN.public, number=3, created=1_700_000_001, devices=(entry,), mailbox=None)

    def signed(packed: bytes, by: SigningKey = ANN) -> bytes:
        return b"P2PC\x01\x01" + u32(len(packed)) + packed + by.sign("sig/card", packed)

    def card(name: str, expect: str, what: str, data: bytes, layer: str = "card") -> Vector:
        notes = ((4, "magic"), (1, "version"), (1, "suite"), (4, "length"), (max(0, len(data) - 74), "Card"))
        ids: dict[str, Value] = {"person_id": person_id(ANN.public), "device_id": device_id(ANNS_NODE.public)}
        result = ids if expect == "ok" else {}
        return Vector(
            f"card-{name}", "card", layer, expect, what, {"file": cut(data, *notes, (-1, "signature"))}, result
        )

    def changed(name: str, expect: str, what: str, /, **fields: object) -> Vector:
        return card(name, expect, what, signed(encode(replace(good, **fields))))

    def device(name: str, expect: str, what: str, /, **fields: object) -> Vector:
        return changed(name, expect, what, devices=(replace(entry, **fields),))

    data, packed, bad = write_card(ANN, good), encode(good), "malformed"
    yield card("good", "ok", "One device, three addresses.", data)
    yield card("name-changed", "forged", "Another name under the old signature.", data.replace(b"Ann Ex", b"Eve Ex"))
    yield card("signed-by-another", "forged", "Somebody else signed it.", signed(packed, BOB))
    raised = data[:-64] + with_s_raised(data[-64:])
    yield card("s-not-canonical", "forged", "Its signature has S too large.", raised)
    yield card("version-raised", "unsupported", "Version 2.", data[:4] + b"\x02" + data[5:])
    yield card("suite-changed", "unsupported", "Suite 255.", data[:5] + b"\xff" + data[6:])
    yield card("magic-changed", bad, "Its magic is P2PE.", b"P2PE" + data[4:])
    yield card("trailing-byte", bad, "One byte after it.", data + b"\x00")
    yield card("cut", bad, "Its last byte is missing.", data[:-1])
    large: list[Segment] = [(data, "a card file"), (b"\x00", "more than 64 KiB", 65_536)]
    yield Vector("card-too-large", "card", "card", "too-large", "It is larger than 64 KiB.", {"file": large})
    yield card("value-trailing", bad, "A second value after the Card, signed.", signed(packed + b"\xc0"))
    unknown = signed(b"\x87" + packed[1:] + b"\xa4more\xc0")
    yield card("unknown-field", bad, "A seventh field, signed.", unknown)
    foreign = certify(BOB, ANNS_NODE, 1_700_000_000)
    yield device("certificate-by-another", "forged", "Another person certified the device.", certificate=foreign)
    halves = certify(ANN, ANNS_NODE, 1_700_000_000)[:64] + certify(ANN, BOBS_NODE, 1_700_000_000)[64:]
    yield device("owner-signed-by-another", "forged", "Another device agreed to be the person's.", certificate=halves)
    alone = certify(ANN, ANNS_NODE, 1_700_000_000)[:64]
    yield device("owner-unsigned", "forged", "The device did not say that it is the person's.", certificate=alone)
    yield changed("number-beyond-63-bits", bad, "A number of 2^63.", number=2**63)
    yield device("certified-changed", "forged", "Another time of certification.", certified=1_700_000_001)
    other, _ = prekey_pair("bob", BOBS_NODE, 7)
    yield device("prekey-of-another", "forged", "The prekey of another device.", prekey=other)
    yield device("knock-short", bad, "A knock key of 31 bytes.", knock=bytes(31))
    yield device("device-key-short", bad, "A device key of 31 bytes.", device=ANNS_NODE.public[:31])
    many = tuple(f"192.0.2.{i}:7444" for i in range(9))
    yield device("9-addresses", "too-large", "More than 8 addresses.", addresses=many)
    for name, address in (
        ("no-port", "scans.example"),
        ("port-0", "scans.example:0"),
        ("port-65536", "scans.example:65536"),
        ("port-sign", "scans.example:+7444"),
        ("url", "https://scans.example:7444"),
        ("path", "../../etc/passwd:7444"),
        ("space", "scans example:7444"),
        ("ipv4-999", "999.0.2.7:7444"),
        ("ipv6-bare", "2001:db8::7:7444x"),
        ("ipv6-scope", "[fe80::1%eth0]:7444"),
        ("escape", "\x1b[2Jscans.example:7444"),
    ):
        yield device(f"address-{name}", bad, "An address that is not HOST:PORT.", addresses=(address,))
    yield changed("no-devices", bad, "No device.", devices=())
    yield changed("device-twice", bad, "The same device twice.", devices=(entry, entry))
    yield changed("9-devices", "too-large", "More than 8 devices.", devices=(entry,) * 9)
    yield changed("name-long", "too-large", "A name of 201 characters.", name="n" * 201)
    yield changed("name-blank", bad, "A name of spaces.", name="   ")
    yield changed("number-negative", bad, "Its number is -1.", number=-1)
    yield changed("person-key-short", bad, "A person key of 31 bytes.", person=ANN.public[:31])


def _words() -> Iterator[Vector]:
    words = " ".join(safety_words(ANN.public, BOB.public))

    def shown(name: str, expect: str, what: str, typed: str, swap: bool = False) -> Vector:
        keys = (BOB.public, ANN.public) if swap else (ANN.public, BOB.public)
        given: dict[str, Value] = {"mine": keys[0], "theirs": keys[1], "typed": typed}
        return Vector(
            f"words-{name}", "words", "words", expect, what, given, {"words": words} if expect == "ok" else {}
        )

    yield shown("good", "ok", "The eight words of two people.", words)
    typed = words.upper().replace(" ", ",  ") + "!\n"
    yield shown("typed-freely", "ok", "From the other side; capitals, commas, spaces.", typed, swap=True)
    other = " ".join([*words.split()[:-1], "zoo"])
    yield shown("last-differs", "words-differ", "The last word is another.", other)
    seven = " ".join(words.split()[:-1])
    yield shown("one-missing", "words-differ", "The last word is missing.", seven)
    order = " ".join([*words.split()[1:], words.split()[0]])
    yield shown("another-order", "words-differ", "The same words in another order.", order)
    yield shown("nothing", "words-differ", "No words.", "")
