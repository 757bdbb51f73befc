"""What is sealed once opens once, and nothing that was changed opens."""

import json
from pathlib import Path

import pytest

from p2pshare.crypto import aead
from p2pshare.crypto.aead import open_once, seal_once
from tests.crypto.samples import flips

KEY = b"k" * 32


def test_what_was_sealed_opens() -> None:
    assert open_once(KEY, b"aad", seal_once(KEY, b"aad", b"plain")) == b"plain"


def test_no_changed_byte_of_key_aad_or_ciphertext_opens() -> None:
    sealed = seal_once(KEY, b"aad", b"plain")
    assert len(sealed) == len(b"plain") + aead.TAG_SIZE
    assert not any(open_once(KEY, b"aad", changed) for changed in flips(sealed))
    assert not any(open_once(KEY, changed, sealed) for changed in flips(b"aad"))
    assert not any(open_once(changed, b"aad", sealed) for changed in flips(KEY))


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(15), bytes(16)])
def test_what_is_too_short_does_not_open(sealed: bytes) -> None:
    assert open_once(KEY, b"", sealed) is None


@pytest.mark.corpus
def test_it_passes_wycheproof_at_every_nonce(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads((corpus / "vectors" / "wycheproof" / "chacha20_poly1305_test.json").read_text())
    tried = 0
    for group in content["testGroups"]:
        if group["ivSize"] != 96:
            continue  # no other nonce can be asked for
        for test in group["tests"]:
            values = {name: bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")}
            monkeypatch.setattr(aead, "ZERO", values["iv"])
            opened = open_once(values["key"], values["aad"], values["ct"] + values["tag"])
            valid = test["result"] == "valid"
            assert opened == (values["msg"] if valid else None), test["tcId"]
            if valid:
                assert seal_once(values["key"], values["aad"], values["msg"]) == values["ct"] + values["tag"]
            tried += 1
    assert tried >= 300
