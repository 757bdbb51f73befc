import os
from pathlib import Path

import pytest

from tests.cli.conftest import Pair
from tests.cli.running import PASSPHRASE, Cli


def test_setup_says_where_everything_is_and_what_to_do_with_it(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    (tmp_path / "p").write_text("a passphrase of some length\n")
    made = cli.bare("--vault", "v", "--passphrase-file", "p", "setup", "--name", "Ana", "--recovery-file", "sheet")
    assert made.code == 0
    assert "v" in made.out.splitlines()[0]
    assert "Print sheet" in made.out
    assert "opens the vault of Ana" in (tmp_path / "sheet").read_text()
    assert (tmp_path / "sheet").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "v").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "  ", "x" * 201])
def test_a_vault_is_not_made_for_nobody(name: str, ana: Cli) -> None:
    ran = ana.here("--vault", "v2", "--passphrase-file", "passphrase", "setup", "--name", name, "--recovery-file", "r")
    assert ran.code == 2
    assert not (ana.folder / "v2").exists()
    assert not (ana.folder / "r").exists()


@pytest.mark.parametrize("taken", ["v2", "r2", "k2"])
def test_setup_replaces_nothing(taken: str, ana: Cli) -> None:
    (ana.folder / taken).write_text("mine")
    ran = ana.bare(
        "--vault", "v2", "--key-file", "k2", "--passphrase-file", "passphrase", "setup", "--name", "Ana",
        "--recovery-file", "r2",
    )  # fmt: skip
    assert ran.code == 1
    assert f"p2pshare: {taken}: It is there already" in ran.err
    assert (ana.folder / taken).read_text() == "mine"
    assert not any((ana.folder / other).exists() for other in {"v2", "r2", "k2"} - {taken})


def test_a_setup_that_fails_leaves_no_secret_behind(ana: Cli) -> None:
    ran = ana.bare(
        "--vault", "v2", "--key-file", "no/such/folder/k2", "--passphrase-file", "passphrase", "setup",
        "--name", "Ana", "--recovery-file", "r2",
    )  # fmt: skip
    assert ran.code == 2
    assert not (ana.folder / "r2").exists()
    assert not (ana.folder / "v2").exists()


def test_a_key_file_made_at_setup_opens_the_vault(ana: Cli) -> None:
    assert (ana.folder / "vault.key").stat().st_mode & 0o777 == 0o600
    assert ana.ok("unlock", "--check") == "The vault of Ana opens.\n"


def test_the_passphrase_opens_the_vault_too(ana: Cli) -> None:
    assert (ana.folder / "passphrase").read_text().strip() == PASSPHRASE
    assert ana.bare("--vault", "vault", "--passphrase-file", "passphrase", "unlock", "--check").code == 0
    read, write = os.pipe()
    os.write(write, PASSPHRASE.encode())
    os.close(write)
    ran = ana.bare("--vault", "vault", "--passphrase-fd", str(read), "unlock", "--check", pass_fds=(read,))
    os.close(read)
    assert ran.code == 0


def test_a_new_sheet_takes_the_place_of_the_old_one(ana: Cli) -> None:
    (ana.folder / "fresh").write_text("a fresh passphrase, not the old\n")
    recover = ["--vault", "vault", "recover", "--new-passphrase-file", "fresh", "--recovery-file"]
    ran = ana.bare(*recover, "sheet.txt", "--new-recovery-file", "sheet2.txt")
    assert ran.code == 0
    assert "The old recovery sheet no longer opens it" in ran.out
    assert ana.bare(*recover, "sheet.txt").code == 3
    assert ana.bare(*recover, "sheet2.txt").code == 0
    assert ana.bare("--vault", "vault", "--passphrase-file", "fresh", "unlock", "--check").code == 0


def test_a_changed_passphrase_opens_the_vault_and_the_old_one_does_not(ana: Cli) -> None:
    (ana.folder / "fresh").write_text("a fresh passphrase, not the old\n")
    unlock = ["unlock", "--check"]
    old, new = (["--vault", "vault", "--passphrase-file", file] for file in ("passphrase", "fresh"))
    change = ["passphrase", "change", "--new-passphrase-file", "fresh"]
    assert ana.bare(*new, *change).code == 3  # the old one is needed
    told = ana.bare(*old, *change)
    assert told.code == 0
    assert "no longer with the old one" in told.out
    assert (ana.bare(*old, *unlock).code, ana.bare(*new, *unlock).code) == (3, 0)
    assert ana.run(*unlock).code == 0  # the key file
    recover = ["recover", "--recovery-file", "sheet.txt", "--new-passphrase-file", "passphrase"]
    assert ana.bare("--vault", "vault", *recover).code == 0
    assert "unlocking-changed" in ana.run("log").out


def test_without_a_person_a_new_passphrase_comes_from_a_file(ana: Cli) -> None:
    ran = ana.run("passphrase", "change")
    assert ran.code == 9
    assert "--new-passphrase-file" in ran.err


def test_check_says_what_it_did_not_look_at(ana: Cli) -> None:
    assert "Add --read-data" in ana.ok("check")
    assert "Every byte was read" in ana.ok("check", "--read-data")


def test_check_names_the_scan_whose_pack_is_gone(ana: Cli) -> None:
    for pack in (ana.folder / "vault" / "packs").rglob("*.p2pk"):
        pack.unlink()
    ran = ana.run("check")
    assert ran.code == 5
    assert "e+1 20040119" in ran.out
    assert "may still hold it" in ran.out
    assert any("e+1" in scan for problem in ana.value("check", code=5)["problems"] for scan in problem["scans"])


def test_check_complains_of_a_vault_that_others_can_read(ana: Cli) -> None:
    (ana.folder / "vault").chmod(0o755)
    ran = ana.run("check")
    assert ran.code == 5
    assert "may still hold it" not in ran.out  # no scan is touched


def test_the_log_tells_what_happened_in_order(ana: Cli) -> None:
    ana.ok("person", "card", "-o", "c")
    entries = ana.value("log")["log"]
    assert [e["kind"] for e in entries][:2] == ["setup", "import"]
    assert [e["number"] for e in entries] == list(range(1, len(entries) + 1))
    assert entries[1]["detail"]["stored"] == 2
    assert ana.value("log", "--last", "1")["log"] == entries[-1:]
    assert "import" in ana.ok("log").splitlines()[2]


def test_the_log_shortens_ids_for_people_only(pair_made: Pair) -> None:
    created = next(e for e in pair_made.ana.value("log")["log"] if e["kind"] == "share-created")
    assert created["detail"]["share"] == pair_made.imported
    line = next(line for line in pair_made.ana.here("log").out.splitlines() if "share-created" in line)
    assert pair_made.imported[:8] in line
    assert pair_made.imported not in line


def test_status_says_who_serves_and_what_waits_and_why(pair: Pair) -> None:
    value = pair.ana.value("status")
    assert (value["scans"], value["serving"]) == (2, "")
    assert [w["share"] for w in value["waiting"]] == [pair.offered]
    assert "has not answered yet" in pair.ana.ok("status", "--why")
    assert "has not answered yet" not in pair.ana.ok("status")
    with pair.ana.serving() as address:
        assert pair.ana.value("status")["serving"] == address
        assert address in pair.ana.ok("status")
    assert pair.ana.value("status")["serving"] == ""


def test_a_node_that_was_killed_is_not_said_to_serve(ana: Cli) -> None:
    process = ana.start("serve", "--listen", "127.0.0.1:0")
    assert process.stdout is not None
    assert process.stdout.readline()
    process.kill()
    process.communicate()
    assert ana.value("status")["serving"] == ""
