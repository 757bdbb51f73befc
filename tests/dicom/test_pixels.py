"""Pixel data is all there, and can be what is declared, or the file is refused."""

import pytest

from p2pshare.dicom.pixels import Geometry, check_native
from p2pshare.errors import Truncated
from p2pshare.model.dicom import ReadVerdict

JPEG = "1.2.840.10008.1.2.4.50"


@pytest.mark.parametrize(
    ("geometry", "length"),
    [
        (Geometry(4, 4, 1, 16, 1, "MONOCHROME2"), 32),
        (Geometry(4, 4, 3, 8, 2, "RGB"), 96),
        (Geometry(4, 4, 3, 8, 1, "YBR_FULL_422"), 32),  # two samples a pixel on average
        (Geometry(3, 3, 1, 1, 5, "MONOCHROME2"), 6),  # 45 bits, frames not aligned
        (Geometry(0, 4, 1, 16, 1, ""), 0),
    ],
)
def test_native_lengths(geometry, length):
    check_native(length, geometry)
    check_native(length + 1, geometry)
    if length:
        with pytest.raises(Truncated):
            check_native(length - 1, geometry)


@pytest.mark.parametrize("missing", [1, 16, 31])
def test_native_pixel_data_that_is_cut_off_is_truncated(dicom, report_of, missing):
    assert report_of(dicom.file()[:-missing]).verdict is ReadVerdict.TRUNCATED


def test_pixel_data_shorter_than_declared_is_truncated(dicom, report_of):
    data = dicom.head() + dicom.identity() + dicom.image(4, 4, frames=2) + dicom.element(0x7FE00010, "OW", bytes(32))
    assert report_of(data).verdict is ReadVerdict.TRUNCATED


@pytest.mark.parametrize("value", [b"", b"abc"])
def test_a_length_of_two_gigabytes_is_truncated_and_takes_no_memory(dicom, report_of, value):
    data = dicom.head() + dicom.identity() + dicom.image() + dicom.element(0x7FE00010, "OW", value, 0x7FFFFFF0)
    assert report_of(data).verdict is ReadVerdict.TRUNCATED


@pytest.mark.parametrize("cut", ["delimiter", "fragment", "header", "frame"])
def test_encapsulated_pixel_data_that_is_cut_off_is_truncated(dicom, report_of, cut):
    head = dicom.head(JPEG) + dicom.identity() + dicom.image(frames=2)
    whole = {
        "delimiter": dicom.fragments(b"1234", b"5678", ended=False),
        "fragment": dicom.fragments(b"1234", b"5678")[:-10],
        "header": dicom.fragments(b"1234", b"5678")[:-4],
        "frame": dicom.fragments(b"1234"),
    }
    assert report_of(head + whole[cut]).verdict is ReadVerdict.TRUNCATED


def test_encapsulated_pixel_data_that_is_whole_is_an_instance(dicom, report_of):
    report = report_of(dicom.head(JPEG) + dicom.identity() + dicom.image(frames=2) + dicom.fragments(b"1234", b"5678"))
    assert (report.verdict, report.record.encapsulated, report.record.frames) == (ReadVerdict.INSTANCE, True, 2)


def test_a_video_may_have_all_its_frames_in_one_fragment(dicom, report_of):
    h264 = "1.2.840.10008.1.2.4.102"
    report = report_of(dicom.head(h264) + dicom.identity() + dicom.image(frames=250) + dicom.fragments(bytes(4000)))
    assert report.verdict is ReadVerdict.INSTANCE


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (20000, 20000)])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.5", JPEG, "1.2.840.10008.1.2.4.90"])
def test_compressed_data_that_declares_far_more_pixels_than_it_holds_is_refused(
    dicom, report_of, syntax, rows, columns
):
    image = dicom.image(rows, columns, bits=8)
    report = report_of(dicom.head(syntax) + dicom.identity() + image + dicom.fragments(bytes(1000)))
    assert (report.verdict, report.why) == (ReadVerdict.BROKEN, "it declares more pixels than its data can hold")
