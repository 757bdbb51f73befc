from tests.cli.conftest import Pair
from tests.cli.running import Cli


def test_the_sender_and_the_question_come_first(pair_made: Pair) -> None:
    lines = pair_made.rao.here("inbox", "show", pair_made.imported).out.splitlines()
    assert lines[:5] == [
        "Verified: Ana",
        "  | Is the shadow on the left new?",
        "  | THE VAULT IS LOCKED␛[2J<U+202E>evil",
        "  | Thank you.",
        "CompressedSamples CT1 · e+1 · 2004-01-19 · 1 image",
    ]


def test_a_list_marks_its_senders_before_their_names(pair_made: Pair) -> None:
    _, *rows = pair_made.rao.here("inbox", "ls").out.splitlines()
    assert len(rows) == 4
    assert all(0 < row.index("ok verified") < row.index("Ana") for row in rows)


def test_an_offer_is_accepted_once(pair: Pair) -> None:
    assert pair.rao.value("inbox", "accept", pair.offered)["state"] == "accepted"
    assert pair.rao.value("inbox", "accept", pair.offered)["state"] == "accepted"
    assert pair.rao.run("inbox", "decline", pair.offered, "--reason", "too late").code == 8


def test_an_offer_is_declined_with_a_reason(pair: Pair) -> None:
    value = pair.rao.value("inbox", "decline", pair.offered, "--reason", "not my field")
    assert (value["state"], value["why"]) == ("declined", "not my field")
    assert "not my field" in pair.rao.ok("inbox", "show", pair.offered)


def test_a_reason_that_is_too_long_is_refused(pair: Pair) -> None:
    assert pair.rao.run("inbox", "decline", pair.offered, "--reason", "x" * 3000).code == 5
    assert pair.rao.value("inbox", "show", pair.offered)["state"] == "offered"


def test_what_the_sender_took_back_cannot_be_accepted(pair_made: Pair) -> None:
    value = pair_made.rao.value("inbox", "show", pair_made.revoked)
    assert value["state"] in ("revoked", "offered")  # the revocation may not have arrived when the nodes stopped
    if value["state"] == "revoked":
        assert pair_made.rao.here("inbox", "accept", pair_made.revoked).code == 8


def test_the_scan_that_was_accepted_is_among_the_recipients_scans(pair_made: Pair) -> None:
    scans = pair_made.rao.value("scan", "ls")["scans"]
    assert [s["patient"] for s in scans] == ["CompressedSamples^CT1"]


def test_an_empty_inbox_says_so(rao: Cli) -> None:
    assert rao.ok("inbox", "ls") == "Nothing was offered to you yet.\n"
