import pytest

from p2pshare.model.limits import CHUNK_SIZE, MIB
from p2pshare.model.objects import ObjectShape, chunk_count, chunk_plain_length


@pytest.mark.parametrize(
    ("size", "count", "last"),
    [
        (0, 1, 0),
        (1, 1, 1),
        (MIB, 1, MIB),
        (MIB + 1, 2, 1),
        (3 * MIB, 3, MIB),
    ],
)
def test_an_object_is_cut_into_full_chunks_and_a_rest(size: int, count: int, last: int) -> None:
    assert chunk_count(size) == count
    lengths = [chunk_plain_length(size, number) for number in range(count)]
    assert lengths == [CHUNK_SIZE] * (count - 1) + [last]
    assert sum(lengths) == size


def test_a_shape_tells_each_digest_and_the_stored_size() -> None:
    first, second = bytes(range(32)), bytes(range(32, 64))
    shape = ObjectShape(b"i" * 32, b"c" * 32, MIB + 1, (1_000, 529), first + second)
    assert (shape.digest(0), shape.digest(1)) == (first, second)
    assert shape.stored_bytes == 1_529
    assert shape.id == b"i" * 32
