import msgspec
import pytest

from p2pshare.errors import Malformed, TooLarge
from p2pshare.model.letters import AnswerLetter, Body, RevokeLetter
from p2pshare.model.packed import decode, encode

REVOKED = RevokeLetter(share=b"s" * 16)


def raw(value: object) -> bytes:
    return msgspec.msgpack.encode(value)


def test_a_tagged_value_comes_back_as_the_kind_it_was() -> None:
    answer = AnswerLetter(share=b"s" * 16, accepted=True, reason="")
    for value in (REVOKED, answer):
        assert decode(encode(value), Body, limit=1_000, what="letter") == value


def test_the_encoding_is_the_documented_map() -> None:
    assert msgspec.msgpack.decode(encode(REVOKED)) == {"t": "revoke", "share": b"s" * 16}


def test_the_order_of_fields_does_not_matter() -> None:
    assert decode(raw({"share": b"s" * 16, "t": "revoke"}), RevokeLetter, limit=100, what="letter") == REVOKED


def test_a_view_is_read_like_the_bytes() -> None:
    assert decode(memoryview(encode(REVOKED)), RevokeLetter, limit=100, what="letter") == REVOKED


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(encode(REVOKED)[:-1], id="cut short"),
        pytest.param(encode(REVOKED) + b"\xc0", id="trailing byte"),
        pytest.param(raw({"t": "revoke", "share": b"s" * 16, "more": 1}), id="unknown field"),
        pytest.param(raw({"t": "unknown", "share": b"s" * 16}), id="unknown tag"),
        pytest.param(raw({"t": "revoke"}), id="missing field"),
        pytest.param(raw({"t": "revoke", "share": "text"}), id="text for bytes"),
        pytest.param(raw({"t": "answer", "share": b"s", "accepted": 1, "reason": ""}), id="number for a truth value"),
        pytest.param(b"\x91" * 5_000 + b"\x90", id="nested too deep"),
        pytest.param(b"\x82\xa1t\xa6revoke\xa5share\xc6\xff\xff\xff\xff", id="claims 4 GiB"),
        pytest.param(b"\x81\xa1t\xa2\xff\xfe", id="not UTF-8"),
    ],
)
def test_what_is_not_exactly_one_letter_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="the letter"):
        decode(data, Body, limit=10_000, what="the letter")


def test_what_is_longer_than_its_limit_is_refused_unread() -> None:
    with pytest.raises(TooLarge, match="the letter"):
        decode(b"\xc1" * 101, RevokeLetter, limit=100, what="the letter")


def test_a_refusal_does_not_quote_what_was_sent() -> None:
    with pytest.raises(Malformed) as refusal:
        decode(raw({"t": "revoke", "share": "Anna Example"}), RevokeLetter, limit=100, what="the letter")
    assert "Anna" not in str(refusal.value)
    assert refusal.value.__cause__ is None
