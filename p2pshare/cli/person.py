"""Commands about people."""

import argparse
from pathlib import Path
from typing import Any

from p2pshare.cli.context import open_node
from p2pshare.cli.output import Output, table
from p2pshare.model.text import shown
from p2pshare.service.people import PersonView

OK = 0


async def card(args: argparse.Namespace, out: Output) -> int:
    """Write my card."""
    async with open_node(args) as node:
        if args.address is not None:
            await node.people.set_my_addresses(args.address)
        fingerprint = await node.people.save_card(Path(args.output))
    advice = f"Your card is in {shown(args.output)}. Give it to the people you want to share with, and ask for theirs."
    out.data({"fingerprint": fingerprint}, [advice])
    return OK


async def add(args: argparse.Namespace, out: Output) -> int:
    """Add a person by their card file."""
    async with open_node(args) as node:
        person = await node.people.add(Path(args.file))
    lines = [f"{shown(person.name)} is in your list."]
    if not person.verified:
        lines += [
            "Both of you see eight words. Read them to each other on the phone:",
            f"    {person.words}",
            # by the ID: a name may be anything, and this line is made to be copied into a shell
            f'If they are the same:  p2pshare person verify {person.person.hex()[:8]} --words "…"',
        ]
    out.data(_value(person), lines)
    return OK


async def ls(args: argparse.Namespace, out: Output) -> int:
    """List people."""
    async with open_node(args) as node:
        people = await node.people.listed()
    rows = [[p.person.hex()[:8], _mark(p), p.name, p.address, p.trouble] for p in people]
    lines = table(["ID", "", "NAME", "ADDRESS", "TROUBLE"], rows, plain=out.plain)
    empty = "Nobody yet. Give somebody your card (`p2pshare person card -o FILE`) and add theirs."
    out.data({"people": [_value(p) for p in people]}, lines if people else [empty])
    return OK


async def verify(args: argparse.Namespace, out: Output) -> int:
    """Confirm the eight words."""
    async with open_node(args) as node:
        person = await node.people.verify(args.person, args.words)
    out.data(_value(person), [f"{shown(person.name)} is verified: what you share reaches them and nobody else."])
    return OK


async def set_person(args: argparse.Namespace, out: Output) -> int:
    """Set where a person's computer is reached."""
    async with open_node(args) as node:
        person = await node.people.set_address(args.person, args.address)
    out.data(_value(person), [f"{shown(person.name)} is reached at {shown(person.address) or 'no known address'}."])
    return OK


async def block(args: argparse.Namespace, out: Output) -> int:
    """Block a person."""
    async with open_node(args) as node:
        person = await node.people.block(args.person)
    advice = f"{shown(person.name)} is blocked: nothing more is sent to them or served. What they have, they keep."
    out.data(_value(person), [advice])
    return OK


async def unblock(args: argparse.Namespace, out: Output) -> int:
    """Unblock a person."""
    async with open_node(args) as node:
        person = await node.people.block(args.person, blocked=False)
    out.data(_value(person), [f"{shown(person.name)} is no longer blocked."])
    return OK


def _value(person: PersonView) -> dict[str, Any]:
    return {
        "person": person.person.hex(),
        "name": person.name,
        "words": person.words,
        "verified": person.verified,
        "blocked": person.blocked,
        "address": person.address,
    }


def _mark(person: PersonView) -> str:
    if person.blocked:
        return "x blocked"
    return "ok verified" if person.verified else "? not verified"
