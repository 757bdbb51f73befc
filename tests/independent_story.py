"""What an independent reader is given: two people's vaults, and every frame that passed between them.

Made by the real services; the sessions are in memory, so that every frame is at hand.
"""

import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from p2pshare.crypto.slots import KeyfileSecret, PassphraseSecret
from p2pshare.model.dicom import FileOutcome
from p2pshare.model.views import ShareState
from p2pshare.service.unlocking import new_recovery_sheet
from p2pshare.store import snapshots
from p2pshare.store.vault import Vault
from tests import independent_reader as reader
from tests.meetings import meeting, reaches, until
from tests.studies import fresh_uid, make_ct
from tests.world import NOON, Person, SettableClock, introduce

PASSPHRASE = "Kärntner Straße, six o'clock"
KEY_FILE = b"thirty-two bytes of a key file.."
QUESTION = "Is it benign? — «so it seems». " * 200  # with it, a letter is longer than the least envelope

_BIG, _NOISE, _THIRD = fresh_uid(), fresh_uid(), fresh_uid()


@dataclass
class Side:
    """One person: the vault's folder, what the reader opens it with, and what is known of them."""

    folder: Path
    sheet: Path
    card: bytes = b""
    words: str = ""
    device: bytes = b""
    person: bytes = b""
    frames: list[bytes] = field(default_factory=list)

    def opened(self) -> reader.Vault:
        return reader.Vault(self.folder, "keyfile", KEY_FILE)

    def sealed_frames(self, kind: int) -> list[bytes]:
        """The envelopes of receipts or letters that this side sent."""
        return [frame[1:] for frame in self.frames if frame[0] == kind]


@dataclass
class Story:
    """Ana imported files and shared two scans, then a third, with Dr Rao, who accepted them."""

    ana: Side
    rao: Side
    stored: set[str]
    shared: set[str]
    share: bytes
    second: bytes
    receipt: Path


async def happen(folder: Path, dicom_files: Path) -> Story:
    """Let it happen in `folder`; `dicom_files` is where pydicom keeps its own test files."""
    clock = SettableClock()
    ana, rao = Side(folder / "ana", folder / "ana.txt"), Side(folder / "rao", folder / "rao.txt")
    async with _made(ana, "Ana", clock) as one, _made(rao, "Dr Rao", clock) as other:
        for person, side in ((one, ana), (other, rao)):
            side.card = await person.people.my_card()
            side.device, side.person = person.peer.device_id, person.peer.person_id
        ana.words = (await one.people.add(_written(folder / "rao.card", rao.card))).words
        await one.people.verify("Dr Rao", ana.words)
        await introduce(other, one)
        files = _files(folder / "files", dicom_files)
        report = await one.imports(*files, keep_unreadable=True)
        assert report.counts[FileOutcome.STORED] + report.counts[FileOutcome.CONFLICT] == len(files), report.problems
        scans = {scan.study_uid: scan.scan.hex() for scan in await one.library.listed()}
        share = await _shared(one, other, ana, rao, [scans[_BIG], scans[_NOISE]])
        second = await _shared(one, other, ana, rao, [scans[_BIG], scans[_NOISE], scans[_THIRD]])
        clock.advance(60)
        proof = await one.offers.receipt(await one.offers.find(second.hex()))
        assert proof is not None
        await one.offers.save(folder / "receipt", proof.file)
        for person in (one, other):
            await snapshots.write_if_needed(person.vault, clock())
    stored = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    shared = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.parent.name == "shared"}
    return Story(ana, rao, stored, shared, share, second, folder / "receipt")


def _files(folder: Path, dicom_files: Path) -> list[Path]:
    """Files of every sort: pydicom's own, images of several chunks that compress well and not at all, and no DICOM."""
    shared = folder / "shared"
    shared.mkdir(parents=True)
    wave = (np.sin(np.arange(1200 * 1200) / 700) * 1500 + 2000).astype(np.uint16)
    noise = np.random.default_rng(1).integers(0, 65536, (7, 1000, 1000), np.uint16)
    made = [
        make_ct(shared / "wave.dcm", 1200, 1200, StudyInstanceUID=_BIG, PixelData=wave.tobytes()),
        make_ct(shared / "small.dcm", StudyInstanceUID=_BIG),
        make_ct(shared / "noise.dcm", 1000, 1000, StudyInstanceUID=_NOISE, NumberOfFrames=7, PixelData=noise.tobytes()),
        make_ct(shared / "third.dcm", StudyInstanceUID=_THIRD),
    ]
    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "rtplan.dcm", "waveform_ecg.dcm", "MR_small_RLE.dcm"):
        made.append(folder / name)
        shutil.copyfile(dicom_files / name, folder / name)
    (folder / "letter.txt").write_text("Dear colleague,\n" * 100_000, encoding="ascii")
    return [*made, folder / "letter.txt"]


@asynccontextmanager
async def _made(side: Side, name: str, clock: SettableClock) -> AsyncIterator[Person]:
    slots = [
        PassphraseSecret(PASSPHRASE, memory_mib=64, passes=2),
        new_recovery_sheet(side.sheet, name),
        KeyfileSecret(KEY_FILE),
    ]
    vault = await Vault.create(side.folder, slots, name, NOON)
    try:
        yield Person(vault, clock)
    finally:
        await vault.close()


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


async def _shared(one: Person, other: Person, ana: Side, rao: Side, scans: list[str]) -> bytes:
    share = await one.offers.create("Dr Rao", scans, QUESTION)
    async with meeting(one, other) as met:
        await until(reaches(one, share, ShareState.OFFERED))
        await other.inbox.accept(share.hex())
        await until(reaches(one, share, ShareState.DELIVERED))
        await other.open_delivered()
        await until(reaches(one, share, ShareState.IMPORTED))
        ana.frames += met.links[0].sent
        rao.frames += met.links[1].sent
    return share
