"""What the house tests look at: the project's files as git would carry them, and its modules by name."""

import ast
import functools
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@functools.cache
def files() -> list[Path]:
    """Every file that is in the project or would be if committed now."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted({ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()})


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file of the project."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Its path below the root, with slashes: how the tests name it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> int:
        """How long it is."""
        return len(self.text.splitlines())

    def calls(self) -> bool:
        """Whether it holds any function of its own, that is: anything that could be wrong at run time."""
        functions = [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        return any(not _is_declaration(function) for function in functions)


def _is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A method of a Protocol: nothing but its docstring."""
    return all(isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) for step in function.body)


@functools.cache
def modules() -> list[Module]:
    """Every Python file of the project."""
    found = []
    for path in files():
        if path.suffix == ".py":
            text = path.read_text(encoding="utf-8")
            found.append(Module(path, text, ast.parse(text, str(path))))
    return found


def modules_in(*folders: str) -> list[Module]:
    """The Python files below any of the named folders."""
    return [module for module in modules() if module.name.split("/")[0] in folders]


def nothing(found: Iterable[str]) -> None:
    """Fail with all that was found, a line each, if anything was."""
    if lines := list(found):
        pytest.fail("\n".join(lines), pytrace=False)
