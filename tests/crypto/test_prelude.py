"""A file of another kind is malformed; one of another version is unsupported, and says so."""

import pytest

from p2pshare.crypto.prelude import PRELUDE_SIZE, check_prelude, prelude
from p2pshare.errors import DamagedVault, Malformed, Unsupported


def test_a_prelude_is_taken() -> None:
    assert prelude(b"P2PX") == b"P2PX\x01\x01"
    assert len(prelude(b"P2PX")) == PRELUDE_SIZE
    check_prelude(b"P2PX\x01\x01more", b"P2PX", "a test")


@pytest.mark.parametrize("data", [b"", b"P2PX\x01", b"P2PY\x01\x01", b"p2px\x01\x01"])
def test_another_magic_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="a test"):
        check_prelude(data, b"P2PX", "a test")
    with pytest.raises(DamagedVault, match="a test"):
        check_prelude(data, b"P2PX", "a test", DamagedVault)


@pytest.mark.parametrize("ending", [b"\x00\x01", b"\x02\x01", b"\x01\x00", b"\x01\x02", b"\xff\xff"])
def test_another_version_or_suite_is_unsupported(ending: bytes) -> None:
    with pytest.raises(Unsupported):
        check_prelude(b"P2PX" + ending, b"P2PX", "a test", DamagedVault)
