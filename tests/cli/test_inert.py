"""Nothing that a stranger sends acts on a terminal: hostile text in every place, read back by every command.

Looked at is the byte stream that reaches a real terminal, for people, with --plain and with --json.
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import pytest

import p2pshare.cli
from p2pshare.cli import output
from p2pshare.model import text as model_text
from tests.cli.conftest import set_up
from tests.cli.hostile import AGAIN, BOLD, OWN, acting, fill_now, naughty, strings_in, without_bold, write_files
from tests.cli.running import Cli, copied, matches_schema
from tests.conftest import CORPUS

BLNS = CORPUS / "vectors" / "naughty-strings" / "blns.json"
VAULT_NAME = "vault\x1b]0;owned\x07\u202e\x9b2J"  # even its folder
TEXTS = [*OWN, *naughty(BLNS)]


@pytest.fixture(scope="module")
def haunted(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A vault that holds every hostile text in every place where text from outside can be."""
    folder = tmp_path_factory.mktemp("haunted")
    made = set_up(folder, OWN[0])
    (folder / made.vault).rename(folder / VAULT_NAME)
    cli = Cli(folder, vault=VAULT_NAME)
    write_files(folder / "files", TEXTS)
    imported = cli.here("import", "files", "-v")
    assert imported.code == 0, imported.err
    assert acting(imported.out) == []
    fill_now(cli, TEXTS)
    return cli


@pytest.fixture(scope="module")
def ids(haunted: Cli) -> dict[str, str]:
    """What the commands below name: the scan with all series, the offer with all questions, a share, a person."""
    scans = haunted.value("scan", "ls")["scans"]
    inbox = haunted.value("inbox", "ls")["inbox"]
    return {
        "scan": next(s["scan"] for s in scans if s["study_uid"] == "1.2.826.0.2"),
        "offer": max(inbox, key=lambda o: len(o["question"]))["id"],
        "share": next(s["share"] for s in haunted.value("share", "ls")["shares"] if "\x1b" in s["why"]),
        "person": haunted.value("person", "ls")["people"][0]["person"],
    }


LISTING = [
    "scan ls", "scan find 2024", "scan show {scan}", "person ls", "share ls", "share status {share}", "inbox ls",
    "inbox show {offer}", "log", "status --why", "unlock --check", "check",
]  # fmt: skip
# those of them that always print text from outside, in which the defence can be seen to be needed
TELLING = [c for c in LISTING if c != "check"]


@pytest.mark.parametrize("way", [[], ["--plain"], ["--json"]], ids=["people", "plain", "json"])
@pytest.mark.parametrize("command", LISTING)
def test_a_terminal_receives_nothing_that_acts(command: str, way: list[str], haunted: Cli, ids: dict[str, str]) -> None:
    words = command.format(**ids).split()
    shown = haunted.on_terminal(*words, *way, "--no-color", "-q")
    assert shown.code == 0, shown.text[-500:]
    assert acting(shown.text.replace("\t", "") if way == ["--plain"] else shown.text) == []
    if way == ["--json"]:
        assert shown.text.isascii()
        matches_schema(words, haunted.here(*words, "--json").value)


@pytest.mark.parametrize("command", ["scan show {scan}", "inbox show {offer}"])
def test_with_colours_a_terminal_receives_two_controls_and_both_are_ours(
    command: str, haunted: Cli, ids: dict[str, str]
) -> None:
    text = haunted.on_terminal(*command.format(**ids).split()).text
    assert text.startswith(BOLD)
    assert text.count("\x1b") == 2
    assert acting(without_bold(text)) == []


def test_an_import_of_hostile_names_shows_them_without_their_acting(haunted: Cli, tmp_path: Path) -> None:
    cli = Cli(copied(haunted.folder, tmp_path / "again"), vault=VAULT_NAME)
    shown = cli.on_terminal("import", "files", "-v", "--no-color")
    assert shown.code == 0
    assert acting(shown.text.replace(AGAIN, "")) == []
    assert "␛[2J" in shown.text


def test_each_own_text_is_inert_where_one_scan_offer_or_share_is_shown(haunted: Cli) -> None:
    scans = [s["scan"] for s in haunted.value("scan", "find", "2024")["scans"]]
    offers = [o["id"] for o in haunted.value("inbox", "ls")["inbox"]][-len(OWN) :]
    own = [s["share"] for s in haunted.value("share", "ls")["shares"]][-len(OWN) :]
    for words in (
        *(("scan", "show", scan) for scan in scans[-2 * len(OWN) :]),
        *(("inbox", "show", offer) for offer in offers),
        *(("share", "status", share) for share in own),
    ):
        ran = haunted.here(*words)
        assert (ran.code, acting(ran.out)) == (0, [])


