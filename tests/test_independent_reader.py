"""A reader that shares no code with p2pshare opens what two people's vaults hold and sent, and finds what went in."""

import ast
import asyncio
import hashlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pshare.crypto.wordlist import WORDS
from tests import independent_reader as reader
from tests.independent import chunks, sealed
from tests.independent import shapes as packed
from tests.independent.msgpack import Refused, unpack
from tests.independent_story import KEY_FILE, PASSPHRASE, QUESTION, Side, Story, happen

HERE = Path(__file__).parent
HELLO, RECEIPT, ENVELOPE, CHUNK, DONE = 1, 2, 3, 5, 7  # types of frames (docs/protocol.md §2)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, ct_small: Path) -> Story:
    return asyncio.run(happen(tmp_path_factory.mktemp("story"), ct_small.parent))


# --- the vault --------------------------------------------------------------------------------------------


def test_a_vault_opens_with_its_passphrase_with_its_recovery_sheet_and_with_its_key_file(story: Story) -> None:
    folder = story.ana.folder
    by_passphrase = reader.Vault(folder, "passphrase", PASSPHRASE)
    by_code = reader.Vault(folder, "recovery", reader.recovery_code(story.ana.sheet.read_text()))
    assert by_passphrase.keys == by_code.keys == story.ana.opened().keys
    with pytest.raises(Refused):
        reader.Vault(folder, "passphrase", PASSPHRASE + " ")


def test_the_keys_file_holds_the_seeds_of_the_keys_on_the_card(story: Story) -> None:
    card, secrets = sealed.read_card(story.ana.card), story.ana.opened().secrets()
    device = card["devices"][0]
    assert sealed.public_key(secrets["person_seed"]) == card["person"]
    assert sealed.public_key(secrets["device_seed"]) == device["device"]
    assert (secrets["certified"], secrets["certificate"]) == (device["certified"], device["certificate"])
    assert secrets["knock_keys"][0] == device["knock"]


def test_every_file_that_was_imported_is_in_the_packs_byte_for_byte(story: Story) -> None:
    assert {hashlib.sha256(plain).hexdigest() for _, plain in story.ana.opened().files()} == story.stored


def test_every_file_that_was_received_is_in_the_recipients_packs_byte_for_byte(story: Story) -> None:
    assert {hashlib.sha256(plain).hexdigest() for _, plain in story.rao.opened().files()} == story.shared


def test_what_was_stored_uses_every_codec_objects_of_many_chunks_and_objects_in_several_packs(story: Story) -> None:
    objects = story.ana.opened().objects().values()
    assert {chunk[0] for one in objects for chunk in one.chunks.values()} == {0, 1, 2}
    assert max(len(one.chunks) for one in objects) >= 10
    assert max(one.packs for one in objects) >= 2


def test_pack_indexes_say_what_docs_format_says_of_each_scope(story: Story) -> None:
    ana, rao = story.ana.opened(), story.rao.opened()
    mine = {(one.scope, one.end["kind"], bool(one.key)) for one in ana.objects().values() if one.end}
    assert mine == {(1, "dicom", True), (1, "file", True), (2, "layout", True), (2, "keyring", True)}
    received = list(rao.objects().values())
    assert {(one.scope, bool(one.key)) for one in received} == {(4, False)}
    assert all(one.end and one.end["sha256"] is None and one.end["identity"] is None for one in received)
    assert {one.owner for one in received} == {story.share, story.second}
    for one in ana.objects().values():
        assert one.end is not None
        identity = one.end["identity"]
        assert (identity is not None) == (one.end["kind"] == "dicom")
        if one.scope == 1:
            assert one.owner == (identity["study_uid"].encode() if identity else b"files")


def test_a_snapshot_holds_people_letters_shares_and_a_log_that_hangs_together(story: Story) -> None:
    newest = story.ana.opened().snapshots()[-1]
    assert [row["name"] for row in reader.rows_of(newest, "person")] == ["Dr Rao"]
    assert [row["number"] for row in reader.rows_of(newest, "letter_out")] == [1, 2]
    assert {row["state"] for row in reader.rows_of(newest, "share")} == {"imported"}
    log = reader.rows_of(newest, "log")
    sealed.check_log(log, sealed.read_card(story.ana.card)["devices"][0]["device"])
    assert newest["log_number"] == len(log)
    log[1]["detail"] = "{}"
    with pytest.raises(Refused):
        sealed.check_log(log, sealed.read_card(story.ana.card)["devices"][0]["device"])


