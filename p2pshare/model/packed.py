"""Typed msgpack at the door: decoded once, strictly, with the limit checked before anything is allocated.

Rule 1: unknown fields, unknown tags and trailing bytes are refused.
Rule 2: signed bytes are verified and stored as received, never re-encoded.
"""

from typing import Annotated, TypeVar

import msgspec

from p2pshare.errors import Malformed, TooLarge

T = TypeVar("T")

# What an SQLite column, and our own arithmetic, can hold: beyond it a foreign number would be an error of ours.
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Packed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A structure with a documented encoding: a msgpack map whose keys are its field names."""


_ENCODER = msgspec.msgpack.Encoder()
_DECODERS: dict[object, msgspec.msgpack.Decoder[object]] = {}


def encode(value: object) -> bytes:
    """Return the msgpack encoding of a `Packed` value."""
    return _ENCODER.encode(value)


def decode(data: bytes | memoryview, kind: type[T], *, limit: int, what: str) -> T:
    """Return `data` as a `kind`.

    Raises:
        TooLarge: `data` is longer than `limit` bytes.
        Malformed: it is not exactly one well-formed `kind`; `what` names it in the sentence.
    """
    if len(data) > limit:
        raise TooLarge(what)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.msgpack.Decoder(kind)
    try:
        return decoder.decode(data)  # type: ignore[return-value]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"{what} ({type(error).__name__})") from None
