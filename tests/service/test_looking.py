"""The looking half of an import: every candidate ends in one outcome, and no descriptor stays open."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from p2pshare.dicom import sources
from p2pshare.dicom.sources import Source
from p2pshare.errors import WorkersFailed
from p2pshare.model.dicom import ReadReport
from p2pshare.service.import_report import ImportReport
from p2pshare.service.looking import Looking, ReadFile
from tests.studies import make_ct, make_study
from tests.world import InlineWorkers, Person, one_person


def looking(ana: Person, report: ImportReport, workers: InlineWorkers | None = None, *, keep: bool = False) -> Looking:
    readers: Any = workers or ana.workers
    return Looking(ana.vault.db, readers, report, keep_unreadable=keep)


def open_files(folder: Path) -> list[str]:
    names = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - there one moment, gone the next
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - likewise
        except FileNotFoundError:
            continue
    return [name for name in names if name.startswith(str(folder))]


async def looked_at(look: Looking, *paths: Path) -> list[ReadFile]:
    found = [read async for batch in look.batches(paths) for read in batch]
    for read in found:
        sources.close(read.source)
    return found


async def test_what_may_be_stored_comes_in_the_order_in_which_it_was_found(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"{number:03}" for number in range(120)]
    for name in names:
        make_ct(folder / name, 2, 2)
    async with one_person(tmp_path) as ana:
        report = ImportReport()
        found = await looked_at(looking(ana, report), folder)
        assert [Path(read.candidate.name).name for read in found] == names
        assert report.counts.total() == 0
        assert open_files(folder) == []


async def test_what_is_not_to_be_stored_is_counted_here_and_closed(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    image = make_study(folder, 1)[0]
    (folder / "cut").write_bytes(image.read_bytes()[:-1])
    (folder / "note").write_text("not DICOM")
    (folder / "empty").touch()
    async with one_person(tmp_path) as ana:
        report = ImportReport()
        found = await looked_at(looking(ana, report), folder, tmp_path / "nowhere")
        assert len(found) == 1
        assert {outcome.value: n for outcome, n in report.counts.items()} == {"unreadable": 2, "skipped": 2}
        assert open_files(folder) == []


async def test_a_dicomdir_is_skipped_and_the_files_beside_it_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    make_study(folder, 2)
    make_ct(folder / "DICOMDIR", SOPClassUID="1.2.840.10008.1.3.10")
    async with one_person(tmp_path) as ana:
        report = ImportReport()
        assert len(await looked_at(looking(ana, report), folder)) == 2
        (problem,) = report.problems
        assert "DICOMDIR" in problem.why


@pytest.mark.parametrize("keep", [False, True])
async def test_a_file_that_is_not_dicom_is_kept_only_if_it_was_named_itself(tmp_path: Path, keep: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "note").write_text("not DICOM")
    async with one_person(tmp_path) as ana:
        by_folder, by_name = ImportReport(), ImportReport()
        assert await looked_at(looking(ana, by_folder, keep=keep), folder) == []
        assert len(await looked_at(looking(ana, by_name, keep=keep), folder / "note")) == int(keep)


class Failing(InlineWorkers):
    async def read(self, sources: Sequence[Source]) -> list[ReadReport]:
        raise WorkersFailed("they end as soon as they start")


async def test_when_the_readers_fail_nothing_stays_open(tmp_path: Path) -> None:
    make_study(tmp_path / "in", 60)
    async with one_person(tmp_path) as ana:
        with pytest.raises(WorkersFailed):
            await looked_at(looking(ana, ImportReport(), Failing()), tmp_path / "in")
        assert open_files(tmp_path / "in") == []


async def test_when_nobody_wants_more_nothing_stays_open(tmp_path: Path) -> None:
    make_study(tmp_path / "in", 120)
    async with one_person(tmp_path) as ana:
        batches = looking(ana, ImportReport()).batches([tmp_path / "in"])
        for read in await anext(batches):
            sources.close(read.source)
        await batches.aclose()  # type: ignore[attr-defined]
        assert open_files(tmp_path / "in") == []
