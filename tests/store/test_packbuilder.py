"""A pack being filled."""

import hashlib
import os

import pytest

from p2pshare.model.limits import CHUNK_SIZE, PACK_CLOSES_AT, PACK_INDEX_MAX
from p2pshare.model.objects import ObjectKind
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.model.packed import encode
from p2pshare.store.packbuilder import PackBuilder

ONE, TWO, KEY = b"1" * 32, b"2" * 32, b"k" * 32


def chunk(number: int) -> bytes:
    return bytes([number]) * 529


def put(builder: PackBuilder, commitment: bytes, *numbers: int) -> None:
    for number in numbers:
        assert builder.add(commitment, KEY, number, chunk(number), hashlib.sha256(chunk(number)).digest())


def end(size: int) -> PackEnd:
    return PackEnd(object_id=b"o" * 32, size=size, sha256=None, kind=ObjectKind.DICOM, identity=None)


@pytest.fixture
def builder() -> PackBuilder:
    return PackBuilder(PackScope.ARRIVALS, b"s" * 16, 1_700_000_000)


def test_runs_of_chunks_become_parts_even_if_objects_take_turns(builder: PackBuilder) -> None:
    for number in range(3):
        put(builder, ONE, number)
        put(builder, TWO, number + 5)
    put(builder, ONE, 4)
    parts = builder.index().parts
    assert [(p.commitment, p.first, len(p.lengths)) for p in parts] == [(ONE, 0, 3), (TWO, 5, 3), (ONE, 4, 1)]
    assert [bytes(c) for c in builder.chunks()] == [chunk(n) for n in (0, 1, 2, 5, 6, 7, 4)]
    assert builder.size == 7 * 529
    assert parts[1].digests == b"".join(hashlib.sha256(chunk(n)).digest() for n in (5, 6, 7))


def test_what_it_is_for_is_in_the_index(builder: PackBuilder) -> None:
    index = builder.index()
    assert (index.scope, index.owner, index.created, index.parts) == (4, b"s" * 16, 1_700_000_000, ())


def test_a_chunk_that_comes_twice_is_kept_once(builder: PackBuilder) -> None:
    put(builder, ONE, 0, 1)
    assert not builder.add(ONE, KEY, 0, chunk(0), bytes(32))
    assert builder.holds(ONE, 0)
    assert not builder.holds(ONE, 2)
    assert not builder.holds(TWO, 0)
    assert builder.size == 2 * 529


def test_the_end_goes_to_the_part_with_the_last_chunk(builder: PackBuilder) -> None:
    put(builder, ONE, 0, 2)
    builder.end(ONE, end(3 * CHUNK_SIZE))
    assert [part.end is not None for part in builder.index().parts] == [False, True]


@pytest.mark.parametrize("size", [CHUNK_SIZE, 3 * CHUNK_SIZE, 0])
def test_an_end_without_the_last_chunk_is_a_mistake(builder: PackBuilder, size: int) -> None:
    put(builder, ONE, 0, 1)
    with pytest.raises(ValueError, match="last chunk"):
        builder.end(ONE, end(size))
    with pytest.raises(ValueError, match="last chunk"):
        builder.end(TWO, end(2 * CHUNK_SIZE))


def test_chunks_are_not_copied(builder: PackBuilder) -> None:
    data = memoryview(bytearray(1041))
    builder.add(ONE, None, 0, data, bytes(32))
    assert next(builder.chunks()) is data


def test_it_is_full_at_the_limit(builder: PackBuilder) -> None:
    put(builder, ONE, 0)
    assert not builder.full(530)
    assert builder.full(529)


def test_it_is_full_before_the_index_of_many_small_objects_grows_too_long(builder: PackBuilder) -> None:
    number = 0
    while not builder.full(PACK_CLOSES_AT):
        commitment = os.urandom(32)
        builder.add(commitment, KEY, 0, bytes(529), bytes(32))
        builder.end(commitment, end(1))
        number += 1
    assert 1000 < number < PACK_CLOSES_AT // 529
    assert PACK_INDEX_MAX // 4 < len(encode(builder.index())) <= PACK_INDEX_MAX // 2


def test_it_tells_when_a_chunk_is_not_what_its_digest_promised(builder: PackBuilder) -> None:
    one, other = os.urandom(600), os.urandom(600)
    builder.add(b"c" * 32, KEY, 0, one, hashlib.sha256(one).digest())
    builder.add(b"c" * 32, KEY, 1, other, hashlib.sha256(other).digest())
    assert builder.sound()
    builder.add(b"d" * 32, KEY, 0, other, hashlib.sha256(one).digest())
    assert not builder.sound()