def test_a_snapshot_holds_the_tables_that_the_format_names_and_no_prekey_secret(story: Story) -> None:
    vault = story.rao.opened()
    plains = [one.opened() for one in vault.objects("snapshots").values()]
    assert all(secret not in plain for plain in plains for _, secret in vault.prekeys())
    said = (HERE.parent / "docs" / "format.md").read_text(encoding="utf-8")
    assert all(f"`{table}`" in said for table in vault.snapshots()[-1]["tables"])


def test_the_database_is_sqlcipher_as_its_makers_describe_it(story: Story) -> None:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(story.ana.opened().database())
    (hashes,) = (connection.execute("SELECT hex(sha256) FROM object WHERE kind IN ('dicom', 'file')").fetchall(),)
    connection.close()
    assert {row[0].lower() for row in hashes} == story.stored


# --- people -----------------------------------------------------------------------------------------------


def test_both_cards_are_signed_and_give_the_fingerprints_that_people_see(story: Story) -> None:
    for side in (story.ana, story.rao):
        card = sealed.read_card(side.card)
        assert sealed.person_id(card["person"]) == side.person
        assert sealed.device_id(card["devices"][0]["device"]) == side.device


def test_two_cards_give_the_eight_words_that_people_compare(story: Story) -> None:
    one, other = (sealed.read_card(side.card)["person"] for side in (story.ana, story.rao))
    assert " ".join(WORDS[number] for number in sealed.word_numbers(other, one)) == story.ana.words


# --- what travels -----------------------------------------------------------------------------------------


def test_the_letters_that_travelled_open_are_signed_and_hang_together(story: Story) -> None:
    device = sealed.read_card(story.ana.card)["devices"][0]["device"]
    letters = {letter["number"]: letter for letter in _opened(story.ana, story.rao, ENVELOPE)}
    assert set(letters) == {1, 2}
    first, second = (sealed.check_letter(letters[number], device) for number in (1, 2))
    assert letters[1]["previous"] == bytes(32)
    assert letters[2]["previous"] == first != second
    assert {letter["recipient"] for letter in letters.values()} == {story.rao.person}
    body = sealed.letter_body(letters[1])
    assert (body["t"], body["share"], body["question"]) == ("share", story.share, QUESTION)
    answers = [sealed.letter_body(letter) for letter in _opened(story.rao, story.ana, ENVELOPE)]
    assert {(answer["t"], answer["share"], answer["accepted"]) for answer in answers} == {
        ("answer", story.share, True), ("answer", story.second, True),
    }  # fmt: skip


def test_the_layout_and_keyring_of_a_letter_describe_what_was_shared(story: Story) -> None:
    objects = {one.end["object_id"]: one for one in story.ana.opened().objects().values() if one.end}
    had: set[bytes] = set()
    for letter in sorted(_opened(story.ana, story.rao, ENVELOPE), key=lambda letter: letter["number"]):
        body = sealed.letter_body(letter)
        layout, keyring = (_referred(objects, body[name]) for name in ("layout", "keyring"))
        added = chunks.read_layout(layout)["added"]
        entries = chunks.read_keyring(keyring)["added"]
        assert len(added) == len(body["scans"])
        assert {shape["object_id"] for group in added for shape in group} == {e["object_id"] for e in entries}
        for entry in entries:
            assert hashlib.sha256(objects[entry["object_id"]].opened(entry["key"])).digest() == entry["sha256"]
        had |= {entry["sha256"] for entry in entries}
        assert len(had) == body["objects"]
    assert {one.hex() for one in had} == story.shared


def test_a_later_share_of_the_same_scans_builds_on_the_first(story: Story) -> None:
    objects = {one.end["object_id"]: one for one in story.ana.opened().objects().values() if one.end}
    bodies = {letter["number"]: sealed.letter_body(letter) for letter in _opened(story.ana, story.rao, ENVELOPE)}
    layout = chunks.read_layout(_referred(objects, bodies[2]["layout"]))
    assert layout["base"] == bodies[1]["layout"]["shape"]["object_id"]


def test_receipts_that_travelled_open_and_count_upwards(story: Story) -> None:
    device = sealed.read_card(story.rao.card)["devices"][0]["device"]
    said = [sealed.check_receipt(receipt, device) for receipt in _opened(story.rao, story.ana, RECEIPT)]
    counters = [receipt["counter"] for receipt in said]
    assert counters == sorted(set(counters))
    assert {receipt["recipient"] for receipt in said} == {story.ana.device}
    assert {each["share"]: each["state"] for each in said[-1]["shares"]} == {
        story.share: "imported", story.second: "imported",
    }  # fmt: skip


