"""The threat model names tests that are there, and every case that it has to."""

import ast
import re

from tests.house.project import ROOT, nothing

PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
CASES = {*range(17, 22), 23, 24, *range(39, 43), 44, 46, 47, 50, 51}  # of what is built


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE))
    assert len(named) > 50
    nothing(f"{file}::{test} is not there" for file, test in sorted(named) if test not in names_in(file))


def test_nothing_else_that_looks_like_a_test_is_named() -> None:
    whole = re.findall(r"`tests/[\w/]+\.py::test_\w+`", PAGE)
    assert len(re.findall(r"::", PAGE)) == len(whole)


def test_every_case_of_what_is_built_has_a_row_with_a_test() -> None:
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", PAGE, re.MULTILINE)
    assert {int(number) for number, _ in rows} == CASES
    nothing(f"case {number} names no test" for number, tests in rows if "::" not in tests)


def test_every_promise_names_a_test_or_says_that_there_is_none_yet() -> None:
    promises = re.findall(r"^\*\*(\d+)\. .*?(?=^\*\*\d+\. |^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert [int(number) for number in promises] == list(range(1, 11))
    texts = re.findall(r"^(\*\*\d+\. .*?)(?=^\*\*\d+\. |^## )", PAGE, re.MULTILINE | re.DOTALL)
    nothing(text.splitlines()[0] for text in texts if "::" not in text and "*Not yet:*" not in text)


def names_in(file: str) -> set[str]:
    """The names of the test functions of a file, or none if it is not there."""
    path = ROOT / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
