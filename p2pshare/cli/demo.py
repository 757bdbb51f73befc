"""The demo: the main job with two vaults and two node processes on this computer, told in a person's words.

Everything is done with the commands that a person would type; nothing is simulated. The images are the real DICOM
files that the pydicom and pydicom-data packages bring along.
"""

import argparse
import asyncio
import hashlib
import importlib.util
import json
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pshare.cli.output import Output, size_text
from p2pshare.errors import AlreadyExists, LocalError, NotFound
from p2pshare.model.text import shown

OK = 0
_SLOW_MB = "2"  # the first sender is slowed down, so that there is a half-way to kill it at
_PATIENCE = 120.0  # seconds for any one step


class DemoFailed(LocalError):
    """The demo did not go as it should have. Its two vaults are left as they are, to be looked at."""


@dataclass(slots=True)
class _Side:
    """One of the two people: a vault, and how its commands are run."""

    name: str
    vault: Path
    key_file: Path
    address: str = ""

    async def run(self, *words: str) -> dict[str, Any]:
        """Run one p2pshare command and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *_program(), "--vault", str(self.vault), "--key-file", str(self.key_file), *words, "--json",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, complaints = await asyncio.wait_for(process.communicate(), _PATIENCE)
        try:
            value: dict[str, Any] = json.loads(printed)
        except json.JSONDecodeError:
            raise DemoFailed(f"{words[0]}: {complaints.decode(errors='replace')[-300:]}") from None
        if "error" in value:
            raise DemoFailed(f"{words[0]}: {value['error']['what']} {value['error']['advice']}")
        return value


async def demo(args: argparse.Namespace, out: Output) -> int:
    """Run the demo and tell what happens."""
    folder = _folder(args.folder)
    files = _real_files()
    ana = _Side("Ana", folder / "ana", folder / "ana.key")
    rao = _Side("Dr Rao", folder / "dr-rao", folder / "dr-rao.key")
    tell = _Teller(out)
    async with AsyncExitStack() as stack:
        imported = await _prepare(tell, folder, ana, rao, files)
        await _meet(tell, folder, ana, rao)
        receiver = await stack.enter_async_context(_serving(rao))
        rao.address = receiver.address
        await ana.run("person", "set", rao.name, "--address", rao.address)
        share = await _offer(tell, folder, ana, rao, imported)
        proof = await _deliver(tell, stack, ana, rao, share)
        compared = await _compare(tell, folder, ana, rao, imported)
    await _look_after(tell, ana, rao)
    value = {"folder": str(folder), "share": share, "files_compared": compared, "receipt": proof}
    closing = [
        "",
        f"Both vaults are in {shown(str(folder))}: look around with",
        f"    p2pshare --vault {ana.vault} --key-file {ana.key_file} scan ls",
        f"    p2pshare --vault {rao.vault} --key-file {rao.key_file} inbox ls",
        "and delete the folder when you have seen enough.",
    ]
    out.data(value, closing)
    return OK


class _Teller:
    """Tells the story, step by step, on stdout; with --json only the result is printed."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def step(self, title: str) -> None:
        if not self._out.json:
            print(f"\n{self._out.bold(title)}", flush=True)

    def say(self, line: str) -> None:
        if not self._out.json:
            print(f"  {shown(line)}", flush=True)


async def _prepare(tell: _Teller, folder: Path, ana: _Side, rao: _Side, files: Sequence[Path]) -> list[dict[str, Any]]:
    tell.step("1. Two people, two computers, two encrypted vaults")
    for side in (ana, rao):
        passphrase = folder / f"{side.vault.name}.passphrase"
        passphrase.write_text(f"demo {secrets.token_hex(12)}\n")
        recovery = folder / f"{side.vault.name}.recovery.txt"
        await _setup(side, passphrase, recovery)
        tell.say(f"{side.name}: a vault at {side.vault}; the recovery sheet is {recovery.name}")
    tell.step("2. Ana imports what her hospitals gave her")
    report = await ana.run("import", *(str(f) for f in files))
    tell.say(
        f"{report['stored'] + report['conflict']} images saved, {report['skipped']} files are no images,"
        f" {report['unreadable']} could not be read (each with its reason)"
    )
    scans: list[dict[str, Any]] = (await ana.run("scan", "ls"))["scans"]
    kinds = sorted({kind for scan in scans for kind in scan["modalities"]})
    tell.say(f"{len(scans)} scans: {', '.join(kinds)}")
    largest: dict[str, dict[str, Any]] = {}
    for scan in sorted(scans, key=lambda s: int(s["bytes"])):
        largest.update(dict.fromkeys(scan["modalities"], scan))
    return list({scan["scan"]: scan for scan in largest.values()}.values())


