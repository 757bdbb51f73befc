"""Objects as sealed chunks: what lies in packs and travels, and the id that fixes every byte of it.

Rule 1: an object key is random, opens one object, and seals each chunk number once; a retry draws a new key.
Rule 2: a shared key authenticates nobody. Who wrote a chunk is told by the digests that the object id fixes.
Rule 3: nothing is allocated for a claim that was not checked against the limits.

The nonce is age's STREAM construction: the chunk's number and whether it is the last (docs/format.md §2).
"""

import hashlib
import secrets
import threading
from dataclasses import dataclass
from typing import Final, NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2pshare.crypto.aead import TAG_SIZE
from p2pshare.crypto.codec import Buffer, Codec, compress, decompress, padded_length
from p2pshare.crypto.labels import KEY_SIZE, kdf, label, same, u8, u32, u64
from p2pshare.errors import LocalError, Malformed, ShareCorrupt, TooLarge
from p2pshare.model.ids import ChunkDigest, ObjectId
from p2pshare.model.limits import CHUNK_PAD, CHUNK_SIZE, OBJECT_MAX, STORED_CHUNK_MAX
from p2pshare.model.objects import ObjectShape, chunk_count
from p2pshare.model.ports import Sealed

ObjectKey = NewType("ObjectKey", bytes)  # 32 random bytes

