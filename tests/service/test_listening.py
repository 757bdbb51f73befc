"""Where a node listens, as a person writes it."""

import pytest

from p2pshare.errors import UsageError
from p2pshare.service.listening import parse_listen


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:4747", ("127.0.0.1", 4747)),
        ("localhost:0", ("localhost", 0)),
        (":4747", ("0.0.0.0", 4747)),  # noqa: S104 - what an empty host means
        ("[::1]:65535", ("::1", 65535)),
        ("[::]:1", ("::", 1)),
    ],
)
def test_a_place_to_listen_at_is_a_host_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert parse_listen(text) == place


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:65536", "host:-1", "host:٣", "host: 1", "4747"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_listen(text)
