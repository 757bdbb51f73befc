"""Sealing files in threads: one file's trouble is that file's, and what changed behind a reader's back is refused."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2pshare.dicom import media, sources
from p2pshare.dicom.parse import read_report
from p2pshare.errors import Truncated, Unreadable
from p2pshare.model.limits import CHUNK_SIZE
from p2pshare.service.file_sealing import Hashing, SealedFile, codec_of, hash_file, seal_files
from p2pshare.service.looking import ReadFile
from tests.studies import make_ct


@contextmanager
def read(*paths: Path) -> Iterator[list[ReadFile]]:
    files = []
    for path in paths:
        (candidate,) = media.find([path])
        source = candidate.open()
        files.append(ReadFile(candidate, None, source, read_report(source)))
    yield files


def test_files_are_sealed_in_order_each_under_its_own_key(tmp_path: Path) -> None:
    paths = [make_ct(tmp_path / str(n)) for n in range(3)]
    with read(*paths) as files:
        sealed = seal_files(files)
    assert all(isinstance(each, SealedFile) for each in sealed)
    assert [each.sha256 for each in sealed] == [  # type: ignore[union-attr]
        hashlib.sha256(path.read_bytes()).digest() for path in paths
    ]
    assert len({each.key for each in sealed}) == 3  # type: ignore[union-attr]
    for file in files:
        with pytest.raises(OSError, match="descriptor"):
            sources.close(file.source)


def test_a_file_that_changed_or_was_cut_is_refused_and_the_others_are_sealed(tmp_path: Path) -> None:
    changed, cut, sound = paths = [make_ct(tmp_path / name) for name in ("changed", "cut", "sound")]
    with read(*paths) as files:
        changed.write_bytes(changed.read_bytes().replace(b"Doe^Jane", b"Roe^Jane"))
        cut.write_bytes(cut.read_bytes()[:-1])
        results = seal_files(files)
    assert [type(result) for result in results] == [Unreadable, Truncated, SealedFile]
    assert sound.exists()


def test_what_was_hashed_is_the_whole_file_piece_by_piece(tmp_path: Path) -> None:
    path = make_ct(tmp_path / "1", 1024, 1100)
    with read(path) as (file,):
        hashing, pieces = Hashing(file.source, file.report), []
        while sum(map(len, pieces)) < file.source.size:
            pieces.append(hashing.next())
        assert [len(piece) for piece in pieces[:-1]] == [CHUNK_SIZE] * (len(pieces) - 1)
        whole = hashlib.sha256(path.read_bytes()).digest()
        assert hashing.finish() == whole == hash_file(file.source)
        sources.close(file.source)
        assert codec_of(file).name == "PLANES"
