"""Sealing and opening whole objects: the step between plaintext and stored chunks, run in threads.

Rule 1: plaintext is held for one chunk at a time (one small object at most), never written anywhere.
Rule 2: every function here is plain and blocking; the callers choose the thread.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectKey, ObjectOpener, ObjectSealer, SealedChunk, object_id
from p2pshare.errors import DamagedPack, ShareCorrupt
from p2pshare.model.dicom import DicomRecord
from p2pshare.model.limits import CHUNK_SIZE
from p2pshare.model.objects import ObjectShape, chunk_count, chunk_plain_length
from p2pshare.store.packs import PackStore
from p2pshare.store.scans import ChunkPlace


@dataclass(frozen=True, slots=True)
class SealedObject:
    """A whole object, sealed: small enough to hold in memory."""

    key: ObjectKey = field(repr=False)
    shape: ObjectShape
    sha256: bytes
    chunks: tuple[SealedChunk, ...]


def codec_for(record: DicomRecord | None) -> Codec:
    """The codec to try: byte planes for uncompressed 16-bit pixels, nothing for compressed ones, else zstd."""
    if record is None:
        return Codec.ZSTD
    if record.encapsulated or record.transfer_syntax == "1.2.840.10008.1.2.1.99":  # deflated (PS3.5 §A.5)
        return Codec.RAW
    return Codec.PLANES if record.bits_allocated == 16 else Codec.ZSTD


def seal_object(data: bytes | memoryview, codec: Codec) -> SealedObject:
    """Seal `data` under a fresh key."""
    sealer = ObjectSealer()
    count = chunk_count(len(data))
    view = memoryview(data)
    chunks = tuple(
        sealer.seal(n, n == count - 1, view[n * CHUNK_SIZE : (n + 1) * CHUNK_SIZE], codec) for n in range(count)
    )
    return SealedObject(
        key=sealer.key,
        shape=shape_of(sealer.commitment, len(data), chunks),
        sha256=hashlib.sha256(data).digest(),
        chunks=chunks,
    )


def shape_of(commitment: bytes, size: int, chunks: Sequence[SealedChunk]) -> ObjectShape:
    """The shape of an object whose chunks are sealed."""
    digests = b"".join(c.digest for c in chunks)
    return ObjectShape(
        object_id=object_id(commitment, size, digests),
        commitment=commitment,
        size=size,
        lengths=tuple(len(c.data) for c in chunks),
        digests=digests,
    )


def open_object(
    packs: PackStore, key: bytes, commitment: bytes, size: int, sha256: bytes | None, places: Sequence[ChunkPlace]
) -> Iterator[bytes]:
    """Yield the plaintext of a stored object, chunk by chunk; the last comes only after the whole was verified.

    Raises:
        DamagedPack: a chunk is missing, changed, does not open, or the whole is not what was stored.
    """
    count = chunk_count(size)
    if [p.number for p in places] != list(range(count)):
        raise DamagedPack("a part of an object is missing")
    try:
        opener = ObjectOpener(ObjectKey(key), commitment)
    except ShareCorrupt:
        raise DamagedPack("the key of an object is not its own") from None
    whole = hashlib.sha256()
    for place in places:
        stored = packs.read(place.pack_id, place.offset, place.length)
        last = place.number == count - 1
        try:
            plain = opener.open(place.number, last, chunk_plain_length(size, place.number), stored)
        except ShareCorrupt:
            raise DamagedPack(f"pack {place.pack_id.hex()}: a chunk does not open") from None
        whole.update(plain)
        if last and sha256 is not None and whole.digest() != sha256:
            raise DamagedPack("an object is not the one that was stored")
        yield plain


def read_object(
    packs: PackStore, key: bytes, commitment: bytes, size: int, sha256: bytes | None, places: Sequence[ChunkPlace]
) -> bytes:
    """The plaintext of a small stored object, verified."""
    return b"".join(open_object(packs, key, commitment, size, sha256, places))
