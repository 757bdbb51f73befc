import importlib.util
from pathlib import Path

import pytest

from tests.cli.running import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_the_demo_touches_no_folder_that_holds_something(cli: Cli) -> None:
    (cli.folder / "mine").mkdir()
    (cli.folder / "mine" / "letter.txt").write_text("keep me")
    ran = cli.bare("demo", "--folder", "mine")
    assert ran.code == 1
    assert "was not touched" in ran.err
    assert [p.name for p in (cli.folder / "mine").iterdir()] == ["letter.txt"]


def test_without_the_sample_images_the_demo_says_how_to_get_them(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "data_store" else found(name))
    ran = cli.here("demo", "--folder", str(cli.folder / "new"))
    assert ran.code == 4
    assert "extra `demo`" in ran.err
