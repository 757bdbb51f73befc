"""Reading from pack files with shared descriptors."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2pshare.errors import DamagedPack, DiskTrouble
from p2pshare.store.packreader import PackReader


def pack(folder: Path, number: int) -> Path:
    path = folder / f"{number:032x}.p2pk"
    path.write_bytes(bytes([number]) * 1000)
    return path


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_spans_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.p2pk"
    path.write_bytes(bytes(range(256)))
    reader = PackReader()
    assert reader.read(path, [(250, 6), (0, 2), (10, 0)]) == [bytes(range(250, 256)), b"\x00\x01", b""]
    assert reader.size(path) == 256
    reader.close()


def test_only_so_many_files_stay_open_and_close_closes_them(tmp_path: Path) -> None:
    paths = [pack(tmp_path, number) for number in range(10)]
    before = descriptors()
    reader = PackReader(limit=4)
    for path in paths + paths[:5]:
        reader.read(path, [(0, 10)])
    assert descriptors() == before + 4
    reader.close()
    assert descriptors() == before
    assert reader.read(paths[3], [(0, 1)]) == [b"\x03"]
    reader.forget([paths[3], paths[4]])
    assert descriptors() == before


def test_many_threads_read_while_files_are_closed_under_them(tmp_path: Path) -> None:
    paths = [pack(tmp_path, number) for number in range(8)]
    before = descriptors()
    reader = PackReader(limit=2)

    def read(turn: int) -> bool:
        number = turn % 8
        if turn % 50 == 0:
            reader.forget(paths)
        return reader.read(paths[number], [(n * 10, 10) for n in range(20)]) == [bytes([number]) * 10] * 20

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(read, range(2000)))
    reader.close()
    assert descriptors() == before


def test_a_file_that_was_removed_is_not_read_from_its_old_descriptor(tmp_path: Path) -> None:
    path = pack(tmp_path, 1)
    reader = PackReader()
    reader.read(path, [(0, 1)])
    path.unlink()
    with pytest.raises(DamagedPack, match=f"pack {path.stem}: it is missing"):
        reader.read(path, [(0, 1)])
    reader.close()


@pytest.mark.parametrize("span", [(999, 2), (1000, 1), (5000, 1)])
def test_a_short_file_is_damaged(tmp_path: Path, span: tuple[int, int]) -> None:
    path = pack(tmp_path, 1)
    reader = PackReader()
    with pytest.raises(DamagedPack, match=f"pack {path.stem}: it is too short"):
        reader.read(path, [span])
    reader.close()


@pytest.mark.parametrize("span", [(-1, 2), (0, -1), (0, 1 << 40)])
def test_an_impossible_span_is_a_mistake(tmp_path: Path, span: tuple[int, int]) -> None:
    reader = PackReader()
    with pytest.raises(ValueError, match="span"):
        reader.read(pack(tmp_path, 1), [span])
    reader.close()


def test_links_folders_and_pipes_are_not_read(tmp_path: Path) -> None:
    reader = PackReader()
    (tmp_path / "link.p2pk").symlink_to(pack(tmp_path, 1))
    (tmp_path / "folder.p2pk").mkdir()
    os.mkfifo(tmp_path / "pipe.p2pk")
    for name in ("link", "folder", "pipe"):
        with pytest.raises((DamagedPack, DiskTrouble), match=f"pack {name}"):
            reader.read(tmp_path / f"{name}.p2pk", [(0, 1)])
    reader.close()


def test_a_faulty_disk_damages_the_pack_and_a_full_table_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, reader = pack(tmp_path, 1), PackReader()

    def fail(number: int) -> None:
        def pread(*_: object) -> bytes:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "pread", pread)

    fail(errno.EIO)
    with pytest.raises(DamagedPack, match=f"pack {path.stem}: the disk cannot read it"):
        reader.read(path, [(0, 1)])
    fail(errno.EMFILE)
    with pytest.raises(DiskTrouble, match="too many files"):
        reader.read(path, [(0, 1)])
    monkeypatch.undo()
    assert reader.read(path, [(0, 1)]) == [b"\x01"]
    reader.close()
