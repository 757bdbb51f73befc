"""A reader that shares no code with p2pshare agrees with every vector of tests/vectors: it takes or refuses it."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pshare.crypto.wordlist import WORDS
from tests import independent_reader as reader
from tests.independent import chunks, sealed
from tests.independent import shapes as packed
from tests.independent.msgpack import Refused, unpack

ON_THE_WIRE = {"knock", "server handshake", "client handshake"}  # nothing that lies on a disk or in an envelope

Given = dict[str, Any]


def _chunk(given: Given) -> Given:
    key = given["object_key"]
    chunks.check_commitment(key, given["commitment"])
    return {"plain": chunks.open_chunk(key, given["number"], given["last"], given["plain_length"], given["stored"])}


def _object(given: Given) -> Given:
    packed.OBJECT_SHAPE(given)
    chunks.check_shape(given)
    return {}


def _pack(given: Given) -> Given:
    reader.read_pack(given["file"], given["vault_id"], {given["generation"]: given["vault_key"]})
    return {}


def _vault(given: Given) -> Given:
    header, secret = reader.read_header(given["file"]), given["secret"]
    keys = reader.unlock(header, secret["kind"], secret.get("text") or secret["bytes"])
    newest = keys[header["generation"]]
    if not reader.header_is_authentic(given["file"], header, newest):
        raise Refused("the header's tag")
    return {"generation": header["generation"], "vault_key": newest, "older_vault_key": keys[1]}


def _keys_file(given: Given) -> Given:
    return reader.read_keys_file(given["file"], given["vault_id"], given["generation"], given["vault_key"])


def _card(given: Given) -> Given:
    card = sealed.read_card(given["file"])
    return {
        "person_id": sealed.person_id(card["person"]),
        "device_id": sealed.device_id(card["devices"][0]["device"]),
    }


def _words(given: Given) -> Given:
    words = _known_words(given["mine"], given["theirs"])
    if " ".join("".join(c if c.isalpha() else " " for c in given["typed"].lower()).split()) != words:
        raise Refused("words that differ")
    return {"words": words}


@functools.cache
def _known_words(mine: bytes, theirs: bytes) -> str:
    return " ".join(WORDS[number] for number in sealed.word_numbers(mine, theirs))


def _content(content: Given, sender: bytes) -> Given:
    if content["t"] == "receipt":
        sealed.check_receipt(content, sender)
        return {}
    letter_hash = sealed.check_letter(content, sender)
    sealed.letter_body(content)
    return {"hash": letter_hash}


def _envelope(given: Given) -> Given:
    prekeys = [(key["public"], key["secret"]) for key in given["prekeys"]]
    return _content(sealed.open_envelope(given["envelope"], given["device"], prekeys), given["sender"])


def _signature(given: Given) -> Given:
    sealed.check_signature(given["public"], given["name"], given["fields"], given["signature"])
    return {}


def _prekey(given: Given) -> Given:
    device = given.pop("device")
    packed.PREKEY(given)
    sealed.check_prekey(device, given)
    return {}


READ: dict[str, Callable[[Given], Given]] = {
    "chunk": _chunk,
    "object": _object,
    "layout": lambda given: {"layout": chunks.read_layout(given["packed"])},
    "pack": _pack,
    "vault": _vault,
    "keys file": _keys_file,
    "recovery code": lambda given: {"code": reader.recovery_code(given["text"])},
    "log": lambda given: {"hash": sealed.log_hash(**given)},
    "signature": _signature,
    "prekey": _prekey,
    "card": _card,
    "words": _words,
    "letter": lambda given: _content(unpack(given["packed"], packed.LETTER), given["sender"]),
    "receipt": lambda given: _content(unpack(given["packed"], packed.RECEIPT), given["sender"]),
    "envelope": _envelope,
}


def _vectors() -> dict[str, Given]:
    files = (Path(__file__).parent.parent / "vectors" / "v1").glob("*.json")
    read = {file.stem: json.loads(file.read_text()) for file in sorted(files)}
    return {name: vector for name, vector in read.items() if vector["kind"] not in ON_THE_WIRE}


VECTORS = _vectors()


def test_there_are_vectors_of_every_kind_that_it_reads() -> None:
    assert {vector["kind"] for vector in VECTORS.values()} == set(READ)


@pytest.mark.parametrize("name", VECTORS)
def test_the_reader_takes_good_vectors_and_refuses_the_others(name: str) -> None:
    vector = VECTORS[name]
    given, expected = _bytes(vector["input"]), _bytes(vector["result"])
    if vector["expect"] != "ok":
        with pytest.raises(Refused):
            READ[vector["kind"]](given)
        return
    found = READ[vector["kind"]](given)
    if "packed" in expected:
        expected = unpack(expected["packed"], packed.VAULT_SECRETS)
    for field, value in expected.items():
        assert found[field] == value, field


def _bytes(value: Any) -> Any:
    """The fields of a vector, with byte strings put together; see tests/vectors/README.md."""
    if isinstance(value, dict):
        return {key: _bytes(part) for key, part in value.items()}
    if isinstance(value, list):
        if all(isinstance(part, list) and part and isinstance(part[0], str) for part in value):
            return b"".join(bytes.fromhex(part[0]) * (part[2] if len(part) == 3 else 1) for part in value)
        return [_bytes(part) for part in value]
    return value
