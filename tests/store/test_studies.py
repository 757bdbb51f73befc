"""Studies and series as rows: totals and search text that stay true."""

from pathlib import Path

import pytest

from p2pshare.store import scans
from p2pshare.store.studies import KEPT_FILES, scan_id
from tests.studies import fresh_uid, make_ct
from tests.world import Person, one_person


async def only_scan(ana: Person) -> scans.Scan:
    (scan,) = await scans.listed(ana.vault.db)
    return scan


def test_the_id_of_a_scan_follows_from_its_uid_alone() -> None:
    assert scan_id("1.2.3").hex() == scan_id("1.2.3").hex()
    assert len(scan_id("1.2.3")) == 16
    assert scan_id("1.2.3") != scan_id("1.2.30")


def test_what_stands_for_kept_files_cannot_be_a_uid() -> None:
    assert not KEPT_FILES[0].isdigit()


async def test_totals_follow_what_is_added_later(tmp_path: Path) -> None:
    study, series = fresh_uid(), fresh_uid()
    async with one_person(tmp_path) as ana:
        one = make_ct(tmp_path / "1", StudyInstanceUID=study, SeriesInstanceUID=series)
        await ana.imports(one)
        two = make_ct(tmp_path / "2", StudyInstanceUID=study, SeriesInstanceUID=series)
        three = make_ct(tmp_path / "3", StudyInstanceUID=study, Modality="PT", SeriesDescription="fused")
        await ana.imports(two, three)
        scan = await only_scan(ana)
        assert (scan.series, scan.instances, scan.modalities) == (2, 3, "CT\\PT")
        assert scan.bytes == sum(path.stat().st_size for path in (one, two, three))
        assert [s.scan for s in await scans.found(ana.vault.db, "fused")] == [scan.scan]


async def test_images_that_name_different_patients_are_counted(tmp_path: Path) -> None:
    study = fresh_uid()
    make_ct(tmp_path / "1", StudyInstanceUID=study, PatientName="Doe^Jane", PatientID="1")
    make_ct(tmp_path / "2", StudyInstanceUID=study, PatientName="Doe^Jane", PatientID="2")
    make_ct(tmp_path / "3", StudyInstanceUID=study, PatientName="Doe^Jane", PatientID="1")
    async with one_person(tmp_path) as ana:
        await ana.imports(tmp_path / "1", tmp_path / "2", tmp_path / "3")
        assert (await only_scan(ana)).patients == 2


async def test_two_studies_may_use_one_series_uid(tmp_path: Path) -> None:
    series = fresh_uid()
    make_ct(tmp_path / "1", SeriesInstanceUID=series)
    make_ct(tmp_path / "2", SeriesInstanceUID=series)
    async with one_person(tmp_path) as ana:
        await ana.imports(tmp_path / "1", tmp_path / "2")
        assert [s.series for s in await scans.listed(ana.vault.db)] == [1, 1]


@pytest.mark.parametrize(
    "description", ["'; DROP TABLE study; --", "\x1b[31mred", "a\\b^c=d", "x" * 60, "‮reversed", ""]
)
async def test_text_is_stored_as_it_was_decoded(tmp_path: Path, description: str) -> None:
    async with one_person(tmp_path) as ana:
        await ana.imports(
            make_ct(tmp_path / "1", StudyDescription=description, SpecificCharacterSet="ISO_IR 192")
        )  # fmt: skip
        assert (await only_scan(ana)).description == description
