"""Import: every file gets an outcome, none is stored twice, and what is stored comes back byte for byte."""

import asyncio
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from p2pshare.dicom import media, sources
from p2pshare.dicom.sources import Source
from p2pshare.errors import DiskTrouble, MediumTrouble
from p2pshare.model.dicom import FileOutcome, ReadReport
from p2pshare.service.import_report import ImportProgress, ImportReport
from p2pshare.service.importing import Importer
from p2pshare.store import scans
from p2pshare.store.packs import PackStore
from tests import traces
from tests.meetings import until
from tests.studies import fresh_uid, make_ct, make_study
from tests.world import InlineWorkers, Person, one_person

MIB = 1 << 20


def counts(report: ImportReport) -> dict[str, int]:
    return {outcome.value: count for outcome, count in report.counts.items() if count}


def needs_marks(path: Path) -> None:
    if next(media.find([path])).identity is None:
        pytest.skip("the file system of the temporary folder is not known to keep ctime")


async def as_exported(ana: Person, folder: Path, files: Sequence[Path]) -> None:
    assert await ana.exported(folder) == sorted(path.read_bytes() for path in files)
    assert await ana.check() == []


async def preview(ana: Person, *paths: Path) -> ImportReport:
    workers: Any = ana.workers
    return await Importer(ana.vault, workers, ana.clock, lambda _: None).preview(paths)


# --- outcomes ---


async def test_a_folder_is_stored_and_comes_back_byte_for_byte(tmp_path: Path) -> None:
    files = make_study(tmp_path / "in", 30) + make_study(tmp_path / "in" / "deep" / "er", 30)
    async with one_person(tmp_path) as ana:
        report = await ana.imports(tmp_path / "in")
        assert counts(report) == {"stored": 60}
        assert report.bytes == sum(path.stat().st_size for path in files)
        assert len(report.studies) == 2
        await as_exported(ana, tmp_path / "out", files)


async def test_each_kind_of_file_gets_its_outcome_and_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    image = make_study(folder, 1)[0]
    (folder / "copy.dcm").write_bytes(image.read_bytes())
    (folder / "cut.dcm").write_bytes(image.read_bytes()[:-100])
    (folder / "empty").touch()
    (folder / "readme.txt").write_text("look at the images")
    (folder / "link.dcm").symlink_to(image)
    async with one_person(tmp_path) as ana:
        report = await ana.imports(folder)
        assert counts(report) == {"stored": 1, "duplicate": 1, "unreadable": 1, "skipped": 3}
        told = {Path(p.file).name: (p.outcome.value, bool(p.why)) for p in report.problems}
        assert told == {
            "cut.dcm": ("unreadable", True), "empty": ("skipped", True), "readme.txt": ("skipped", True),
            "link.dcm": ("skipped", True),
        }  # fmt: skip
        await as_exported(ana, tmp_path / "out", [image])


async def test_the_same_folder_again_is_all_duplicates_and_nothing_is_read(tmp_path: Path) -> None:
    make_study(tmp_path / "in", 5)
    needs_marks(tmp_path / "in")
    async with one_person(tmp_path) as ana:
        first = await ana.imports(tmp_path / "in")
        packs = traces.pack_ids(ana.vault)
        ana.workers.read_count = 0
        again = await ana.imports(tmp_path / "in")
        assert counts(again) == {"duplicate": 5}
        assert ana.workers.read_count == 0
        assert again.known_studies == first.studies
        assert traces.pack_ids(ana.vault) == packs


async def test_a_file_that_was_touched_is_hashed_again_and_then_known_again(tmp_path: Path) -> None:
    image = make_study(tmp_path / "in", 1)[0]
    needs_marks(image)
    async with one_person(tmp_path) as ana:
        await ana.imports(image)
        os.utime(image)
        ana.workers.read_count = 0
        for read in (1, 1):
            assert counts(await ana.imports(image)) == {"duplicate": 1}
            assert ana.workers.read_count == read


async def test_a_file_that_changed_under_its_old_name_is_stored_too(tmp_path: Path) -> None:
    image = make_study(tmp_path / "in", 1)[0]
    async with one_person(tmp_path) as ana:
        await ana.imports(image)
        before = image.read_bytes()
        image.write_bytes(make_ct(tmp_path / "other").read_bytes())
        assert counts(await ana.imports(image)) == {"stored": 1}
        assert before in await ana.exported(tmp_path / "out")


async def test_other_bytes_under_one_uid_are_kept_beside_the_first_flagged_and_exported(tmp_path: Path) -> None:
    sop, study, series = fresh_uid(), fresh_uid(), fresh_uid()
    files = [
        make_ct(tmp_path / name, SOPInstanceUID=sop, StudyInstanceUID=study, SeriesInstanceUID=series)
        for name in ("a", "b", "c")
    ]
    async with one_person(tmp_path) as ana:
        assert counts(await ana.imports(files[0])) == {"stored": 1}
        report = await ana.imports(*files)
        assert counts(report) == {"duplicate": 1, "conflict": 2}
        assert [p.outcome for p in report.problems] == [FileOutcome.CONFLICT] * 2
        (scan,) = await ana.library.listed()
        assert (scan.instances, scan.conflicts) == (3, 3)
        await as_exported(ana, tmp_path / "out", files)


