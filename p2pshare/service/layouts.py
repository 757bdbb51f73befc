"""Layouts and keyrings: made from what the vault holds, checked and resolved when they come in.

Rule 1: what a person acknowledged is named by its layout and not sent again.
Rule 2: a received layout is checked against the letter's totals before any of its chunks is asked for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from p2pshare.crypto.stream import ObjectOpener, check_shape
from p2pshare.errors import BadIdentity, Malformed, TooLarge
from p2pshare.model.ids import ObjectId, parse_uid
from p2pshare.model.letters import ShareLetter
from p2pshare.model.limits import (
    GIB,
    LAYOUT_CHUNKS_MAX,
    LAYOUT_MAX,
    LAYOUT_OBJECTS_MAX,
    MIB,
    OBJECT_MAX,
    SHARE_SCANS_MAX,
)
from p2pshare.model.objects import Keyring, KeyringEntry, Layout, ObjectKind, ObjectShape, chunk_count
from p2pshare.model.packed import decode
from p2pshare.store import shares
from p2pshare.store.db import Database, Transaction
from p2pshare.store.scans import ChunkPlace, StoredInstance

_BOMB_FROM: Final = GIB  # an archive may unpack that far whatever its ratio; see dicom.zipdir
_BOMB_RATIO: Final = 200

BASE_MISSING = "base missing"  # the reason by which a recipient asks for the whole layout


@dataclass(frozen=True, slots=True)
class Totals:
    """What a whole layout adds up to."""

    objects: int
    chunks: int
    stored_bytes: int


def shape_from(instance: StoredInstance, places: Sequence[ChunkPlace]) -> ObjectShape:
    """The shape of a stored object, from where its chunks lie."""
    return ObjectShape(
        object_id=instance.object_id,
        commitment=instance.commitment,
        size=instance.size,
        lengths=tuple(p.length for p in places),
        digests=b"".join(p.digest for p in places),
    )


def totals_of(shapes: Iterable[ObjectShape]) -> Totals:
    """Add shapes up."""
    objects = chunks = stored = 0
    for shape in shapes:
        objects += 1
        chunks += len(shape.lengths)
        stored += shape.stored_bytes
    return Totals(objects, chunks, stored)


def keyring_entry(instance: StoredInstance, study_uid: str) -> KeyringEntry:
    """What opens one instance at the other end."""
    dicom = instance.kind == ObjectKind.DICOM.value and bool(instance.sop_uid)  # not what was only called so
    return KeyringEntry(
        object_id=instance.object_id,
        key=instance.key,
        sha256=instance.sha256,
        kind=ObjectKind.DICOM if dicom else ObjectKind.FILE,
        study_uid=study_uid if dicom else "",
        series_uid=instance.series_uid if dicom else "",
        sop_uid=instance.sop_uid if dicom else "",
    )


def check_totals(letter: ShareLetter) -> None:
    """Refuse a share whose claims are beyond any limit, before anything is fetched."""
    if len(letter.scans) > SHARE_SCANS_MAX:
        raise TooLarge("a share of too many scans")
    for value, most, what in (
        (letter.objects, LAYOUT_OBJECTS_MAX, "objects"),
        (letter.chunks, LAYOUT_CHUNKS_MAX, "chunks"),
        (letter.stored_bytes, OBJECT_MAX, "bytes"),
    ):
        if not 0 <= value <= most:
            raise TooLarge(f"a share that claims {value} {what}")
    if letter.layout.shape.commitment == letter.keyring.shape.commitment:
        raise Malformed("a layout that is its own keyring")
    for ref in (letter.layout, letter.keyring):
        if ref.shape.size > list_max(letter):
            raise TooLarge("a layout or keyring")
        check_shape(ref.shape)
        if len(ref.key) != 32 or len(ref.sha256) != 32:
            raise Malformed("a reference to a layout or keyring")


def list_max(letter: ShareLetter) -> int:
    """The largest layout or keyring, in bytes, that the letter's totals can need: what is decoded is bounded by it."""
    return min(LAYOUT_MAX, MIB + 512 * letter.objects + 64 * letter.chunks)


