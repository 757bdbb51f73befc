"""Every vector of tests/vectors is refused at the layer it names, with the error it names, or gives what it says.

Each kind of input has its stages, in the order a reader takes them; the stage at work when an error comes is the layer.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from p2pshare.crypto.audit import link
from p2pshare.crypto.card import read_card
from p2pshare.crypto.channel import ClientHandshake, ServerHandshake, check_knock
from p2pshare.crypto.keys import SigningKey, check_prekey, device_id, person_id, verify
from p2pshare.crypto.packindex import HEADER_SIZE, TRAILER_SIZE, open_index, parse_header, parse_trailer
from p2pshare.crypto.recovery import parse_code
from p2pshare.crypto.seal import check_letter, check_receipt, decode_body, open_sealed
from p2pshare.crypto.stream import ObjectOpener, check_shape
from p2pshare.crypto.vaultkeys import (
    KeyfileSecret,
    PassphraseSecret,
    RecoverySecret,
    Secret,
    VaultKeys,
    open_secrets,
    read_header,
    unlock,
)
from p2pshare.crypto.words import safety_words, same_words
from p2pshare.errors import DamagedPack, P2PShareError, WordsDiffer
from p2pshare.model.card import Prekey
from p2pshare.model.ids import DeviceId, VaultId
from p2pshare.model.letters import Letter, Receipt
from p2pshare.model.limits import ENVELOPE_MAX, LAYOUT_MAX
from p2pshare.model.objects import Layout, ObjectShape
from p2pshare.model.packed import decode, encode
from p2pshare.model.ports import Sealed

FOLDER = Path(__file__).parent.parent / "vectors"
FILES = sorted((FOLDER / "v1").glob("*.json"))

Given = dict[str, Any]
Stages = Iterator[str | Given]  # the name of each stage before it is run, and at the end the result


class NotAuthentic(P2PShareError):
    """The vault opened, and its header is not as it was written."""


def test_there_are_vectors_of_every_kind() -> None:
    kinds = {json.loads(file.read_text())["kind"] for file in FILES}
    assert kinds == set(STAGES)
    assert len(FILES) >= 60


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_vector_is_refused_where_it_says_or_gives_what_it_says(file: Path) -> None:
    vector = json.loads(file.read_text())
    layer, error, result = _run(vector["kind"], _bytes(vector["input"]))
    assert (layer, error) == (vector["layer"], vector["expect"])
    for name, value in _bytes(vector["result"]).items():
        assert result[name] == value, name


def test_the_script_writes_the_vectors_as_they_are(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FOLDER / "make_vectors.py"), str(tmp_path)], check=True, capture_output=True)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in FILES}
    for file in FILES:
        assert (tmp_path / file.name).read_bytes() == file.read_bytes(), file.name


def _run(kind: str, given: Given) -> tuple[str, str, Given]:
    layer, result = "", {}
    try:
        for step in STAGES[kind](given):
            if isinstance(step, str):
                layer = step
            else:
                result = step
    except P2PShareError as error:
        return layer, error.code, {}
    return layer, "ok", result


def _bytes(value: Any) -> Any:
    """The fields, with byte strings put together; see tests/vectors/README.md."""
    if isinstance(value, dict):
        return {key: _bytes(part) for key, part in value.items()}
    if isinstance(value, list):
        if all(isinstance(part, list) and part and isinstance(part[0], str) for part in value):
            return b"".join(bytes.fromhex(part[0]) * (part[2] if len(part) == 3 else 1) for part in value)
        return [_bytes(part) for part in value]
    return value


# --- objects ----------------------------------------------------------------------------------------------


def _chunk(given: Given) -> Stages:
    yield "commitment"
    opener = ObjectOpener(given["object_key"], given["commitment"])
    yield "chunk"
    plain = opener.open(given["number"], given["last"], given["plain_length"], given["stored"])
    yield {"plain": plain}


def _object(given: Given) -> Stages:
    yield "object id"
    check_shape(ObjectShape(**given | {"lengths": tuple(given["lengths"])}))


def _layout(given: Given) -> Stages:
    yield "layout"
    layout = decode(given["packed"], Layout, limit=LAYOUT_MAX, what="a layout")
    yield "object id"
    for group in layout.added:
        for shape in group:
            check_shape(shape)


def _pack(given: Given) -> Stages:
    file, vault_id = given["file"], given["vault_id"]
    keys = VaultKeys(VaultId(vault_id), given["generation"], {given["generation"]: given["vault_key"]})
    yield "pack header"
    header = parse_header(file[:HEADER_SIZE])
    if header.vault_id != vault_id:
        raise DamagedPack
    key = keys.pack_key(header.generation, header.pack_id)
    yield "pack trailer"
    trailer = file[-TRAILER_SIZE:]
    offset, length = parse_trailer(trailer, len(file))
    yield "pack index"
    index = open_index(key, file[:HEADER_SIZE], trailer, file[offset : offset + length])
    yield "chunk digest"
    at = HEADER_SIZE
    for part in index.parts:
        for number, stored in enumerate(part.lengths):
            if hashlib.sha256(file[at : at + stored]).digest() != part.digests[32 * number : 32 * number + 32]:
                raise DamagedPack
            at += stored


# --- the vault --------------------------------------------------------------------------------------------


def _secret(given: Given) -> Secret:
    match given["kind"]:
        case "passphrase":
            return PassphraseSecret(given["text"])
        case "recovery":
            return RecoverySecret(given["bytes"])
        case "keyfile":
            return KeyfileSecret(given["bytes"])
    raise AssertionError(given["kind"])


def _vault(given: Given) -> Stages:
    yield "header"
    read_header(given["file"])
    yield "slot"
    header, keys, authentic = unlock(given["file"], _secret(given["secret"]))
    yield "header tag"
    if not authentic:
        raise NotAuthentic
    yield {
        "generation": header.generation,
        "vault_key": keys.vault_key(header.generation),
        "older_vault_key": keys.vault_key(1),
    }


def _keys_file(given: Given) -> Stages:
    yield "keys file"
    keys = {given["generation"]: given["vault_key"]}
    yield {"packed": encode(open_secrets(VaultKeys(given["vault_id"], given["generation"], keys), given["file"]))}


def _recovery_code(given: Given) -> Stages:
    yield "recovery code"
    yield {"code": parse_code(given["text"])}


def _log(given: Given) -> Stages:
    yield "log"
    yield {"hash": link(**given)}


# --- people -----------------------------------------------------------------------------------------------


def _signature(given: Given) -> Stages:
    yield "signature"
    verify(**given)


def _prekey(given: Given) -> Stages:
    yield "prekey"
    device = given.pop("device")
    check_prekey(device, Prekey(**given))


def _card(given: Given) -> Stages:
    yield "card"
    card = read_card(given["file"])
    yield {"person_id": person_id(card.person), "device_id": device_id(card.devices[0].device)}


def _words(given: Given) -> Stages:
    yield "words"
    words = _known_words(given["mine"], given["theirs"])
    if not same_words(given["typed"], words):
        raise WordsDiffer
    yield {"words": " ".join(words)}


_WORDS: dict[tuple[bytes, bytes], tuple[str, ...]] = {}


def _known_words(mine: bytes, theirs: bytes) -> tuple[str, ...]:
    if (mine, theirs) not in _WORDS:  # they take most of a second each
        _WORDS[mine, theirs] = safety_words(mine, theirs)
    return _WORDS[mine, theirs]


# --- what travels -----------------------------------------------------------------------------------------


def _letter(given: Given) -> Stages:
    letter = decode(given["packed"], Letter, limit=ENVELOPE_MAX, what="a letter")
    yield from _opened(letter, given["sender"])


def _receipt(given: Given) -> Stages:
    receipt = decode(given["packed"], Receipt, limit=ENVELOPE_MAX, what="a receipt")
    yield from _opened(receipt, given["sender"])


def _envelope(given: Given) -> Stages:
    yield "envelope"
    prekeys = [
        (Prekey(number=0, created=0, public=key["public"], signature=b""), key["secret"]) for key in given["prekeys"]
    ]
    content = open_sealed(Sealed(given["envelope"]), prekeys, DeviceId(given["device"]))
    yield from _opened(content, given["sender"])


def _opened(content: Letter | Receipt, sender: bytes) -> Stages:
    match content:
        case Letter():
            yield "letter"
            letter_hash = check_letter(content, sender)
            yield "body"
            decode_body(content)
            yield {"hash": letter_hash}
        case Receipt():
            yield "receipt"
            check_receipt(content, sender)


def _knock(given: Given) -> Stages:
    yield "knock"
    nonce, _ = check_knock(given["path"], given["knock_keys"], given["certificate"])
    yield {"nonce": nonce}


def _server_handshake(given: Given) -> Stages:
    client = given["client_public"]
    server = ServerHandshake(
        SigningKey(given["server_seed"]),
        given["knock_key"],
        given["certificate"],
        given["client_nonce"],
        {device_id(client): client}.get,
        nonce=given["server_nonce"],
    )
    first = server.greeting()
    yield "message 2"
    third, agreed = server.answer(given["message_2"])
    assert agreed.peer == device_id(client)
    yield {"message_1": first, "message_3": third}


def _client_handshake(given: Given) -> Stages:
    client = ClientHandshake(
        SigningKey(given["client_seed"]),
        given["server_public"],
        given["knock_key"],
        given["certificate"],
        nonce=given["client_nonce"],
    )
    yield "message 1"
    second = client.answer(given["message_1"])
    yield "message 3"
    agreed = client.finish(given["message_3"])
    assert agreed.peer == device_id(given["server_public"])
    yield {"message_2": second}


STAGES: dict[str, Callable[[Given], Stages]] = {
    "chunk": _chunk,
    "object": _object,
    "layout": _layout,
    "pack": _pack,
    "vault": _vault,
    "keys file": _keys_file,
    "recovery code": _recovery_code,
    "log": _log,
    "signature": _signature,
    "prekey": _prekey,
    "card": _card,
    "words": _words,
    "letter": _letter,
    "receipt": _receipt,
    "envelope": _envelope,
    "knock": _knock,
    "server handshake": _server_handshake,
    "client handshake": _client_handshake,
}
