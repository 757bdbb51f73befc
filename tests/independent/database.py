"""The vault's database (docs/format.md §6): SQLCipher 4 undone by hand, from zetetic.net/sqlcipher/design.

Each page of 4,096 bytes is AES-256-CBC ciphertext, 16 bytes of IV and 64 bytes of HMAC-SHA512 over ciphertext, IV and
page number; in place of the first 16 bytes of the first page, which SQLite's own magic would fill, there is a salt.
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.independent.msgpack import refuse_unless

PAGE = 4096
RESERVED = 16 + 64


def decrypted(data: bytes, raw_key: bytes) -> bytes:
    """A SQLCipher database as a plain SQLite file, in rollback mode so that it opens from memory."""
    refuse_unless(data and len(data) % PAGE == 0, "a database of broken pages")
    mac_key = hashlib.pbkdf2_hmac("sha512", raw_key, bytes(byte ^ 0x3A for byte in data[:16]), 2, 32)
    pages = [_page(data[at : at + PAGE], at // PAGE + 1, raw_key, mac_key) for at in range(0, len(data), PAGE)]
    plain = bytearray(b"".join(pages))
    plain[18:20] = b"\x01\x01"  # what SQLite's file format calls legacy; SQLCipher's file is in WAL mode
    return bytes(plain)


def _page(page: bytes, number: int, key: bytes, mac_key: bytes) -> bytes:
    start = 16 if number == 1 else 0
    body, iv, mac = page[start:-RESERVED], page[-RESERVED:-64], page[-64:]
    expected = hmac.digest(mac_key, body + iv + number.to_bytes(4, "little"), "sha512")
    refuse_unless(hmac.compare_digest(mac, expected), f"page {number} of the database")
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).decryptor()
    plain = decryptor.update(body) + decryptor.finalize()
    return (b"SQLite format 3\0" if number == 1 else b"") + plain + bytes(RESERVED)
