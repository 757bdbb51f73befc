"""A folder of hostile files, imported with the real sandboxed readers: the good ones are stored, the others reported.

And nothing of them takes more memory than a clinic's computer has.
"""

import asyncio
import re
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from p2pshare.dicom.workers import Workers
from p2pshare.model.dicom import FileOutcome
from p2pshare.service.import_report import ImportReport
from p2pshare.service.importing import Importer
from tests.dicom.conftest import Encoder
from tests.studies import make_ct, make_study
from tests.world import Person, one_person

pytestmark = pytest.mark.linux

MIB = 1 << 20
MEMORY_MAX = 512 * MIB
PIXELS = 0x7FE00010
CONTENT = 0x0040A730  # a Content Sequence
DEFLATED = "1.2.840.10008.1.2.1.99"
DECODERS = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG": "1.2.840.10008.1.2.4.50",
    "lossless JPEG": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


class Memory:
    """The most that each of the readers' processes ever had in memory."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.most: dict[int, int] = {}

    async def watch(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(0.005)

    def look(self) -> None:
        for pid in self._workers.memory_pids:
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
                    if line.startswith("VmHWM:"):
                        self.most[pid] = max(self.most.get(pid, 0), int(line.split()[1]) * 1024)


@asynccontextmanager
async def sandboxed() -> AsyncIterator[tuple[Workers, Memory]]:
    """Real readers, whose memory is watched."""
    async with await Workers.start(2, wall_seconds=20.0) as workers:
        memory = Memory(workers)
        watching = asyncio.create_task(memory.watch())
        try:
            yield workers, memory
            memory.look()
        finally:
            watching.cancel()


async def imported(ana: Person, folder: Path, *, keep_unreadable: bool = False) -> ImportReport:
    """Import a folder with real readers; none of them may take too much."""
    async with sandboxed() as (workers, memory):
        report = await Importer(
            ana.vault, workers, ana.clock, lambda _: None, keep_unreadable=keep_unreadable
        ).run([folder])  # fmt: skip
        await asyncio.sleep(0.02)
    assert len(memory.most) >= 2  # the zygote, and a reader at least
    assert max(memory.most.values()) < MEMORY_MAX, memory.most
    return report


def whys(report: ImportReport) -> dict[str, str]:
    """Why each file that was not stored was not."""
    assert all(problem.outcome is FileOutcome.UNREADABLE for problem in report.problems), report.problems
    return {Path(problem.file).name: problem.why for problem in report.problems}


async def stored_are(ana: Person, good: list[Path], out: Path) -> None:
    assert await ana.exported(out) == sorted(path.read_bytes() for path in good)
    assert await ana.check() == []


# --- 39, 41: a folder that a clinic would rather not have got ---


def deflated(encoder: Encoder, megabytes: int) -> bytes:
    """An image in the deflated transfer syntax that unpacks to a thousand times its size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(encoder.identity() + encoder.image(65535, 65535))
    data += packer.compress(encoder.element(0x00204000, "LT", b"x" * 1000))
    data += packer.compress(encoder.element(PIXELS, "OW", length=megabytes * MIB))
    data += b"".join(packer.compress(bytes(MIB)) for _ in range(megabytes)) + packer.flush()
    return encoder.head(DEFLATED) + data


def nested(encoder: Encoder, depth: int, *, closed: bool) -> bytes:
    opening = encoder.element(CONTENT, "SQ", length=encoder.undefined) + encoder.implicit(
        0xFFFEE000, length=encoder.undefined
    )
    closing = (encoder.implicit(0xFFFEE00D) + encoder.implicit(0xFFFEE0DD)) * depth if closed else b""
    pixels = encoder.element(PIXELS, "OW", bytes(32))
    return encoder.head() + encoder.identity() + encoder.image() + opening * depth + closing + pixels


def hostile_files(encoder: Encoder) -> dict[str, bytes]:
    head = encoder.head() + encoder.identity()
    return {
        "bomb.dcm": deflated(encoder, 256),
        **{f"nested-{depth}.dcm": nested(encoder, depth, closed=True) for depth in (200, 5_000, 100_000)},
        **{f"open-{depth}.dcm": nested(encoder, depth, closed=False) for depth in (1, 200, 100_000)},
        "unclosed.dcm": head + encoder.element(CONTENT, "SQ", length=encoder.undefined),
        "unclosed-item.dcm": head
        + encoder.element(CONTENT, "SQ", length=encoder.undefined)
        + encoder.implicit(0xFFFEE000, length=encoder.undefined)
        + encoder.text(0x00080050, "SH", "1"),
        "unclosed-unknown.dcm": head + encoder.element(0x00091001, "UN", length=encoder.undefined) + bytes(1000),
    }


async def test_a_folder_of_bombs_costs_only_the_bombs(tmp_path: Path, encoder: Encoder) -> None:
    good = make_study(tmp_path / "in", 20)
    files = hostile_files(encoder)
    assert len(files["bomb.dcm"]) * 900 < 256 * MIB
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "in" / "disc.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(f"in-zip-{name}", data)
        archive.writestr("zeros.dcm", encoder.file() + bytes(256 * MIB))
    async with one_person(tmp_path) as ana:
        report = await imported(ana, tmp_path / "in")
        assert report.counts[FileOutcome.STORED] == 20
        reasons = whys(report)
        assert set(reasons) == {*files, *(f"in-zip-{name}" for name in files), "zeros.dcm"}
        assert all(reasons.values())
        assert reasons["nested-100000.dcm"] == reasons["in-zip-nested-100000.dcm"]
        for name, word in (("bomb.dcm", "unpack"), ("nested-200.dcm", "64 sequences within"), ("zeros.dcm", "unpack")):
            assert word in reasons[name], reasons
        await stored_are(ana, good, tmp_path / "out")


