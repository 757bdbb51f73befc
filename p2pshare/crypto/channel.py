"""The handshake of the direct road, without its sockets: a knock, then three messages (docs/protocol.md §1).

Rule 1: who does not know the knock key, or is not in the list of people, learns nothing and gets no answer.
Rule 2: both sides sign what both saw (certificate, nonces, ids, offered versions), each under a label of its own role,
so a message can be neither replayed, reflected, relayed nor made to lower the version.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from p2pshare.crypto.keys import SIGNATURE_SIZE, SigningKey, device_id, verify
from p2pshare.crypto.labels import kdf, lp, mac, same
from p2pshare.errors import Forged, ProtocolViolation, StrangerRefused, Unsupported
from p2pshare.model.ids import DeviceId
from p2pshare.model.limits import HANDSHAKE_FRAME_MAX

VERSIONS: Final = (1,)

_NONCE: Final = 32
_MAC: Final = 32
_ID: Final = 32
_KNOCK_DIGITS: Final = 2 * (_NONCE + _MAC)
_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a handshake proved: which device is at the other end, and the version that both speak."""

    peer: DeviceId
    version: int


def knock(knock_key: bytes, certificate: bytes, nonce: bytes) -> str:
    """What the client asks for: 128 hexadecimal digits, the path of its request after the slash.

    `certificate` is the SHA-256 of the certificate that the server showed, `nonce` 32 fresh random bytes.
    """
    return (nonce + _client_mac(knock_key, certificate, nonce)).hex()


def check_knock(path: str, knock_keys: Sequence[bytes], certificate: bytes) -> tuple[bytes, bytes]:
    """The client's nonce, and the one of my `knock_keys` that it used.

    Raises `StrangerRefused` when `path` (with or without its slash) is anything else; say nothing to the client then.
    """
    digits = path.removeprefix("/")
    if len(digits) != _KNOCK_DIGITS or not _HEX.issuperset(digits):
        raise StrangerRefused("no knock")
    asked = bytes.fromhex(digits)
    nonce, shown = asked[:_NONCE], asked[_NONCE:]
    fitting = [key for key in knock_keys if same(_client_mac(key, certificate, nonce), shown)]
    if not fitting:
        raise StrangerRefused("a wrong knock")
    return nonce, fitting[0]


class ServerHandshake:
    """The side that was knocked on; for one connection.

    Args:
        device: this device's key.
        knock_key: the one that the client used, from `check_knock`.
        certificate: SHA-256 of the certificate that this server showed.
        client_nonce: from `check_knock`.
        lookup: gives the public key of a device that may connect, or None for an unknown or blocked one.
        versions: those that this side speaks.
        nonce: 32 random bytes; given only by tests.
    """

    __slots__ = ("_certificate", "_client_nonce", "_device", "_knock_key", "_lookup", "_nonce", "_versions")

    def __init__(
        self,
        device: SigningKey,
        knock_key: bytes,
        certificate: bytes,
        client_nonce: bytes,
        lookup: Callable[[DeviceId], bytes | None],
        *,
        versions: Iterable[int] = VERSIONS,
        nonce: bytes | None = None,
    ) -> None:
        self._device = device
        self._knock_key = knock_key
        self._certificate = certificate
        self._client_nonce = client_nonce
        self._lookup = lookup
        self._versions = bytes(versions)
        self._nonce = secrets.token_bytes(_NONCE) if nonce is None else nonce

    def greeting(self) -> bytes:
        """Message 1."""
        proof = _server_mac(self._knock_key, self._certificate, self._client_nonce, self._nonce)
        return self._nonce + proof + _offer(self._versions)

    def answer(self, message: bytes) -> tuple[bytes, Agreed]:
        """Message 3, for message 2, and who is there.

        Raises:
            ProtocolViolation: the message has not the form.
            StrangerRefused: the device is not one that may connect.
            Forged: it is not that device, or it saw something else.
            Unsupported: no version is spoken by both.
        """
        _check_length(message, _ID + 1 + SIGNATURE_SIZE)
        peer = DeviceId(message[:_ID])
        offered = _parse_offer(message[_ID:-SIGNATURE_SIZE])
        public = self._lookup(peer)
        if public is None or device_id(public) != peer:
            raise StrangerRefused("an unknown device")
        mine = device_id(self._device.public)
        nonces = self._client_nonce + self._nonce
        transcript = self._certificate + nonces + peer + mine + lp(self._versions) + lp(offered)
        verify(public, "sig/channel-client", transcript, message[-SIGNATURE_SIZE:])
        agreed = Agreed(peer, _highest_common(self._versions, offered))
        return self._device.sign("sig/channel-server", transcript), agreed


