"""One byte of a vault or of an envelope is another: it is noticed and named, and without the defence it would not be.

The small files and the packs are flipped at every byte. The database has 50 pages, each under its own tag: it is
flipped at every 613th byte, six or seven to a page. tests/store/db/test_database.py has every byte of one page.
"""

import contextlib
import hashlib
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from p2pshare.crypto import hpke, stream, vaultkeys
from p2pshare.crypto.seal import check_letter, open_sealed
from p2pshare.errors import Damaged, DamagedDatabase, DamagedVault, Locked, RemoteError, Unsupported
from p2pshare.model.letters import Letter, RevokeLetter
from p2pshare.service.sealing import open_object
from p2pshare.service.upkeep import Problem, Upkeep
from p2pshare.store import people, scans, snapshots
from p2pshare.store.db import database
from p2pshare.store.packs import PackStore
from p2pshare.store.vault import Vault
from tests.studies import make_study
from tests.world import KEY, NOON, Person, SettableClock, one_person, two_people

DATABASE_STRIDE = 613  # prime, so that no field of a page is passed over at each of them


@pytest.fixture
async def made(tmp_path: Path) -> Path:
    """A closed vault with one scan of two images, and a snapshot."""
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 2, 8, 8)
        await ana.imports(tmp_path / "in")
        await snapshots.write_if_needed(ana.vault, NOON)
        assert await ana.check() == []
        path = ana.vault.folder.path
    assert not (path / "vault.db-wal").exists()  # closed
    return path


@contextmanager
def flipped(path: Path, place: int) -> Iterator[None]:
    """One byte of a file is another during the block."""
    with path.open("r+b", buffering=0) as file:
        file.seek(place)
        (old,) = file.read(1)
        try:
            file.seek(place)
            file.write(bytes([old ^ (1 << place % 8)]))
            yield
        finally:
            file.seek(place)
            file.write(bytes([old]))


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Person]:
    vault = await Vault.open(path, KEY)
    try:
        yield Person(vault, SettableClock())
    finally:
        await vault.close()


def fresh_packs(ana: Person) -> None:
    """Forget what is held of packs, as a process that starts would."""
    ana.vault.packs.close()
    ana.vault.snapshots.close()


async def found(path: Path) -> list[str]:
    """What opening a vault and checking it says."""
    async with opened(path) as ana:
        return [problem.what for problem in await ana.check()]


# --- the small files ---


async def header_faults(path: Path) -> list[str]:
    """What is said of a header; nothing only if all is well."""
    try:
        return [line for line in await found(path) if "vault.p2pv" in line]
    except (DamagedVault, Unsupported) as error:
        return [str(error)] if "header" in str(error) else []
    except Locked as error:  # the slot, which is all of it that the secret opens
        return [error.code]


async def test_every_byte_of_the_header_is_noticed_and_named(made: Path) -> None:
    header = made / "vault.p2pv"
    opens = 0
    for place in range(header.stat().st_size):
        with flipped(header, place):
            wrong = await header_faults(made)
            assert wrong, place
            opens += wrong == ["vault.p2pv: a part of it was changed"]
    assert opens > 30  # the header's tag at least
    assert await found(made) == []