@pytest.mark.parametrize("size", [(16, 16), (1024, 1536), (1600, 1600)], ids=["small", "chunks", "large"])
async def test_two_identical_files_in_one_run_are_reported_once_stored_and_once_duplicate(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    image = make_ct(tmp_path / "a", *size)
    (tmp_path / "b").write_bytes(image.read_bytes())
    async with one_person(tmp_path) as ana:
        assert counts(await ana.imports(image, tmp_path / "b")) == {"stored": 1, "duplicate": 1}
        await as_exported(ana, tmp_path / "out", [image])


async def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        report = await ana.imports(tmp_path / "nowhere")
        assert counts(report) == {"unreadable": 1}
        assert report.problems[0].file == str(tmp_path / "nowhere")


async def test_files_that_cannot_be_read_are_kept_as_they_are_if_asked(tmp_path: Path) -> None:
    image = make_study(tmp_path / "in", 1)[0]
    cut, note, unasked = tmp_path / "in" / "cut.dcm", tmp_path / "note.txt", tmp_path / "in" / "unasked.txt"
    cut.write_bytes(image.read_bytes()[:-100])
    note.write_text("kept because it was named")
    unasked.write_text("not named, and not DICOM")
    async with one_person(tmp_path) as ana:
        report = await ana.imports(tmp_path / "in", note, keep_unreadable=True)
        assert counts(report) == {"stored": 3, "skipped": 1}
        again = await ana.imports(tmp_path / "in", note, keep_unreadable=True)
        assert counts(again) == {"duplicate": 3, "skipped": 1}
        await as_exported(ana, tmp_path / "out", [image, cut, note])


# --- sizes and archives ---


@pytest.mark.parametrize(
    ("rows", "columns"), [(1024, 1536), (1449, 1449), (1600, 1600)], ids=["3 MiB", "just over 4 MiB", "5 MiB"]
)
async def test_objects_of_several_chunks_come_back_byte_for_byte(tmp_path: Path, rows: int, columns: int) -> None:
    files = [make_ct(tmp_path / str(n), rows, columns) for n in range(3)]
    async with one_person(tmp_path) as ana:
        assert counts(await ana.imports(*files)) == {"stored": 3}
        await as_exported(ana, tmp_path / "out", files)


async def test_an_object_larger_than_a_pack_comes_back_byte_for_byte(tmp_path: Path) -> None:
    image = make_ct(tmp_path / "1", 3000, 3000)
    async with one_person(tmp_path) as ana:
        await ana.imports(image)
        assert len(traces.pack_ids(ana.vault)) >= 2
        await as_exported(ana, tmp_path / "out", [image])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
async def test_archives_are_looked_into(tmp_path: Path, method: int) -> None:
    files = [*make_study(tmp_path / "in", 3), make_ct(tmp_path / "large", 1600, 1600)]
    with zipfile.ZipFile(tmp_path / "disc.zip", "w", method) as archive:
        for number, path in enumerate(files):
            archive.write(path, f"DICOM/IM{number}")
        archive.writestr("README", "look at the images")
    async with one_person(tmp_path) as ana:
        assert counts(await ana.imports(tmp_path / "disc.zip")) == {"stored": 4, "skipped": 1}
        assert counts(await ana.imports(tmp_path / "disc.zip")) == {"duplicate": 4, "skipped": 1}
        await as_exported(ana, tmp_path / "out", files)


async def test_several_studies_of_one_folder_never_share_a_pack(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    studies = [fresh_uid() for _ in range(7)]
    for number in range(42):  # the studies interleaved, more of them than have a pack open at once
        make_ct(folder / f"{number:02}", StudyInstanceUID=studies[number % 7])
    async with one_person(tmp_path) as ana:
        assert counts(await ana.imports(folder)) == {"stored": 42}
        for pack_id in traces.pack_ids(ana.vault):
            index = ana.vault.packs.read_index(pack_id)
            held = {part.end.identity.study_uid for part in index.parts if part.end and part.end.identity}
            assert held == {index.owner.decode()}
        assert {s.study_uid for s in await ana.library.listed()} == set(studies)


# --- trouble ---


class Meddling(InlineWorkers):
    """Readers behind whose back files change, after they were read."""

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self.files = files

    async def read(self, sources: Sequence[Source]) -> list[ReadReport]:
        reports = await super().read(sources)
        for path in self.files:
            with path.open("r+b") as file:
                file.seek(300)
                file.write(b"meddled with")
        return reports


@pytest.mark.parametrize("size", [(16, 16), (1600, 1600)], ids=["small", "large"])
async def test_a_file_that_changes_after_it_was_read_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    changing, staying = make_ct(tmp_path / "a", *size), make_ct(tmp_path / "b")
    async with one_person(tmp_path) as ana:
        ana.workers = Meddling(changing)
        report = await ana.imports(changing, staying)
        assert counts(report) == {"stored": 1, "unreadable": 1}
        assert "changed while it was being read" in report.problems[0].why
        await as_exported(ana, tmp_path / "out", [staying])


@pytest.mark.parametrize("size", [(16, 16), (1600, 1600)], ids=["small", "large"])
async def test_a_scratch_on_the_disc_costs_that_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    scratched, *others = make_study(tmp_path / "in", 4, *size)
    read_chunks = sources.read_chunks

    def reading(source: Source, size: int = MIB) -> Any:
        if Path(f"/proc/self/fd/{source.fd}").samefile(scratched):
            raise MediumTrouble("the disk reports a fault")
        return read_chunks(source, size)

    monkeypatch.setattr(sources, "read_chunks", reading)
    async with one_person(tmp_path) as ana:
        would_be = await preview(ana, tmp_path / "in")
        report = await ana.imports(tmp_path / "in")
        assert counts(report) == counts(would_be) == {"stored": 3, "unreadable": 1}
        monkeypatch.undo()
        await as_exported(ana, tmp_path / "out", others)


async def test_a_full_disk_ends_the_import_and_what_was_stored_before_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = PackStore.write, []

    def writing(self: PackStore, builder: Any) -> Any:
        if len(written) == 2:
            raise DiskTrouble("there is no space left")
        written.append(builder)
        return write(self, builder)

    for number in range(8):
        make_study(tmp_path / "in" / str(number), 2)
    monkeypatch.setattr(PackStore, "write", writing)
    async with one_person(tmp_path) as ana:
        with pytest.raises(DiskTrouble):
            await ana.imports(tmp_path / "in")
        monkeypatch.undo()
        assert await ana.check() == []
        assert len(await ana.library.listed()) <= 2
        report = await ana.imports(tmp_path / "in")
        assert report.counts.total() == 16
        assert len(await ana.exported(tmp_path / "out")) == 16


async def test_two_imports_of_one_folder_at_once_store_each_file_once(tmp_path: Path) -> None:
    files = [*make_study(tmp_path / "in", 40), make_ct(tmp_path / "in" / "large", 1600, 1600)]
    async with one_person(tmp_path) as ana, one_person(tmp_path) as also_ana:
        reports = await asyncio.gather(ana.imports(tmp_path / "in"), also_ana.imports(tmp_path / "in"))
        together = reports[0].counts + reports[1].counts
        assert together == {FileOutcome.STORED: 41, FileOutcome.DUPLICATE: 41}
        await as_exported(ana, tmp_path / "out", files)


async def test_a_scan_erased_while_it_is_imported_is_never_there_in_part(tmp_path: Path) -> None:
    study = fresh_uid()
    files = [make_ct(tmp_path / f"{n}", 1600, 1600, StudyInstanceUID=study) for n in range(4)]
    async with one_person(tmp_path) as ana, one_person(tmp_path) as also_ana:
        importing = asyncio.create_task(ana.imports(*files))

        async def begun() -> bool:
            return bool(await also_ana.library.listed())

        await until(begun)
        await also_ana.library.erase(study)
        await asyncio.gather(importing, return_exceptions=True)
        assert await ana.check() == []
        await ana.imports(*files)
        await as_exported(ana, tmp_path / "out", files)


async def test_a_dry_run_says_the_same_and_stores_nothing(tmp_path: Path) -> None:
    sop = fresh_uid()
    make_ct(tmp_path / "a", SOPInstanceUID=sop)
    make_ct(tmp_path / "b", SOPInstanceUID=sop)
    (tmp_path / "c").write_bytes((tmp_path / "a").read_bytes())
    paths = [tmp_path / name for name in "abc"]
    async with one_person(tmp_path) as ana:
        would_be = await preview(ana, *paths)
        assert await ana.library.listed() == []
        assert traces.pack_ids(ana.vault) == set()
        assert counts(would_be) == counts(await ana.imports(*paths)) == {"stored": 1, "conflict": 1, "duplicate": 1}


async def test_progress_ends_with_everything_done(tmp_path: Path) -> None:
    make_study(tmp_path / "in", 30)
    told: list[ImportProgress] = []
    async with one_person(tmp_path) as ana:
        workers: Any = ana.workers
        await Importer(ana.vault, workers, ana.clock, told.append).run([tmp_path / "in"])
    assert told[-1].files_done == 30
    assert told[-1].files_total in (30, None)
    assert [p.files_done for p in told] == sorted(p.files_done for p in told)


async def test_an_import_is_in_the_log_with_its_counts(tmp_path: Path) -> None:
    make_study(tmp_path / "in", 2)
    async with one_person(tmp_path) as ana:
        await ana.imports(tmp_path / "in")
        (entry,) = await ana.upkeep.log(limit=1)
        assert entry.kind == "import"
        assert '"stored":2' in entry.detail
        (scan,) = await scans.listed(ana.vault.db)
        assert scan.patient_name not in entry.detail
