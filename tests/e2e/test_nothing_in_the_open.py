"""Nothing about a patient is in the open: not in the vault's files, nor in temporary ones, nor said, nor on the wire.

Each search is shown to find what it looks for where the protection is taken away.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlcipher3 import dbapi2 as sqlcipher

from p2pshare.crypto import stream
from p2pshare.crypto.codec import Codec
from p2pshare.model.views import ShareState
from p2pshare.service import file_sealing
from tests import traces
from tests.cli.running import Cli, copied
from tests.e2e.pairs import node
from tests.e2e.proxy import CountingProxy
from tests.meetings import meeting, offered, reaches, until
from tests.studies import make_study
from tests.world import KEY, introduce, one_person, two_people, vault_path

PATIENT, DESCRIPTION, QUESTION = "Quetzalcoatlus", "Zwetschgenmus", "Xylophonkonzert"
SENDER, RECIPIENT, REASON = "Archaeopteryx Lithographica", "Dr Compsognathus Longipes", "Brontosaurus"
PIXELS = b"\x0b\x0a\x0d\x0c\x0e\x05\x0f\x01" * 2  # 12-bit words
TEXTS = (PATIENT, DESCRIPTION, QUESTION, "Archaeopteryx", "Compsognathus", REASON)
PLANTED: tuple[str | bytes, ...] = (*TEXTS, PIXELS)


def a_planted_study(folder: Path) -> Path:
    make_study(
        folder, 3, 64, 64, PatientName=f"{PATIENT}^Norma", StudyDescription=DESCRIPTION, PixelData=PIXELS * 512
    )  # fmt: skip
    return folder


class RecordingProxy(CountingProxy):
    """Keeps every byte that goes by, in either direction."""

    def __init__(self) -> None:
        self.heard: dict[socket.socket, bytearray] = {}
        super().__init__()

    def _pass_on(self, source: socket.socket, sink: socket.socket, forward: bool) -> None:
        heard = self.heard.setdefault(source, bytearray())
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                heard += data
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def found_in(data: bytes | bytearray, needles: Iterable[str | bytes] = PLANTED) -> list[str | bytes]:
    return [needle for needle in needles if any(each in data for each in traces.spellings(needle))]


@contextlib.contextmanager
def people(folder: Path) -> Iterator[tuple[Cli, Cli]]:
    """The sender and the recipient, each in a folder with a vault, a key file, a home and a place for the temporary."""

    async def make() -> None:
        async with one_person(folder / "vaults", SENDER) as one, one_person(folder / "vaults", RECIPIENT) as other:
            await introduce(one, other)
            await introduce(other, one)

    asyncio.run(make())
    clis = []
    for name in (SENDER, RECIPIENT):
        place = folder / f"computer {len(clis)}"
        for each in ("tmp", "home"):
            (place / each).mkdir(parents=True)
        copied(vault_path(folder / "vaults", name), place / "vault")
        (place / "vault.key").write_bytes(KEY.content)
        clis.append(Cli(place, more_env={"TMPDIR": str(place / "tmp")}))
    yield clis[0], clis[1]


def test_what_was_planted_is_found_nowhere_outside_the_vault(tmp_path: Path) -> None:
    disc = a_planted_study(tmp_path / "disc")
    question = tmp_path / "question.txt"
    question.write_text(f"{QUESTION}?")
    said = ""
    with people(tmp_path) as (ana, rao), RecordingProxy() as road:
        with node(ana) as hers, node(rao) as his:
            road.target = his.address
            said += ana.run("import", str(disc), "--json").err  # its result, on stdout, is for the person who asked
            ana.value("person", "set", "Dr", "--address", road.address)
            [scan] = ana.value("scan", "ls")["scans"]
            share = ana.value("share", "create", "--to", "Dr", "--scan", scan["scan"], "--question-file", str(question))
            second = ana.value("share", "create", "--to", "Dr", "--scan", scan["scan"])
            for each in (share, second):
                ana.value("share", "status", each["share"], "--wait", "--until", "offered", "--timeout", "60")
            rao.value("inbox", "decline", second["share"], "--reason", REASON)
            rao.value("inbox", "accept", share["share"])
            ana.value("share", "status", share["share"], "--wait", "--timeout", "60")
            assert rao.value("scan", "ls")["scans"][0]["patient"] == f"{PATIENT}^Norma"
            assert (rao.folder / "vault" / "vault.db-wal").stat().st_size > 0
            for cli in (ana, rao):  # while everything is open and in use
                assert traces.in_files(cli.folder, PLANTED) == []
            for process in (hers, his):
                process.process.terminate()
                out, err = process.process.communicate(timeout=60)
                said += out + err
        for cli in (ana, rao):  # and afterwards
            assert cli.value("check", "--read-data")["ok"]
            assert traces.in_files(cli.folder, PLANTED) == []
        assert found_in(said.encode()) == []
        heard = [bytes(data) for data in road.heard.values()]
        assert sum(map(len, heard)) > 3 * 8192 // 4
        for data in heard:
            assert found_in(data) == []


def test_without_the_databases_encryption_the_search_finds_the_texts(tmp_path: Path) -> None:
    async def story() -> bytes:
        async with one_person(tmp_path, SENDER) as ana, one_person(tmp_path, RECIPIENT) as rao:
            await introduce(ana, rao)
            await introduce(rao, ana)
            await ana.imports(a_planted_study(tmp_path / "disc"))
            share = await offered(ana, rao, question=QUESTION)
            await rao.inbox.decline(share.hex(), REASON)
            return rao.vault.keys.database_key()

    key = asyncio.run(story())
    vault = vault_path(tmp_path, RECIPIENT)
    assert traces.in_files(vault, TEXTS) == []
    plain = tmp_path / "plain"
    plain.mkdir()
    connection = sqlcipher.connect(str(vault / "vault.db"))
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
    connection.execute("ATTACH DATABASE ? AS plain KEY ''", (str(plain / "vault.db"),))
    connection.execute("SELECT sqlcipher_export('plain')")
    connection.close()
    assert found_in((plain / "vault.db").read_bytes(), TEXTS) == list(TEXTS)
    assert traces.in_files(plain, [PATIENT]) == ["vault.db"]


class NoCipher:
    """In the place of the cipher that seals chunks: seals nothing."""

    def __init__(self, key: bytes) -> None:
        pass

    def encrypt_into(self, nonce: bytes, data: Any, aad: bytes, buffer: Any) -> None:
        buffer[: len(data)] = data
        buffer[len(data) :] = bytes(16)

    def decrypt_into(self, nonce: bytes, data: Any, aad: bytes, buffer: Any) -> None:
        buffer[:] = data[:-16]


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "not sealed"])
async def test_without_the_chunks_seal_the_search_finds_name_and_pixels_in_packs_and_on_the_road(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    monkeypatch.setattr(file_sealing, "codec_for", lambda _: Codec.RAW)
    if not sealed:
        monkeypatch.setattr(stream, "ChaCha20Poly1305", NoCipher)
    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(a_planted_study(tmp_path / "disc"))
        share = await offered(ana, rao)
        await rao.inbox.accept(share.hex())
        async with meeting(ana, rao) as met:
            await until(reaches(ana, share, ShareState.DELIVERED))
        on_the_road = found_in(b"".join(met.links[0].sent), [PATIENT, PIXELS])
        in_packs = [traces.in_files(who.vault.folder.packs, [PIXELS]) for who in (ana, rao)]
    assert on_the_road == ([] if sealed else [PATIENT, PIXELS])
    assert all(in_packs) is not sealed


def test_the_search_sees_what_went_over_a_road_in_the_open() -> None:
    with RecordingProxy() as road, socket.create_server(("127.0.0.1", 0)) as listening:
        road.target = "{}:{}".format(*listening.getsockname())
        host, _, port = road.address.rpartition(":")
        with socket.create_connection((host, int(port)), 10) as caller:
            answering, _ = listening.accept()
            caller.sendall(b"for " + PATIENT.encode())
            answering.sendall(PIXELS)
            assert caller.recv(16) == PIXELS
            answering.close()
    assert sorted(map(str, found_in(b" ".join(road.heard.values())))) == sorted(map(str, [PATIENT, PIXELS]))
