import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import Cli


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_script_for_each_shell_names_the_commands(shell: str, tmp_path: Path) -> None:
    script = Cli(tmp_path).value("completion", shell)["script"]
    for word in ("import", "export", "receipt", "question-file"):
        assert word in script


def test_bash_completes_commands_and_files(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    (tmp_path / "script").write_text(Cli(tmp_path).here("completion", "bash").out)
    (tmp_path / "disc.zip").touch()
    asked = (
        'source ./script; reply() { COMP_WORDS=(p2pshare "$@"); COMP_CWORD=$#; COMPREPLY=(); _shtab_p2pshare;'
        ' echo "${COMPREPLY[*]}"; }; reply scan ex; reply inbox acc; reply import dis'
    )
    ran = subprocess.run([bash, "-c", asked], cwd=tmp_path, capture_output=True, check=False, text=True)
    assert ran.stdout.split() == ["export", "accept", "disc.zip"], ran