def test_a_saved_receipt_proves_which_layout_the_recipient_imported(story: Story) -> None:
    device = sealed.read_card(story.rao.card)["devices"][0]["device"]
    body = sealed.read_receipt(story.receipt.read_bytes(), device)
    named = {letter["share"]: letter["layout"] for letter in story.ana.opened().share_letters()}
    (said,) = [each for each in body["shares"] if each["share"] == story.second]
    assert (said["state"], said["layout"]) == ("imported", named[story.second]["shape"]["object_id"])
    with pytest.raises(Refused):
        sealed.read_receipt(story.receipt.read_bytes(), sealed.read_card(story.ana.card)["devices"][0]["device"])


def test_every_frame_is_one_of_the_protocols_and_a_chunk_travels_as_it_is_stored(story: Story) -> None:
    objects = {one.end["object_id"]: one for one in story.ana.opened().objects().values() if one.end}
    for side in (story.ana, story.rao):
        for frame in side.frames:
            kind, payload = frame[0], frame[1:]
            if kind == CHUNK:
                number = int.from_bytes(payload[32:36], "big")
                assert objects[payload[:32]].chunks[number] == payload[36:]
            elif kind == DONE:
                assert payload == b""
            elif kind not in (RECEIPT, ENVELOPE):
                unpack(payload, packed.FRAMES[kind])
        assert [frame[0] for frame in side.frames][:2] == [HELLO, RECEIPT]
    assert CHUNK in {frame[0] for frame in story.ana.frames}


# --- the reader itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["vault.p2pv", "keys.p2ps", "vault.db", "packs", "snapshots"])
def test_a_flipped_bit_anywhere_is_refused(story: Story, tmp_path: Path, place: str) -> None:
    folder = tmp_path / "vault"
    shutil.copytree(story.rao.folder, folder)
    path = next(p for p in [folder / place, *sorted((folder / place).rglob("*.p2pk"))] if p.is_file())
    whole = path.read_bytes()
    for at in np.random.default_rng(7).integers(0, len(whole), 12):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << int(at) % 8]) + whole[at + 1 :])
        with pytest.raises(Refused):
            _read_everything(reader.Vault(folder, "keyfile", KEY_FILE))
    path.write_bytes(whole)
    _read_everything(reader.Vault(folder, "keyfile", KEY_FILE))


def test_the_reader_takes_every_file_out_of_a_vault_with_the_recovery_sheet_alone(story: Story, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.independent_reader", str(story.ana.folder)]
    options = ["--recovery-file", str(story.ana.sheet), "-o", str(tmp_path / "out")]
    subprocess.run([*command, *options], cwd=HERE.parent, check=True, capture_output=True)
    written = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "out").iterdir()}
    assert set(written) == story.stored
    assert all(name == value for name, value in written.items())


def test_the_reader_shares_no_code_with_p2pshare() -> None:
    allowed = {"cryptography", "nacl", "tests", "zstandard"} | set(sys.stdlib_module_names)
    files = [HERE / "independent_reader.py", *(HERE / "independent").glob("*.py")]
    sources = [file for file in files if not file.name.startswith("test_")]
    imported = {
        name
        for file in sources
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert {name.split(".")[0] for name in imported} <= allowed
    assert {name for name in imported if name.startswith("tests")} <= {"tests.independent"} | {
        f"tests.independent.{file.stem}" for file in sources
    }


def _opened(sender: Side, recipient: Side, kind: int) -> list[dict[str, Any]]:
    """What one side sent to the other in envelopes, opened with the other's prekey secrets."""
    prekeys = recipient.opened().prekeys()
    found = [sealed.open_envelope(e, recipient.device, prekeys) for e in sender.sealed_frames(kind)]
    assert {content["t"] for content in found} == {"receipt" if kind == RECEIPT else "letter"}
    return found


def _referred(objects: dict[bytes, reader.Object], ref: dict[str, Any]) -> bytes:
    plain = objects[ref["shape"]["object_id"]].opened(ref["key"])
    assert hashlib.sha256(plain).digest() == ref["sha256"]
    return plain


def _read_everything(vault: reader.Vault) -> None:
    vault.secrets()
    vault.database()
    assert len(vault.snapshots()) >= 1
    assert all(len(plain) == end["size"] for end, plain in vault.files())
