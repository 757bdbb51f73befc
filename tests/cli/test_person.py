from pathlib import Path

import pytest

from tests.cli.conftest import Pair
from tests.cli.running import Cli


@pytest.fixture
def met(ana: Cli, rao: Cli) -> Cli:
    """Ana, who has Dr Rao's card and has verified nothing yet."""
    rao.value("person", "card", "-o", "rao.card", "--address", "clinic.example:4747")
    ana.value("person", "add", str(rao.folder / "rao.card"))
    return ana


def test_a_card_is_written_whole_and_for_its_owner_only(ana: Cli) -> None:
    first = ana.value("person", "card", "-o", "ana.card")["fingerprint"]
    assert ana.value("person", "card", "-o", "ana.card")["fingerprint"] == first
    assert (ana.folder / "ana.card").stat().st_mode & 0o777 == 0o600


def test_adding_a_person_shows_the_words_and_what_to_do_with_them(ana: Cli, rao: Cli) -> None:
    rao.value("person", "card", "-o", "rao.card")
    text = ana.ok("person", "add", str(rao.folder / "rao.card"))
    person = ana.value("person", "ls")["people"][0]
    assert (person["name"], person["verified"], len(person["words"].split())) == ("Dr Rao", False, 8)
    assert f"    {person['words']}\n" in text
    assert f"p2pshare person verify {person['person'][:8]} --words" in text


def test_the_words_are_the_same_on_both_sides_and_verify(met: Cli, rao: Cli) -> None:
    words = met.value("person", "ls")["people"][0]["words"]
    assert met.value("person", "verify", "Dr Rao", "--words", words.upper())["verified"]
    assert "ok verified" in met.ok("person", "ls")


def test_other_words_verify_nobody(met: Cli) -> None:
    assert met.run("person", "verify", "rao", "--words", "not the same words at all or ever").code == 8
    assert "? not verified" in met.ok("person", "ls")


def test_our_mark_stands_before_the_name(met: Cli) -> None:
    _, row = met.ok("person", "ls").splitlines()
    assert row.index("? not verified") < row.index("Dr Rao")


def test_an_address_is_set_and_taken_back(met: Cli) -> None:
    assert met.value("person", "ls")["people"][0]["address"] == "clinic.example:4747"
    assert met.value("person", "set", "rao", "--address", "[2001:db8::1]:4747")["address"] == "[2001:db8::1]:4747"
    assert met.value("person", "set", "rao", "--address", "")["address"] == "clinic.example:4747"
    assert met.run("person", "set", "rao", "--address", "no port").code == 2


def test_a_person_is_blocked_and_unblocked(met: Cli) -> None:
    assert met.value("person", "block", "rao")["blocked"]
    assert "x blocked" in met.ok("person", "ls")
    assert not met.value("person", "unblock", "rao")["blocked"]


def test_an_empty_list_says_what_to_do(ana_made: Path) -> None:
    assert "p2pshare person card" in Cli(ana_made).ok("person", "ls")


def test_something_else_than_a_card_is_refused(ana: Cli, ct_small: Path) -> None:
    assert ana.run("person", "add", str(ct_small)).code == 5
    assert ana.value("person", "ls")["people"] == []


def test_my_own_card_is_refused(ana: Cli) -> None:
    ana.ok("person", "card", "-o", "ana.card")
    assert ana.run("person", "add", "ana.card").code == 2


def test_a_person_is_named_by_a_word_of_the_name_or_by_fingerprint(pair_made: Pair) -> None:
    person = pair_made.ana.value("person", "ls")["people"][0]["person"]
    with_nobody_else = [pair_made.ana.here("share", "create", "--to", text, "--scan", "ffff") for text in
                        ("Dr Rao", "rao", "DR", person, person[:6])]  # fmt: skip
    assert {ran.code for ran in with_nobody_else} == {4}
    assert all("scan 'ffff'" in ran.err for ran in with_nobody_else)
