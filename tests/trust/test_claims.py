"""Shares that claim too much or name what is no UID: refused with a receipt, from the letter to the last object."""

import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from p2pshare.model import limits
from p2pshare.model.letters import ScanSummary, ShareLetter
from p2pshare.model.objects import Keyring, Layout, ObjectKind, ObjectRef
from p2pshare.model.packed import encode
from p2pshare.model.views import ShareState
from p2pshare.service import offers, post
from p2pshare.service.layouts import Totals
from p2pshare.store import feeds
from p2pshare.store.shares import Direction
from tests import traces
from tests.meetings import Meeting, imported, meeting, offered, reaches, until
from tests.studies import make_study
from tests.world import Person, two_people

Lie = Callable[[Any], Any]
MIB = 1 << 20
WANT, CHUNK = 4, 5  # kinds of frames (docs/protocol.md §2)
NO_UIDS = ["../../x", "/etc/x", "1.2.3\x004", "1" * 10_240, "1.2\n3", "..", "1..2", ""]
LONG = "ten thousand digits"
NAMES = [LONG if len(uid) > 100 else repr(uid) for uid in NO_UIDS]


@contextmanager
def memory_below(most: int) -> Iterator[None]:
    """Fail if more than `most` bytes are taken at once."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        assert tracemalloc.get_traced_memory()[1] - before < most
    finally:
        tracemalloc.stop()


async def an_honest_letter(ana: Person, rao: Person, folder: Path) -> ShareLetter:
    """What Ana would offer of one small scan; Dr Rao has not seen it."""
    written: list[ShareLetter] = []

    async def write(*args: Any) -> int:
        written.append(args[3])
        return 1

    make_study(folder, 2)
    await ana.imports(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(post, "write", write)
        await ana.offers.create("Dr Rao", [(await ana.library.listed())[0].scan.hex()], "?")
    return written[0]


async def sent(ana: Person, rao: Person, letter: ShareLetter) -> Meeting:
    """Let Ana's device send a letter as it is."""
    async with ana.vault.db.transaction() as tx:
        await post.write(tx, ana.vault, rao.peer.person_id, letter, ana.clock())

    async def receipted() -> bool:
        return await ana.letters_to(rao) == []

    async with meeting(ana, rao) as met:
        await until(receipted)
    return met


def kinds(met: Meeting, side: int) -> set[int]:
    return {frame[0] for frame in met.links[side].sent}


def in_layout_ref(**lie: object) -> Lie:
    def change(letter: ShareLetter) -> ShareLetter:
        return replace(letter, layout=replace(letter.layout, shape=replace(letter.layout.shape, **lie)))

    return change


