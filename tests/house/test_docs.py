"""The docs say what the code does: numbers, commands, decisions and the list of changes."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pshare.model import limits
from tests.house.project import ROOT, nothing

DOCS = ROOT / "docs"


# --- numbers ------------------------------------------------------------------------------------------------------


def size(value: int) -> str:
    """`value` bytes as the docs write them."""
    for unit, name in ((limits.GIB, "GiB"), (limits.MIB, "MiB"), (limits.KIB, "KiB")):
        if value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value:,} bytes"


def number(value: float) -> str:
    """A count as the docs write it."""
    return f"{value:,.0f}"


# what each page must say, made from the limits; white space counts as one space
FORMAT_SAYS = {
    ("CHUNK_SIZE",): f"chunks of {size(limits.CHUNK_SIZE)} of plaintext ({number(limits.CHUNK_SIZE)} bytes)",
    ("CHUNK_PAD",): f"up to the next multiple of {number(limits.CHUNK_PAD)} bytes",
    ("STORED_CHUNK_MAX",): f"`stored` is at most {number(limits.STORED_CHUNK_MAX)} bytes",
    ("PACK_CLOSES_AT", "ARRIVALS_PACK_CLOSES_AT"): (
        f"closes at {size(limits.PACK_CLOSES_AT)} (arrivals: {size(limits.ARRIVALS_PACK_CLOSES_AT)})"
    ),
    ("PACK_MAX", "PACK_INDEX_MAX"): f"Limits: pack {size(limits.PACK_MAX)}, index {size(limits.PACK_INDEX_MAX)}.",
    ("ARGON2_MIB_MIN", "ARGON2_MIB_MAX", "ARGON2_PASSES_MIN", "ARGON2_PASSES_MAX", "ARGON2_LANES"): (
        f"(passphrase: {limits.ARGON2_MIB_MIN}..{limits.ARGON2_MIB_MAX} MiB,"
        f" {limits.ARGON2_PASSES_MIN}..{limits.ARGON2_PASSES_MAX} passes, {limits.ARGON2_LANES} lane)"
    ),
    ("VAULT_FILE_MAX", "SLOTS_MAX"): (
        f"File size at most {size(limits.VAULT_FILE_MAX)}, at most {number(limits.SLOTS_MAX)} slots."
    ),
    ("CARD_MAX", "CARD_DEVICES_MAX", "CARD_ADDRESSES_MAX", "NAME_MAX"): (
        f"Limits: {size(limits.CARD_MAX)}, {number(limits.CARD_DEVICES_MAX)} devices,"
        f" {number(limits.CARD_ADDRESSES_MAX)} addresses each, name {number(limits.NAME_MAX)} characters."
    ),
    ("ENVELOPE_PAD_MIN",): f"zero bytes up to max({limits.ENVELOPE_PAD_MIN}, Padme(",
    ("ENVELOPE_MAX",): f"An envelope is at most {size(limits.ENVELOPE_MAX)}.",
    ("LETTER_MAX",): f"A letter is at most {size(limits.LETTER_MAX)}.",
    ("LAYOUT_MAX", "LAYOUT_OBJECTS_MAX", "LAYOUT_CHUNKS_MAX"): (
        f"Limits: {size(limits.LAYOUT_MAX)}, {number(limits.LAYOUT_OBJECTS_MAX)} objects,"
        f" {number(limits.LAYOUT_CHUNKS_MAX)} chunks."
    ),
}
PROTOCOL_SAYS = {
    ("HANDSHAKE_FRAME_MAX",): f"binary messages of at most {size(limits.HANDSHAKE_FRAME_MAX)},",
    ("HANDSHAKE_SECONDS",): f"within {number(limits.HANDSHAKE_SECONDS)} seconds",
    ("HANDSHAKE_SOCKETS", "HANDSHAKE_SOCKETS_PER_ADDRESS"): (
        f"at most {number(limits.HANDSHAKE_SOCKETS)} sockets,"
        f" and {number(limits.HANDSHAKE_SOCKETS_PER_ADDRESS)} from one network"
    ),
    ("FRAME_MAX",): f"one frame: `u8 type | payload`, at most {number(limits.FRAME_MAX)} bytes.",
    ("WANT_CHUNKS_MAX",): f"at most {number(limits.WANT_CHUNKS_MAX)} chunks together",
}

# limits that a stranger's reader or peer need not know, each with the reason
NOT_IN_THE_DOCS = {
    "KIB": "a unit",
    "MIB": "a unit",
    "GIB": "a unit",
    "OBJECT_MAX": "far above what a layout's number of chunks allows",
    "QUESTION_MAX": "within a letter's limit, which is documented",
    "REASON_MAX": "within a letter's limit, which is documented",
    "OPEN_OFFERS_MAX": "what one vault takes from one person, not what a letter may be",
    "FEED_EPOCHS_MAX": "what one vault takes from one device, not what a letter may be",
    "SHARE_SCANS_MAX": "within a letter's limit, which is documented",
    "RECEIPT_MAX": "within an envelope's limit, which is documented",
    "WINDOW": "ours to choose; each side says its own in Hello",
    "SEALED_PER_SESSION_MAX": "an honest peer connects again; nothing is lost",
}


def page(name: str) -> str:
    """A page of docs/ with each run of white space as one space."""
    return " ".join((DOCS / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize(("names", "sentence"), FORMAT_SAYS.items(), ids=lambda part: str(part[0]))
def test_the_format_page_quotes_the_limit(names: tuple[str, ...], sentence: str) -> None:
    assert sentence in page("format.md"), f"docs/format.md disagrees with {', '.join(names)} in model/limits.py"


@pytest.mark.parametrize(("names", "sentence"), PROTOCOL_SAYS.items(), ids=lambda part: str(part[0]))
def test_the_protocol_page_quotes_the_limit(names: tuple[str, ...], sentence: str) -> None:
    assert sentence in page("protocol.md"), f"docs/protocol.md disagrees with {', '.join(names)} in model/limits.py"


def test_every_limit_is_quoted_or_says_why_not() -> None:
    known = {name for names in (*FORMAT_SAYS, *PROTOCOL_SAYS) for name in names} | set(NOT_IN_THE_DOCS)
    limited = {name for name in vars(limits) if name.isupper()}
    nothing(f"{name}: quote it above, or say why the docs need not" for name in sorted(limited - known))
    nothing(f"{name}: no such limit" for name in sorted(known - limited))


# --- commands -----------------------------------------------------------------------------------------------------


def whole_parser() -> argparse.ArgumentParser:
    """The command line as it is."""
    from p2pshare.cli import build_parser

    return build_parser()


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, as typed (`person verify`), with its parser."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not choices:
        yield " ".join(words), parser
    for named in choices:
        for name, inner in named.items():
            yield from commands(inner, (*words, name))


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of one command, without --help and what is hidden on purpose."""
    return {
        option
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest != "help"
        for option in action.option_strings
        if option.startswith("--")
    }


