"""Deflate unpacks in steps that are bounded by what was asked for."""

import zlib

import pytest

from p2pshare.dicom import inflate
from p2pshare.dicom.inflate import Inflater
from p2pshare.errors import Bomb, Truncated, Unreadable


def packed(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def inflater(data, step=1000):
    pieces = [data[first : first + step] for first in range(0, len(data), step)]
    return Inflater(lambda: pieces.pop(0) if pieces else b"")


@pytest.mark.parametrize("limit", [1, 7, 1 << 20])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_it_comes_in_steps_of_the_size_asked_for(limit, step):
    data = bytes(2000) + b"end"
    stream = inflater(packed(data), step)
    pieces = []
    while piece := stream.read(limit):
        pieces.append(piece)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= limit
    assert (stream.produced, stream.consumed) == (len(data), len(packed(data)))


def test_a_stream_that_is_not_ended_is_truncated():
    stream = inflater(packed(b"hello" * 1000)[:-1])
    with pytest.raises(Truncated):
        list(iter(lambda: stream.read(100), b""))


def test_what_is_no_stream_is_unreadable():
    with pytest.raises(Unreadable):
        inflater(b"\xff" * 10).read(100)


def test_a_ratio_is_a_bomb_only_beyond_the_free_size(monkeypatch):
    monkeypatch.setattr(inflate, "RATIO_FREE", 100_000)
    stream = inflater(packed(bytes(300_000)))
    stream.read(100_000)
    stream.refuse_bomb()
    stream.read(1)
    with pytest.raises(Bomb):
        stream.refuse_bomb()


def test_a_size_is_a_bomb_whatever_the_ratio(monkeypatch):
    monkeypatch.setattr(inflate, "INFLATED_MAX", 1000)
    stream = inflater(packed(bytes(range(256)) * 8))
    stream.read(1001)
    with pytest.raises(Bomb):
        stream.refuse_bomb()