def in_keyring_ref(**lie: object) -> Lie:
    def change(letter: ShareLetter) -> ShareLetter:
        return replace(letter, keyring=ObjectRef(replace(letter.keyring.shape, **lie), bytes(32), bytes(32)))

    return change


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (lambda m: replace(m, objects=10**7), "too-large: a share that claims 10000000 objects"),
        (lambda m: replace(m, objects=2**63 - 1), "too-large"),
        (lambda m: replace(m, chunks=2**63 - 1), "too-large"),
        (lambda m: replace(m, stored_bytes=2**63 - 1), "too-large"),
        (lambda m: replace(m, stored_bytes=2**64 - 1), "malformed"),
        (lambda m: replace(m, scans=m.scans * 51), "too-large"),
        (in_layout_ref(size=2**63 - 1), "too-large"),
        (in_layout_ref(size=limits.LAYOUT_MAX), "too-large: a layout or keyring"),
        (in_layout_ref(lengths=(2**63,)), "malformed"),
        (in_keyring_ref(size=2**63 - 1), "too-large"),
        (in_keyring_ref(digests=b""), "malformed"),
    ],
)
async def test_a_letter_that_claims_beyond_any_limit_is_refused_with_a_receipt_and_nothing_is_fetched(
    tmp_path: Path, lie: Lie, why: str
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letter = lie(await an_honest_letter(ana, rao, tmp_path / "in"))
        with memory_below(8 * MIB):
            met = await sent(ana, rao, letter)
        assert WANT not in kinds(met, 1)
        assert CHUNK not in kinds(met, 0)
        (refused,) = await feeds.refusals_for_receipt(rao.vault.db, ana.peer.device_id)
        assert refused.why.startswith(why)
        assert "letter-refused" in await rao.log()
        assert await rao.vault.db.rows("SELECT * FROM share") == []
        assert traces.pack_ids(rao.vault) == set()
        assert await rao.check() == []


async def test_the_honest_letter_is_taken(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letter = await an_honest_letter(ana, rao, tmp_path / "in")
        await sent(ana, rao, letter)
        assert await rao.state(letter.share) is ShareState.OFFERED


def lying(monkeypatch: pytest.MonkeyPatch, kind: type, lie: Lie) -> None:
    """Let every object of `kind` that is offered say what `lie` makes of it."""
    monkeypatch.setattr(offers, "encode", lambda value: encode(lie(value) if isinstance(value, kind) else value))


async def refused_after_two_chunks(ana: Person, rao: Person, folder: Path, why: str) -> None:
    """Let Dr Rao accept what Ana offers: it is refused when its layout and keyring are here, and Ana learns why."""
    make_study(folder, 2)
    await ana.imports(folder)
    share = await offered(ana, rao)
    await rao.inbox.accept(share.hex())
    with memory_below(16 * MIB):
        async with meeting(ana, rao) as met:
            await until(reaches(ana, share, ShareState.REFUSED))
    assert len(met.chunks_sent()) == 2
    assert why in (await ana.share(share, Direction.OUT)).why
    (entry,) = [e for e in await rao.upkeep.log(limit=None) if e.kind == "share-refused"]
    assert ana.peer.person_id.hex() in entry.detail
    assert await rao.library.listed() == []
    assert await rao.check() == []


async def test_the_most_that_a_letter_may_claim_takes_no_memory_and_is_found_out_by_its_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = Totals(limits.LAYOUT_OBJECTS_MAX, limits.LAYOUT_CHUNKS_MAX, limits.OBJECT_MAX)
    async with two_people(tmp_path) as (ana, rao):
        monkeypatch.setattr(offers, "totals_of", lambda _: most)
        await refused_after_two_chunks(ana, rao, tmp_path / "in", "does not add up")


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"size": 2**63 - 1}, "too-large"),
        ({"size": limits.OBJECT_MAX}, "malformed"),
        ({"lengths": (2**63,)}, "malformed"),
    ],
    ids=str,
)
async def test_a_layout_whose_object_claims_2_to_the_63_bytes_is_refused_before_any_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, object], why: str
) -> None:
    def lies(layout: Layout) -> Layout:
        return replace(layout, added=tuple(tuple(replace(s, **lie) for s in group) for group in layout.added))

    async with two_people(tmp_path) as (ana, rao):
        lying(monkeypatch, Layout, lies)
        await refused_after_two_chunks(ana, rao, tmp_path / "in", why)


async def test_a_layout_of_a_million_objects_is_refused_as_it_unpacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One byte for each empty object: a million fit into the MiB that any layout may have, and pack to nothing.
    many = b"\x84\xa1t\xa6layout\xa4base\xc0\xa5added\x91\xdd" + (10**6).to_bytes(4, "big") + b"\x80" * 10**6
    bomb = many + b"\xa7removed\x90"
    async with two_people(tmp_path) as (ana, rao):
        monkeypatch.setattr(offers, "encode", lambda value: bomb if isinstance(value, Layout) else encode(value))
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        share = await offered(ana, rao)
        await rao.inbox.accept(share.hex())
        with memory_below(64 * MIB):
            async with meeting(ana, rao):
                await until(reaches(ana, share, ShareState.REFUSED))
        assert "malformed" in (await ana.share(share, Direction.OUT)).why
        assert await rao.check() == []


