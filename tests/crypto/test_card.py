"""A card is taken only whole, signed by its person, with every device certified; whatever else is in it is bounded."""

import pytest
from msgspec.structs import replace

from p2pshare.crypto.card import is_address, read_card, write_card
from p2pshare.crypto.keys import SigningKey, certify, new_prekey
from p2pshare.crypto.labels import u32
from p2pshare.errors import Forged, Malformed, RemoteError, TooLarge, Unsupported, UsageError
from p2pshare.model.card import Card
from p2pshare.model.limits import CARD_ADDRESSES_MAX, CARD_DEVICES_MAX, NAME_MAX
from p2pshare.model.packed import encode
from tests.crypto.samples import ANN, ANNS_NODE, BOB, BOBS_NODE, NOW, card, refuses_every_flip


def signed(value: Card) -> bytes:
    """A card file as a careless or hostile writer makes it: signed, but not checked."""
    packed = encode(value)
    return b"P2PC\x01\x01" + u32(len(packed)) + packed + ANN.sign("sig/card", packed)


def test_a_card_comes_back() -> None:
    value = card()
    assert write_card(ANN, value) == signed(value)
    assert read_card(signed(value)) == value


def test_every_flipped_byte_of_a_card_is_refused() -> None:
    refuses_every_flip(write_card(ANN, card()), read_card, Malformed, Forged, Unsupported)


def test_every_cut_of_a_card_is_refused() -> None:
    data = write_card(ANN, card())
    for length in range(0, len(data), 7):
        with pytest.raises(Malformed):
            read_card(data[:length])


def test_a_card_of_full_size_is_taken() -> None:
    devices = []
    for number in range(CARD_DEVICES_MAX):
        node = SigningKey.generate()
        entry = card().devices[0]
        devices.append(
            replace(
                entry,
                device=node.public,
                certificate=certify(ANN, node, NOW),
                prekey=new_prekey(node, number, NOW)[0],
                addresses=tuple(f"{'h' * 63}.example:{port}" for port in range(1, CARD_ADDRESSES_MAX + 1)),
            )
        )
    full = replace(card(), name="é" * NAME_MAX, devices=tuple(devices), mailbox="relay.example/box")
    assert read_card(write_card(ANN, full)) == full


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"name": "n" * (NAME_MAX + 1)}, TooLarge),
        ({"name": ""}, Malformed),
        ({"name": " \t"}, Malformed),
        ({"devices": ()}, Malformed),
        ({"devices": card().devices * 2}, Malformed),
        ({"devices": card().devices * (CARD_DEVICES_MAX + 1)}, TooLarge),
        ({"number": -1}, Malformed),
        ({"created": -1}, Malformed),
        ({"person": ANN.public[:31]}, Malformed),
        ({"person": BOB.public}, Forged),
    ],
)
def test_a_signed_card_over_the_limits_is_refused(changed: dict[str, object], error: type[RemoteError]) -> None:
    with pytest.raises(error):
        read_card(signed(replace(card(), **changed)))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"device": BOBS_NODE.public}, Forged),
        ({"device": b""}, Malformed),
        ({"certified": NOW + 1}, Forged),
        ({"certified": -1}, Malformed),
        ({"certificate": certify(BOB, ANNS_NODE, NOW)}, Forged),
        ({"certificate": b""}, Forged),
        ({"prekey": new_prekey(BOBS_NODE, 1, NOW)[0]}, Forged),
        ({"knock": b"k" * 31}, Malformed),
        ({"addresses": ("a:1",) * (CARD_ADDRESSES_MAX + 1)}, TooLarge),
        ({"addresses": ("a:1", "not an address")}, Malformed),
    ],
)
def test_a_signed_card_with_a_wrong_device_is_refused(changed: dict[str, object], error: type[RemoteError]) -> None:
    entry = replace(card().devices[0], **changed)
    with pytest.raises(error):
        read_card(signed(replace(card(), devices=(entry,))))


def test_what_is_too_large_is_not_looked_at() -> None:
    with pytest.raises(TooLarge):
        read_card(bytes(64 * 1024 + 1))


def test_a_card_that_readers_would_refuse_is_not_written() -> None:
    for value in (replace(card(), name="n" * 201), replace(card(), name="\udc80"), replace(card(), person=BOB.public)):
        with pytest.raises(UsageError):
            write_card(ANN, value)


@pytest.mark.parametrize(
    "address",
    ["host:1", "a.b-c.example:65535", "host_1.example.:80", "192.0.2.7:7444", "[::1]:7444", "[2001:db8::7]:1"],
)
def test_an_address_is_taken(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        *("", ":", "host", "host:", ":80", "host:0", "host:080", "host:65536", "host:+80", "host:8 0", "host:80 "),
        *("a b:80", "a/b:80", "a@b:80", "-a:80", "a-:80", "a..b:80", "h\n:80", "h:80\n", "h:\uff18\uff10", "\u00e9:80"),
        *("1.2.3:80", "1.2.3.256:80", "1:80", "[::1:80", "::1:80", "[::1%eth0]:80", "[]:80", "[1.2.3.4]:80"),
        *(
            "a" * 64 + ":80",
            "a." * 127 + "a:80",
            "http://a:80",
            "../../a:80",
            "\x1b[2J:80",
            "a\x00:80",
            "1.2.3.\u0664:80",
        ),
    ],
)
def test_what_is_no_address_is_not_taken(address: str) -> None:
    assert not is_address(address)