DIGEST_SIZE: Final = 32
STORED_CHUNK_MIN: Final = 1 + CHUNK_PAD + TAG_SIZE
_CHUNKS_MAX: Final = chunk_count(OBJECT_MAX)
_MARK: Final = 0x80  # ends the payload; zeros follow it (ISO/IEC 7816-4 padding)


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A stored chunk and its SHA-256."""

    data: Sealed
    digest: ChunkDigest


class _Scratch(threading.local):
    # Work space of each thread: fresh megabytes for every chunk would cost more in page faults than the cipher does.
    def __init__(self) -> None:
        self.padded = bytearray(CHUNK_SIZE + CHUNK_PAD)
        self.stored = bytearray(STORED_CHUNK_MAX)


_SCRATCH: Final = _Scratch()


class ObjectSealer:
    """Seals the chunks of one object, from any number of threads, under `key` or a fresh random key."""

    __slots__ = ("_cipher", "_sealed", "commitment", "key")

    def __init__(self, key: ObjectKey | None = None) -> None:
        self.key = ObjectKey(secrets.token_bytes(KEY_SIZE)) if key is None else key
        self.commitment = kdf(self.key, "object/commit")
        self._cipher = ChaCha20Poly1305(kdf(self.key, "object/chunk"))
        self._sealed: dict[int, object] = {}

    def seal(self, number: int, last: bool, plain: Buffer, codec: Codec) -> SealedChunk:
        """Chunk `number` with the plaintext `plain`, compressed by `codec` where that makes it smaller.

        Raises:
            LocalError: the number was sealed before under this key, or the chunk is too long for its place.
        """
        if len(plain) > CHUNK_SIZE or not (last or len(plain) == CHUNK_SIZE):
            raise LocalError("a chunk of a wrong length was to be sealed")
        turn = object()
        if self._sealed.setdefault(number, turn) is not turn:  # one nonce, one plaintext: the cipher breaks otherwise
            raise LocalError("a chunk was to be sealed twice")
        used, payload = compress(plain, codec)
        padded = _pad(payload)
        stored = memoryview(_SCRATCH.stored)[: 1 + len(padded) + TAG_SIZE]
        stored[0] = used
        self._cipher.encrypt_into(_nonce(number, last), padded, u8(used) + u32(len(plain)), stored[1:])
        return SealedChunk(Sealed(bytes(stored)), ChunkDigest(hashlib.sha256(stored).digest()))

    def __repr__(self) -> str:
        return f"ObjectSealer({self.commitment.hex()[:8]}…)"


class ObjectOpener:
    """Opens the chunks of one object, from any number of threads.

    Raises `ShareCorrupt` at once when `key` is not the key that `commitment` names.
    """

    __slots__ = ("_cipher", "commitment")

    def __init__(self, key: bytes, commitment: bytes) -> None:
        if len(key) != KEY_SIZE or not same(kdf(key, "object/commit"), commitment):
            raise ShareCorrupt("the key does not fit the object")
        self.commitment = commitment
        self._cipher = ChaCha20Poly1305(kdf(key, "object/chunk"))

    def open(self, number: int, last: bool, plain_length: int, stored: bytes | memoryview) -> bytes:
        """The `plain_length` bytes of chunk `number`. Raises `ShareCorrupt` when `stored` is anything else."""
        if not 0 <= plain_length <= CHUNK_SIZE or not is_stored_length(len(stored)):
            raise ShareCorrupt("a chunk of a wrong length")
        try:
            codec = Codec(stored[0])
        except ValueError:
            raise ShareCorrupt("a chunk in an unknown codec") from None
        padded = memoryview(_SCRATCH.padded)[: len(stored) - 1 - TAG_SIZE]
        aad = u8(codec) + u32(plain_length)
        try:
            self._cipher.decrypt_into(_nonce(number, last), memoryview(stored)[1:], aad, padded)
        except InvalidTag:
            raise ShareCorrupt(f"chunk {number} does not open") from None
        return decompress(padded[: _payload_length(padded)], codec, plain_length)

    def __repr__(self) -> str:
        return f"ObjectOpener({self.commitment.hex()[:8]}…)"


def object_id(commitment: bytes, size: int, digests: bytes) -> ObjectId:
    """The id of an object of `size` plaintext bytes; `digests` are those of its stored chunks, in order."""
    fields = commitment + u64(size) + u32(len(digests) // DIGEST_SIZE)
    return ObjectId(hashlib.sha256(label("object/id") + fields + digests).digest())


def is_stored_length(length: int) -> bool:
    """Whether a stored chunk can have `length` bytes."""
    return STORED_CHUNK_MIN <= length <= STORED_CHUNK_MAX and (length - STORED_CHUNK_MIN) % CHUNK_PAD == 0


def check_shape(shape: ObjectShape) -> None:
    """Check that a foreign description of an object is possible and that its id is the hash of the rest.

    Raises:
        TooLarge: the object is larger than any may be.
        Malformed: the fields contradict each other, or the object id is not theirs.
    """
    if shape.size > OBJECT_MAX or len(shape.lengths) > _CHUNKS_MAX:
        raise TooLarge("an object")
    if shape.size < 0 or len(shape.commitment) != KEY_SIZE or len(shape.object_id) != DIGEST_SIZE:
        raise Malformed("the description of an object")
    chunks = chunk_count(shape.size)
    if len(shape.lengths) != chunks or len(shape.digests) != DIGEST_SIZE * chunks:
        raise Malformed("an object whose number of chunks does not fit its size")
    if not all(is_stored_length(length) for length in set(shape.lengths)):
        raise Malformed("an object with a chunk of an impossible length")
    if not same(object_id(shape.commitment, shape.size, shape.digests), shape.object_id):
        raise Malformed("an object whose id is not the hash of its description")


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if last else b"\x00")


def _pad(payload: Buffer) -> memoryview:
    length = len(payload)
    padded = memoryview(_SCRATCH.padded)[: padded_length(length)]
    padded[:length] = payload
    padded[length] = _MARK
    padded[length + 1 :] = bytes(len(padded) - length - 1)
    return padded


def _payload_length(padded: memoryview) -> int:
    tail = bytes(padded[-CHUNK_PAD:])  # the padding never exceeds one step, so its mark is in here
    mark = tail.rstrip(b"\x00")
    if not mark or mark[-1] != _MARK:
        raise ShareCorrupt("a chunk's padding is broken")
    return len(padded) - len(tail) + len(mark) - 1
