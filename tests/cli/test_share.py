from pathlib import Path

import pytest

from tests.cli.conftest import REASON, Pair


def test_a_new_share_is_queued_and_says_why_it_waits(pair: Pair) -> None:
    text = pair.ana.ok("share", "create", "--to", "rao", "--scan", pair.ct)
    assert "1 image, " in text
    assert "Now: p2pshare is not running here" in text
    share = text.split()[1].rstrip(":")
    value = pair.ana.value("share", "status", share)
    assert (value["state"], value["chunks_done"]) == ("queued", 0)


def test_a_share_may_hold_several_scans(pair: Pair) -> None:
    text = pair.ana.ok("share", "create", "--to", "rao", "--scan", pair.ct, "--scan", pair.mr, "--expires-days", "7")
    assert "2 images, " in text


def test_a_question_that_is_not_there_or_too_long_is_refused(pair: Pair) -> None:
    create = ["share", "create", "--to", "rao", "--scan", pair.ct, "--question-file"]
    assert pair.ana.run(*create, "not-there").code == 4
    (pair.ana.folder / "long").write_text("x" * 20_000)
    assert pair.ana.run(*create, "long").code == 5


def test_an_imported_share_tells_of_its_receipt(pair_made: Pair) -> None:
    value = pair_made.ana.value("share", "status", pair_made.imported)
    assert value["state"] == "imported"
    assert value["chunks_done"] == value["chunks_total"] > 0
    assert value["wire_bytes"] > 0
    assert "receipt is kept" in pair_made.ana.here("share", "status", pair_made.imported).out


def test_a_receipt_is_shown_and_saved_once(pair: Pair) -> None:
    text = pair.ana.ok("share", "receipt", pair.imported, "-o", "proof")
    assert "Dr Rao's computer signed" in text
    assert (pair.ana.folder / "proof").stat().st_size > 64
    assert pair.ana.run("share", "receipt", pair.imported, "-o", "proof").code == 1
    assert pair.ana.value("share", "receipt", pair.imported)["state"] == "imported"


def test_a_share_without_a_receipt_says_so(pair: Pair) -> None:
    share = pair.ana.value("share", "create", "--to", "rao", "--scan", pair.ct)["share"]
    assert pair.ana.run("share", "receipt", share).code == 4


def test_the_words_of_the_recipient_are_marked_as_theirs(pair_made: Pair) -> None:
    text = pair_made.ana.here("share", "status", pair_made.declined).out
    assert text.startswith(f"{pair_made.declined[:8]} is declined: they wrote: Please send the older one too.␛]0;")
    assert pair_made.ana.value("share", "status", pair_made.declined)["why"] == REASON


def test_shares_are_listed_with_their_states(pair_made: Pair) -> None:
    states = {s["share"]: s["state"] for s in pair_made.ana.value("share", "ls")["shares"]}
    assert [states[share] for share in (pair_made.imported, pair_made.declined, pair_made.offered)] == [
        "imported", "declined", "offered",
    ]  # fmt: skip
    assert {s["to"] for s in pair_made.ana.value("share", "ls")["shares"]} == {"Dr Rao"}


@pytest.mark.parametrize(
    ("share", "until", "code"),
    [("imported", "imported", 0), ("imported", "offered", 0), ("offered", "offered", 0), ("offered", "delivered", 6),
     ("declined", "imported", 8), ("revoked", "offered", 8)],
)  # fmt: skip
def test_waiting_ends_with_what_became_of_it(share: str, until: str, code: int, pair_made: Pair) -> None:
    ran = pair_made.ana.here("share", "status", getattr(pair_made, share), "--wait", "--until", until, "--timeout", "0")
    assert ran.code == code


def test_without_waiting_any_state_is_success(pair_made: Pair) -> None:
    assert pair_made.ana.here("share", "status", pair_made.revoked).code == 0


def test_what_has_ended_is_not_revoked(pair: Pair) -> None:
    assert pair.ana.value("share", "revoke", pair.offered)["state"] == "revoked"
    assert pair.ana.run("share", "revoke", pair.offered).code == 8


def test_an_empty_list_says_so(ana_made: Path) -> None:
    from tests.cli.running import Cli

    assert Cli(ana_made).ok("share", "ls") == "Nothing shared yet.\n"
