"""Card files: a person's public half, signed by the person key, as it is handed from person to person.

Rule 1: the signature is verified over the bytes as received, before anything in them is believed.
Rule 2: every device of a card is certified by the same person, and its prekey signed by the device.
"""

import ipaddress
import re
from typing import Final

from p2pshare.crypto.keys import (
    KNOCK_KEY_SIZE,
    PUBLIC_SIZE,
    SIGNATURE_SIZE,
    SigningKey,
    check_certificate,
    check_prekey,
    verify,
)
from p2pshare.crypto.labels import u32
from p2pshare.crypto.prelude import PRELUDE_SIZE, check_prelude, prelude
from p2pshare.errors import Malformed, RemoteError, TooLarge, UsageError
from p2pshare.model.card import Card, DeviceEntry
from p2pshare.model.limits import CARD_ADDRESSES_MAX, CARD_DEVICES_MAX, CARD_MAX, NAME_MAX
from p2pshare.model.packed import decode, encode

MAGIC: Final = b"P2PC"

_START: Final = PRELUDE_SIZE + 4  # where the packed card begins, after its length
_HOST_MAX: Final = 253  # RFC 1035 §2.3.4, as text
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PORT_MAX: Final = 0xFFFF
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


def write_card(person: SigningKey, card: Card) -> bytes:
    """The card file of `card`, signed by its person.

    Raises `UsageError` when a reader would refuse it: too long a name, an address that is none, …
    """
    try:
        packed = encode(card)
    except UnicodeEncodeError:  # half a character, as a terminal hands over bytes that it could not read
        raise UsageError("the name on the card is not text") from None
    data = prelude(MAGIC) + u32(len(packed)) + packed + person.sign("sig/card", packed)
    try:
        read_card(data)
    except RemoteError as error:
        raise UsageError(f"this card would be refused: {error.what}") from None
    return data


def read_card(data: bytes) -> Card:
    """The card in a card file, with its signature, certificates, prekeys and addresses checked.

    Raises:
        TooLarge: it, or something in it, is over the limits of docs/format.md §7.
        Malformed: it is no card file.
        Unsupported: it is of another version.
        Forged: the person did not sign it, or somebody else certified a device or signed a prekey in it.
    """
    if len(data) > CARD_MAX:
        raise TooLarge("the card")
    check_prelude(data, MAGIC, "the card")
    packed = data[_START:-SIGNATURE_SIZE]
    if len(data) < _START + SIGNATURE_SIZE or data[PRELUDE_SIZE:_START] != u32(len(packed)):
        raise Malformed("the card has another length than it says")
    card = decode(packed, Card, limit=CARD_MAX, what="the card")
    if len(card.person) != PUBLIC_SIZE:
        raise Malformed("a public key of a wrong length")
    verify(card.person, "sig/card", packed, data[-SIGNATURE_SIZE:])
    _check_card(card)
    for entry in card.devices:
        _check_device(card.person, entry)
    return card


def is_address(address: str) -> bool:
    """Whether `address` is HOST:PORT: a name, an IPv4 address or [an IPv6 address], and a port."""
    host, _, port = address.rpartition(":")
    if len(host) > _HOST_MAX or not _PORT.fullmatch(port) or int(port) > _PORT_MAX:
        return False
    return _is_host(host)


def _is_host(host: str) -> bool:
    try:
        if host.startswith("[") and host.endswith("]"):
            return not ipaddress.IPv6Address(host[1:-1]).scope_id  # a scope means nothing on another computer
        if host.rpartition(".")[2].isdigit():  # what ends in a number is meant as an address (WHATWG URL §3.5)
            ipaddress.IPv4Address(host)
            return True
    except ValueError:
        return False
    return _NAME.fullmatch(host) is not None


def _check_card(card: Card) -> None:
    if not card.name.strip():
        raise Malformed("a card without a name")
    if len(card.name) > NAME_MAX:
        raise TooLarge("the name on the card")
    if len(card.devices) > CARD_DEVICES_MAX:
        raise TooLarge("the list of devices on the card")
    if not card.devices or len({entry.device for entry in card.devices}) != len(card.devices):
        raise Malformed("a card without a device, or with one twice")


def _check_device(person: bytes, entry: DeviceEntry) -> None:
    if len(entry.knock) != KNOCK_KEY_SIZE:
        raise Malformed("a knock key of a wrong length")
    if len(entry.addresses) > CARD_ADDRESSES_MAX:
        raise TooLarge("the list of addresses on the card")
    if not all(is_address(address) for address in entry.addresses):
        raise Malformed("an address that is not HOST:PORT")
    check_certificate(person, entry.device, entry.certified, entry.certificate)
    check_prekey(entry.device, entry.prekey)
