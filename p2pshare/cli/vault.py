"""Commands about the vault itself: setup, unlock, check, recover, log, status."""

import argparse
import datetime as dt
import json
import re
from contextlib import suppress
from pathlib import Path

from p2pshare.cli.context import has_vault, new_passphrase, open_node, typed_passphrase, vault_of
from p2pshare.cli.output import Output, counted, size_text, table
from p2pshare.errors import AlreadyExists, UsageError
from p2pshare.model.limits import NAME_MAX
from p2pshare.model.text import shown
from p2pshare.model.views import ENDED
from p2pshare.node import opened, set_up
from p2pshare.service import unlocking
from p2pshare.service.reasons import why
from p2pshare.service.unlocking import PassphraseSecret, Secret

OK, INTEGRITY = 0, 5

_HEX_ID = re.compile(r"\b[0-9a-f]{32}(?:[0-9a-f]{32})?\b")


async def setup(args: argparse.Namespace, out: Output) -> int:
    """Make a vault with a passphrase, a recovery sheet and, if asked to, a key file."""
    path = vault_of(args)
    if not args.name.strip() or len(args.name) > NAME_MAX:
        raise UsageError(f"a name has 1 to {NAME_MAX} characters")
    _refuse_to_replace(path, args.recovery_file, args.key_file)
    secret = new_passphrase(args, out)
    _warn_if_weak(secret, out)
    made: list[Path] = []
    try:
        secrets: list[Secret] = [secret, unlocking.new_recovery_sheet(Path(args.recovery_file), args.name)]
        made.append(Path(args.recovery_file))
        if args.key_file:
            secrets.append(unlocking.new_key_file(Path(args.key_file)))
            made.append(Path(args.key_file))
        fingerprint = await set_up(path, secrets, args.name)
    except BaseException:
        for file in made if not has_vault(path) else ():  # a vault that exists needs its sheet
            with suppress(OSError):
                file.unlink()
        raise
    lines = [
        f"Your vault is at {shown(str(path))}. Nothing leaves this computer unless you share it.",
        f"Print {shown(args.recovery_file)}, keep it in a safe place, and delete the file.",
    ]
    out.data({"fingerprint": fingerprint}, lines)
    return OK


async def unlock(args: argparse.Namespace, out: Output) -> int:
    """Open and close the vault."""
    async with open_node(args) as node:
        name = await node.vault.name()
    out.data({"name": name}, [f"The vault of {shown(name)} opens."])
    return OK


async def check(args: argparse.Namespace, out: Output) -> int:
    """Look for anything that is missing or changed."""
    async with open_node(args) as node:
        found = await node.upkeep.check(
            read_data=args.read_data, told=lambda done, total: out.progress(f"checked {done} of {total}")
        )
    lines = [shown(f"{p.what}{': ' + ', '.join(p.scans) if p.scans else ''}") for p in found]
    how = "Every byte was read and compared." if args.read_data else "Add --read-data to read every image."
    if found:
        lines.append("Keep the vault's folder as it is: do not delete or repair anything in it by hand.")
    if any(p.scans for p in found):
        lines.append("Whoever sent you a damaged scan, or received it from you, may still hold it whole.")
    if not found:
        lines = [f"Everything is here and as it was written. {how}"]
    out.data({"ok": not found, "problems": [{"what": p.what, "scans": list(p.scans)} for p in found]}, lines)
    return INTEGRITY if found else OK


async def recover(args: argparse.Namespace, out: Output) -> int:
    """Open the vault with the recovery code and set a new passphrase."""
    path = vault_of(args)
    fresh = unlocking.passphrase_from(Path(args.new_passphrase_file))
    async with opened(path, unlocking.recovery_from(Path(args.recovery_file))) as node:
        given: list[Secret] = [fresh]
        if args.new_recovery_file:
            given.append(unlocking.new_recovery_sheet(Path(args.new_recovery_file), await node.vault.name()))
        await node.upkeep.replace_slots(given)
    sheet = (
        f"The old recovery sheet no longer opens it: print {shown(args.new_recovery_file)} and destroy the old one."
        if args.new_recovery_file
        else "The recovery sheet stays valid; if somebody may have seen it, recover again with --new-recovery-file."
    )
    out.data({"recovered": True}, [f"The vault opens with the new passphrase. {sheet}"])
    return OK


