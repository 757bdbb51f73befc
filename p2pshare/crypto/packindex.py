"""Pack indexes: what a pack holds, sealed at its end, and the clear bytes around it (docs/format.md §4).

Rule 1: header and trailer are authenticated with the index; chunks are, by the digests in it.
Rule 2: an index that opens is still checked to describe exactly the bytes between header and index.
"""

from dataclasses import dataclass
from typing import Final

from p2pshare.crypto.aead import TAG_SIZE, open_once, seal_once
from p2pshare.crypto.labels import KEY_SIZE, u32, u64
from p2pshare.crypto.prelude import PRELUDE_SIZE, check_prelude, prelude
from p2pshare.crypto.stream import DIGEST_SIZE, is_stored_length
from p2pshare.errors import DamagedPack, LocalError, RemoteError
from p2pshare.model.ids import PackId, VaultId
from p2pshare.model.limits import OBJECT_MAX, PACK_INDEX_MAX, PACK_MAX
from p2pshare.model.objects import chunk_count
from p2pshare.model.pack import PackEnd, PackIndex, PackPart
from p2pshare.model.packed import decode, encode

MAGIC: Final = b"P2PK"
END_MAGIC: Final = b"KP2P"
HEADER_SIZE: Final = 44
TRAILER_SIZE: Final = 16

_VAULT_AT: Final = PRELUDE_SIZE + 2
_GENERATION_AT: Final = _VAULT_AT + 16
_PACK_AT: Final = _GENERATION_AT + 4


@dataclass(frozen=True, slots=True)
class PackHeader:
    """What a pack says of itself in clear: which key opens its index."""

    vault_id: VaultId
    generation: int
    pack_id: PackId


def pack_header(vault_id: VaultId, generation: int, pack_id: PackId) -> bytes:
    """The 44 bytes that a pack begins with."""
    return prelude(MAGIC) + bytes(2) + vault_id + u32(generation) + pack_id


def parse_header(data: bytes) -> PackHeader:
    """What the first 44 bytes of a pack say. Raises `DamagedPack`, or `Unsupported` for another version."""
    if len(data) != HEADER_SIZE:
        raise DamagedPack("a pack that ends in its header")
    check_prelude(data, MAGIC, "a pack's header", DamagedPack)
    generation = int.from_bytes(data[_GENERATION_AT:_PACK_AT], "big")
    header = PackHeader(VaultId(data[_VAULT_AT:_GENERATION_AT]), generation, PackId(data[_PACK_AT:]))
    if pack_header(header.vault_id, header.generation, header.pack_id) != data:
        raise DamagedPack("a pack's header")
    return header


def pack_trailer(offset: int, length: int) -> bytes:
    """The 16 bytes that a pack ends with: where its index begins, and how long it is."""
    return u64(offset) + u32(length) + END_MAGIC


def parse_trailer(data: bytes, file_size: int) -> tuple[int, int]:
    """Offset and length of the index in a pack of `file_size` bytes. Raises `DamagedPack` when they cannot be true."""
    if len(data) != TRAILER_SIZE or data[-len(END_MAGIC) :] != END_MAGIC:
        raise DamagedPack("a pack's trailer")
    offset, length = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:12], "big")
    if offset < HEADER_SIZE or not TAG_SIZE < length <= PACK_INDEX_MAX or file_size > PACK_MAX:
        raise DamagedPack("a pack's trailer")
    if offset + length + TRAILER_SIZE != file_size:
        raise DamagedPack("a pack of another size than it says")
    return offset, length


def index_length(index: PackIndex) -> int:
    """How long `index` will be when sealed; the trailer needs it, and is sealed with it."""
    return len(encode(index)) + TAG_SIZE


def seal_index(key: bytes, header: bytes, trailer: bytes, index: PackIndex) -> bytes:
    """The sealed index, to be written between the chunks and `trailer`. `key` is of this one pack.

    Raises `LocalError` when the trailer is for another index, or no reader would take it.
    """
    sealed = seal_once(key, header + trailer, encode(index))
    offset = int.from_bytes(trailer[:8], "big")
    try:
        parse_trailer(trailer, offset + len(sealed) + TRAILER_SIZE)
        _check_index(index, offset)
    except DamagedPack as error:
        raise LocalError(f"a wrong pack was to be written ({error.what})") from None
    return sealed


def open_index(key: bytes, header: bytes, trailer: bytes, data: bytes) -> PackIndex:
    """What `seal_index` sealed. Raises `DamagedPack` when any byte of key, header, trailer or data is another."""
    offset, _ = parse_trailer(trailer, int.from_bytes(trailer[:8], "big") + len(data) + TRAILER_SIZE)
    packed = open_once(key, header + trailer, data)
    if packed is None:
        raise DamagedPack("a pack's index does not open")
    try:
        index = decode(packed, PackIndex, limit=PACK_INDEX_MAX, what="a pack's index")
    except RemoteError as error:
        raise DamagedPack(error.what) from None
    _check_index(index, offset)
    return index


def _check_index(index: PackIndex, offset: int) -> None:
    for part in index.parts:
        if not _is_part(part) or (part.end is not None and not _is_end(part.end, part)):
            raise DamagedPack("a pack's index contradicts itself")
    if HEADER_SIZE + sum(sum(part.lengths) for part in index.parts) != offset:
        raise DamagedPack("a pack's index describes another number of bytes than the pack has")


def _is_part(part: PackPart) -> bool:
    return (
        len(part.commitment) == KEY_SIZE
        and (part.key is None or len(part.key) == KEY_SIZE)
        and part.first >= 0
        and len(part.lengths) >= 1
        and len(part.digests) == DIGEST_SIZE * len(part.lengths)
        and all(is_stored_length(length) for length in part.lengths)
    )


def _is_end(end: PackEnd, part: PackPart) -> bool:
    return (
        len(end.object_id) == DIGEST_SIZE
        and (end.sha256 is None or len(end.sha256) == DIGEST_SIZE)
        and 0 <= end.size <= OBJECT_MAX
        and part.first + len(part.lengths) == chunk_count(end.size)
    )
