"""The throw-away certificate that a listener shows: new at every start, and with nothing in it that names anybody.

Rule 1: it proves nothing. It keys TLS; who is at the other end is shown by the handshake inside (docs/protocol.md §1).
Rule 2: its key exists in memory only, and its dates fit any clock.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_BEGINS: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_ENDS: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)  # "never", RFC 5280 §4.1.2.5


@dataclass(frozen=True, slots=True)
class ThrowAwayCertificate:
    """A certificate with its key, both in `pem`, and the SHA-256 that the handshake binds."""

    pem: bytes = field(repr=False)
    digest: bytes


def new_certificate() -> ThrowAwayCertificate:
    """Make a P-256 key and a self-signed certificate for it, valid 1970 to 9999, without any name."""
    key = ec.generate_private_key(ec.SECP256R1())
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder(
            issuer_name=nobody,
            subject_name=nobody,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=_BEGINS,
            not_valid_after=_ENDS,
        )
    ).sign(key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shown = certificate.public_bytes(serialization.Encoding.PEM)
    return ThrowAwayCertificate(
        secret + shown, certificate_digest(certificate.public_bytes(serialization.Encoding.DER))
    )


def certificate_digest(der: bytes) -> bytes:
    """SHA-256 of a certificate as it was shown, in DER."""
    return hashlib.sha256(der).digest()