def test_what_changes_a_person_or_an_offer_shows_names_without_their_acting(haunted: Cli, tmp_path: Path) -> None:
    cli = Cli(copied(haunted.folder, tmp_path / "changed"), vault=VAULT_NAME)
    people = [p["person"] for p in cli.value("person", "ls")["people"]][: len(OWN)]
    offers = [o["id"] for o in cli.value("inbox", "ls")["inbox"]][-4:]
    for words in (
        *(("person", "set", person, "--address", "x.example:1") for person in people),
        ("person", "block", people[0]),
        ("person", "unblock", people[0]),
        *(("inbox", "decline", offer, "--reason", OWN[0]) for offer in offers),
        ("share", "revoke", "ffffffffffff"),
        ("scan", "show", OWN[0]),
        (OWN[0],),
        ("scan", "ls", OWN[5]),
        ("import", OWN[0]),
        ("person", "add", OWN[4]),
        ("serve", "--listen", OWN[0]),
    ):
        ran = cli.here(*words)
        assert acting(ran.out + ran.err) == [], words


def test_damage_in_a_hostile_scan_is_reported_without_its_name_acting(haunted: Cli, tmp_path: Path) -> None:
    cli = Cli(copied(haunted.folder, tmp_path / "damaged"), vault=VAULT_NAME)
    for pack in sorted((cli.folder / VAULT_NAME / "packs").rglob("*.p2pk")):
        pack.unlink()
    shown = cli.on_terminal("check", "--no-color", "-q")
    assert shown.code == 5
    assert acting(shown.text) == []
    assert "␛[2J" in shown.text


def test_a_card_with_a_hostile_name_is_added_without_its_acting(haunted: Cli, rao: Cli) -> None:
    haunted.value("person", "card", "-o", "haunted.card")
    shown = rao.on_terminal("person", "add", str(haunted.folder / "haunted.card"))
    assert shown.code == 0
    assert acting(shown.text) == []
    # the line to be copied into a shell names the person by ID
    assert f"p2pshare person verify {rao.value('person', 'ls')['people'][0]['person'][:8]} --words" in shown.text


# --- and it is not shown as less than it is -------------------------------------------------------------------------


def test_what_acted_is_visible_as_something_else(haunted: Cli) -> None:
    listed = haunted.here("scan", "ls", "--plain").out + haunted.here("person", "ls", "--plain").out
    for visible in ("␛[2J", "<U+009B>2J", "<U+202E>", "␇", "␍␛[K", "<U+2028>", "␀", "[bold]x[/bold]"):
        assert visible in listed, visible


def test_json_gives_back_what_the_files_say(haunted: Cli) -> None:
    said = set(strings_in(haunted.value("inbox", "ls"))) | set(strings_in(haunted.value("scan", "ls")))
    missing = [t for t in TEXTS if t.strip() and t not in said]
    assert missing == []


@pytest.mark.corpus
def test_the_naughty_strings_were_all_there(corpus: Path, haunted: Cli) -> None:
    assert len(naughty(BLNS)) >= 500
    scans = haunted.value("scan", "ls")["scans"]
    people = haunted.value("person", "ls")["people"]
    print(f"{len(TEXTS)} hostile texts: {len(scans)} scans, {len(people)} people, read back by {len(LISTING)} commands")
    assert len(scans) == len(TEXTS) + len(OWN) + 1
    assert len(people) > 500


@pytest.mark.parametrize(("command", "columns"), [("person ls", 5), ("share ls", 5), ("inbox ls", 7), ("scan ls", 8)])
def test_a_hostile_cell_makes_no_column_of_its_own(command: str, columns: int, haunted: Cli) -> None:
    assert {line.count("\t") for line in haunted.here(*command.split(), "--plain").out.splitlines()} == {columns - 1}


def test_a_hostile_row_keeps_a_table_in_its_columns(haunted: Cli) -> None:
    heads, *rows = haunted.here("person", "ls").out.splitlines()
    at = heads.index("NAME")
    assert all(row[at - 2 : at] == "  " for row in rows)
    assert all(len(row) < 400 for row in rows)


# --- the defence, removed -------------------------------------------------------------------------------------------


@pytest.fixture
def nothing_sanitised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the text itself in place of what `shown` makes of it, wherever it is used."""

    def as_it_is(text: str, *, limit: int = 4096) -> str:
        return text[:limit]

    for found in pkgutil.iter_modules(p2pshare.cli.__path__, "p2pshare.cli."):
        importlib.import_module(found.name)
    sanitiser = model_text.shown
    users = [m for name, m in sys.modules.items() if name.startswith("p2pshare") and vars(m).get("shown") is sanitiser]
    assert len(users) > 3
    for module in users:
        monkeypatch.setattr(module, "shown", as_it_is)


@pytest.mark.parametrize("command", TELLING)
@pytest.mark.usefixtures("nothing_sanitised")
def test_without_the_sanitiser_the_same_look_finds_what_acts(command: str, haunted: Cli, ids: dict[str, str]) -> None:
    assert acting(haunted.here(*command.format(**ids).split()).out)


def test_without_the_escapes_of_json_the_same_look_finds_what_acts(
    haunted: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "_json_line", lambda value: json.dumps(value, ensure_ascii=False))
    assert acting(haunted.here("scan", "ls", "--json").out)


def test_the_look_finds_each_kind_of_control() -> None:
    for control in ("\x1b[2J", "\x9b2J", "\u202e", "\x07", "\r", "\x00", "\x7f", "\u2028", "\ud800", "\u200b", "\t"):
        assert acting(f"a{control}b"), control
    assert acting("Müller 山田 علی\u200cرضا 👩\u200d🔬\n") == []
