import argparse
import json
import os
from pathlib import Path

import pytest

from p2pshare.cli import context
from p2pshare.cli.output import Output
from p2pshare.errors import NeedsInput, NoVault, UsageError
from p2pshare.service.unlocking import KeyfileSecret, PassphraseSecret

KEY = bytes(range(32))


@pytest.fixture
def out() -> Output:
    return Output(json=False, plain=False, quiet=False, verbose=False, color=False)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with something that passes for a vault, secrets of several kinds, and no settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("P2PSHARE_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("P2PSHARE_VAULT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config" / "p2pshare").mkdir(parents=True)
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "vault.p2pv").touch()
    for name in ("flag", "environment", "config"):
        (tmp_path / f"{name}.txt").write_text(f"passphrase of the {name}\nsecond line\n")
        (tmp_path / f"{name}.key").write_bytes(KEY + name.encode())
    return tmp_path


def arguments(**given: object) -> argparse.Namespace:
    known = {"vault": "vault", "passphrase_file": None, "passphrase_fd": None, "key_file": None, "no_input": True}
    return argparse.Namespace(**{**known, "yes": False, **given})


def configured(place: Path, **settings: str) -> None:
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
    (place / "config" / "p2pshare" / "config.toml").write_text("".join(lines))


def secret(**given: object) -> object:
    found = context.secret_for(arguments(**given), Path("vault"))
    return found.text if isinstance(found, PassphraseSecret) else found


def test_options_come_before_the_environment_before_the_config_file(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(place, key_file="config.key")
    assert secret() == KeyfileSecret(KEY + b"config")
    monkeypatch.setenv("P2PSHARE_PASSPHRASE_FILE", "environment.txt")
    assert secret() == "passphrase of the environment"
    assert secret(passphrase_file="flag.txt") == "passphrase of the flag"
    assert secret(key_file="flag.key") == KeyfileSecret(KEY + b"flag")


def test_the_config_file_may_name_a_passphrase_file(place: Path) -> None:
    configured(place, passphrase_file="config.txt")
    assert secret() == "passphrase of the config"


def test_a_passphrase_comes_from_a_descriptor(place: Path) -> None:
    with (place / "flag.txt").open("rb") as file:
        assert secret(passphrase_fd=file.fileno()) == "passphrase of the flag"


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_descriptor_that_gives_no_text_is_a_mistake(content: bytes | None, place: Path) -> None:
    (place / "odd").write_bytes(content or b"x")
    handle = os.open(place / "odd", os.O_RDONLY)
    if content is None:
        os.close(handle)
    with pytest.raises(UsageError, match=f"file descriptor {handle}"):
        secret(passphrase_fd=handle)
    if content is not None:
        os.close(handle)


def test_nobody_is_asked_for_a_passphrase_without_a_terminal(out: Output) -> None:
    for no_input in (True, False):  # pytest's stdin is no terminal
        with pytest.raises(NeedsInput):
            secret(no_input=no_input)
        with pytest.raises(NeedsInput):
            context.new_passphrase(arguments(no_input=no_input), out)


def test_where_there_is_no_vault_nobody_is_asked_for_anything() -> None:
    with pytest.raises(NoVault):
        context.secret_for(arguments(passphrase_file="not-there"), Path("elsewhere"))


def test_a_folder_that_may_not_be_looked_into_has_no_vault_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    assert not context.has_vault(Path("vault"))


def test_a_new_passphrase_is_the_one_that_is_named(out: Output) -> None:
    assert context.new_passphrase(arguments(passphrase_file="flag.txt"), out).text == "passphrase of the flag"


@pytest.mark.parametrize("text", ["", "\n", "\nsecond line"])
def test_an_empty_passphrase_is_refused(text: str, place: Path, out: Output) -> None:
    (place / "empty").write_text(text)
    with pytest.raises(UsageError, match="empty"):
        context.new_passphrase(arguments(passphrase_file="empty"), out)


def test_a_confirmation_needs_nobody_in_a_script_and_a_yes_where_asking_is_forbidden(out: Output) -> None:
    context.confirm(arguments(yes=True), "Erase?", "abc", out)
    context.confirm(arguments(no_input=False), "Erase?", "abc", out)  # no terminal: the command is the yes
    with pytest.raises(NeedsInput):
        context.confirm(arguments(no_input=True), "Erase?", "abc", out)
