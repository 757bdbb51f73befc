"""A pack's index opens with its own header, trailer and key, and must describe the bytes that are there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pshare.crypto.aead import seal_once
from p2pshare.crypto.packindex import (
    HEADER_SIZE,
    TRAILER_SIZE,
    index_length,
    open_index,
    pack_header,
    pack_trailer,
    parse_header,
    parse_trailer,
    seal_index,
)
from p2pshare.crypto.stream import STORED_CHUNK_MIN
from p2pshare.errors import DamagedPack, LocalError, Unsupported
from p2pshare.model.ids import PackId, VaultId
from p2pshare.model.limits import CHUNK_SIZE, PACK_INDEX_MAX, PACK_MAX
from p2pshare.model.objects import ObjectKind
from p2pshare.model.pack import PackEnd, PackIndex, PackPart, PackScope
from p2pshare.model.packed import encode
from tests.crypto.samples import NOW, refuses_every_flip

KEY = b"k" * 32
HEADER = pack_header(VaultId(b"v" * 16), 1, PackId(b"p" * 16))
END = PackEnd(object_id=b"o" * 32, size=CHUNK_SIZE + 5, sha256=b"s" * 32, kind=ObjectKind.FILE, identity=None)
PART = PackPart(
    commitment=b"c" * 32, key=b"k" * 32, first=0, lengths=(STORED_CHUNK_MIN,) * 2, digests=b"d" * 64, end=END
)
INDEX = PackIndex(scope=PackScope.STUDY, owner=b"1.2.3", created=NOW, parts=(PART,))
OFFSET = HEADER_SIZE + 2 * STORED_CHUNK_MIN


def trailer_of(index: PackIndex, offset: int = OFFSET) -> bytes:
    return pack_trailer(offset, index_length(index))


def test_a_sealed_index_comes_back() -> None:
    trailer = trailer_of(INDEX)
    sealed = seal_index(KEY, HEADER, trailer, INDEX)
    assert len(sealed) == index_length(INDEX)
    assert open_index(KEY, HEADER, trailer, sealed) == INDEX


def test_an_empty_pack_and_a_part_without_end_or_key_come_back() -> None:
    empty = replace(INDEX, parts=())
    going_on = replace(INDEX, parts=(replace(PART, key=None, first=7, end=None),))
    for index, offset in ((empty, HEADER_SIZE), (going_on, OFFSET)):
        trailer = trailer_of(index, offset)
        assert open_index(KEY, HEADER, trailer, seal_index(KEY, HEADER, trailer, index)) == index


def test_every_flipped_byte_of_index_header_trailer_and_key_is_refused() -> None:
    trailer = trailer_of(INDEX)
    sealed = seal_index(KEY, HEADER, trailer, INDEX)
    refuses_every_flip(sealed, lambda changed: open_index(KEY, HEADER, trailer, changed), DamagedPack)
    refuses_every_flip(HEADER, lambda changed: open_index(KEY, changed, trailer, sealed), DamagedPack)
    refuses_every_flip(trailer, lambda changed: open_index(KEY, HEADER, changed, sealed), DamagedPack)
    refuses_every_flip(KEY, lambda changed: open_index(changed, HEADER, trailer, sealed), DamagedPack)


@given(st.binary(min_size=16, max_size=16), st.integers(0, 0xFFFFFFFF), st.binary(min_size=16, max_size=16))
def test_a_header_comes_back(vault_id: bytes, generation: int, pack_id: bytes) -> None:
    data = pack_header(VaultId(vault_id), generation, PackId(pack_id))
    assert len(data) == HEADER_SIZE
    header = parse_header(data)
    assert (header.vault_id, header.generation, header.pack_id) == (vault_id, generation, pack_id)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (HEADER[:-1], DamagedPack),
        (HEADER + b"\x00", DamagedPack),
        (b"", DamagedPack),
        (b"P2PC" + HEADER[4:], DamagedPack),
        (HEADER[:4] + b"\x02" + HEADER[5:], Unsupported),
        (HEADER[:5] + b"\x02" + HEADER[6:], Unsupported),
        (HEADER[:7] + b"\x01" + HEADER[8:], DamagedPack),
    ],
)
def test_what_is_no_header_is_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_header(data)


def test_a_trailer_comes_back() -> None:
    data = pack_trailer(1000, 200)
    assert len(data) == TRAILER_SIZE
    assert parse_trailer(data, 1000 + 200 + TRAILER_SIZE) == (1000, 200)


@pytest.mark.parametrize(
    ("data", "file_size"),
    [
        (pack_trailer(1000, 200), 1215),
        (pack_trailer(1000, 200), 1217),
        (pack_trailer(1000, 200)[:-1], 1216),
        (pack_trailer(1000, 200)[:-4] + b"KP2Q", 1216),
        (pack_trailer(43, 200), 259),
        (pack_trailer(1000, 16), 1032),
        (pack_trailer(0, PACK_INDEX_MAX), PACK_INDEX_MAX + 16),
        (pack_trailer(1000, PACK_INDEX_MAX + 1), 1000 + PACK_INDEX_MAX + 1 + 16),
        (pack_trailer(PACK_MAX, 200), PACK_MAX + 216),
        (pack_trailer((1 << 64) - 1, 200), 1216),
    ],
)
def test_a_trailer_that_cannot_be_true_is_refused(data: bytes, file_size: int) -> None:
    with pytest.raises(DamagedPack):
        parse_trailer(data, file_size)


@pytest.mark.parametrize(
    "part",
    [
        {"commitment": b"c" * 31},
        {"key": b"k" * 33},
        {"first": -1},
        {"first": 1},
        {"lengths": (STORED_CHUNK_MIN,)},
        {"lengths": (STORED_CHUNK_MIN * 2 - 1, 1)},
        {"lengths": (), "digests": b"", "end": None},
        {"digests": b"d" * 63},
        {"end": replace(END, size=5)},
        {"end": replace(END, size=-1)},
        {"end": replace(END, object_id=b"")},
        {"end": replace(END, sha256=b"s")},
    ],
)
def test_an_index_that_contradicts_itself_is_neither_written_nor_read(part: dict[str, object]) -> None:
    index = replace(INDEX, parts=(replace(PART, **part),))
    trailer = trailer_of(index)
    with pytest.raises(LocalError):
        seal_index(KEY, HEADER, trailer, index)
    with pytest.raises(DamagedPack):
        open_index(KEY, HEADER, trailer, sealed_anyway(trailer, encode(index)))


def test_an_index_for_other_bytes_than_the_pack_has_is_neither_written_nor_read() -> None:
    trailer = trailer_of(INDEX, OFFSET + 1)
    with pytest.raises(LocalError):
        seal_index(KEY, HEADER, trailer, INDEX)
    with pytest.raises(DamagedPack, match="another number of bytes"):
        open_index(KEY, HEADER, trailer, sealed_anyway(trailer, encode(INDEX)))


def test_a_trailer_for_another_index_is_not_sealed_with_it() -> None:
    with pytest.raises(LocalError):
        seal_index(KEY, HEADER, pack_trailer(OFFSET, index_length(INDEX) + 1), INDEX)


@pytest.mark.parametrize("packed", [b"", b"\xc0", encode(INDEX) + b"\x00", encode(INDEX)[:-1]])
def test_an_index_that_opens_and_is_none_is_refused(packed: bytes) -> None:
    trailer = pack_trailer(OFFSET, len(packed) + 16)
    with pytest.raises(DamagedPack):
        open_index(KEY, HEADER, trailer, sealed_anyway(trailer, packed))


def sealed_anyway(trailer: bytes, packed: bytes) -> bytes:
    return seal_once(KEY, HEADER + trailer, packed)
