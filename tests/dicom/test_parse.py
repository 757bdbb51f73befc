"""One file to one report, for files as they are met and files made to hurt."""

import hashlib
import os
import random
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2pshare.dicom.parse import read_report
from p2pshare.dicom.sources import NEEDS_MORE, NOT_CHECKED_TO_END, FileSource, PrefixSource
from p2pshare.model.dicom import ReadVerdict

DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def prefix(data, covered):
    fd = os.memfd_create("prefix")
    os.write(fd, data[:covered])
    try:
        return read_report(PrefixSource(fd, len(data), covered))
    finally:
        os.close(fd)


def test_an_image_gives_its_record(dicom, report_of):
    report = report_of(dicom.file())
    record = report.record
    assert report.verdict is ReadVerdict.INSTANCE
    assert (record.study_uid, record.series_uid, record.sop_uid) == ("1.2.3", "1.2.3.4", "1.2.3.4.5")
    assert (record.patient_name, record.modality, record.sop_class) == ("Doe^Jane", "CT", "1.2.840.10008.5.1.4.1.1.2")
    assert (record.rows, record.columns, record.bits_allocated, record.frames) == (4, 4, 16, 1)
    assert (record.transfer_syntax, record.encapsulated, record.warnings) == (dicom.syntax, False, ())


def test_the_record_is_bound_to_the_bytes_it_was_made_of(dicom, report_of):
    data = dicom.head() + dicom.identity() + dicom.image(512, 512) + dicom.element(0x7FE00010, "OW", bytes(1 << 19))
    report = report_of(data)
    assert report.size == len(data)
    assert data.index(b"\xe0\x7f\x10\x00") < report.covered < 70_000
    assert report.prefix_sha256 == hashlib.sha256(data[: report.covered]).digest()


@pytest.mark.parametrize("tail", ["", "deflated", "document"])
def test_without_native_pixel_data_the_whole_file_is_covered(dicom, report_of, tail):
    body = dicom.identity() + dicom.element(0x00420011, "OB", bytes(200_000))
    data = dicom.head(DEFLATED) + deflated(body) if tail == "deflated" else dicom.head() + body
    report = report_of(data)
    assert (report.verdict, report.covered) == (ReadVerdict.INSTANCE, len(data))
    assert report.prefix_sha256 == hashlib.sha256(data).digest()


def test_a_deflated_image_gives_the_same_record_as_a_plain_one(dicom, report_of):
    body = dicom.identity() + dicom.image() + dicom.element(0x7FE00010, "OW", bytes(32))
    packed, plain = report_of(dicom.head(DEFLATED) + deflated(body)).record, report_of(dicom.head() + body).record
    assert packed.transfer_syntax == DEFLATED
    assert (packed.sop_uid, packed.rows, packed.patient_name) == (plain.sop_uid, plain.rows, plain.patient_name)


def test_a_deflate_bomb_is_refused(dicom, report_of):
    bomb = deflated(dicom.identity() + dicom.image() + dicom.element(0x7FE00010, "OW", bytes(100 << 20)))
    report = report_of(dicom.head(DEFLATED) + bomb)
    assert (report.verdict, report.record) == (ReadVerdict.BOMB, None)


def test_deflated_data_that_is_cut_off_is_truncated(dicom, report_of):
    body = dicom.identity() + dicom.image() + dicom.element(0x7FE00010, "OW", random.Random(1).randbytes(5000))
    assert report_of(dicom.head(DEFLATED) + deflated(body)[:-100]).verdict is ReadVerdict.TRUNCATED


def test_deflated_data_that_is_none_is_broken(dicom, report_of):
    assert report_of(dicom.head(DEFLATED) + b"\xff" * 500).verdict is ReadVerdict.BROKEN


@pytest.mark.parametrize(
    "uid", ["../../x", "/etc/x", "1.2\x00.3", "1." * 5000 + "1", "1.2\\1.3", "1..2", "", "1.2.x", "\x1b[2J"]
)
@pytest.mark.parametrize("which", ["study", "series", "sop"])
def test_identifiers_that_are_no_uids_are_refused(dicom, report_of, which, uid):
    data = dicom.head() + dicom.identity(**{which: uid}) + dicom.image() + dicom.element(0x7FE00010, "OW", bytes(32))
    assert report_of(data).verdict is ReadVerdict.BAD_IDENTITY


