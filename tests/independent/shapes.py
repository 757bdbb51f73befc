"""The packed structures of docs/format.md and docs/protocol.md: their fields and what each may hold."""

from typing import Any

from tests.independent.msgpack import Shape, boolean, listed, maybe, octets, record, refuse_unless, text, whole

KINDS = ("dicom", "file", "layout", "keyring", "snapshot")

# §4
_IDENTITY = record(study_uid=text(), series_uid=text(), sop_uid=text(), sop_class=text())
_END = record(
    object_id=octets(32), size=whole(), sha256=maybe(octets(32)), kind=text(*KINDS), identity=maybe(_IDENTITY)
)
_PART = record(
    commitment=octets(32), key=maybe(octets(32)), first=whole(), lengths=listed(whole()), digests=octets(),
    end=maybe(_END),
)  # fmt: skip
PACK_INDEX = record(scope=whole(1, 4), owner=octets(), created=whole(), parts=listed(_PART))

# §5, §6
_SLOT_FIELDS = {"slot_id": octets(16), "salt": octets(16), "wrapped": octets(48)}
_STRETCHED = record(
    kind=text("passphrase"), memory_mib=whole(64, 1024), passes=whole(2, 10), lanes=whole(1, 1), **_SLOT_FIELDS
)
_PLAIN = record(
    kind=text("recovery", "keyfile"), memory_mib=whole(0, 0), passes=whole(0, 0), lanes=whole(0, 0), **_SLOT_FIELDS
)


def _slot(value: Any) -> None:
    refuse_unless(type(value) is dict, "a slot")
    (_STRETCHED if value.get("kind") == "passphrase" else _PLAIN)(value)


_PREVIOUS = record(generation=whole(0, (1 << 32) - 1), salt=octets(16), wrapped=octets(48))
VAULT_HEADER = record(
    vault_id=octets(16), created=whole(), generation=whole(0, (1 << 32) - 1), slots=listed(_slot, 16),
    previous=listed(_PREVIOUS),
)  # fmt: skip
VAULT_SECRETS = record(
    person_seed=octets(32), device_seed=octets(32), certified=whole(), certificate=octets(128),
    knock_keys=listed(octets(32)),
)  # fmt: skip

# §7
PREKEY = record(number=whole(), created=whole(), public=octets(1216), signature=octets(64))
_DEVICE = record(
    device=octets(32), certified=whole(), certificate=octets(128), prekey=PREKEY, knock=octets(32),
    addresses=listed(text(), 8),
)  # fmt: skip
CARD = record(
    name=text(), person=octets(32), number=whole(), created=whole(), devices=listed(_DEVICE, 8), mailbox=maybe(text())
)

# §8 and docs/protocol.md §4, §5
LETTER = record(
    t=text("letter"), sender=octets(32), recipient=octets(32), epoch=octets(16), number=whole(1), previous=octets(32),
    body=octets(), prekey=maybe(PREKEY), signature=octets(64),
)  # fmt: skip
RECEIPT = record(t=text("receipt"), body=octets(), signature=octets(64))
_HEAD = record(epoch=octets(16), number=whole(), hash=octets(32))
_REFUSED = record(epoch=octets(16), number=whole(), why=text())
_ARRIVAL = record(
    share=octets(16), layout=octets(32), state=text("offered", "sending", "delivered", "imported", "refused"),
    chunks=whole(), why=text(),
)  # fmt: skip
RECEIPT_BODY = record(
    sender=octets(32), recipient=octets(32), counter=whole(), time=whole(), feeds=listed(_HEAD),
    refused=listed(_REFUSED), shares=listed(_ARRIVAL), prekey=maybe(PREKEY),
)  # fmt: skip

# §9
OBJECT_SHAPE = record(
    object_id=octets(32), commitment=octets(32), size=whole(0, 1 << 40), lengths=listed(whole()), digests=octets()
)
_REF = record(shape=OBJECT_SHAPE, key=octets(32), sha256=octets(32))
LAYOUT = record(
    t=text("layout"), base=maybe(octets(32)), added=listed(listed(OBJECT_SHAPE)), removed=listed(octets(32))
)
_ENTRY = record(
    object_id=octets(32), key=octets(32), sha256=octets(32), kind=text("dicom", "file"), study_uid=text(),
    series_uid=text(), sop_uid=text(),
)  # fmt: skip
KEYRING = record(t=text("keyring"), base=maybe(octets(32)), added=listed(_ENTRY))

_SCAN = record(
    study_uid=text(), patient=text(), birth_date=text(), date=text(), description=text(), modalities=text(),
    instances=whole(), bytes=whole(),
)  # fmt: skip
BODIES: dict[str, Shape] = {
    "share": record(
        t=text(), share=octets(16), scans=listed(_SCAN), question=text(), expires=maybe(whole()), layout=_REF,
        keyring=_REF, objects=whole(), chunks=whole(), stored_bytes=whole(),
    ),
    "answer": record(t=text(), share=octets(16), accepted=boolean, reason=text()),
    "revoke": record(t=text(), share=octets(16)),
    "contact": record(t=text(), card=octets()),
}  # fmt: skip


# docs/protocol.md §2: the payloads that are packed, by type of frame
_RUN = [octets(32), whole(), whole(1)]


def _run(value: Any) -> None:
    refuse_unless(type(value) is list and len(value) == len(_RUN), "a run of chunks")
    for each, shape in zip(value, _RUN, strict=True):
        shape(each)


FRAMES: dict[int, Shape] = {
    1: record(version=whole(1), window=whole()),
    4: record(share=octets(16), runs=listed(_run, 4096)),
    6: record(share=octets(16), object=octets(32), why=text()),
    8: record(why=text()),
}


def body(value: Any) -> None:
    """A letter's body: one of the four."""
    refuse_unless(type(value) is dict and value.get("t") in BODIES, "a letter of another kind")
    BODIES[value["t"]](value)


def sealed_content(value: Any) -> None:
    """What an envelope holds."""
    refuse_unless(type(value) is dict, "an envelope's content")
    (RECEIPT if value.get("t") == "receipt" else LETTER)(value)


def _cell(value: Any) -> None:
    refuse_unless(value is None or type(value) in (int, str, bytes), "a table's cell")


# §4, snapshots
def _tables(value: Any) -> None:
    refuse_unless(type(value) is dict, "a snapshot's tables")
    for table in value.values():
        record(columns=listed(text()), rows=listed(listed(_cell)))(table)


SNAPSHOT = record(t=text("snapshot"), log_number=whole(), created=whole(), tables=_tables)
