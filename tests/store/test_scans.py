"""Scans as a person asks for them."""

from pathlib import Path

import pytest

from p2pshare.errors import Ambiguous, NotFound
from p2pshare.store import scans
from p2pshare.store.studies import scan_id
from tests.studies import fresh_uid, make_ct, make_study
from tests.world import Person, one_person


async def with_scans(ana: Person, folder: Path) -> None:
    make_study(folder / "a", 1, PatientName="Müller^Zoë", StudyDate="20200101", StudyDescription="CT Abdomen 100%")
    make_study(
        folder / "b", 2, PatientName="Yamada^Tarou=山田^太郎", StudyDate="20240101", StudyDescription="Head_Neck",
        SpecificCharacterSet=["", "ISO 2022 IR 87"], BodyPartExamined="HEAD",
    )  # fmt: skip
    make_study(folder / "c", 1, PatientName="O'Neil^Jane", StudyDate="20220101", InstitutionName="Mercy Hospital")
    await ana.imports(folder)


async def test_scans_are_listed_the_newest_first(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await with_scans(ana, tmp_path / "in")
        assert [s.study_date for s in await scans.listed(ana.vault.db)] == ["20240101", "20220101", "20200101"]


@pytest.mark.parametrize(
    ("text", "dates"),
    [
        ("muller", ["20200101"]),
        ("MÜLL", ["20200101"]),
        ("zoe", ["20200101"]),
        ("jane neil", ["20220101"]),
        ("o'neil", ["20220101"]),
        ("merc", ["20220101"]),
        ("山田", ["20240101"]),
        ("田", ["20240101"]),
        ("head", ["20240101"]),
        ("2024", ["20240101"]),
        ("100%", ["20200101"]),
        ("0%", ["20200101"]),
        ("axial", ["20240101", "20220101", "20200101"]),
        ("ct", ["20240101", "20220101", "20200101"]),
        ("ct muller", ["20200101"]),
        ("muller jane", []),
        ('"', []),
        ("* OR", []),
        ("NEAR(", []),
        ("text:jane", []),
        ("%", ["20200101"]),
        ("d_N", ["20240101"]),
        ("d%N", []),
        ("", []),
        ("   ", []),
    ],
)
async def test_a_scan_is_found_by_beginnings_of_words_and_by_nothing_that_is_not_in_it(
    tmp_path: Path, text: str, dates: list[str]
) -> None:
    async with one_person(tmp_path) as ana:
        await with_scans(ana, tmp_path / "in")
        assert [s.study_date for s in await scans.found(ana.vault.db, text)] == dates


async def test_a_scan_is_named_by_the_beginning_of_its_id_or_its_uid(tmp_path: Path) -> None:
    uid = fresh_uid()
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 1, study=uid)
        await ana.imports(tmp_path / "in")
        for text in (scan_id(uid).hex(), scan_id(uid).hex()[:4], scan_id(uid).hex()[:6].upper(), uid, f" {uid} "):
            assert (await scans.by_prefix(ana.vault.db, text)).study_uid == uid


@pytest.mark.parametrize("text", ["", " ", "%", "_", "zz", "2.25", "-"])
async def test_what_no_scan_begins_with_names_none(tmp_path: Path, text: str) -> None:
    async with one_person(tmp_path) as ana:
        await with_scans(ana, tmp_path / "in")
        with pytest.raises(NotFound):
            await scans.by_prefix(ana.vault.db, text)


async def test_a_beginning_that_several_scans_have_names_none_of_them(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        uids: dict[str, str] = {}
        while True:  # two scan ids that begin with the same digit come soon
            uid = fresh_uid()
            digit = scan_id(uid).hex()[0]
            if digit in uids:
                break
            uids[digit] = uid
        for number, each in enumerate((uid, uids[digit])):
            make_study(tmp_path / "in" / str(number), 1, study=each)
        await ana.imports(tmp_path / "in")
        with pytest.raises(Ambiguous):
            await scans.by_prefix(ana.vault.db, digit)


async def test_instances_come_series_by_series_in_order_of_their_numbers(tmp_path: Path) -> None:
    study = fresh_uid()
    first, second, unnumbered = fresh_uid(), fresh_uid(), fresh_uid()
    (tmp_path / "in").mkdir()
    for series, series_number, number in [
        (second, 10, 2), (first, 2, 10), (unnumbered, None, 1), (first, 2, 9), (second, 10, 1), (first, 2, None),
    ]:  # fmt: skip
        make_ct(
            tmp_path / "in" / fresh_uid(), StudyInstanceUID=study, SeriesInstanceUID=series,
            SeriesNumber=series_number, InstanceNumber=number,
        )  # fmt: skip
    async with one_person(tmp_path) as ana:
        await ana.imports(tmp_path / "in")
        (scan,) = await scans.listed(ana.vault.db)
        order = [(i.series_uid, i.number) for i in await scans.instances_of(ana.vault.db, scan)]
        assert order == [(first, 9), (first, 10), (first, None), (second, 1), (second, 2), (unnumbered, 1)]
        listed = [(s.series_uid, s.instances) for s in await scans.series_of(ana.vault.db, scan)]
        assert listed == [(first, 3), (second, 2), (unnumbered, 1)]


async def test_every_chunk_of_a_scan_has_its_place(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 2, 1024, 1100)
        await ana.imports(tmp_path / "in")
        (scan,) = await scans.listed(ana.vault.db)
        by_scan = await scans.places_of_study(ana.vault.db, scan)
        by_object = await scans.places_of(ana.vault.db, list(by_scan))
        assert by_scan == by_object
        assert [[p.number for p in places] for places in by_scan.values()] == [[0, 1, 2], [0, 1, 2]]
        assert await scans.filed_objects(ana.vault.db, list(by_scan)) == set(by_scan)
        assert await scans.places_of(ana.vault.db, []) == {}


async def test_what_the_readers_found_odd_is_counted(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        (scan,) = await scans.listed(ana.vault.db)
        assert await scans.warnings_of(ana.vault.db, scan) == []
        async with ana.vault.db.transaction() as tx:
            await tx.execute("UPDATE instance SET warnings = 'odd' || char(10) || 'very odd' WHERE number < 3")
            await tx.execute("UPDATE instance SET warnings = 'odd' WHERE number = 3")
        assert await scans.warnings_of(ana.vault.db, scan) == [("odd", 3), ("very odd", 2)]