# --- 40: pixels that cannot be there ---


async def test_compressed_images_that_declare_65535_by_65535_are_refused_before_decoding(
    tmp_path: Path, encoder: Encoder
) -> None:
    good = make_study(tmp_path / "in", 3)
    for name, syntax in DECODERS.items():
        for samples, frames in ((1, None), (1, 2_000_000_000)):
            data = (
                encoder.head(syntax) + encoder.identity() + encoder.image(65535, 65535, bits=8 * samples, frames=frames)
            )
            (tmp_path / "in" / f"{name} {frames}").write_bytes(data + encoder.fragments(b"\xff\x4f" + bytes(1000)))
    async with one_person(tmp_path) as ana:
        report = await imported(ana, tmp_path / "in")
        assert whys(report) == {
            f"{name} {frames}": whys(report)[f"{name} {frames}"]
            for name in DECODERS
            for frames in (None, 2_000_000_000)
        }
        assert all("declares more pixels" in why for why in whys(report).values()), whys(report)
        await stored_are(ana, good, tmp_path / "out")


# --- 42: pixels that are cut off ---


def truncated_files(encoder: Encoder) -> dict[str, bytes]:
    start = encoder.head() + encoder.identity() + encoder.image(512, 512)
    packed = encoder.head(DECODERS["JPEG"]) + encoder.identity() + encoder.image(512, 512, bits=8, frames=3)
    whole = encoder.fragments(bytes(20_000), bytes(20_000), bytes(20_000))
    return {
        "native-short": start + encoder.element(PIXELS, "OW", bytes(1000), length=512 * 512 * 2),
        "native-last-byte": start + encoder.element(PIXELS, "OW", bytes(512 * 512 * 2 - 1), length=512 * 512 * 2),
        "native-too-few": start + encoder.element(PIXELS, "OW", bytes(512 * 512)),
        "packed-mid-fragment": packed + whole[:30_000],
        "packed-between-fragments": packed + whole[: 12 + 8 + 2 * 20_008],
        "packed-no-end": packed + whole[:-8],
        "packed-frame-less": packed + encoder.fragments(bytes(20_000), bytes(20_000)),
    }


async def test_truncated_pixel_data_is_never_stored_silently(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "in").mkdir()
    good = make_study(tmp_path / "in" / "good", 2)
    files = truncated_files(encoder)
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    async with one_person(tmp_path) as ana:
        report = await imported(ana, tmp_path / "in")
        assert set(whys(report)) == set(files)
        assert report.counts[FileOutcome.STORED] == 2
        await stored_are(ana, good, tmp_path / "out")


async def test_truncated_files_are_kept_byte_for_byte_if_asked_and_are_no_scan(
    tmp_path: Path, encoder: Encoder
) -> None:
    (tmp_path / "in").mkdir()
    for name, data in truncated_files(encoder).items():
        (tmp_path / "in" / name).write_bytes(data)
    async with one_person(tmp_path) as ana:
        report = await imported(ana, tmp_path / "in", keep_unreadable=True)
        assert report.counts[FileOutcome.STORED] == 7
        assert len({problem.why for problem in report.problems}) > 1  # each says why it is not an image
        (scan,) = await ana.library.listed()
        assert scan.study_uid == "files"
        assert scan.patient_name == ""
        await stored_are(ana, list((tmp_path / "in").iterdir()), tmp_path / "out")


# --- 44: names that would be paths ---


@pytest.mark.parametrize("keep", [False, True])
async def test_uids_that_would_be_paths_are_refused_and_nothing_is_written_outside_the_vault(
    tmp_path: Path, dicom_with: Callable[[str], bytes], keep: bool
) -> None:
    good = [make_ct(tmp_path / "in-good.dcm")]
    folder = tmp_path / "in"
    folder.mkdir()
    uids = ["../../x", "/etc/x", "1.2.3\x004", "\x00", "1" * 10_240, "..", "1.2.3/../4", "1.2.3\n4", "C:\\x", "aux"]
    for number, uid in enumerate(uids):
        (folder / f"{number}.dcm").write_bytes(dicom_with(uid))
    async with one_person(tmp_path) as ana:
        before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(ana.vault.folder.path)}
        report = await imported(ana, folder, keep_unreadable=keep)
        after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(ana.vault.folder.path)}
        assert after == before
        assert all("UID" in problem.why for problem in report.problems), report.problems
        assert len(report.problems) == len(uids)
        assert report.counts[FileOutcome.STORED if keep else FileOutcome.UNREADABLE] == len(uids)
        await ana.imports(*good)
        kept = list(folder.iterdir()) if keep else []
        await stored_are(ana, [*good, *kept], tmp_path / "out")
        names = [path.name for path in (tmp_path / "out").rglob("*.dcm")]
        assert all(re.fullmatch(r"IM\d{5}(-\d+)?\.dcm", name) for name in names), names
        assert not Path("/etc/x").exists()


def test_the_bomb_is_one(encoder: Encoder) -> None:
    data = deflated(encoder, 16)
    unpacked = zlib.decompressobj(-15).decompress(data[data.index(DEFLATED.encode()) + len(DEFLATED) :], 1 << 30)
    assert len(unpacked) > 16 * MIB
    assert struct.pack("<L", 16 * MIB) in unpacked[:4096]
