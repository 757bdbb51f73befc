import pytest

from p2pshare.errors import Malformed
from p2pshare.sync.address import join_address, split_address


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("127.0.0.1:7421", "127.0.0.1", 7421),
        ("clinic.example:1", "clinic.example", 1),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:7421", "fe80::1%eth0", 7421),
    ],
)
def test_an_address_is_split_and_joined(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
    assert join_address(host, port) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:",
        ":7421",
        "host:0",
        "host:65536",
        "host:-1",
        "host:７",
        "::1:7421",
        "[::1]",
        "[]:7421",
        "[host]:7421",
        "ho st:7421",
        "host/path:7421",
        "user@host:7421",
        "host:7421\n",
        "host\x00:7421",
        "x" * 300 + ":7421",
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(Malformed):
        split_address(address)