# --- what is no UID ---


def tree(folder: Path, *without: Path) -> set[str]:
    """Every path below `folder` but what lies in `without`."""
    return {str(path) for path in folder.rglob("*") if not any(path.is_relative_to(each) for each in without)}


@pytest.mark.parametrize("uid", NO_UIDS, ids=NAMES)
async def test_a_letter_with_a_uid_that_is_none_is_refused(tmp_path: Path, uid: str) -> None:
    async with two_people(tmp_path) as (ana, rao):
        letter = await an_honest_letter(ana, rao, tmp_path / "in")
        (scan,) = letter.scans
        assert isinstance(scan, ScanSummary)
        before = tree(tmp_path)
        await sent(ana, rao, replace(letter, scans=(replace(scan, study_uid=uid),)))
        (refused,) = await feeds.refusals_for_receipt(rao.vault.db, ana.peer.device_id)
        assert refused.why.startswith("bad-identity")
        assert await rao.vault.db.rows("SELECT * FROM share") == []
        vaults = rao.vault.folder.path, ana.vault.folder.path
        assert tree(tmp_path, *vaults) <= before


@pytest.mark.parametrize("which", ["study_uid", "series_uid", "sop_uid"])
@pytest.mark.parametrize("uid", ["../../x", "/etc/x", "1.2.3\x004", "1" * 10_240], ids=NAMES[:4])
async def test_a_keyring_with_a_uid_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: str, which: str
) -> None:
    def lies(keyring: Keyring) -> Keyring:
        return replace(keyring, added=tuple(replace(entry, **{which: uid}) for entry in keyring.added))

    async with two_people(tmp_path) as (ana, rao):
        lying(monkeypatch, Keyring, lies)
        await refused_after_two_chunks(ana, rao, tmp_path / "in", "a UID that is none")
        vaults = rao.vault.folder.path, ana.vault.folder.path
        assert tree(tmp_path, *vaults) == {str(tmp_path / "in"), *map(str, (tmp_path / "in").iterdir())}


@pytest.mark.parametrize("uid", ["../../x", "/etc/x", "1.2.3\x004", "1" * 10_240], ids=NAMES[:4])
async def test_an_image_whose_own_uids_are_none_is_kept_as_a_file_under_a_name_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: str, dicom_with: Callable[[str], bytes]
) -> None:
    hostile = tmp_path / "hostile.dcm"
    hostile.write_bytes(dicom_with(uid))

    def calls_it_dicom(keyring: Keyring) -> Keyring:
        lie = {"kind": ObjectKind.DICOM, "study_uid": "1.2", "series_uid": "1.3", "sop_uid": "1.4"}
        return replace(keyring, added=tuple(replace(entry, **lie) for entry in keyring.added))

    async with two_people(tmp_path) as (ana, rao):
        await ana.imports(hostile, keep_unreadable=True)
        with monkeypatch.context() as patched:
            lying(patched, Keyring, calls_it_dicom)
            await imported(ana, rao)
        (scan,) = await rao.library.listed()
        assert scan.study_uid == "files"
        out = tmp_path / "out"
        assert await rao.exported(out) == [hostile.read_bytes()]
        vaults = rao.vault.folder.path, ana.vault.folder.path
        names = {os.path.relpath(path, tmp_path) for path in tree(tmp_path, *vaults) if Path(path).is_file()}
        assert names == {"hostile.dcm", f"out/{scan.scan.hex()}/SE0001/IM00001.dcm"}
        # and going on from here it is called what it is
        share = await offered(rao, ana)
        await ana.inbox.accept(share.hex())
        async with meeting(rao, ana):
            await until(reaches(rao, share, ShareState.DELIVERED))
        assert await rao.check() == []