class ClientHandshake:
    """The side that knocks; for one connection.

    Args:
        device: this device's key.
        server_public: the public key of the device that should answer.
        knock_key: its knock key.
        certificate: SHA-256 of the certificate that the server showed.
        versions: those that this side speaks.
        nonce: 32 random bytes; given only by tests.
    """

    __slots__ = ("_certificate", "_device", "_knock_key", "_nonce", "_server", "_transcript", "_version", "_versions")

    def __init__(
        self,
        device: SigningKey,
        server_public: bytes,
        knock_key: bytes,
        certificate: bytes,
        *,
        versions: Iterable[int] = VERSIONS,
        nonce: bytes | None = None,
    ) -> None:
        self._device = device
        self._server = server_public
        self._knock_key = knock_key
        self._certificate = certificate
        self._versions = bytes(versions)
        self._nonce = secrets.token_bytes(_NONCE) if nonce is None else nonce
        self._transcript: bytes | None = None
        self._version = 0

    def knock(self) -> str:
        """The path to ask for, without its slash."""
        return knock(self._knock_key, self._certificate, self._nonce)

    def answer(self, message: bytes) -> bytes:
        """Message 2, for message 1.

        Raises:
            ProtocolViolation: the message has not the form.
            Forged: whoever sent it does not know the knock key, or showed another certificate.
            Unsupported: no version is spoken by both.
        """
        _check_length(message, _NONCE + _MAC + 1)
        server_nonce, shown = message[:_NONCE], message[_NONCE : _NONCE + _MAC]
        offered = _parse_offer(message[_NONCE + _MAC :])
        if not same(_server_mac(self._knock_key, self._certificate, self._nonce, server_nonce), shown):
            raise Forged("the other end does not know the knock key")
        self._version = _highest_common(offered, self._versions)
        mine, nonces = device_id(self._device.public), self._nonce + server_nonce
        ids = mine + device_id(self._server)
        self._transcript = self._certificate + nonces + ids + lp(offered) + lp(self._versions)
        return mine + _offer(self._versions) + self._device.sign("sig/channel-client", self._transcript)

    def finish(self, message: bytes) -> Agreed:
        """Take message 3: after it, the other end is proved.

        Raises:
            ProtocolViolation: message 1 did not come first.
            Forged: it is not that device, or it saw something else.
        """
        if self._transcript is None:
            raise ProtocolViolation("the handshake is out of order")
        verify(self._server, "sig/channel-server", self._transcript, message)
        return Agreed(device_id(self._server), self._version)


def _client_mac(knock_key: bytes, certificate: bytes, client_nonce: bytes) -> bytes:
    return mac(kdf(knock_key, "knock/tls"), b"client" + certificate + client_nonce)


def _server_mac(knock_key: bytes, certificate: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    return mac(kdf(knock_key, "knock/tls"), b"server" + certificate + client_nonce + server_nonce)


def _offer(versions: bytes) -> bytes:
    return bytes((len(versions),)) + versions


def _parse_offer(data: bytes) -> bytes:
    versions = data[1:]
    if len(versions) != data[0] or not versions or len(set(versions)) != len(versions):
        raise ProtocolViolation("a handshake message with a wrong list of versions")
    return versions


def _check_length(message: bytes, least: int) -> None:
    if not least <= len(message) <= HANDSHAKE_FRAME_MAX:
        raise ProtocolViolation("a handshake message of a wrong length")


def _highest_common(one: bytes, other: bytes) -> int:
    common = set(one) & set(other)
    if not common:
        raise Unsupported("the other computer's protocol")
    return max(common)
