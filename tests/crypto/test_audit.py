"""Each entry's hash covers the entry and the one before."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from p2pshare.crypto.audit import LOG_START, link


def test_an_entrys_hash_is_the_documented_one() -> None:
    fields = (7).to_bytes(8, "big") + (99).to_bytes(8, "big") + b"\x00\x00\x00\x04send" + b"\x00\x00\x00\x02{}"
    expected = hashlib.sha256(b"p2pshare/v1/audit/link\x00" + bytes(32) + fields).digest()
    assert link(LOG_START, 7, 99, "send", "{}") == expected


@given(st.text(st.characters(codec="utf-8"), max_size=9), st.text(st.characters(codec="utf-8"), max_size=9))
def test_any_change_of_an_entry_changes_its_hash(kind: str, detail: str) -> None:
    hashes = {
        link(LOG_START, 1, 5, kind, detail),
        link(b"x" * 32, 1, 5, kind, detail),
        link(LOG_START, 2, 5, kind, detail),
        link(LOG_START, 1, 6, kind, detail),
        link(LOG_START, 1, 5, kind + "x", detail),
        link(LOG_START, 1, 5, kind, "x" + detail),
    }
    assert len(hashes) == 6


def test_kind_and_detail_do_not_run_into_each_other() -> None:
    assert link(LOG_START, 1, 5, "ab", "c") != link(LOG_START, 1, 5, "a", "bc")
