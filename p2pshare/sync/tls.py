"""TLS as the direct road uses it: 1.3 only, a throw-away certificate on one side, and no trust in it on either.

Rule 1: confidentiality of content never rests on it, and identity neither (docs/protocol.md §1).
Rule 2: the certificate's key never reaches a disk where the system can avoid that (Linux: an anonymous memory file).
"""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from p2pshare.crypto.certificate import ThrowAwayCertificate

_DESCRIPTORS: Final = Path("/proc/self/fd")


def server_context(certificate: ThrowAwayCertificate) -> ssl.SSLContext:
    """The side that shows `certificate`; it asks the client for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nothing is resumed: every connection makes keys of its own
    with _as_file(certificate.pem) as path:
        context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """The side that dials: it takes any certificate, and binds what it saw in the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def _as_file(pem: bytes) -> Iterator[Path]:
    """Give `pem` a path for as long as OpenSSL reads it: it loads certificates by path only."""
    if hasattr(os, "memfd_create") and _DESCRIPTORS.is_dir():
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as memory:  # noqa: PTH123 - a descriptor has no path yet
            memory.write(pem)
            yield _DESCRIPTORS / str(descriptor)
        return
    # No memory files here (macOS, the BSDs): a private file (mode 0600) that is gone when OpenSSL has read it.
    with tempfile.TemporaryDirectory(prefix="p2pshare-") as folder:
        path = Path(folder) / "certificate"
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(pem)
        yield path
