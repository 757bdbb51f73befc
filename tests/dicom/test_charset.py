"""Names are read as they were written, whatever the character set, and nothing raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.dicom.charset import DAMAGED, GUESSED, Charset

# PS3.5 annexes H, I, J and K print most of these names
NAMES = {
    "chrArab": "قباني^لنزار",
    "chrFren": "Buc^Jérôme",
    "chrFrenMulti": "Buc^Jérôme",
    "chrGerm": "Äneas^Rüdiger",
    "chrGreek": "Διονυσιος",
    "chrH31": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "chrH32": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw": "שרון^דבורה",
    "chrI2": "Hong^Gildong=洪^吉洞=홍^길동",
    "chrJapMulti": "やまだ^たろう",
    "chrJapMultiExplicitIR6": "やまだ^たろう",
    "chrKoreanMulti": "김희중",
    "chrRuss": "Люкceмбypг",
    "chrX1": "Wang^XiaoDong=王^小東",
    "chrX2": "Wang^XiaoDong=王^小东",
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", NAMES)
def test_the_standards_names_are_read(corpus, report_of, name):
    report = report_of(corpus / "dicom" / "pydicom" / "charset_files" / f"{name}.dcm")
    assert report.record.patient_name == NAMES[name]
    assert not {GUESSED, DAMAGED} & set(report.record.warnings)


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        (b"ISO_IR 192", "utf-8", "Wang^XiaoDong=王^小東"),
        (b"GBK", "gbk", "Wang^XiaoDong=王^小东"),
        (b"GB18030", "gb18030", "Wang^XiaoDong=王^小东"),
        (b"ISO_IR 100", "latin-1", "Buc^Jérôme"),
        (b"ISO_IR 13", "shift_jis", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        (b"ISO-IR 144 ", "iso8859-5", "Люкceмбypг"),
        (b"iso_ir_100", "latin-1", "Buc^Jérôme"),
        (b"UTF-8", "utf-8", "Zoë"),
        (b"", "ascii", "Doe^Jane"),
    ],
)
def test_declared_character_sets_are_used(declared, encoding, name):
    charset = Charset(declared)
    assert charset.name(name.encode(encoding)) == name
    assert charset.warnings == set()


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        (b"ISO_IR 100", "gbk", "Wang^XiaoDong=王^小东"),  # as scanners in China are known to do
        (b"", "gbk", "张^伟明"),
        (b"ISO_IR 100", "utf-8", "Buc^Jérôme"),
        (b"", "utf-8", "Люкceмбypг"),
        (b"", "latin-1", "Buc^Jérôme"),
        (b"ISO_IR 999", "latin-1", "Jérôme"),
        (b"rot13", "ascii", "Doe"),
    ],
)
def test_missing_and_wrong_character_sets_are_guessed_with_a_warning(declared, encoding, name):
    charset = Charset(declared)
    assert charset.name(name.encode(encoding)) == name
    assert charset.warnings == {GUESSED}


@pytest.mark.parametrize("name", ["Ärzte^Übel", "Jürgen^Größe", "Ñandú^Ångström"])
def test_western_names_are_not_taken_for_chinese(name):
    charset = Charset(b"ISO_IR 100")
    assert charset.name(name.encode("latin-1")) == name
    assert charset.warnings == set()


def test_text_that_does_not_fit_its_character_set_costs_a_warning():
    charset = Charset(b"ISO_IR 192")
    assert charset.text(b"ok \xff\xfe") == "ok \ufffd\ufffd"
    assert charset.warnings == {DAMAGED}


def test_padding_is_removed_and_a_nul_within_shows():
    charset = Charset(b"")
    assert charset.text(b" Head \0") == "Head"
    assert charset.text(b"He\0ad") == "He\ufffdad"
    assert charset.name(b"Doe^Jane==") == "Doe^Jane"


@given(declared=st.binary(max_size=60), value=st.binary(max_size=200))
def test_no_bytes_raise(declared, value):
    charset = Charset(declared)
    charset.text(value).encode()
    charset.name(value).encode()


@given(
    declared=st.sampled_from(
        (b"\\ISO 2022 IR 87", b"ISO 2022 IR 13\\ISO 2022 IR 87\\ISO 2022 IR 159", b"\\ISO 2022 IR 149")
    ),
    parts=st.lists(
        st.sampled_from((b"\x1b$B", b"\x1b$)C", b"\x1b(J", b"\x1b$(D", b"\x1b", b"^", b"=", b"a", b"\xb1\xe8"))
    ),
)
def test_no_escape_sequences_raise(declared, parts):
    Charset(declared).name(b"".join(parts)).encode()