async def _setup(side: _Side, passphrase: Path, recovery: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *_program(), "--vault", str(side.vault), "--passphrase-file", str(passphrase), "--key-file",
        str(side.key_file), "setup", "--name", side.name, "--recovery-file", str(recovery), "--quiet",
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    if await asyncio.wait_for(process.wait(), _PATIENCE):
        raise DemoFailed("setup")


async def _meet(tell: _Teller, folder: Path, ana: _Side, rao: _Side) -> None:
    tell.step("3. They exchange cards, and read eight words to each other on the phone")
    for side in (ana, rao):
        await side.run("person", "card", "-o", str(folder / f"{side.vault.name}.card"))
    hers = await ana.run("person", "add", str(folder / f"{rao.vault.name}.card"))
    his = await rao.run("person", "add", str(folder / f"{ana.vault.name}.card"))
    tell.say(f"Ana sees:    {hers['words']}")
    tell.say(f"Dr Rao sees: {his['words']}")
    await ana.run("person", "verify", rao.name, "--words", his["words"])
    await rao.run("person", "verify", ana.name, "--words", hers["words"])
    tell.say("The same: both are verified. Nothing can step in between them from now on.")


async def _offer(tell: _Teller, folder: Path, ana: _Side, rao: _Side, scans: Sequence[Mapping[str, Any]]) -> str:
    tell.step(f"4. Ana shares {len(scans)} scans with Dr Rao, with a question")
    question = folder / "question.txt"
    question.write_text("Has the finding changed since the last scan? I can be reached after six.\n")
    chosen = [word for scan in scans for word in ("--scan", scan["scan"])]
    share = str(
        (await ana.run("share", "create", "--to", rao.name, *chosen, "--question-file", str(question)))["share"]
    )
    status = await ana.run("share", "status", share)
    tell.say(f"share {share[:8]} is {status['state']}: {status['why']}")
    return share


async def _deliver(tell: _Teller, stack: AsyncExitStack, ana: _Side, rao: _Side, share: str) -> dict[str, Any]:
    async with _serving(ana, "--limit-rate", _SLOW_MB) as sender:
        status = await ana.run("share", "status", share, "--wait", "--until", "offered", "--timeout", "60")
        tell.say(f"Ana's computer is on; the share is {status['state']}")
        offer = next(o for o in (await rao.run("inbox", "ls"))["inbox"] if o["id"] == share)
        tell.say(f"Dr Rao reads: “{offer['question'].strip()}”")
        await rao.run("inbox", "accept", share)
        tell.step("5. Half-way through, Ana's computer dies (SIGKILL)")
        half = await _half_way(ana, share)
        sender.process.kill()
        await sender.process.wait()
        tell.say(f"{half['chunks_done']} of {half['chunks_total']} pieces were safe at Dr Rao's when it died")
    tell.step("6. It starts again, and goes on where it stopped")
    await stack.enter_async_context(_serving(ana))
    status = await ana.run("share", "status", share, "--wait", "--timeout", "60")
    if status["state"] != "imported":
        raise DemoFailed(f"the share is {status['state']}: {status['why']}")
    offer = next(o for o in (await rao.run("inbox", "ls"))["inbox"] if o["id"] == share)
    resent = status["wire_bytes"] / offer["bytes"]
    tell.say(
        f"all {status['chunks_total']} pieces arrived; {size_text(status['wire_bytes'])} went over the wire in both"
    )
    tell.say(f"runs together, {resent:.2f} times what is stored")
    proof = await ana.run("share", "receipt", share)
    tell.say(f"Dr Rao's computer signed: everything is {proof['state']} (layout {proof['layout'][:16]}…)")
    return proof


async def _half_way(ana: _Side, share: str) -> dict[str, Any]:
    for _ in range(120):
        status = await ana.run("share", "status", share)
        if status["chunks_done"] == status["chunks_total"]:
            break
        if status["chunks_done"] * 2 >= status["chunks_total"]:
            return status
    raise DemoFailed("the share was never seen half-way")


async def _compare(tell: _Teller, folder: Path, ana: _Side, rao: _Side, scans: Sequence[Mapping[str, Any]]) -> int:
    tell.step("7. Both export the scans, and every file is compared by SHA-256")
    compared = 0
    for scan in scans:
        hashes = []
        for side in (ana, rao):
            files = (
                await side.run(
                    "scan", "export", scan["scan"], "-o", str(folder / "exported" / side.vault.name / scan["scan"][:8])
                )
            )["files"]
            hashes.append(sorted([await asyncio.to_thread(_hash, Path(f["path"])) for f in files]))
        if hashes[0] != hashes[1] or not hashes[0]:
            raise DemoFailed(f"scan {scan['scan'][:8]} is not the same on both sides")
        compared += len(hashes[0])
    tell.say(f"{compared} files compared: every one is byte for byte the same")
    return compared


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _look_after(tell: _Teller, ana: _Side, rao: _Side) -> None:
    tell.step("8. Is everything in both vaults as it was written?")
    for side in (ana, rao):
        checked = await side.run("check", "--read-data")
        if not checked["ok"]:
            raise DemoFailed(f"{side.name}'s vault: {checked['problems']}")
        tell.say(f"{side.name}: every byte was read and compared; nothing is missing")


@dataclass(slots=True)
class _Server:
    process: asyncio.subprocess.Process
    address: str


@asynccontextmanager
async def _serving(side: _Side, *options: str) -> AsyncIterator[_Server]:
    """A node process of `side`, stopped at the end by its pid."""
    process = await asyncio.create_subprocess_exec(
        *_program(), "--vault", str(side.vault), "--key-file", str(side.key_file), "serve", "--listen",
        "127.0.0.1:0", "--json", *options, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        if process.stdout is None:
            raise DemoFailed("serve")
        line = await asyncio.wait_for(process.stdout.readline(), _PATIENCE)
        if not line:
            raise DemoFailed(f"{side.name}'s node did not start")
        yield _Server(process, json.loads(line)["address"])
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), _PATIENCE)


def _program() -> tuple[str, ...]:
    return (sys.executable, "-m", "p2pshare")


def _folder(wanted: str | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="p2pshare-demo-"))
    folder = Path(wanted).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AlreadyExists(str(folder))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _real_files() -> list[Path]:
    """The folders of DICOM files that come with the pydicom and pydicom-data packages, found without importing them."""
    folders = []
    for package, below in (("pydicom", "data/test_files"), ("data_store", "data")):
        found = importlib.util.find_spec(package)
        places = [Path(p) / below for p in (found.submodule_search_locations or ())] if found else []
        if not places or not places[0].is_dir():
            raise NotFound("the sample images: install p2pshare with its extra `demo`")
        folders.append(places[0])
    return folders
