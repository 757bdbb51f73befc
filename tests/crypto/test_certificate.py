import datetime as dt
import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from p2pshare.crypto.certificate import certificate_digest, new_certificate


def test_a_certificate_names_nobody_and_fits_any_clock() -> None:
    shown = x509.load_pem_x509_certificate(new_certificate().pem)
    assert list(shown.subject) == list(shown.issuer) == list(shown.extensions) == []
    assert shown.not_valid_before_utc == dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert shown.not_valid_after_utc == dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


def test_its_key_is_of_p256_and_signed_it() -> None:
    shown = x509.load_pem_x509_certificate(new_certificate().pem)
    key = shown.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    shown.verify_directly_issued_by(shown)


def test_no_two_have_anything_in_common_that_a_probe_could_recognise() -> None:
    one, other = (x509.load_pem_x509_certificate(new_certificate().pem) for _ in range(2))
    assert one.serial_number != other.serial_number
    assert one.public_key() != other.public_key()


def test_its_digest_is_that_of_what_is_shown() -> None:
    certificate = new_certificate()
    der = x509.load_pem_x509_certificate(certificate.pem).public_bytes(encoding=Encoding.DER)
    assert certificate.digest == certificate_digest(der) == hashlib.sha256(der).digest()


def test_its_key_does_not_show_when_it_is_printed() -> None:
    assert "PRIVATE" not in repr(new_certificate())
