"""Where things are, and what a person set: flags before environment before the config file (USERS' order)."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from p2pshare.errors import UsageError

_KEYS = ("vault", "passphrase_file", "key_file", "listen")


@dataclass(frozen=True, slots=True)
class Config:
    """What the config file says; None where it says nothing."""

    vault: str | None = None
    passphrase_file: str | None = None
    key_file: str | None = None
    listen: str | None = None


def config_path() -> Path:
    """Where the config file is looked for."""
    import platformdirs

    return platformdirs.user_config_path("p2pshare") / "config.toml"


def read_config(path: Path) -> Config:
    """The config file at `path`, or an empty one where there is none. Raises UsageError when it cannot be used."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    for key, value in values.items():
        if key not in _KEYS or not isinstance(value, str):
            raise UsageError(f"{path}: {key} is not a setting (known: {', '.join(_KEYS)})")
    return Config(**values)


def vault_path(flag: str | None, config: Config) -> Path:
    """The vault's folder: the flag, P2PSHARE_VAULT, the config file, or the usual place for data."""
    chosen = flag or os.environ.get("P2PSHARE_VAULT") or config.vault
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_data_path("p2pshare") / "vault"