def test_an_index_of_a_disc_is_told_apart(dicom, report_of):
    meta = dicom.text(0x00020002, "UI", "1.2.840.10008.1.3.10") + dicom.text(0x00020010, "UI", dicom.syntax)
    escape = dicom.implicit(0xFFFEE000, dicom.text(0x00041500, "CS", "..\\..\\ETC\\PASSWD"))
    data = bytes(128) + b"DICM" + meta + dicom.element(0x00041220, "SQ", escape)
    assert report_of(data).verdict is ReadVerdict.DICOMDIR


def test_an_image_description_without_image_is_said(dicom, report_of):
    report = report_of(dicom.head() + dicom.identity() + dicom.image())
    assert (report.record.rows, report.record.frames) == (0, 0)
    assert report.record.warnings == ("it describes an image and has none",)


def test_rubbish_after_the_image_is_said(dicom, report_of):
    assert report_of(dicom.file() + dicom.element(0xFFFCFFFC, "OB", bytes(100))).record.warnings == ()
    assert report_of(dicom.file() + b"\x01\x02\x03").record.warnings == (
        "what follows its image data is cut off, or is not DICOM",
    )


def test_the_beginning_of_an_object_gives_the_same_record(dicom, report_of):
    data = dicom.head() + dicom.identity() + dicom.image(512, 512) + dicom.element(0x7FE00010, "OW", bytes(1 << 19))
    part, whole = prefix(data, 100_000), report_of(data)
    assert part == whole


def test_a_beginning_that_is_too_short_asks_for_more(dicom):
    data = dicom.file()
    report = prefix(data, 200)
    assert (report.verdict, report.why) == (ReadVerdict.TRUNCATED, NEEDS_MORE)


def test_a_beginning_of_compressed_data_says_that_it_was_not_looked_at_to_the_end(dicom):
    data = dicom.head(JPEG) + dicom.identity() + dicom.image() + dicom.fragments(bytes(200_000))
    report = prefix(data, 100_000)
    assert (report.verdict, report.why) == (ReadVerdict.INSTANCE, NOT_CHECKED_TO_END)


def test_a_file_that_shrank_since_it_was_opened_is_truncated(dicom, opened):
    source = opened(dicom.file())
    assert read_report(FileSource(source.fd, source.size + 1)).verdict is ReadVerdict.INSTANCE
    grown = dicom.head() + dicom.identity() + dicom.element(0x00420011, "OB", b"", 4)
    source = opened(grown)
    assert read_report(FileSource(source.fd, source.size + 4)).verdict is ReadVerdict.TRUNCATED


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=st.binary(max_size=400), marked=st.booleans())
def test_any_bytes_get_a_report(report_of, dicom, tail, marked):
    report = report_of((dicom.head() if marked else b"\x08\x00") + tail)
    assert (report.record is None) == (report.verdict is not ReadVerdict.INSTANCE)


def mutations(data, seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            position = chance.randrange(min(len(copy), 4000))
            match chance.randrange(4):
                case 0:
                    copy[position] = chance.randrange(256)
                case 1:
                    copy[position : position + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
                case 2:
                    del copy[position : position + chance.randint(1, 40)]
                case _:
                    copy[position:position] = copy[position : position + chance.randint(1, 40)]
        yield bytes(copy)


@pytest.mark.corpus
def test_mutated_real_files_get_a_report(corpus, report_of):
    names = (
        "CT_small",
        "MR_small_implicit",
        "MR_small_bigendian",
        "image_dfl",
        "reportsi",
        "priv_SQ",
        "SC_rgb_rle",
        "rtplan",
    )
    for seed, name in enumerate(names):
        data = (corpus / "dicom" / "pydicom" / "test_files" / f"{name}.dcm").read_bytes()
        for mutated in mutations(data, seed, 60):
            report = report_of(mutated)
            assert report.size == len(mutated)
            assert (report.record is None) == (report.verdict is not ReadVerdict.INSTANCE)