async def change_passphrase(args: argparse.Namespace, out: Output) -> int:
    """Let a new passphrase open the vault in place of the old one."""
    async with open_node(args) as node:
        if args.new_passphrase_file:
            fresh = unlocking.passphrase_from(Path(args.new_passphrase_file))
        else:
            fresh = typed_passphrase(args, out, "the new passphrase (--new-passphrase-file)")
        _warn_if_weak(fresh, out)
        await node.upkeep.replace_slots([fresh])
    lines = [
        "The vault opens with the new passphrase, and no longer with the old one.",
        "The recovery sheet stays valid, and so does a key file.",
        "A copy of the vault's folder that was made before still opens with the old one: keep such copies safe.",
    ]
    out.data({"changed": True}, lines)
    return OK


async def log(args: argparse.Namespace, out: Output) -> int:
    """Show what happened in this vault."""
    async with open_node(args) as node:
        entries = await node.upkeep.log(limit=args.last)
    value = [{"number": e.number, "time": e.time, "kind": e.kind, "detail": json.loads(e.detail)} for e in entries]
    rows = [[_when(e.time), e.kind, _details(e.detail)] for e in entries]
    out.data({"log": value}, table(["WHEN", "WHAT", "DETAILS"], rows, plain=out.plain))
    return OK


async def status(args: argparse.Namespace, out: Output) -> int:
    """Show what the vault holds, who sends and receives for it, and what waits."""
    async with open_node(args) as node:
        scans = await node.library.listed()
        address = await node.upkeep.serving()
        waiting = [s for s in await node.offers.listed() if s.state not in ENDED]
        reasons = [await why(node.vault, s) for s in waiting]
        authentic = node.vault.header_authentic
    value = {
        "vault": str(vault_of(args)), "scans": len(scans), "bytes": sum(s.bytes for s in scans), "serving": address,
        "waiting": [
            {"share": s.share.hex(), "state": s.state.value, "why": w} for s, w in zip(waiting, reasons, strict=True)
        ],
    }  # fmt: skip
    lines = [
        f"{counted(len(scans), 'scan')}, {size_text(sum(s.bytes for s in scans))}, in {shown(str(vault_of(args)))}",
        f"Sending and receiving at {address}." if address else "Not sending or receiving: start `p2pshare serve`.",
    ]
    if not authentic:
        lines.append("A part of vault.p2pv was changed: run `p2pshare check`.")
    for share, reason in zip(waiting, reasons, strict=True):
        lines.append(
            f"share {share.share.hex()[:8]} is {share.state.value}" + (f": {shown(reason)}" if args.why else "")
        )
    out.data(value, lines)
    return OK


def _warn_if_weak(secret: PassphraseSecret, out: Output) -> None:
    if unlocking.is_weak(secret):
        out.say(
            "This passphrase is short. Six random words would be safe: nobody can reset it, but a thief can guess it."
        )


def _when(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _details(detail: str) -> str:
    return ", ".join(f"{key} {_HEX_ID.sub(_begin, str(value))}" for key, value in json.loads(detail).items())


def _begin(hex_id: re.Match[str]) -> str:
    return hex_id[0][:8]


def _refuse_to_replace(path: Path, *files: str | None) -> None:
    """See before a person is asked for anything whether what is to be made is there already."""
    try:
        taken = [Path(f) for f in files if f and Path(f).exists()]
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            taken.append(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if taken:
        raise AlreadyExists(str(taken[0]))
