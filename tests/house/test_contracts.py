"""Each import contract of pyproject.toml is broken once, in a copy, to see that it would be noticed."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.house.project import ROOT

CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

LINT = "from importlinter.cli import lint_imports_command as run; run()"

# contract, a file below p2pshare/, and the line that must not stand in it
SEEDS = [
    ("layers", "errors.py", "import p2pshare.model.ids"),
    ("layers", "store/folder.py", "import p2pshare.sync.wire"),
    ("layers", "sync/wire.py", "import p2pshare.dicom"),
    ("layers", "model/ids.py", "def late() -> None:\n    import p2pshare.crypto.labels"),
    ("layers", "stray.py", '"""A module that has no layer."""'),
    ("thin-cli", "cli/__init__.py", "import p2pshare.store.db"),
    ("thin-cli", "cli/__init__.py", "import p2pshare.crypto.keys"),
    ("sync-cannot-open", "sync/wire.py", "import p2pshare.crypto.stream"),
    ("sync-cannot-open", "sync/carriers/direct.py", "import p2pshare.crypto.seal"),
    ("sync-cannot-open", "sync/session.py", "import p2pshare.crypto.vaultkeys"),
    ("sync-cannot-open", "sync/carriers/__init__.py", "import p2pshare.crypto.packindex"),
    ("sync-cannot-open", "sync/session.py", "import pydicom"),
    ("sync-cannot-open", "crypto/keys.py", "import p2pshare.crypto.stream"),
    ("sans-io", "crypto/labels.py", "import os"),
    ("sans-io", "crypto/codec.py", "from asyncio import to_thread"),
    ("sans-io", "crypto/keys.py", "def late() -> None:\n    from pathlib import Path"),
    ("sans-io", "sync/wire.py", "import socket"),
    ("sans-io", "sync/session.py", "import time"),
    ("sans-io", "model/ids.py", "import os.path"),
    ("carriers", "sync/carriers/base.py", "import p2pshare.sync.carriers.direct"),
    ("carriers", "sync/carriers/stray.py", '"""A carrier that the contract does not know."""'),
    ("home-of-cryptography", "store/folder.py", "import nacl.utils"),
    ("home-of-cryptography", "sync/wire.py", "from cryptography.hazmat.primitives import hashes"),
    ("home-of-cryptography", "service/__init__.py", "import zstandard"),
    ("home-of-databases", "store/folder.py", "import aiosqlite"),
    ("home-of-databases", "service/__init__.py", "import sqlcipher3.dbapi2"),
    ("home-of-aiohttp", "engine/__init__.py", "import aiohttp"),
    ("home-of-pydicom", "service/__init__.py", "from pydicom import dcmread"),
    ("home-of-numpy", "crypto/stream.py", "import numpy"),
]


@pytest.mark.parametrize(("contract", "file", "line"), SEEDS)
def test_a_contract_notices_what_it_forbids(contract: str, file: str, line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "p2pshare", tmp_path / "p2pshare", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "p2pshare" / file).open("a", encoding="utf-8") as seeded:
        seeded.write(f"\n{line}\n")
    ran = subprocess.run(
        [sys.executable, "-c", LINT, "--no-logo", "--no-cache", "--contract", contract],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.returncode == 1, ran.stdout
    said = " ".join(ran.stdout.split())
    unknown_module = "stray" in file and "stray" in said
    assert f"{CONTRACTS[contract]} BROKEN" in said or unknown_module, ran.stdout


def test_every_contract_is_broken_once() -> None:
    assert {contract for contract, _, _ in SEEDS} == set(CONTRACTS)
