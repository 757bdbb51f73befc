"""Labels keep uses apart; fields cannot run into each other; the derivations are the standards'."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.crypto.labels import hkdf, kdf, label, lp, mac, same, u8, u32, u64
from p2pshare.errors import Malformed


def test_a_label_is_ascii_and_ends_in_nul() -> None:
    assert label("object/id") == b"p2pshare/v1/object/id\x00"


@pytest.mark.parametrize(("field", "width"), [(u8, 1), (u32, 4), (u64, 8)])
def test_numbers_are_big_endian_and_of_fixed_width(field, width: int) -> None:
    largest = (1 << 8 * width) - 1
    assert field(1) == bytes(width - 1) + b"\x01"
    assert field(largest) == b"\xff" * width
    for wrong in (-1, largest + 1):
        with pytest.raises(Malformed):
            field(wrong)


@given(st.lists(st.binary(max_size=20), max_size=5), st.lists(st.binary(max_size=20), max_size=5))
def test_different_lists_of_fields_are_different_bytes(one: list[bytes], other: list[bytes]) -> None:
    assert (b"".join(map(lp, one)) == b"".join(map(lp, other))) == (one == other)


def test_a_key_differs_by_use_field_and_salt() -> None:
    key = b"k" * 32
    derived = {kdf(key, "a"), kdf(key, "b"), kdf(key, "a", b"x"), kdf(key, "a", b"", b"x"), kdf(b"j" * 32, "a")}
    assert len(derived) == 5
    assert {len(one) for one in derived} == {32}


def test_derivation_is_what_the_format_says() -> None:
    extracted = hmac.digest(bytes(32), b"k" * 32, "sha256")  # RFC 5869 §2.2: no salt is one of zeros
    assert kdf(b"k" * 32, "vault/db", b"fields") == hmac.digest(
        extracted, b"p2pshare/v1/vault/db\x00fields\x01", hashlib.sha256
    )


def test_same_compares_content_and_length() -> None:
    assert same(b"abc", bytes(bytearray(b"abc")))
    assert not same(b"abc", b"abd")
    assert not same(b"abc", b"ab")


@pytest.mark.corpus
def test_hkdf_passes_wycheproof(corpus: Path) -> None:
    tried = 0
    for _, test in _wycheproof(corpus, "hkdf_sha256"):
        expected = bytes.fromhex(test["okm"])
        if test["result"] == "valid" and test["size"] > 0:
            derived = hkdf(bytes.fromhex(test["ikm"]), bytes.fromhex(test["info"]), bytes.fromhex(test["salt"]))
            # ours are 32 bytes; a longer output begins with them, a shorter one is their beginning (RFC 5869 §2.3)
            assert derived[: len(expected)] == expected[:32], test["tcId"]
            tried += 1
    assert tried >= 70


@pytest.mark.corpus
def test_hmac_passes_wycheproof(corpus: Path) -> None:
    tried = 0
    for group, test in _wycheproof(corpus, "hmac_sha256"):
        tag = mac(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"]))[: group["tagSize"] // 8]
        assert same(tag, bytes.fromhex(test["tag"])) == (test["result"] == "valid"), test["tcId"]
        tried += 1
    assert tried == 174


def _wycheproof(corpus: Path, name: str):
    content = json.loads((corpus / "vectors" / "wycheproof" / f"{name}_test.json").read_text())
    return [(group, test) for group in content["testGroups"] for test in group["tests"]]
