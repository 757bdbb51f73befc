"""The prelude: the six bytes that every file and envelope of ours begins with (magic, version, suite).

There is one version and one suite. Another is refused by name, so that a person is told to update instead of being
told that the data is broken.
"""

from typing import Final

from p2pshare.errors import Malformed, P2PShareError, Unsupported

VERSION: Final = 1
SUITE: Final = 1
PRELUDE_SIZE: Final = 6


def prelude(magic: bytes) -> bytes:
    """`magic`, the version and the suite."""
    return magic + bytes((VERSION, SUITE))


def check_prelude(data: bytes, magic: bytes, what: str, error: type[P2PShareError] = Malformed) -> None:
    """Check what `data` begins with.

    Raises:
        Malformed: it does not begin with `magic` (or `error`, where our own file is read).
        Unsupported: it does, but is of another version or suite.
    """
    if len(data) < PRELUDE_SIZE or data[: len(magic)] != magic:
        raise error(what)
    if data[len(magic)] != VERSION or data[len(magic) + 1] != SUITE:
        raise Unsupported(what)
