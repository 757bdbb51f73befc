"""The house rules of CONTRIBUTING.md that no linter knows."""

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

from tests.house.project import ROOT, Module, files, modules, modules_in, nothing

LINES_MAX = 350  # past this, there is a second noun in it

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "shared"}

# Source files without a test file of their own, and why. Files that only declare things need none and are not listed.
WITHOUT_MIRROR: dict[str, str] = {}

# written so that this file does not contain what it looks for
UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X])\b")
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(?:[w]ork|[f]arm|[r]oot|[h]ome|[U]sers|[t]mp/dev)/[\w.]")
INDEX_ADDRESS = re.compile(
    r"pypi\.[o]rg|[p]ythonhosted|registry\.[n]pmjs|deb\.[d]ebian\.org|https?://\S+/[s]imple\b|--(?:extra-)?index-[u]rl"
)


def text_of_every_file() -> list[tuple[str, str]]:
    """Name and content of every file that is text."""
    texts = []
    for path in files():
        data = path.read_bytes()
        if b"\0" not in data:
            texts.append((path.relative_to(ROOT).as_posix(), data.decode("utf-8", errors="replace")))
    return texts


def matches(pattern: re.Pattern[str]) -> list[str]:
    """Where the project's text matches: `file:line: what`."""
    return [
        f"{name}:{number}: {found[0]}"
        for name, text in text_of_every_file()
        for number, line in enumerate(text.splitlines(), 1)
        for found in pattern.finditer(line)
    ]


def test_no_module_is_longer_than_350_lines() -> None:
    nothing(f"{m.name}: {m.lines} lines" for m in modules() if m.lines > LINES_MAX)


def test_every_module_says_first_what_it_is() -> None:
    unclear = []
    for module in modules_in("p2pshare", "bench"):
        first, *_ = (ast.get_docstring(module.tree) or "").splitlines() or [""]
        if len(first.split()) < 3 or first[-1] not in ".:":
            unclear.append(f"{module.name}: {first!r}")
    nothing(unclear)


def test_no_module_has_a_name_that_says_nothing() -> None:
    nothing(m.name for m in modules() if VAGUE_NAMES & set(PurePosixPath(m.name).with_suffix("").parts))


def test_every_source_file_has_its_test_file() -> None:
    nothing(
        f"{module.name}: no {mirror_of(module).relative_to(ROOT)}"
        for module in modules_in("p2pshare")
        if module.calls() and module.name not in WITHOUT_MIRROR and not mirror_of(module).is_file()
    )


def mirror_of(module: Module) -> Path:
    """Where the tests of a source file are; those of a package's own `__init__.py` lie beside its folder."""
    inner = module.path.relative_to(ROOT / "p2pshare")
    if inner.name == "__init__.py":
        inner = inner.parent
    return ROOT / "tests" / inner.with_name(f"test_{inner.stem.strip('_')}.py")


def test_every_exception_is_of_a_file_that_is_there_and_has_no_test() -> None:
    by_name = {module.name: module for module in modules_in("p2pshare")}
    nothing(name for name in WITHOUT_MIRROR if name not in by_name or mirror_of(by_name[name]).is_file())


def test_nothing_is_marked_as_unfinished() -> None:
    nothing(matches(UNFINISHED))


def test_no_file_names_a_path_of_one_machine() -> None:
    nothing(matches(MACHINE_PATH))


def test_no_file_names_the_address_of_a_package_index() -> None:
    nothing(matches(INDEX_ADDRESS))


def test_only_the_command_line_prints() -> None:
    printing = [
        f"{module.name}:{node.lineno}"
        for module in modules_in("p2pshare")
        if not module.name.startswith("p2pshare/cli/")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    nothing(printing)


def test_every_ignored_check_gives_its_code() -> None:
    bare = re.compile(r"#\s*(?:type:\s*ignore(?!\[)|noqa(?!:\s*[A-Z])|pragma:\s*no\s*cover)")
    nothing(
        f"{module.name}:{number}"
        for module in modules_in("p2pshare", "bench")
        for number, line in enumerate(module.text.splitlines(), 1)
        if bare.search(line)
    )


@pytest.mark.parametrize("line", ["see /" + "home/anna/scans", "cp x '/" + "work/y'", "(/" + "root/.config)"])
def test_a_path_of_one_machine_is_recognised(line: str) -> None:
    assert MACHINE_PATH.search(line)


@pytest.mark.parametrize("line", ["tests/work/x", "https://example.org/home/x", "$HOME/work/x", "~/root/x"])
def test_other_paths_are_not_taken_for_one(line: str) -> None:
    assert not MACHINE_PATH.search(line)
