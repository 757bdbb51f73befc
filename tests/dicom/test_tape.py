"""What is looked at is what is hashed, and little of it is held."""

import hashlib
import random

from p2pshare.dicom.readers import FileReader
from p2pshare.dicom.tape import Tape, Window

DATA = random.Random(3).randbytes(5_000_000)


def test_the_hash_covers_what_was_read(opened):
    source = opened(DATA)
    tape = Tape(FileReader(source.fd, source.size))
    window = Window(tape.read, end=source.size)
    window.take(100_000, 10)
    assert 100_010 <= tape.position < 300_000
    assert tape.digest() == hashlib.sha256(DATA[: tape.position]).digest()
    tape.drain()
    assert tape.digest() == hashlib.sha256(DATA).digest()


def test_every_byte_is_read_once_even_if_the_file_changes(opened, tmp_path):
    path = tmp_path / "changing"
    path.write_bytes(DATA[:100_000])
    source = opened(path)
    tape = Tape(FileReader(source.fd, source.size))
    window = Window(tape.read, end=source.size)
    seen = window.take(0, 1000)
    path.write_bytes(bytes(100_000))
    assert window.take(0, 1000) == seen
    assert tape.digest() == hashlib.sha256(DATA[: tape.position]).digest()


def test_a_window_moves_forwards_in_any_steps(opened):
    source = opened(DATA)
    window = Window(Tape(FileReader(source.fd, source.size)).read, end=source.size)
    chance, position = random.Random(4), 0
    while position < len(DATA):
        length = chance.choice((1, 8, 12, 5000, 70_000))
        assert window.take(position, length) == DATA[position : position + length]
        assert len(window.buf) <= 1 << 20
        position += chance.choice((0, 1, 8, 9000, 200_000, 1_500_000))


def test_the_end_is_known_or_found_by_looking(opened):
    source = opened(DATA)
    for end in (source.size, None):
        window = Window(Tape(FileReader(source.fd, source.size)).read, end=end)
        assert window.lacks(source.size + 1) == (end is not None)
        assert not window.lacks(source.size)
        assert window.reaches(source.size)
        assert not window.reaches(source.size + 1)
