import pytest

from p2pshare.errors import BadIdentity
from p2pshare.model.ids import UID_MAX, parse_uid


@pytest.mark.parametrize("text", ["1.2.840.10008.1.2.1", "0", "1.2.03.4", "1" * UID_MAX])
def test_a_uid_is_kept_as_it_is(text: str) -> None:
    assert parse_uid(text, "UID") == text


@pytest.mark.parametrize(
    "text",
    [
        "../../x",
        "/etc/x",
        "1.2\0",
        "1.2\n",
        "1..2",
        ".1",
        "1.",
        "1.2 ",
        "1.a",
        "1" * (UID_MAX + 1),
        "1" * 10_000,
        "١.٢",
    ],
)
def test_what_is_not_a_uid_is_refused(text: str) -> None:
    with pytest.raises(BadIdentity, match="the Study Instance UID is not a UID"):
        parse_uid(text, "Study Instance UID")


def test_a_missing_uid_is_named() -> None:
    with pytest.raises(BadIdentity, match="no SOP Instance UID"):
        parse_uid("", "SOP Instance UID")
