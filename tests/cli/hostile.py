"""Text that tries to act on a terminal, a vault full of it, and how to see whether any of it could act."""

import asyncio
import json
import os
import re
import secrets
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from p2pshare.crypto.card import write_card
from p2pshare.crypto.keys import SigningKey, certify, device_id, new_knock_key, new_prekey, person_id
from p2pshare.model.card import Card, DeviceEntry, KnownDevice
from p2pshare.model.ids import PersonId, ShareId
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.objects import ObjectRef, ObjectShape
from p2pshare.model.views import ShareState
from p2pshare.node import Node, opened
from p2pshare.service.unlocking import key_from
from p2pshare.store import audit, shares
from p2pshare.store import people as people_store
from p2pshare.store.shares import Direction, NewShare
from tests.cli.running import Cli

OWN = [
    "\x1b[2J\x1b[1;1Hcleared",  # CSI: clear the screen, go home
    "\x1b[31;5mred\x1b[0m",
    "\x1b[1mours?\x1b[0m",  # exactly what we print ourselves
    "\r\x1b[Kgone",
    "\x1b]0;a new title\x07",  # OSC, ended by BEL
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",  # OSC 8: a link
    "\x1b]52;c;ZXZpbA==\x07",  # OSC 52: into the clipboard
    '\x1bP$q"p\x1b\\',  # DCS
    "\x1b_Gf=100;AAAA\x1b\\",  # APC: kitty's pictures
    "\x1bc\x1b(0lqk\x1b[?1049h",  # reset, line drawing, the other screen
    "\x1b[6n\x1b[c\x1b[21t",  # asks the terminal to type an answer
    "\x9b2J\x9d0;title\x9c\x90q\x9c",  # the same as 8-bit controls
    "\x85next line\u2028line\u2029paragraph",
    "back\x08\x08\x08\x08space",
    "over\rwritten",
    "two\nlines",
    "tab\tbed",
    "bell\x07nul\x00del\x7f",
    "\x0e\x0fshift",
    "\u202egnp.exe\u202c",  # right-to-left override
    "\u2066isolated\u2069\u200f\u200e\u061c",
    "zero\u200bwidth\ufeff\u2060\u00ad",
    "tag\U000e0041\U000e007f",
    "[bold]x[/bold][/b] {0} %s %n `id` $(id) ${HOME}",
    "'; DROP TABLE study; --",
    '<script>alert(1)</script>" onload="x',
    "=cmd|' /C calc'!A0",
    "a" * 250,
    "\u0338\u0336\u0489" * 80,  # marks that combine
    "한국어 日本語 العربية עברית ไทย 👩‍👩‍👧",
]

# What p2pshare itself sends to a terminal: bold for a heading, and the beginning of a progress line.
BOLD, PLAIN, AGAIN = "\x1b[1m", "\x1b[0m", "\r\x1b[K"


def acting(text: str) -> list[str]:
    """The characters of `text` that could act on a terminal or hide what it says; line ends of ours are none."""
    return [c for c in text if c != "\n" and _acts(c)]


def _acts(char: str) -> bool:
    kind = unicodedata.category(char)
    return kind in ("Cc", "Cs", "Zl", "Zp") or (kind == "Cf" and char not in "\u200c\u200d")


# --- a vault full of it ---------------------------------------------------------------------------------------------


def write_files(folder: Path, texts: Sequence[str]) -> None:
    """DICOM files that say `texts` in every attribute that is listed, and other files that are named so.

    Each text is one study; the last study holds all of them as descriptions of its series.
    """
    folder.mkdir()
    for number, text in enumerate(texts):
        study = f"1.2.826.0.1.{number + 1}"
        (folder / f"{number}.dcm").write_bytes(dicom_file(text, study, f"{study}.1", ""))
        (folder / f"{number}.s.dcm").write_bytes(dicom_file("All", "1.2.826.0.2", f"1.2.826.0.2.{number + 1}", text))
        (folder / _file_name(number, text)).write_bytes(b"not DICOM")
    for number, text in enumerate(OWN):  # as raw bytes, in no declared character set
        study = f"1.2.826.0.3.{number + 1}"
        raw = text.encode("latin-1", "replace")
        (folder / f"{number}.raw.dcm").write_bytes(dicom_file(raw, study, f"{study}.1", raw, charset=b""))
    (folder / "bytes").mkdir()
    for byte in (0x1B, 0x9B, 0xFF):
        (folder / "bytes" / os.fsdecode(bytes([byte]) + b"[2J")).write_bytes(b"not DICOM")


def _file_name(number: int, text: str) -> str:
    name = text.replace("/", "_").replace("\0", "_").encode("utf-8", "surrogatepass")[:200]
    return f"{number} {name.decode('utf-8', 'ignore')}"


