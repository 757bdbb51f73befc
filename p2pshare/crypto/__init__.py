"""Keys, seals and streams: bytes in, bytes out; never a file, a socket or a clock."""
