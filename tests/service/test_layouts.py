"""Layouts and keyrings: a sender's claims are checked against each other before anything is fetched."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from p2pshare.crypto.codec import Codec
from p2pshare.errors import Malformed, RemoteError, ShareCorrupt, TooLarge
from p2pshare.model.ids import ObjectId
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.limits import LAYOUT_MAX
from p2pshare.model.objects import Keyring, KeyringEntry, Layout, ObjectKind, ObjectRef
from p2pshare.model.packed import encode
from p2pshare.service.layouts import (
    check_keys,
    check_resolved,
    check_totals,
    keyring_entry,
    read_keyring,
    read_layout,
    shape_from,
    totals_of,
)
from p2pshare.service.sealing import SealedObject, seal_object
from p2pshare.store import scans
from tests.studies import make_study
from tests.world import one_person

SUMMARY = ScanSummary("1.2.3", "Doe^Jane", "", "", "CT", "CT", 2, 1000)
IMAGES = [seal_object(b"image %d" % n * 500, Codec.RAW) for n in range(3)]


def ref(sealed: SealedObject) -> ObjectRef:
    return ObjectRef(shape=sealed.shape, key=sealed.key, sha256=sealed.sha256)


def entry(sealed: SealedObject) -> KeyringEntry:
    return KeyringEntry(
        object_id=sealed.shape.object_id, key=sealed.key, sha256=sealed.sha256, kind=ObjectKind.DICOM,
        study_uid="1.2", series_uid="1.2", sop_uid="1.2",
    )  # fmt: skip


LAYOUT = Layout(base=None, added=((IMAGES[0].shape, IMAGES[1].shape),), removed=())
KEYRING = Keyring(base=None, added=(entry(IMAGES[0]), entry(IMAGES[1])))
LETTER = ShareLetter(
    share=bytes(16), scans=(SUMMARY,), question="", expires=None, layout=ref(seal_object(b"l", Codec.RAW)),
    keyring=ref(seal_object(b"k", Codec.RAW)), objects=2, chunks=2,
    stored_bytes=IMAGES[0].shape.stored_bytes + IMAGES[1].shape.stored_bytes,
)  # fmt: skip


def test_a_letter_that_keeps_to_the_limits_passes() -> None:
    check_totals(LETTER)


@pytest.mark.parametrize(
    "lie",
    [
        {"objects": -1}, {"objects": 10**7}, {"objects": 2**63 - 1}, {"chunks": 2**62}, {"chunks": -1},
        {"stored_bytes": 2**63 - 1}, {"stored_bytes": -1}, {"scans": (SUMMARY,) * 51},
    ],
    ids=str,
)  # fmt: skip
def test_totals_beyond_any_limit_are_refused(lie: dict[str, object]) -> None:
    with pytest.raises(TooLarge):
        check_totals(replace(LETTER, **lie))


def lying_shape(**lie: object) -> Callable[[ObjectRef], ObjectRef]:
    return lambda given: replace(given, shape=replace(given.shape, **lie))


@pytest.mark.parametrize(
    "lie",
    [
        lying_shape(size=LAYOUT_MAX + 1), lying_shape(size=2**63 - 1), lying_shape(size=-1), lying_shape(lengths=()),
        lying_shape(lengths=(529, 529)), lying_shape(lengths=(2**40,)), lying_shape(lengths=(-529,)),
        lying_shape(digests=b""), lying_shape(digests=bytes(64)), lying_shape(digests=bytes(32)),
        lying_shape(object_id=bytes(32)), lying_shape(object_id=b""), lying_shape(commitment=b""),
        lambda given: replace(given, key=b""), lambda given: replace(given, sha256=bytes(33)),
    ],
)  # fmt: skip
def test_a_layout_or_keyring_whose_description_lies_is_refused(lie: Callable[[ObjectRef], ObjectRef]) -> None:
    for letter in (replace(LETTER, layout=lie(LETTER.layout)), replace(LETTER, keyring=lie(LETTER.keyring))):
        with pytest.raises((Malformed, TooLarge)):
            check_totals(letter)


def test_an_honest_layout_and_keyring_pass() -> None:
    layout = read_layout(encode(LAYOUT), LETTER)
    assert layout == LAYOUT
    keyring = read_keyring(encode(KEYRING), layout)
    assert keyring == KEYRING
    check_keys(layout, keyring)


ONE, TWO = IMAGES[0].shape, IMAGES[1].shape


@pytest.mark.parametrize(
    "lie",
    [
        replace(LAYOUT, added=()),
        replace(LAYOUT, added=((ONE,), (TWO,))),
        replace(LAYOUT, added=((ONE, TWO, IMAGES[2].shape),)),
        replace(LAYOUT, added=((ONE, replace(TWO, size=TWO.size + 1)),)),
        replace(LAYOUT, added=((ONE, replace(TWO, object_id=ONE.object_id)),)),
        replace(LAYOUT, added=((ONE, ONE),)),
        replace(LAYOUT, added=((ONE, LETTER.layout.shape),)),
        replace(LAYOUT, base=b"short"),
        replace(LAYOUT, removed=(b"short",)),
    ],
)
def test_a_layout_that_contradicts_its_letter_or_itself_is_refused(lie: Layout) -> None:
    with pytest.raises(Malformed):
        read_layout(encode(lie), LETTER)


def test_two_objects_under_one_key_are_refused() -> None:
    # Packs tell objects apart by the key's commitment: with two of one, chunks could be filed under the wrong object.
    sealed = seal_object(b"another image under the first one's key", Codec.RAW)
    double = replace(sealed.shape, commitment=ONE.commitment)
    from p2pshare.crypto.stream import object_id

    double = replace(double, object_id=object_id(ONE.commitment, double.size, double.digests))
    with pytest.raises(Malformed, match="one key"):
        read_layout(encode(replace(LAYOUT, added=((ONE, double),))), LETTER)


@pytest.mark.parametrize(
    "data", [b"", b"\x80", encode(KEYRING), encode(LAYOUT) + b"\0", encode(LAYOUT)[:-1]], ids=range(5)
)
def test_what_is_not_exactly_a_layout_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        read_layout(data, LETTER)


@pytest.mark.parametrize(
    "lie",
    [
        replace(KEYRING, added=KEYRING.added[:1]),
        replace(KEYRING, added=(*KEYRING.added, entry(IMAGES[2]))),
        replace(KEYRING, added=(KEYRING.added[0], KEYRING.added[0])),
        replace(KEYRING, added=(KEYRING.added[0], KEYRING.added[1], KEYRING.added[1])),
        replace(KEYRING, added=(KEYRING.added[0], replace(KEYRING.added[1], key=b"short"))),
        replace(KEYRING, added=(KEYRING.added[0], replace(KEYRING.added[1], sha256=b""))),
        replace(KEYRING, added=(KEYRING.added[0], replace(KEYRING.added[1], kind=ObjectKind.KEYRING))),
    ],
)
def test_a_keyring_that_does_not_fit_its_layout_is_refused(lie: Keyring) -> None:
    with pytest.raises(Malformed):
        read_keyring(encode(lie), LAYOUT)


def test_a_key_that_is_not_the_one_its_object_names_is_refused() -> None:
    wrong = replace(KEYRING, added=(KEYRING.added[0], replace(KEYRING.added[1], key=bytes(32))))
    with pytest.raises(ShareCorrupt):
        check_keys(LAYOUT, wrong)


async def test_a_whole_layout_must_add_up_to_what_the_letter_says(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        db = ana.vault.db
        assert await check_resolved(db, LETTER, LAYOUT, {}) == {ONE.id: 0, TWO.id: 0}
        for lie in ({"objects": 3}, {"chunks": 3}, {"stored_bytes": LETTER.stored_bytes + 1}):
            with pytest.raises(Malformed, match="add up"):
                await check_resolved(db, replace(LETTER, **lie), LAYOUT, {})


async def test_a_base_counts_without_what_is_removed_and_without_the_shares_own_objects(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        (scan,) = await ana.library.listed()
        places = await scans.places_of_study(ana.vault.db, scan)
        kept, gone = list(places)
        base = {kept: 0, gone: 0, ObjectId(b"o" * 32): -1}
        layout = Layout(base=b"b" * 32, added=((ONE,),), removed=(gone,))
        stored = places[kept][0].length + ONE.stored_bytes
        letter = replace(LETTER, stored_bytes=stored)
        assert await check_resolved(ana.vault.db, letter, layout, base) == {kept: 0, ONE.id: 0}
        for lie in (
            replace(layout, removed=(gone, gone)),
            replace(layout, removed=(b"x" * 32,)),
            replace(layout, removed=(b"o" * 32,)),
        ):
            with pytest.raises(Malformed, match="removes"):
                await check_resolved(ana.vault.db, letter, lie, base)
        with pytest.raises(Malformed, match="twice"):
            await check_resolved(ana.vault.db, letter, replace(layout, removed=()), {**base, ONE.id: 0})


async def test_what_the_vault_holds_is_described_as_it_was_sealed(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        make_study(tmp_path / "in", 2, 1024, 1100)
        await ana.imports(tmp_path / "in")
        (scan,) = await ana.library.listed()
        places = await scans.places_of_study(ana.vault.db, scan)
        instances = await scans.instances_of(ana.vault.db, scan)
        shapes = [shape_from(i, places[i.object_id]) for i in instances]
        layout = Layout(base=None, added=(tuple(shapes),), removed=())
        keyring = Keyring(base=None, added=tuple(keyring_entry(i, scan.study_uid) for i in instances))
        totals = totals_of(shapes)
        letter = replace(LETTER, objects=totals.objects, chunks=totals.chunks, stored_bytes=totals.stored_bytes)
        assert (totals.objects, totals.chunks) == (2, 6)
        check_keys(read_layout(encode(layout), letter), read_keyring(encode(keyring), layout))
        assert {e.sop_uid for e in keyring.added} == {i.sop_uid for i in instances}
