import inspect

import pytest

from p2pshare import errors
from p2pshare.errors import LocalError, P2PShareError, RemoteError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, P2PShareError)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_a_sentence_of_its_own(kind: type[P2PShareError]) -> None:
    assert kind.__dict__["__doc__"]
    assert kind().advice.endswith(".")
    assert "\n" not in kind().advice


@pytest.mark.parametrize("kind", [kind for kind in TREE if kind not in (P2PShareError, LocalError, RemoteError)])
def test_every_error_is_either_ours_or_theirs(kind: type[P2PShareError]) -> None:
    assert issubclass(kind, LocalError) != issubclass(kind, RemoteError)


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind().code for kind in TREE]
    assert len(set(codes)) == len(codes)


def test_a_code_is_the_name_in_kebab_case() -> None:
    assert errors.DamagedPack().code == "damaged-pack"
    assert errors.NoVault().code == "no-vault"


def test_the_particular_fact_comes_before_the_sentence() -> None:
    assert str(errors.NotForMe("letter 7")) == f"letter 7: {errors.NotForMe().advice}"
    assert str(errors.NotForMe()) == errors.NotForMe().advice


def test_no_error_exits_as_if_nothing_had_happened_or_in_a_way_that_belongs_to_the_shell() -> None:
    assert all(0 < kind.exit_code < 126 for kind in TREE if kind is not errors.Interrupted)
    assert errors.Interrupted.exit_code == 130  # what a shell reports of a program that ^C ended
