from pathlib import Path

import pytest

from p2pshare.config import Config, config_path, read_config, vault_path
from p2pshare.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person without settings."""
    monkeypatch.delenv("P2PSHARE_VAULT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def test_the_config_file_is_where_the_system_keeps_such_files(home: Path) -> None:
    assert config_path() == home / "config" / "p2pshare" / "config.toml"


def test_a_config_file_that_is_not_there_says_nothing(home: Path) -> None:
    assert read_config(home / "none.toml") == Config()


def test_a_config_file_says_what_it_says(home: Path) -> None:
    file = home / "config.toml"
    file.write_text('vault = "/scans"\nlisten = "127.0.0.1:4747"\n')
    assert read_config(file) == Config(vault="/scans", listen="127.0.0.1:4747")


@pytest.mark.parametrize("text", ['valut = "/scans"', "vault = 1", "vault", "vault = ["])
def test_a_config_file_with_a_mistake_is_refused_and_named(text: str, home: Path) -> None:
    file = home / "config.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml"):
        read_config(file)


def test_a_config_file_that_is_not_text_is_refused(home: Path) -> None:
    file = home / "config.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError):
        read_config(file)


def test_a_config_file_that_cannot_be_read_is_refused(home: Path) -> None:
    with pytest.raises(UsageError):
        read_config(home)


def test_the_flag_comes_before_the_environment_before_the_config_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(vault="from-config")
    assert vault_path(None, config) == Path("from-config")
    monkeypatch.setenv("P2PSHARE_VAULT", "from-environment")
    assert vault_path(None, config) == Path("from-environment")
    assert vault_path("from-flag", config) == Path("from-flag")


def test_without_any_of_them_the_vault_is_where_the_system_keeps_data(home: Path) -> None:
    assert vault_path(None, Config()) == home / "data" / "p2pshare" / "vault"


def test_a_tilde_is_the_home_folder(home: Path) -> None:
    assert vault_path("~/scans", Config()) == home / "scans"