def test_the_command_line_has_commands() -> None:
    assert len(dict(commands(whole_parser()))) > 5


def test_every_command_is_documented() -> None:
    text = page("cli.md")
    nothing(
        f"docs/cli.md does not show `p2pshare {command}`"
        for command, _ in commands(whole_parser())
        if not re.search(rf"p2pshare {re.escape(command)}(?![\w-])", text)
    )


def test_every_option_is_documented() -> None:
    text = page("cli.md")
    nothing(
        f"docs/cli.md does not tell of {option}, an option of `p2pshare {command}`"
        for command, parser in commands(whole_parser())
        for option in sorted(options(parser))
        if not re.search(rf"{re.escape(option)}(?![\w-])", text)
    )


def test_no_command_is_documented_that_does_not_exist() -> None:
    known = dict(commands(whole_parser()))
    first_words = {command.split()[0] for command in known}
    typed = re.compile(r"(?:^\s*(?:\$ )?|`)p2pshare ([a-z][a-z-]*)", re.MULTILINE)
    nothing(
        f"{path.relative_to(ROOT)}: `p2pshare {word}` does not exist"
        for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
        for word in typed.findall(path.read_text(encoding="utf-8"))
        if word not in first_words
    )


def test_the_service_unit_starts_a_command_that_is_there() -> None:
    started = re.search(r"^ExecStart=\S*/p2pshare (.*)$", (DOCS / "p2pshare.service").read_text(), re.MULTILINE)
    assert started
    whole_parser().parse_args(started[1].split())  # exits, and so fails, on anything unknown


# --- decisions and changes ----------------------------------------------------------------------------------------


def decisions() -> list[Path]:
    """The files of docs/adr, in order."""
    return sorted(path for path in (DOCS / "adr").glob("*.md") if path.name != "README.md")


def status_of(text: str) -> str:
    """What a decision says of itself, or nothing."""
    status = re.search(r"^Status: (.*)$", text, re.MULTILINE)
    return status[1] if status else ""


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [path.name[:5] for path in decisions()] == [f"{n:04}-" for n in range(len(decisions()))]


def test_decisions_have_the_form_of_the_template() -> None:
    badly_formed = []
    for path in decisions():
        text = path.read_text(encoding="utf-8")
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        status = status_of(text)
        if not re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", path.name) or not text.startswith(f"# {path.name[:4]}. "):
            badly_formed.append(f"{path.name}: its name or title")
        if not re.fullmatch("template" if path.name.startswith("0000") else r"accepted|replaced by \d{4}", status):
            badly_formed.append(f"{path.name}: its status")
        if headings != ["What we met", "What we chose", "What follows"]:
            badly_formed.append(f"{path.name}: its headings")
    nothing(badly_formed)


def test_the_list_of_decisions_names_each() -> None:
    listing = (DOCS / "adr/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]*)\) \| (.*?) \| (.*?) \|$", listing, re.MULTILINE)
    expected = []
    for path in decisions():
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].split(". ", 1)[1]
        expected.append((path.name[:4], path.name, title, status_of(text)))
    assert rows == expected


def test_changes_have_their_form() -> None:
    badly_formed = []
    for path in sorted((ROOT / "changelog.d").iterdir()):
        if path.name == "README.md":
            continue
        first, empty, *rest = [*path.read_text(encoding="utf-8").splitlines(), "", ""]
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*\.md", path.name):
            badly_formed.append(f"{path.name}: its name")
        if not re.fullmatch(r"(Added|Changed|Fixed|Removed|Security): .*[^.\s]", first) or len(first) > 100:
            badly_formed.append(f"{path.name}: its first line")
        if empty or not any(line.strip() for line in rest):
            badly_formed.append(f"{path.name}: what follows the first line")
    nothing(badly_formed)
