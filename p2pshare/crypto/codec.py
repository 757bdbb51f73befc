"""Chunk codecs: how a chunk's plaintext is made smaller before it is sealed, and restored byte for byte.

Rule 1: a compressed payload says its content size before anything is allocated, and that size must be the plain length.
Rule 2: one zstd frame, no dictionary, no window above a chunk, nothing after it. (zstandard's `max_output_size` alone
does not stop a bomb: it is ignored as soon as the frame names a content size.)
Rule 3: zstandard's objects belong to one thread each.
"""

import threading
from enum import IntEnum
from typing import Final

import zstandard

from p2pshare.errors import ShareCorrupt
from p2pshare.model.limits import CHUNK_PAD, CHUNK_SIZE

Buffer = bytes | bytearray | memoryview

_LEVEL: Final = 1  # on real CT, level 3 costs twice the time for 2 % of the size
_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878 §3.1.1; skippable frames have another


class Codec(IntEnum):
    """The first byte of a stored chunk, authenticated with it."""

    RAW = 0
    ZSTD = 1
    PLANES = 2  # for 16-bit pixels: all low bytes, then all high bytes, then zstd


class _Tools(threading.local):
    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(
            level=_LEVEL, write_content_size=True, write_checksum=False, write_dict_id=False
        )
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=CHUNK_SIZE)
        self.planes = bytearray(CHUNK_SIZE)  # fresh memory for every chunk would cost more than the work on it


_TOOLS: Final = _Tools()


def preload() -> None:
    """Load what the codecs need and start-up does without: worth a thread while something else is waited for."""
    import numpy  # noqa: F401, ICN001


def compress(plain: Buffer, codec: Codec) -> tuple[Codec, Buffer]:
    """The payload for `plain`, and the codec it is in: RAW, with `plain` itself, when compressing gains nothing.

    PLANES of an odd number of bytes becomes ZSTD.
    """
    if codec is Codec.RAW or not len(plain):
        return Codec.RAW, plain
    if codec is Codec.PLANES and len(plain) % 2:
        codec = Codec.ZSTD
    payload = _TOOLS.compressor.compress(_split_planes(plain) if codec is Codec.PLANES else plain)
    if padded_length(len(payload)) >= padded_length(len(plain)):
        return Codec.RAW, plain
    return codec, payload


def decompress(payload: Buffer, codec: Codec, plain_length: int) -> bytes:
    """The `plain_length` bytes that `payload` stands for. Raises `ShareCorrupt` when it stands for anything else."""
    if codec is Codec.RAW:
        if len(payload) != plain_length:
            raise ShareCorrupt("a raw chunk has another length than its object needs")
        return bytes(payload)
    if codec is Codec.PLANES and plain_length % 2:
        raise ShareCorrupt("byte planes of an odd number of bytes")
    _check_frame(payload, plain_length)
    try:
        plain = _TOOLS.decompressor.decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError:
        raise ShareCorrupt("a chunk's compressed data is broken") from None
    if len(plain) != plain_length:
        raise ShareCorrupt("a chunk unpacks to another length than it claims")
    return _join_planes(plain) if codec is Codec.PLANES else plain


def padded_length(length: int) -> int:
    """The length of a payload of `length` bytes with its mark and padding, a multiple of 512."""
    return (length // CHUNK_PAD + 1) * CHUNK_PAD


def _check_frame(payload: Buffer, plain_length: int) -> None:
    if bytes(payload[:4]) != _FRAME_MAGIC:
        raise ShareCorrupt("a chunk's compressed data is not a zstd frame")
    try:
        frame = zstandard.get_frame_parameters(payload)
    except zstandard.ZstdError:
        raise ShareCorrupt("a chunk's compressed data has a broken header") from None
    # An empty chunk is always raw: zstandard reads nothing behind a frame header that says zero.
    if frame.content_size != plain_length or not plain_length:
        raise ShareCorrupt("a chunk's compressed data claims another size than its object has")
    if frame.dict_id or frame.window_size > CHUNK_SIZE:
        raise ShareCorrupt("a chunk's compressed data asks for a dictionary or too large a window")


def _split_planes(plain: Buffer) -> memoryview:
    import numpy as np  # here, not above: loading it costs more than commands without pixels take

    words = np.frombuffer(plain, "<u2")
    planes = memoryview(_TOOLS.planes)[: 2 * len(words)]
    low, high = np.frombuffer(planes, "u1").reshape(2, -1)
    np.copyto(low, words, casting="unsafe")  # keeps the low byte; five times as fast as a transpose
    np.right_shift(words, 8, out=high, casting="unsafe")
    return planes


def _join_planes(planes: bytes) -> bytes:
    import numpy as np  # see _split_planes

    low, high = np.frombuffer(planes, "u1").reshape(2, -1)
    words = np.frombuffer(memoryview(_TOOLS.planes)[: len(planes)], "<u2")
    np.left_shift(high, 8, out=words, dtype="<u2", casting="unsafe")
    np.bitwise_or(words, low, out=words)
    return words.tobytes()
