"""Both people get the same eight words, and typing them is forgiving of form and of nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pshare.crypto import words
from p2pshare.crypto.wordlist import WORDS
from p2pshare.crypto.words import safety_words, same_words, suggest_passphrase
from p2pshare.errors import LocalError
from tests.crypto.samples import ANN, BOB

EIGHT = tuple(WORDS[i * 255] for i in range(8))


def test_both_people_get_the_same_eight_words() -> None:
    found = safety_words(ANN.public, BOB.public)
    assert found == safety_words(BOB.public, ANN.public)
    assert len(found) == 8
    assert set(found) <= set(WORDS)


def test_bits_become_words_from_the_most_significant_on() -> None:
    assert words._spelled(bytes(11)) == ("abandon",) * 8
    assert words._spelled(b"\xff" * 11) == ("zoo",) * 8
    assert words._spelled(b"\x00\x20" + bytes(9)) == ("ability",) + ("abandon",) * 7


@given(
    st.sampled_from([" ", "  ", "\n", ", ", " - ", ". ", "\t"]), st.booleans(), st.sampled_from(["", " ", "!", "\n"])
)
def test_form_does_not_matter(between: str, capitals: bool, end: str) -> None:
    typed = between.join(EIGHT) + end
    assert same_words(typed.upper() if capitals else typed, EIGHT)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ".join(EIGHT[:7]),
        " ".join((*EIGHT, "zoo")),
        " ".join(reversed(EIGHT)),
        "".join(EIGHT),
        " ".join((*EIGHT[:7], "zoo")),
        " ".join(word[:4] for word in EIGHT),
        "\udc80",
        "a " * 100_000,
    ],
)
def test_other_words_are_not_the_same(typed: str) -> None:
    assert not same_words(typed, EIGHT)


def test_a_suggested_passphrase_has_six_words_and_is_fresh() -> None:
    suggested = {suggest_passphrase() for _ in range(50)}
    assert len(suggested) == 50
    assert all(len(one.split(" ")) == 6 and set(one.split(" ")) <= set(WORDS) for one in suggested)


def test_memory_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def __init__(self, **_: object) -> None: ...

        def derive(self, _: bytes) -> bytes:
            raise MemoryError

    monkeypatch.setattr(words, "Argon2id", Fails)
    with pytest.raises(LocalError, match="256 MiB"):
        safety_words(ANN.public, BOB.public)
