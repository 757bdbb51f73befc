"""Where a node listens, as a person writes it."""

from p2pshare.errors import UsageError

_PORT_MAX = 65535


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", "[IPV6]:PORT" or ":PORT"; port 0 takes any. Raises UsageError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > _PORT_MAX or not port.isascii():
        raise UsageError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]") or "0.0.0.0", int(port)  # noqa: S104 - the person asked for all