def read_layout(data: bytes, letter: ShareLetter) -> Layout:
    """Decode a layout and check every shape in it. Raises Malformed or TooLarge."""
    layout = decode(data, Layout, limit=list_max(letter), what="a layout")
    if len(layout.added) != len(letter.scans):
        raise Malformed("a layout whose groups are not the letter's scans")
    objects = sum(len(group) for group in layout.added)
    if objects > letter.objects:
        raise Malformed("a layout of more objects than its letter says")
    commitments = [letter.layout.shape.commitment, letter.keyring.shape.commitment]
    for group in layout.added:
        for shape in group:
            check_shape(shape)
            commitments.append(shape.commitment)
    size = sum(shape.size for group in layout.added for shape in group)
    if size > _BOMB_FROM and size > _BOMB_RATIO * sum(s.stored_bytes for group in layout.added for s in group):
        raise TooLarge("what a layout's objects unpack to")
    if len(set(commitments)) != len(commitments):  # packs tell objects apart by it; and a key is for one use
        raise Malformed("a layout with two objects under one key")
    if any(len(object_id) != 32 for object_id in layout.removed) or layout.base not in (None, letter_base(layout)):
        raise Malformed("a layout with a bad object id")
    return layout


def letter_base(layout: Layout) -> ObjectId | None:
    """The layout's base as its own type; None when it has none or it cannot be one."""
    return ObjectId(layout.base) if layout.base is not None and len(layout.base) == 32 else None


def read_keyring(data: bytes, layout: Layout) -> Keyring:
    """Decode a keyring and check that it opens exactly what the layout adds. Raises Malformed or TooLarge."""
    keyring = decode(data, Keyring, limit=LAYOUT_MAX, what="a keyring")
    added = {shape.object_id for group in layout.added for shape in group}
    if {entry.object_id for entry in keyring.added} != added or len(keyring.added) != len(added):
        raise Malformed("a keyring that does not fit its layout")
    for entry in keyring.added:
        if len(entry.key) != 32 or len(entry.sha256) != 32 or entry.kind not in (ObjectKind.DICOM, ObjectKind.FILE):
            raise Malformed("a keyring entry")
        _check_uids(entry)
    return keyring


def _check_uids(entry: KeyringEntry) -> None:
    """Refuse UIDs that are none, though they only say what the sender thinks it is. Raises Malformed."""
    uids = (entry.study_uid, entry.series_uid, entry.sop_uid)
    if entry.kind is ObjectKind.FILE and uids == ("", "", ""):
        return
    try:
        for uid in uids:
            parse_uid(uid, "UID")
    except BadIdentity:
        raise Malformed("a keyring entry with a UID that is none") from None


def check_keys(layout: Layout, keyring: Keyring) -> None:
    """Check that each key of `keyring` is the one that its object's shape names. Raises ShareCorrupt."""
    keys = {entry.object_id: entry.key for entry in keyring.added}
    for group in layout.added:
        for shape in group:
            ObjectOpener(keys[shape.object_id], shape.commitment)


async def check_resolved(
    db: Database | Transaction, letter: ShareLetter, layout: Layout, based_on: dict[ObjectId, int]
) -> dict[ObjectId, int]:
    """The objects of the whole layout (base resolved), each with its scan's number, checked against the totals.

    Raises:
        Malformed: the layout does not add up to what the letter says.
    """
    resolved = {k: v for k, v in based_on.items() if v >= 0}
    for object_id in layout.removed:
        if resolved.pop(ObjectId(object_id), None) is None:
            raise Malformed("a layout that removes what its base does not have")
    kept = list(resolved)
    for number, group in enumerate(layout.added):
        for shape in group:
            if shape.id in resolved:
                raise Malformed("a layout that adds an object twice")
            resolved[shape.id] = number
    chunks = sum(len(shape.lengths) for group in layout.added for shape in group)
    stored = sum(shape.stored_bytes for group in layout.added for shape in group)
    for size, length in await shares.stored_sizes(db, kept):
        chunks += chunk_count(size)
        stored += length
    if (len(resolved), chunks, stored) != (letter.objects, letter.chunks, letter.stored_bytes):
        raise Malformed("a layout that does not add up to what its letter says")
    return resolved
