"""A chunk opens in its own place and nowhere else, and an object's description cannot lie."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.labels import kdf
from p2pshare.crypto.stream import (
    STORED_CHUNK_MIN,
    ObjectKey,
    ObjectOpener,
    ObjectSealer,
    check_shape,
    is_stored_length,
    object_id,
)
from p2pshare.errors import LocalError, Malformed, ShareCorrupt, TooLarge
from p2pshare.model.limits import CHUNK_PAD, CHUNK_SIZE, OBJECT_MAX, STORED_CHUNK_MAX
from p2pshare.model.objects import ObjectShape, chunk_count
from tests.crypto.samples import flips

PLAIN = b"some pixels, " * 60


def opener_of(sealer: ObjectSealer) -> ObjectOpener:
    return ObjectOpener(sealer.key, sealer.commitment)


def shape_of(size: int = CHUNK_SIZE + 1) -> ObjectShape:
    chunks = chunk_count(size)
    commitment, digests = b"c" * 32, bytes(range(32)) * chunks
    return ObjectShape(
        object_id=object_id(commitment, size, digests),
        commitment=commitment,
        size=size,
        lengths=(STORED_CHUNK_MIN,) * chunks,
        digests=digests,
    )


@given(st.binary(max_size=2000), st.integers(0, 1 << 40), st.sampled_from(Codec))
def test_a_sealed_chunk_opens_in_its_place(plain: bytes, number: int, codec: Codec) -> None:
    sealer = ObjectSealer()
    chunk = sealer.seal(number, True, plain, codec)
    assert opener_of(sealer).open(number, True, len(plain), chunk.data) == plain
    assert opener_of(sealer).open(number, True, len(plain), memoryview(chunk.data)) == plain
    assert chunk.digest == hashlib.sha256(chunk.data).digest()
    assert is_stored_length(len(chunk.data))


@pytest.mark.parametrize("codec", Codec)
def test_a_whole_chunk_of_noise_is_the_longest_stored_chunk(codec: Codec) -> None:
    sealer, noise = ObjectSealer(), random.Random(3).randbytes(CHUNK_SIZE)
    chunk = sealer.seal(0, False, noise, codec)
    assert len(chunk.data) == STORED_CHUNK_MAX
    assert opener_of(sealer).open(0, False, CHUNK_SIZE, chunk.data) == noise


def test_every_flipped_byte_of_a_stored_chunk_is_refused() -> None:
    sealer = ObjectSealer()
    stored, opener = sealer.seal(0, True, PLAIN, Codec.ZSTD).data, opener_of(sealer)
    for changed in flips(stored):
        with pytest.raises(ShareCorrupt):
            opener.open(0, True, len(PLAIN), changed)


@pytest.mark.parametrize(("number", "last", "length"), [(1, True, 780), (0, False, 780), (0, True, 779), (0, True, 0)])
def test_a_chunk_does_not_open_in_another_place(number: int, last: bool, length: int) -> None:
    sealer = ObjectSealer()
    stored = sealer.seal(0, True, PLAIN, Codec.RAW).data
    assert len(PLAIN) == 780
    with pytest.raises(ShareCorrupt):
        opener_of(sealer).open(number, last, length, stored)


@pytest.mark.parametrize("length", [-1, CHUNK_SIZE + 1, 1 << 63])
def test_an_impossible_plain_length_is_refused(length: int) -> None:
    sealer = ObjectSealer()
    with pytest.raises(ShareCorrupt):
        opener_of(sealer).open(0, True, length, sealer.seal(0, True, PLAIN, Codec.RAW).data)


def test_a_chunk_of_another_object_does_not_open() -> None:
    one, other = ObjectSealer(), ObjectSealer()
    assert one.key != other.key
    with pytest.raises(ShareCorrupt):
        opener_of(other).open(0, True, len(PLAIN), one.seal(0, True, PLAIN, Codec.RAW).data)


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33, b"j" * 32])
def test_a_key_that_does_not_fit_the_commitment_is_refused_at_once(key: bytes) -> None:
    sealer = ObjectSealer(ObjectKey(b"k" * 32))
    with pytest.raises(ShareCorrupt, match="key does not fit"):
        ObjectOpener(key, sealer.commitment)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused_though_the_commitment_fits(length: int) -> None:
    with pytest.raises(ShareCorrupt, match="key does not fit"):
        ObjectOpener(b"k" * length, kdf(b"k" * length, "object/commit"))


def test_no_number_is_sealed_twice_under_one_key() -> None:
    sealer = ObjectSealer()
    sealer.seal(4, False, bytes(CHUNK_SIZE), Codec.ZSTD)
    with pytest.raises(LocalError, match="twice"):
        sealer.seal(4, True, b"other", Codec.RAW)


@pytest.mark.parametrize(("last", "length"), [(True, CHUNK_SIZE + 1), (False, CHUNK_SIZE - 1), (False, 0)])
def test_a_chunk_of_a_wrong_length_is_not_sealed(last: bool, length: int) -> None:
    with pytest.raises(LocalError, match="wrong length"):
        ObjectSealer().seal(0, last, bytes(length), Codec.RAW)


def test_nothing_shows_an_object_key() -> None:
    sealer = ObjectSealer()
    shown = repr(sealer) + str(opener_of(sealer))
    assert sealer.key.hex()[:8] not in shown
    assert repr(bytes(sealer.key))[2:10] not in shown


def test_one_object_is_sealed_and_opened_by_several_threads() -> None:
    sealer = ObjectSealer()
    plains = [bytes([n]) * 3000 + random.Random(n).randbytes(200_000) for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        chunks = list(pool.map(lambda n: sealer.seal(n, True, plains[n], Codec.PLANES), range(40)))
        opener = opener_of(sealer)
        opened = pool.map(lambda n: opener.open(n, True, len(plains[n]), chunks[n].data), range(40))
        assert list(opened) == plains


def test_only_one_of_several_threads_seals_a_number() -> None:
    sealer = ObjectSealer()

    def sealed(_: int) -> bool:
        try:
            sealer.seal(0, True, PLAIN, Codec.RAW)
        except LocalError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(sealed, range(64))) == 1


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 5 * CHUNK_SIZE])
def test_a_true_shape_passes(size: int) -> None:
    check_shape(shape_of(size))


@pytest.mark.parametrize(
    "lie",
    [
        {"object_id": b"i" * 32},
        {"object_id": b"i" * 31},
        {"commitment": b"d" * 32},
        {"commitment": b"c" * 31},
        {"size": CHUNK_SIZE},
        {"size": CHUNK_SIZE + 2},
        {"size": -1},
        {"lengths": (STORED_CHUNK_MIN,)},
        {"lengths": (STORED_CHUNK_MIN,) * 3},
        {"lengths": (STORED_CHUNK_MIN, STORED_CHUNK_MIN - CHUNK_PAD)},
        {"lengths": (STORED_CHUNK_MIN, STORED_CHUNK_MIN + 1)},
        {"lengths": (STORED_CHUNK_MAX + CHUNK_PAD, STORED_CHUNK_MIN)},
        {"digests": bytes(range(32))},
        {"digests": bytes(64)},
        {"digests": bytes(range(32)) * 2 + b"x"},
    ],
)
def test_a_lying_shape_is_refused(lie: dict[str, object]) -> None:
    with pytest.raises(Malformed):
        check_shape(replace(shape_of(), **lie))


@pytest.mark.parametrize(
    "lie",
    [
        {"commitment": b"c" * 31},
        {"size": 1},
        {"lengths": (STORED_CHUNK_MIN,) * 3},
        {"lengths": (STORED_CHUNK_MIN, 0)},
        {"digests": bytes(32)},
        {"digests": bytes(65)},
        {"digests": bytes(96)},
    ],
)
def test_a_shape_that_contradicts_itself_is_refused_though_its_id_is_honest(lie: dict[str, object]) -> None:
    shape = replace(shape_of(), **lie)
    with pytest.raises(Malformed):
        check_shape(replace(shape, object_id=object_id(shape.commitment, shape.size, shape.digests)))


def test_a_shape_beyond_the_limits_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(TooLarge):
        check_shape(replace(shape_of(), size=OBJECT_MAX + 1))
    with pytest.raises(TooLarge):
        check_shape(replace(shape_of(), lengths=(STORED_CHUNK_MIN,) * (OBJECT_MAX // CHUNK_SIZE + 1)))


@given(st.binary(min_size=32, max_size=32), st.integers(0, OBJECT_MAX), st.integers(0, 3))
def test_object_ids_differ_when_anything_differs(commitment: bytes, size: int, chunks: int) -> None:
    digests = b"d" * 32 * chunks
    ids = {
        object_id(commitment, size, digests),
        object_id(commitment, size + 1, digests),
        object_id(commitment, size, digests + b"e" * 32),
        object_id(bytes([commitment[0] ^ 1]) + commitment[1:], size, digests),
    }
    assert len(ids) == 4
