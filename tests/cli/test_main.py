import argparse
import asyncio
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from p2pshare.cli import main
from p2pshare.cli.output import Output
from p2pshare.errors import DiskTrouble, Fault
from tests.cli.running import Cli, matches_schema

SECRET = "Doe^Jane"


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Have every command fail with a given error."""

    def with_(error: BaseException) -> None:
        async def fail(args: argparse.Namespace, out: Output) -> int:
            await asyncio.sleep(0)
            raise error

        monkeypatch.setattr(main, "_handler", lambda name: fail)

    return with_


def test_an_error_of_ours_is_a_sentence_and_its_exit_code(
    handled: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handled(DiskTrouble("no space left on device"))
    assert main.run(["scan", "ls"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"p2pshare: no space left on device: {DiskTrouble().advice}\n"


def test_an_error_of_ours_is_found_among_those_of_many_tasks(
    handled: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handled(ExceptionGroup("tasks", [ValueError(), ExceptionGroup("more", [DiskTrouble("full")])]))
    assert main.run(["scan", "ls"]) == 1
    assert "full: The disk refused." in capsys.readouterr().err


def test_an_error_that_nobody_foresaw_is_called_a_fault_and_tells_nothing_private(
    handled: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handled(KeyError(SECRET))
    assert main.run(["scan", "ls", "-v", "--json"]) == 1
    printed = capsys.readouterr()
    matches_schema(["error"], json.loads(printed.out))
    assert "KeyError at test_main.py:" in printed.err
    assert Fault().advice in printed.err
    assert "raise error" in printed.err  # -v: the lines of code
    assert SECRET not in printed.out + printed.err


def test_a_full_disk_met_while_printing_is_no_fault(
    handled: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handled(OSError(errno.ENOSPC, "x"))
    assert main.run(["scan", "ls"]) == 1
    assert "The disk refused." in capsys.readouterr().err


def test_an_interruption_says_that_the_data_is_safe(
    handled: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    handled(KeyboardInterrupt())
    assert main.run(["scan", "ls", "--json"]) == 130
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["code"] == "interrupted"
    assert "What was stored is safe" in printed.err


def test_json_is_promised_before_the_command_line_is_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--frobnicate", "--json"]) == 2
    matches_schema(["error"], json.loads(capsys.readouterr().out))


def test_a_reader_that_leaves_ends_the_command_in_silence(ana: Cli) -> None:
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [sys.executable, "-m", "p2pshare", *ana.words("scan", "ls")], cwd=ana.folder, env=ana.env, stdout=write,
        stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_help_is_printed_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.run(["scan", "--help"])
    assert ended.value.code == 0
    assert "export" in capsys.readouterr().out
