"""The list is BIP-39's, word for word."""

import hashlib

from p2pshare.crypto.wordlist import WORDS

ENGLISH_TXT = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"  # SHA-256 of bip-0039/english.txt


def test_it_is_the_published_list() -> None:
    assert hashlib.sha256("".join(f"{word}\n" for word in WORDS).encode()).hexdigest() == ENGLISH_TXT


def test_its_words_are_sorted_and_told_apart_by_four_letters() -> None:
    assert len(WORDS) == 2048
    assert list(WORDS) == sorted(WORDS)
    assert len({word[:4] for word in WORDS}) == 2048
