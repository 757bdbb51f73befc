import shutil
import zipfile
from pathlib import Path

import pytest

from p2pshare.cli.imports import _problem_lines
from p2pshare.model.dicom import FileOutcome
from p2pshare.service.import_report import FileProblem
from tests.cli.running import Cli


@pytest.fixture
def disc(ana: Cli, ct_small: Path, mr_small: Path) -> Path:
    """A folder as on a disc: a scan that is known, one twice, one broken, one changed, and other things."""
    disc = ana.folder / "disc"
    disc.mkdir()
    shutil.copy(ct_small, disc / "known.dcm")
    changed = bytearray(mr_small.read_bytes())
    changed[-1] ^= 1
    (disc / "changed.dcm").write_bytes(changed)
    (disc / "broken.dcm").write_bytes(mr_small.read_bytes()[:4000])
    (disc / "readme.txt").write_text("not an image")
    (disc / "empty").touch()
    return disc


def test_every_file_has_an_outcome_and_a_reason(ana: Cli, disc: Path) -> None:
    value = ana.value("import", "disc", code=7)
    counts = {key: value[key] for key in ("stored", "duplicate", "conflict", "skipped", "unreadable")}
    assert counts == {"stored": 0, "duplicate": 1, "conflict": 1, "skipped": 2, "unreadable": 1}
    outcomes = {Path(p["file"]).name: p["outcome"] for p in value["problems"]}
    assert outcomes == {
        "changed.dcm": "conflict", "broken.dcm": "unreadable", "readme.txt": "skipped", "empty": "skipped",
    }  # fmt: skip
    assert [s["state"] for s in value["studies"] if s["modalities"] == ["MR"]] == ["conflict"]


def test_people_read_a_sentence_and_the_files_it_is_about(ana: Cli, disc: Path) -> None:
    ran = ana.run("import", "disc")
    assert ran.code == 7
    first, *files = ran.out.splitlines()
    assert first == (
        "1 image saved; 1 already here; 1 with the identifier of another image, both kept; 2 passed over;"
        " 1 could not be read."
    )
    assert any(line.startswith("  unreadable: disc/broken.dcm: ") for line in files)


def test_a_dry_run_stores_nothing(ana: Cli, disc: Path) -> None:
    before = ana.value("scan", "ls")
    value = ana.value("import", "disc", "--dry-run", code=7)
    assert (value["duplicate"], value["conflict"]) == (1, 1)
    assert ana.value("scan", "ls") == before
    assert "would be stored" in ana.run("import", "disc", "--dry-run").out


def test_what_cannot_be_read_can_be_kept(ana: Cli, disc: Path) -> None:
    value = ana.value("import", "disc", "--keep-unreadable")
    assert (value["unreadable"], value["stored"]) == (0, 1)


@pytest.mark.parametrize("name", ["b\udcff.txt", "esc\x1b[2J.txt", "山田.txt"])
def test_a_kept_file_may_have_any_name(name: str, ana: Cli) -> None:
    (ana.folder / name).write_bytes(b"anything at all")
    assert ana.value("import", name, "--keep-unreadable")["stored"] == 1


def test_an_archive_is_looked_into(ana: Cli, ct_small: Path) -> None:
    with zipfile.ZipFile(ana.folder / "disc.zip", "w") as archive:
        archive.write(ct_small, "DICOM/IM0")
    assert ana.value("import", "disc.zip")["duplicate"] == 1


def test_a_path_that_is_not_there_is_said_and_does_not_stop_the_others(ana: Cli, ct_small: Path) -> None:
    value = ana.value("import", "nowhere", str(ct_small), code=7)
    assert (value["unreadable"], value["duplicate"]) == (1, 1)
    assert value["problems"] == [{"file": "nowhere", "why": "no such file or directory", "outcome": "unreadable"}]


def test_files_with_the_same_fate_are_told_together_and_one_by_one_on_request(ana: Cli) -> None:
    (ana.folder / "many").mkdir()
    for number in range(30):
        (ana.folder / "many" / f"{number:02}.txt").write_text("x")
    (ana.folder / "many" / "empty").touch()
    told = ana.here("import", "many").out.splitlines()
    assert told[1] == "  skipped: many/empty: it is empty"
    assert told[2].startswith("  skipped, 30 files: ")
    assert told[3:] == ["    many/00.txt", "    many/01.txt", "    many/02.txt", "    and 27 more (-v shows all)"]
    assert len(ana.here("import", "many", "-v").out.splitlines()) == 32


def test_many_reasons_are_cut_too() -> None:
    problems = [FileProblem(f"file {number}", f"reason {number}", FileOutcome.UNREADABLE) for number in range(25)]
    lines = _problem_lines(problems, every=False)
    assert (len(lines), lines[-1]) == (21, "  and 5 other reasons (-v shows all)")
