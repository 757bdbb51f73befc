"""Chunks, and the objects that they make up: docs/format.md §2, §3 and §9."""

from collections.abc import Mapping
from typing import Any

import zstandard

from tests.independent import shapes
from tests.independent.basics import aead_open, digest, kdf, label, u32, u64
from tests.independent.msgpack import Refused, refuse_unless, unpack

MIB = 1 << 20


def check_commitment(key: bytes, commitment: bytes) -> None:
    """Whether an object with that commitment is under that key."""
    refuse_unless(kdf(key, "object/commit") == commitment, "another key than the object's")


def chunk_count(size: int) -> int:
    return max(1, -(-size // MIB))


def open_chunk(key: bytes, number: int, last: bool, plain_length: int, stored: bytes) -> bytes:
    """The plaintext of one stored chunk."""
    refuse_unless(1 + 16 + 512 <= len(stored) <= 1_049_105, "a chunk of an impossible length")
    nonce = number.to_bytes(11, "big") + bytes([last])
    padded = aead_open(kdf(key, "object/chunk"), nonce, stored[:1] + u32(plain_length), stored[1:])
    payload = padded.rstrip(b"\0")
    refuse_unless(payload.endswith(b"\x80") and len(padded) % 512 == 0, "a chunk's padding")
    payload = payload[:-1]
    refuse_unless(len(padded) - len(payload) <= 512, "a chunk with more padding than it needs")
    plain = _decompressed(stored[0], payload, plain_length)
    refuse_unless(len(plain) == plain_length, "a chunk of another length")
    return plain


def _decompressed(codec: int, payload: bytes, plain_length: int) -> bytes:
    if codec == 0:
        return payload
    refuse_unless(codec in (1, 2) and plain_length, "a codec")
    plain = _unzstd(payload, plain_length)
    if codec == 1:
        return plain
    refuse_unless(plain_length % 2 == 0, "byte planes of an odd length")
    woven = bytearray(plain_length)
    woven[0::2], woven[1::2] = plain[: plain_length // 2], plain[plain_length // 2 :]
    return bytes(woven)


def _unzstd(frame: bytes, size: int) -> bytes:
    try:
        said = zstandard.get_frame_parameters(frame)
        refuse_unless(
            said.content_size == size and said.window_size <= MIB and not said.dict_id, "a zstd frame's header"
        )
        decoder = zstandard.ZstdDecompressor().decompressobj()
        plain = decoder.decompress(frame)
    except zstandard.ZstdError:
        raise Refused("a zstd frame") from None
    refuse_unless(decoder.eof and not decoder.unused_data, "something after a zstd frame, or too little of it")
    return plain


def check_shape(shape: Mapping[str, Any]) -> None:
    """Whether an object's id is the hash of the rest (§3)."""
    lengths, digests = shape["lengths"], shape["digests"]
    count = chunk_count(shape["size"])
    refuse_unless(len(lengths) == count and len(digests) == 32 * count, "an object of another number of chunks")
    refuse_unless(all(529 <= n <= 1_049_105 and (n - 17) % 512 == 0 for n in lengths), "a stored length")
    fields = shape["commitment"] + u64(shape["size"]) + u32(count) + digests
    refuse_unless(shape["object_id"] == digest(label("object/id"), fields), "an object id")


# --- §9 layouts and keyrings ---


def read_layout(packed: bytes) -> dict[str, Any]:
    """A layout, with the id of every object in it checked."""
    layout: dict[str, Any] = unpack(packed, shapes.LAYOUT)
    for group in layout["added"]:
        for shape in group:
            check_shape(shape)
    return layout


def read_keyring(packed: bytes) -> dict[str, Any]:
    """A keyring."""
    keyring: dict[str, Any] = unpack(packed, shapes.KEYRING)
    return keyring
