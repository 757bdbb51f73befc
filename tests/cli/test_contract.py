"""What programs rely on: every command's JSON has its schema, every exit code its meaning, stdout nothing else."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pshare.cli.parser import build_parser
from tests.cli.conftest import QUESTION, REASON, Pair
from tests.cli.running import PASSPHRASE, ROOT, SCHEMAS, Cli, matches_schema, read_terminal, terminal
from tests.house.test_docs import commands

# --- one JSON line, as its schema says ------------------------------------------------------------------------------


def test_every_command_has_a_schema() -> None:
    for command, _ in commands(build_parser()):
        assert command.replace(" ", "-") in SCHEMAS["$defs"], command


def keys(schema: object) -> Iterator[str]:
    """Every key that a schema gives to an object."""
    if isinstance(schema, dict):
        yield from schema.get("properties", ())
        for inner in schema.values():
            yield from keys(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from keys(inner)


def test_every_json_key_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    missing = sorted({key for key in keys(SCHEMAS) if f"`{key}`" not in text and f'"{key}"' not in text})
    assert not missing


READING = [
    "unlock --check", "check", "check --read-data", "log", "log --last 2", "status", "status --why", "scan ls",
    "scan find ct", "scan find nothing-like-it", "scan show {ct}", "person ls", "share ls", "share status {imported}",
    "share status {declined}", "share status {offered}", "share status {revoked}", "share receipt {imported}",
    "completion bash", "completion zsh", "completion tcsh",
]  # fmt: skip
READING_OF_THE_RECIPIENT = ["inbox ls", "inbox show {imported}", "inbox show {offered}", "scan ls", "status"]


@pytest.mark.parametrize("command", READING)
def test_what_a_sender_reads_is_one_json_line_of_its_schema(command: str, pair_made: Pair) -> None:
    pair_made.ana.value(*command.format(**vars(pair_made)).split())


@pytest.mark.parametrize("command", READING_OF_THE_RECIPIENT)
def test_what_a_recipient_reads_is_one_json_line_of_its_schema(command: str, pair_made: Pair) -> None:
    pair_made.rao.value(*command.format(**vars(pair_made)).split())


def test_what_changes_something_prints_one_json_line_of_its_schema(pair: Pair, ct_small: Path) -> None:
    ana, rao = pair.ana, pair.rao
    ana.value("import", str(ct_small), "nowhere", code=7)
    ana.value("import", str(ct_small), "--dry-run")
    ana.value("scan", "export", pair.ct, "-o", "out")
    ana.value("share", "revoke", pair.offered[:8])
    ana.value("scan", "erase", pair.mr)
    ana.value("person", "card", "-o", "mine.card", "--address", "clinic.example:4747")
    ana.value("person", "set", "rao", "--address", "")
    ana.value("person", "block", "rao")
    ana.value("person", "unblock", "rao")
    rao.value("inbox", "accept", pair.offered[:8])
    rao.value("inbox", "decline", pair.revoked, "--reason", "too late", code=8)


def test_setting_up_and_recovering_print_one_json_line_of_their_schemas(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    (tmp_path / "old").write_text("a passphrase that I will forget\n")
    (tmp_path / "new").write_text("another passphrase that I like\n")
    made = cli.bare(
        "--vault", "v", "--passphrase-file", "old", "setup", "--name", "Ana", "--recovery-file", "r", "--json"
    )
    matches_schema(["setup"], made.value)
    recovered = cli.bare("--vault", "v", "recover", "--recovery-file", "r", "--new-passphrase-file", "new", "--json")
    matches_schema(["recover"], recovered.value)
    assert cli.bare("--vault", "v", "--passphrase-file", "new", "unlock", "--check").code == 0
    assert cli.bare("--vault", "v", "--passphrase-file", "old", "unlock", "--check").code == 3
    change = ("--vault", "v", "--passphrase-file", "new", "passphrase", "change", "--new-passphrase-file", "old")
    matches_schema(["passphrase", "change"], cli.bare(*change, "--json").value)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("scan", "show", "ffff"), "not-found"),
        (("scan", "show"), "usage-error"),
        (("no-such-command",), "usage-error"),
        ((), "usage-error"),
        (("log", "--last", "many"), "usage-error"),
        (("person", "set", "ana", "--address", "x:1"), "not-found"),
    ],
)
def test_a_failure_is_one_json_line_too_and_a_sentence_on_stderr(
    words: tuple[str, ...], code: str, ana_made: Path
) -> None:
    ran = Cli(ana_made).run("--json", *words)
    matches_schema(["error"], ran.value)
    assert ran.value["error"]["code"] == code
    assert ran.err.startswith("p2pshare: ")
    assert ran.err.count("\n") == 1


def test_what_is_not_the_result_is_not_on_stdout(ana: Cli, ct_small: Path) -> None:
    (ana.folder / "weak").write_text("short\n")
    made = ana.bare(
        "--vault", "v2", "--passphrase-file", "weak", "setup", "--name", "Ana", "--recovery-file", "r2", "--json"
    )
    assert list(made.value) == ["schema", "fingerprint"]
    assert "short" in made.err


def test_the_ways_to_name_a_vault_and_a_passphrase_are_the_same(ana: Cli) -> None:
    files = Cli(
        ana.folder, more_env={"P2PSHARE_VAULT": "vault", "P2PSHARE_PASSPHRASE_FILE": "passphrase"}
    )  # fmt: skip
    assert files.bare("unlock", "--check").code == 0
    assert files.bare("unlock", "--check", "--vault", "elsewhere").code == 4
    (ana.folder / "wrong").write_text("not it\n")
    assert files.bare("--passphrase-file", "wrong", "unlock", "--check").code == 3


# --- exit codes -----------------------------------------------------------------------------------------------------


def test_0_is_success(ana: Cli) -> None:
    assert ana.run("scan", "ls").code == 0


def test_1_is_an_error_of_no_other_kind(ana: Cli) -> None:
    again = ana.run("setup", "--name", "Ana", "--recovery-file", "other-sheet.txt")
    assert (again.code, again.out) == (1, "")
    assert not (ana.folder / "other-sheet.txt").exists()


@pytest.mark.parametrize("words", [("scan",), ("scan", "show"), ("--frobnicate",), ("log", "--last", "0"), ()])
def test_2_is_a_command_that_was_not_understood(words: tuple[str, ...], ana_made: Path) -> None:
    assert Cli(ana_made).run(*words).code == 2


def test_2_is_an_id_that_fits_several(pair: Pair) -> None:
    for _ in range(13):  # with the four that are there, two must begin with the same of sixteen digits
        pair.ana.value("share", "create", "--to", "rao", "--scan", pair.ct)
    ids = [s["share"] for s in pair.ana.value("share", "ls")["shares"]]
    first = next(digit for digit in "0123456789abcdef" if sum(i.startswith(digit) for i in ids) > 1)
    ran = pair.ana.run("share", "status", first, "--json")
    assert (ran.code, ran.value["error"]["code"]) == (2, "ambiguous")
    assert pair.ana.run("share", "status", "").code == 4  # nothing is no beginning


def test_3_is_a_wrong_passphrase(ana: Cli) -> None:
    (ana.folder / "wrong").write_text("not the passphrase\n")
    ran = ana.bare("--vault", "vault", "--passphrase-file", "wrong", "scan", "ls")
    assert (ran.code, ran.out) == (3, "")
    assert "not the passphrase" not in ran.err


def test_3_is_a_key_file_that_does_not_fit(ana: Cli) -> None:
    (ana.folder / "other.key").write_bytes(bytes(32))
    assert ana.bare("--vault", "vault", "--key-file", "other.key", "scan", "ls").code == 3


@pytest.mark.parametrize(
    "words", [("scan", "show", "ffff"), ("share", "status", "ffff"), ("inbox", "show", "ffff"), ("person", "add", "x")]
)
def test_4_is_something_that_is_not_there(words: tuple[str, ...], ana_made: Path) -> None:
    ran = Cli(ana_made).run(*words)
    assert (ran.code, ran.out) == (4, "")


def test_4_is_a_vault_that_is_not_there(tmp_path: Path) -> None:
    ran = Cli(tmp_path).run("scan", "ls")
    assert (ran.code, ran.out) == (4, "")
    assert "p2pshare setup" in ran.err


def test_5_is_damage(ana: Cli) -> None:
    pack = next((ana.folder / "vault" / "packs").rglob("*.p2pk"))
    damaged = bytearray(pack.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(damaged)
    found = ana.value("check", "--read-data", code=5)
    assert not found["ok"]
    assert found["problems"]
    assert ana.run("check", "--read-data").code == 5


def test_6_is_a_share_that_nobody_fetched_in_time(pair: Pair) -> None:
    ran = pair.ana.run("share", "status", pair.offered, "--wait", "--timeout", "0.2", "--json")
    assert ran.code == 6
    assert ran.value["state"] == "offered"


def test_7_is_an_import_that_could_not_read_everything(ana: Cli, ct_small: Path) -> None:
    broken = ana.folder / "broken.dcm"
    broken.write_bytes(ct_small.read_bytes()[:5000])
    value = ana.value("import", "broken.dcm", code=7)
    assert (value["unreadable"], value["problems"][0]["file"]) == (1, "broken.dcm")
    assert value["problems"][0]["why"]


def test_8_is_a_safety_rule(pair: Pair, ct_scan: str) -> None:
    pair.ana.ok("person", "block", "rao")
    blocked = pair.ana.value("share", "create", "--to", "rao", "--scan", pair.ct, code=8)
    assert blocked["error"]["code"] == "person-blocked"


def test_8_is_a_person_who_is_not_verified(ana: Cli, rao: Cli, ct_scan: str) -> None:
    rao.ok("person", "card", "-o", "rao.card")
    ana.ok("person", "add", str(rao.folder / "rao.card"))
    refused = ana.value("share", "create", "--to", "rao", "--scan", ct_scan, code=8)
    assert refused["error"]["code"] == "not-verified"
    assert ana.value("share", "ls")["shares"] == []
    wrong = ana.value("person", "verify", "rao", "--words", "one two three four five six seven eight", code=8)
    assert wrong["error"]["code"] == "words-differ"
    ana.value("share", "create", "--to", "rao", "--scan", ct_scan, "--unverified")


def test_9_is_an_answer_that_nobody_is_there_to_give(ana: Cli) -> None:
    ran = ana.bare("--vault", "vault", "scan", "ls")
    assert (ran.code, ran.out) == (9, "")
    ran = ana.bare("--vault", "new", "setup", "--name", "Ana", "--recovery-file", "new-sheet.txt")
    assert (ran.code, ran.out) == (9, "")
    assert not (ana.folder / "new-sheet.txt").exists()


def test_9_is_a_confirmation_that_may_not_be_asked_for(ana: Cli, ct_scan: str) -> None:
    assert ana.run("scan", "erase", ct_scan, "--no-input").code == 9
    assert ana.run("scan", "show", ct_scan).code == 0
    assert ana.run("scan", "erase", ct_scan, "--no-input", "--yes").code == 0


def test_130_is_an_interruption(ana: Cli) -> None:
    process = ana.start("serve", "--listen", "127.0.0.1:0")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Sending and receiving at 127.0.0.1:")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "What was stored is safe" in err


def test_130_is_an_interruption_of_a_command_that_waits(pair: Pair) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        process = pair.ana.start("share", "status", pair.offered, "--wait", "-v")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_130_is_an_interruption_of_a_question(number: signal.Signals, ana: Cli) -> None:
    import os
    import sys
    import termios

    with terminal(80) as (master, slave):
        process = subprocess.Popen(
            [sys.executable, "-m", "p2pshare", "--vault", "vault", "scan", "ls"], cwd=ana.folder, env=ana.env,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        )  # fmt: skip
        assert b"Passphrase: " in read_terminal(master)
        process.send_signal(number)
        assert process.wait(10) == 130
        assert termios.tcgetattr(slave)[3] & termios.ECHO, "the echo is off after ^C"
        os.close(slave)


# --- what was said and asked arrives ---------------------------------------------------------------------------------


def test_the_question_and_the_reason_arrive_as_they_were_written(pair_made: Pair) -> None:
    assert pair_made.rao.value("inbox", "show", pair_made.imported)["question"] == QUESTION
    assert pair_made.ana.value("share", "status", pair_made.declined)["why"] == REASON


def test_an_id_is_accepted_by_its_beginning(pair_made: Pair) -> None:
    pair_made.ana.ok("scan", "show", pair_made.ct[:6])
    pair_made.ana.ok("scan", "show", pair_made.ct[:6].upper())
    pair_made.ana.ok("share", "status", pair_made.imported[:6])
    pair_made.rao.ok("inbox", "show", pair_made.imported[:6])


def test_no_output_holds_the_passphrase_or_a_key(pair_made: Pair) -> None:
    key = (pair_made.ana.folder / "vault.key").read_bytes()
    code = re.sub(r"\W", "", (pair_made.ana.folder / "sheet.txt").read_text().split("Code:")[1].split("To use")[0])
    for command in READING:
        out = json.dumps(vars(pair_made.ana.here(*command.format(**vars(pair_made)).split(), "-v")))
        assert PASSPHRASE not in out
        assert key.hex() not in out
        assert code[:16] not in out