def dicom_file(
    text: str | bytes, study: str, series: str, of_series: str | bytes, charset: bytes = b"ISO_IR 192"
) -> bytes:
    """A small Secondary Capture object without pixels, in Explicit VR Little Endian (PS3.5 §7.1)."""

    def element(group: int, number: int, vr: bytes, value: str | bytes) -> bytes:
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        data += (b"\0" if vr == b"UI" else b" ") * (len(data) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(data)) + data

    meta = element(2, 0x10, b"UI", "1.2.840.10008.1.2.1")
    return (
        bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta
        + (element(8, 5, b"CS", charset) if charset else b"")
        + element(8, 0x16, b"UI", "1.2.840.10008.5.1.4.1.1.7") + element(8, 0x18, b"UI", f"{series}.1")
        + element(8, 0x20, b"DA", "20240101") + element(8, 0x60, b"CS", "OT")
        + element(8, 0x80, b"LO", text) + element(8, 0x1030, b"LO", text) + element(8, 0x103E, b"LO", of_series)
        + element(0x10, 0x10, b"PN", text) + element(0x10, 0x20, b"LO", text)
        + element(0x18, 0x15, b"CS", text[:16])
        + element(0x20, 0xD, b"UI", study) + element(0x20, 0xE, b"UI", series)
    )  # fmt: skip


async def fill(cli: Cli, texts: Sequence[str]) -> None:
    """Enter people, shares of both directions and log entries that say `texts`, by way of the services and the store.

    Over the wire the same would take a key stretching for each person; one such share goes that way in test_contract.
    """
    async with opened(cli.folder / cli.vault, key_from(cli.folder / cli.key_file)) as node:
        named = [text for text in texts if text.strip()]
        people = [await _enter_person(node, text[:200]) for text in named]
        async with node.vault.db.transaction() as tx:
            for number, (text, person) in enumerate(zip(named, people, strict=True)):
                offered = _letter(text, text)
                await shares.enter(tx, NewShare(Direction.IN, person, None, ShareState.OFFERED, offered, None), number)
                mine = _letter(text, "")
                new = NewShare(Direction.OUT, person, None, ShareState.QUEUED, mine, None)
                await shares.enter(tx, new, number)
                share = await shares.get(tx, ShareId(mine.share), Direction.OUT)
                assert share is not None
                await shares.move(tx, share, ShareState.DECLINED, text, number)
                await audit.enter(tx, node.vault.identity.device, "person-added", {"name": text}, number)
            everything = _letter("all of it", "\n".join(texts)[:16_000])
            new = NewShare(Direction.IN, people[0], None, ShareState.OFFERED, everything, None)
            await shares.enter(tx, new, len(texts))


async def _enter_person(node: Node, name: str) -> PersonId:
    """Take a card as it comes in its person's own letter."""
    person, device = SigningKey.generate(), SigningKey.generate()
    prekey, _ = new_prekey(device, 1, 0)
    entry = DeviceEntry(device.public, 0, certify(person, device, 0), prekey, new_knock_key(), ("x.example:1",))
    card = Card(name=name, person=person.public, number=1, created=0, devices=(entry,), mailbox=None)
    who = person_id(person.public)
    file = write_card(person, card)
    known = KnownDevice(device_id(device.public), who, device.public, prekey, entry.knock, entry.addresses)
    async with node.vault.db.transaction() as tx:
        await people_store.enter_card(tx, who, card, file, [known], "", 0)
        await node.people.take_contact(tx, who, file)
    return who


def _letter(text: str, question: str) -> ShareLetter:
    def ref() -> ObjectRef:
        shape = ObjectShape(secrets.token_bytes(32), bytes(32), 1, (1,), bytes(32))
        return ObjectRef(shape=shape, key=bytes(32), sha256=bytes(32))

    scan = ScanSummary(
        study_uid=text, patient=text, birth_date=text, date=text, description=text, modalities=text,
        instances=1, bytes=1,
    )  # fmt: skip
    return ShareLetter(
        share=secrets.token_bytes(16), scans=(scan,), question=question, expires=None, layout=ref(), keyring=ref(),
        objects=1, chunks=1, stored_bytes=1,
    )  # fmt: skip


def fill_now(cli: Cli, texts: Sequence[str]) -> None:
    """`fill`, from outside an event loop."""
    asyncio.run(fill(cli, texts))


def naughty(corpus_file: Path) -> list[str]:
    """The Big List of Naughty Strings, where it is there."""
    return json.loads(corpus_file.read_text("utf-8")) if corpus_file.is_file() else []


def strings_in(value: object) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)


def without_bold(text: str) -> str:
    """`text` without the bold first line that is ours."""
    return re.sub(rf"^{re.escape(BOLD)}([^\n]*){re.escape(PLAIN)}(?=\n)", r"\1", text, count=1)
