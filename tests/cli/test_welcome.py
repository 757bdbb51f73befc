from pathlib import Path

from tests.cli.running import Cli, matches_schema


def test_without_a_vault_it_says_how_to_make_one(tmp_path: Path) -> None:
    ran = Cli(tmp_path).bare()
    assert (ran.code, ran.out) == (2, "")
    assert "p2pshare setup --name" in ran.err
    assert "p2pshare demo" in ran.err


def test_with_a_vault_it_says_what_can_be_done(ana_made: Path) -> None:
    ran = Cli(ana_made).bare("--vault", "vault")
    assert (ran.code, ran.out) == (2, "")
    assert "p2pshare import" in ran.err
    assert "setup" not in ran.err


def test_a_program_gets_an_error(tmp_path: Path) -> None:
    ran = Cli(tmp_path).bare("--json")
    assert ran.code == 2
    matches_schema(["error"], ran.value)
