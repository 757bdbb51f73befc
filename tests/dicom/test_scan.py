"""The scanner walks structure without recursion, and stops where pixel data begins."""

import struct
import time

import pytest

from p2pshare.dicom.scan import DEPTH_MAX, Odd, Scanner
from p2pshare.dicom.tape import Window
from p2pshare.errors import TooDeep, Truncated, Unreadable

WANTED = frozenset((0x00080018, 0x00100010, 0x0020000D))
LAST = 0x0020000D


def scan(data, *, implicit=False, end=True):
    position = 0

    def feed(length):
        nonlocal position
        piece = data[position : position + min(length, 100)]  # small pieces: elements straddle blocks
        position += len(piece)
        return piece

    scanner = Scanner(Window(feed, end=len(data) if end else None), implicit=implicit, wanted=WANTED)
    scanner.walk(0)
    return scanner.found


@pytest.mark.parametrize("end", [True, False])
def test_wanted_values_are_collected_and_others_passed_over(dicom, end):
    data = (
        dicom.text(0x00080018, "UI", "1.2.3")
        + dicom.element(0x00091010, "OB", bytes(3000))
        + dicom.text(LAST, "UI", "9")
    )
    assert scan(data, end=end).values == {0x00080018: b"1.2.3\0", LAST: b"9\0"}


@pytest.mark.parametrize("end", [True, False])
def test_implicit_values_are_collected(dicom, end):
    data = (
        dicom.implicit(0x00080018, b"1.2.3\0") + dicom.implicit(0x00091010, bytes(3000)) + dicom.implicit(LAST, b"9\0")
    )
    assert scan(data, implicit=True, end=end).values == {0x00080018: b"1.2.3\0", LAST: b"9\0"}


def test_the_walk_stops_at_pixel_data_of_known_length(dicom):
    before = dicom.text(LAST, "UI", "9")
    found = scan(before + dicom.element(0x7FE00010, "OW", b"12", 2_000_000_000))
    assert found.pixels.position == len(before) + 12
    assert found.pixels.length == 2_000_000_000


def sequences(dicom, depth, *, defined, implicit=False):
    data = b""
    for _ in range(depth):
        item = dicom.implicit(0xFFFEE000, data) if defined else dicom.implicit(0xFFFEE000, data, dicom.undefined)
        item += b"" if defined else dicom.implicit(0xFFFEE00D)
        ended = item + (b"" if defined else dicom.implicit(0xFFFEE0DD))
        length = None if defined else dicom.undefined
        data = dicom.implicit(0x00081140, ended, length) if implicit else dicom.element(0x00081140, "SQ", ended, length)
    return data


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("defined", [True, False])
def test_sequences_are_walked_to_what_follows_them(dicom, defined, implicit):
    last = dicom.implicit(LAST, b"9\0") if implicit else dicom.text(LAST, "UI", "9")
    data = sequences(dicom, DEPTH_MAX, defined=defined, implicit=implicit) + last
    assert scan(data, implicit=implicit).values == {LAST: b"9\0"}


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 200])
def test_deeper_nesting_than_the_limit_is_refused(dicom, depth, defined, implicit):
    with pytest.raises(TooDeep):
        scan(sequences(dicom, depth, defined=defined, implicit=implicit), implicit=implicit)


@pytest.mark.parametrize("depth", [5_000, 100_000])
def test_endless_unclosed_nesting_is_refused_at_once(dicom, depth):
    once = dicom.element(0x00081140, "SQ", b"", dicom.undefined) + dicom.implicit(0xFFFEE000, b"", dicom.undefined)
    started = time.perf_counter()
    with pytest.raises(TooDeep):
        scan(once * depth)
    assert time.perf_counter() - started < 2


def test_values_inside_sequences_are_not_taken_for_the_instances_own(dicom):
    inside = dicom.implicit(0xFFFEE000, dicom.text(0x00080018, "UI", "6.6.6"))
    data = dicom.text(0x00080018, "UI", "1.2.3") + dicom.element(0x00081140, "SQ", inside)
    assert scan(data).values == {0x00080018: b"1.2.3\0"}


def test_a_sequence_of_unknown_representation_is_read_as_implicit(dicom):
    inside = dicom.implicit(0xFFFEE000, dicom.implicit(0x00080018, b"6.6.6\0"))
    un = dicom.element(0x00091010, "UN", inside, dicom.undefined) + dicom.implicit(0xFFFEE0DD)
    assert scan(un + dicom.text(LAST, "UI", "9")).values == {LAST: b"9\0"}


def test_encapsulated_values_other_than_pixel_data_are_walked(dicom):
    fragments = dicom.implicit(0xFFFEE000) + dicom.implicit(0xFFFEE000, b"abcd") + dicom.implicit(0xFFFEE0DD)
    data = dicom.element(0x00091010, "OB", fragments, dicom.undefined) + dicom.text(LAST, "UI", "9")
    assert scan(data).values == {LAST: b"9\0"}


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("length", [100, 0x7FFFFFFF, 0xFFFFFFFE])
def test_a_length_past_the_end_is_a_truncation(dicom, length, end):
    with pytest.raises(Truncated):
        scan(dicom.text(LAST, "UI", "9") + dicom.element(0x00091010, "OB", b"abc", length), end=end)


def test_an_element_header_that_is_cut_off_is_a_truncation(dicom):
    with pytest.raises(Truncated):
        scan(dicom.text(LAST, "UI", "9") + dicom.text(LAST, "UI", "9")[:5])


def test_an_unclosed_sequence_is_a_truncation(dicom):
    with pytest.raises(Truncated):
        scan(dicom.element(0x00081140, "SQ", b"", dicom.undefined))


def test_a_lying_length_inside_a_sequence_of_known_length_costs_a_warning_only(dicom):
    inside = dicom.implicit(0xFFFEE000, dicom.element(0x00091010, "OB", b"abcd", 4_000_000))
    found = scan(dicom.element(0x00081140, "SQ", inside) + dicom.text(LAST, "UI", "9"))
    assert found.values == {LAST: b"9\0"}
    assert found.warnings == ["a nested length is longer than what it is in"]


def test_a_sequence_of_no_known_length_that_holds_no_items_is_refused(dicom):
    with pytest.raises(Unreadable):
        scan(dicom.element(0x00081140, "SQ", dicom.text(LAST, "UI", "9") * 3, dicom.undefined))


def test_an_unknown_representation_is_left_to_pydicom(dicom):
    with pytest.raises(Odd):
        scan(dicom.text(LAST, "UI", "9") + struct.pack("<HH2sH", 0x0009, 0x1010, b"??", 2) + b"xx")


def test_a_huge_value_of_a_wanted_element_is_kept_only_in_part(dicom):
    found = scan(dicom.element(0x00100010, "UT", b"A" * 300_000) + dicom.text(LAST, "UI", "9"))
    assert len(found.values[0x00100010]) == 16 * 1024
    assert found.values[LAST] == b"9\0"
