"""Addresses as cards write them: "HOST:PORT", an IPv6 address in brackets."""

import re
from typing import Final

from p2pshare.errors import Malformed

ADDRESS_MAX: Final = 300  # a DNS name has at most 253 characters (RFC 1035 §2.3.4)

# a name or an IPv4 address | an IPv6 address, with its zone
_ADDRESS: Final = re.compile(r"(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?)\]):([0-9]{1,5})\Z")
_PORT_MAX: Final = 65535


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `address`. Raises `Malformed` when it is not one."""
    found = _ADDRESS.match(address) if len(address) <= ADDRESS_MAX else None
    if found is None or not 1 <= int(found[3]) <= _PORT_MAX:
        raise Malformed("an address")
    return found[1] or found[2], int(found[3])


def join_address(host: str, port: int) -> str:
    """`host` and `port` as cards write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