async def test_without_the_headers_tag_a_flip_would_pass(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = made / "vault.p2pv"
    monkeypatch.setattr(vaultkeys, "same", lambda *_: True)
    with flipped(header, header.stat().st_size - 1):
        assert await found(made) == []


async def test_every_byte_of_the_keys_file_is_refused_by_name(made: Path) -> None:
    keys = made / "keys.p2ps"
    for place in range(keys.stat().st_size):
        with flipped(keys, place):
            with pytest.raises((DamagedVault, Unsupported)) as refused:
                await Vault.open(made, KEY)
            assert "keys file" in str(refused.value)
    assert await found(made) == []


async def test_without_its_seal_a_flip_of_the_keys_file_would_pass(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(made) as ana:
        knocks = ana.vault.identity.knock_keys
        where = len((made / "keys.p2ps").read_bytes()) - 17  # the last byte of the last knock key
    monkeypatch.setattr(vaultkeys, "open_once", unsealed)
    with flipped(made / "keys.p2ps", where):
        monkeypatch.setattr(vaultkeys, "same", lambda *_: True)
        vault = await Vault.open(made, KEY)
        await vault.close()
        assert vault.identity.knock_keys != knocks


def unsealed(key: bytes, aad: bytes, sealed: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439 §2.8) without its tag."""
    cipher = Cipher(algorithms.ChaCha20(key, (1).to_bytes(4, "little") + bytes(12)), mode=None)
    return cipher.decryptor().update(sealed[:-16])


# --- packs and snapshots ---


def the_pack(path: Path) -> Path:
    (pack,) = (path / "packs").rglob("*.p2pk")
    return pack


async def check_packs(ana: Person) -> list[Problem]:
    """What `check --read-data` says, without reading the whole database for each byte of a pack."""
    fresh_packs(ana)
    upkeep = ana.upkeep
    return await upkeep._packs(lambda *_: None) + await upkeep._snapshots() + await upkeep._data(lambda *_: None)


async def test_every_byte_of_a_pack_is_noticed_and_names_pack_and_scan(made: Path) -> None:
    pack = the_pack(made)
    async with opened(made) as ana:
        (scan,) = await ana.library.listed()
        assert await ana.check() == []
        for place in range(pack.stat().st_size):
            with flipped(pack, place):
                wrong = await check_packs(ana)
                named = [p for p in wrong if pack.stem in p.what]
                assert named, place
                assert all(scan.scan.hex()[:8] in p.scans[0] for p in named), place
        with flipped(pack, 100):  # and so says the whole check
            assert any(pack.stem in p.what for p in await ana.check())
        fresh_packs(ana)
        assert await ana.check() == []


async def test_every_byte_of_a_snapshot_is_noticed_and_named(made: Path) -> None:
    (snapshot,) = (made / "snapshots").rglob("*.p2pk")
    async with opened(made) as ana:
        for place in range(snapshot.stat().st_size):
            with flipped(snapshot, place):
                wrong = await check_packs(ana)
                assert any(p.what.startswith("snapshot") and snapshot.stem in p.what for p in wrong), place
        assert await check_packs(ana) == []


async def test_without_the_digests_a_flip_of_a_pack_would_only_be_found_by_the_seal_and_without_both_not_at_all(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = the_pack(made)
    async with opened(made) as ana:
        rows = await ana.vault.db.rows("SELECT offset, length FROM chunk")
        offset, length = max(rows)
        place = offset + length // 2
        monkeypatch.setattr(PackStore, "_fault", lambda *_: None)
        with flipped(pack, place):
            wrong = await check_packs(ana)
            assert [p.what for p in wrong] == ["1 images cannot be opened"]
            monkeypatch.setattr(Upkeep, "_unopenable", lambda *_: 0)
            assert await check_packs(ana) == []


async def test_without_the_seal_of_a_chunk_its_flip_would_still_be_found_by_the_plaintexts_hash_and_then_not(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unsealed:
        """The cipher of a stream without its tag."""

        def __init__(self, key: bytes) -> None:
            self._key = key

        def decrypt_into(self, nonce: bytes, data: Any, aad: bytes, into: Any) -> int:
            cipher = Cipher(algorithms.ChaCha20(self._key, (1).to_bytes(4, "little") + nonce), mode=None)
            plain = cipher.decryptor().update(bytes(data)[:-16])
            into[:] = plain
            return len(plain)

    async with opened(made) as ana:
        (scan,) = await ana.library.listed()
        instance = (await scans.instances_of(ana.vault.db, scan))[0]
        places = (await scans.places_of_study(ana.vault.db, scan))[instance.object_id]
        whole = b"".join(
            open_object(ana.vault.packs, instance.key, instance.commitment, instance.size, instance.sha256, places)
        )
        monkeypatch.setattr(stream, "ChaCha20Poly1305", Unsealed)
        monkeypatch.setattr(stream, "decompress", lambda payload, codec, length: bytes(whole))
        with flipped(the_pack(made), places[0].offset + 1):
            fresh_packs(ana)
            passed = b"".join(
                open_object(ana.vault.packs, instance.key, instance.commitment, instance.size, instance.sha256, places)
            )
        assert passed == whole  # nobody said a word
        monkeypatch.setattr(stream, "decompress", lambda payload, codec, length: b"?" + whole[1:])
        with pytest.raises(Damaged):
            list(open_object(
                ana.vault.packs, instance.key, instance.commitment, instance.size, instance.sha256, places
            ))  # fmt: skip


# --- the database ---


async def test_flips_all_over_the_database_are_noticed_and_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_TORN_SECONDS", 0.0)  # nobody else writes to it here
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    file = copy / "vault.db"
    refused = 0
    for place in range(0, file.stat().st_size, DATABASE_STRIDE):
        with flipped(file, place):
            try:
                wrong = await found(copy)
            except DamagedDatabase:
                refused += 1
            else:
                assert any(line.startswith("database") for line in wrong), place
        shutil.copyfile(made / "vault.db", file)  # what a checkpoint may have written meanwhile
    assert refused > 0
    assert await found(copy) == []


def test_without_the_tags_of_its_pages_a_flip_of_a_database_would_pass(tmp_path: Path) -> None:
    path = tmp_path / "plain.db"
    with contextlib.closing(sqlite3.connect(path)) as plain:
        plain.execute("CREATE TABLE study (patient TEXT)")
        plain.execute("INSERT INTO study VALUES ('Doe^Jane')")
        plain.commit()
    with flipped(path, path.read_bytes().index(b"Jane")), contextlib.closing(sqlite3.connect(path)) as plain:
        assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert plain.execute("SELECT patient FROM study").fetchall() != [("Doe^Jane",)]


# --- an envelope ---


async def test_every_byte_of_an_envelope_is_refused(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sealed = await ana.writes(rao, RevokeLetter(share=bytes(16)))
        prekeys = [(own.prekey, own.secret) for own in await people.own_prekeys(rao.vault.db)]
        me = rao.peer.device_id
        assert isinstance(open_sealed(sealed, prekeys, me), Letter)
        for place in range(len(sealed)):
            changed = bytearray(sealed)
            changed[place] ^= 1 << place % 8
            with pytest.raises(RemoteError):
                open_sealed(bytes(changed), prekeys, me)  # type: ignore[arg-type]


async def test_without_its_tag_a_flip_of_an_envelope_would_pass_and_be_found_by_the_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        sealed = await ana.writes(rao, RevokeLetter(share=bytes(16)))
        prekeys = [(own.prekey, own.secret) for own in await people.own_prekeys(rao.vault.db)]
        me, public = rao.peer.device_id, ana.vault.identity.device.public
        letter = open_sealed(sealed, prekeys, me)
        open_with = hpke.open_with
        assert isinstance(letter, Letter)

        def without_tag(secret: bytes, info: bytes, changed: bytes) -> bytes:
            """As ChaCha20 alone would open it: a bit of the ciphertext is a bit of the plaintext."""
            original = bytes(sealed)[-len(changed) :]
            plain = open_with(secret, info, original)
            assert plain is not None
            start = len(changed) - 16 - len(plain)
            body = zip(plain, original[start:], changed[start:], strict=False)
            return bytes(p ^ one ^ other for p, one, other in body)

        monkeypatch.setattr(hpke, "open_with", without_tag)
        passed = 0
        for place in range(len(sealed)):
            changed = bytearray(sealed)
            changed[place] ^= 1 << place % 8
            with contextlib.suppress(RemoteError):
                opened_as = open_sealed(bytes(changed), prekeys, me)  # type: ignore[arg-type]
                passed += opened_as != letter
                if opened_as != letter and isinstance(opened_as, Letter) and opened_as.prekey == letter.prekey:
                    with pytest.raises(RemoteError):
                        check_letter(opened_as, public)
        assert passed > 100


def test_the_flips_do_flip(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)))
    before = hashlib.sha256(path.read_bytes()).digest()
    for place in range(256):
        with flipped(path, place):
            assert hashlib.sha256(path.read_bytes()).digest() != before
    assert hashlib.sha256(path.read_bytes()).digest() == before
