"""Opening: what was delivered is decrypted, verified and read here before it counts as an image."""

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectSealer
from p2pshare.errors import DamagedPack
from p2pshare.model.objects import Keyring, ObjectKind
from p2pshare.model.pack import PackScope
from p2pshare.model.packed import encode
from p2pshare.model.views import ShareState
from p2pshare.service import offers
from p2pshare.service.opening import Opening
from p2pshare.service.sealing import shape_of
from p2pshare.store import scans
from p2pshare.store.packs import PackBuilder
from p2pshare.store.shares import Direction
from tests import traces
from tests.meetings import delivered, imported, meeting, offered, reaches, until
from tests.studies import fresh_uid, make_ct, make_study
from tests.world import Person, three_people, two_people


def promising(monkeypatch: pytest.MonkeyPatch, **promise: object) -> None:
    """Let every keyring promise something of its first object."""

    def lie(value: Any) -> Any:
        if isinstance(value, Keyring):
            return replace(value, added=(replace(value.added[0], **promise), *value.added[1:]))
        return value

    monkeypatch.setattr(offers, "encode", lambda value: encode(lie(value)))


async def opening(rao: Person, share: bytes) -> None:
    workers: Any = rao.workers
    await Opening(rao.vault, workers, rao.clock, None).run(await rao.share(share, Direction.IN))


async def test_what_is_opened_is_the_senders_file_byte_for_byte(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = [*make_study(tmp_path / "in", 120), make_ct(tmp_path / "in" / "large", 1600, 1600)]
        await ana.imports(tmp_path / "in")
        share = await imported(ana, rao)
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert (await rao.share(share, Direction.IN)).chunks_done == (await ana.share(share, Direction.OUT)).chunks_done
        assert await rao.check() == []


async def test_a_chunk_that_fits_its_digest_but_does_not_open_refuses_the_share_and_says_whose_it_was(
    tmp_path: Path,
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        await seal_one_wrongly(ana)
        share = await delivered(ana, rao)
        await rao.open_delivered()
        refused = await rao.share(share, Direction.IN)
        assert refused.state is ShareState.REFUSED
        assert refused.why.startswith("share-corrupt")
        (entry,) = [e for e in await rao.upkeep.log(limit=None) if e.kind == "share-refused"]
        assert ana.peer.person_id.hex() in entry.detail
        assert await rao.library.listed() == []
        async with meeting(ana, rao):
            await until(reaches(ana, share, ShareState.REFUSED))
        assert (await ana.share(share, Direction.OUT)).why == refused.why


async def seal_one_wrongly(ana: Person) -> None:
    """Replace one of Ana's objects by one whose chunk is sealed under another key than the one it names."""
    (scan,) = await ana.library.listed()
    instance = (await scans.instances_of(ana.vault.db, scan))[0]
    named, used = ObjectSealer(), ObjectSealer()
    chunk = used.seal(0, True, bytes(instance.size), Codec.RAW)
    shape = shape_of(named.commitment, instance.size, [chunk])
    builder = PackBuilder(PackScope.STUDY, scan.study_uid.encode(), 0)
    builder.add(named.commitment, named.key, 0, chunk.data, chunk.digest)
    closed = ana.vault.packs.write(builder)
    (place,) = closed.placements
    async with ana.vault.db.transaction() as tx:
        pack = await tx.insert(
            "INSERT INTO pack (pack_id, generation, scope, size, study_uid) VALUES (?, 1, 1, ?, ?)",
            (closed.pack_id, closed.size, scan.study_uid),
        )
        await tx.execute(
            "UPDATE object SET object_id = ?, commitment = ?, key = ? WHERE object_id = ?",
            (shape.object_id, shape.commitment, named.key, instance.object_id),
        )
        await tx.execute(
            "UPDATE chunk SET pack = ?, offset = ?, length = ?, digest = ? WHERE object ="
            " (SELECT object FROM object WHERE object_id = ?)",
            (pack, place.offset, place.length, place.digest, shape.object_id),
        )


async def test_an_image_with_another_hash_than_promised_refuses_the_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        promising(monkeypatch, sha256=bytes(32))
        share = await delivered(ana, rao)
        await rao.open_delivered()
        assert await rao.state(share) is ShareState.REFUSED
        assert await rao.library.listed() == []


async def test_a_lie_about_the_last_of_many_images_takes_back_all_that_the_share_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(value: Any) -> Any:
        if isinstance(value, Keyring):
            return replace(value, added=(*value.added[:-1], replace(value.added[-1], sha256=bytes(32))))
        return value

    monkeypatch.setattr("p2pshare.service.opening._BATCH", 4)
    monkeypatch.setattr(offers, "encode", lambda value: encode(lie(value)))
    async with two_people(tmp_path) as (ana, rao):
        mine = make_study(tmp_path / "mine", 2)
        await rao.imports(tmp_path / "mine")
        make_study(tmp_path / "in", 11)
        await ana.imports(tmp_path / "in")
        share = await delivered(ana, rao)
        await rao.open_delivered()
        assert await rao.state(share) is ShareState.REFUSED
        (scan,) = await rao.library.listed()
        assert scan.instances == len(mine)
        assert await rao.vault.db.rows("SELECT 1 FROM instance WHERE share IS NOT NULL") == []
        assert await rao.library.found(scan.patient_name) == [scan]
        assert await rao.check() == []


async def test_a_lie_about_an_object_does_not_keep_an_honest_sender_from_sharing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        files = make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await imported(ana, eve)
        with monkeypatch.context() as patched:
            promising(patched, sha256=bytes(32), kind=ObjectKind.FILE)
            lie = await delivered(eve, rao)
        await rao.open_delivered()
        assert await rao.state(lie) is ShareState.REFUSED
        await imported(ana, rao)
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert await rao.check() == []


async def test_damage_on_this_disk_is_not_blamed_on_the_sender(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        share = await delivered(ana, rao)
        rows = await rao.vault.db.rows(
            "SELECT p.pack_id, c.offset FROM chunk c JOIN pack p ON p.pack = c.pack JOIN object o ON"
            " o.object = c.object WHERE o.kind = 'dicom'"
        )
        path = rao.vault.folder.pack_path(rows[0][0])
        data = bytearray(path.read_bytes())
        data[rows[0][1] + 50] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedPack):
            await opening(rao, share)
        assert await rao.state(share) is ShareState.DELIVERED
        data[rows[0][1] + 50] ^= 1
        path.write_bytes(data)
        await opening(rao, share)
        assert await rao.state(share) is ShareState.IMPORTED


async def test_what_is_not_dicom_is_kept_as_it_is_whatever_the_sender_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        note = tmp_path / "note.txt"
        note.write_text("a report in plain text")
        await ana.imports(note, keep_unreadable=True)
        promising(
            monkeypatch, kind=ObjectKind.DICOM, study_uid=fresh_uid(), series_uid=fresh_uid(), sop_uid=fresh_uid()
        )  # fmt: skip
        await imported(ana, rao)
        (scan,) = await rao.library.listed()
        assert scan.study_uid == "files"
        assert await rao.exported(tmp_path / "out") == [note.read_bytes()]


async def test_what_the_sender_says_an_image_is_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_people(tmp_path) as (ana, rao):
        uid = fresh_uid()
        make_study(tmp_path / "in", 2, study=uid)
        await ana.imports(tmp_path / "in")
        promising(monkeypatch, study_uid="1.2.3", series_uid="1.2.3", sop_uid="1.2.3")
        await imported(ana, rao)
        (scan,) = await rao.library.listed()
        assert (scan.study_uid, scan.instances) == (uid, 2)


async def test_an_image_that_differs_from_my_own_of_that_uid_is_kept_beside_it_and_both_are_flagged(
    tmp_path: Path,
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        study, sop = fresh_uid(), fresh_uid()
        theirs, mine = (make_ct(tmp_path / n, StudyInstanceUID=study, SOPInstanceUID=sop) for n in "ab")
        await ana.imports(theirs)
        await rao.imports(mine)
        await imported(ana, rao)
        (scan,) = await rao.library.listed()
        assert (scan.instances, scan.conflicts) == (2, 2)
        both = sorted([theirs.read_bytes(), mine.read_bytes()])
        assert await rao.exported(tmp_path / "out") == both
        assert await rao.check() == []


async def test_the_same_study_from_two_people_is_one_scan_with_every_image_once(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        files = make_study(tmp_path / "in", 3)
        await ana.imports(tmp_path / "in")
        await eve.imports(tmp_path / "in")  # the same files, but objects of her own
        await imported(ana, rao)
        share = await imported(eve, rao)
        assert await eve.state(share) is ShareState.IMPORTED
        (scan,) = await rao.library.listed()
        assert (scan.instances, scan.conflicts) == (3, 0)
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        assert await rao.check() == []


async def test_opening_that_was_cut_off_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        files = make_study(tmp_path / "in", 250)
        await ana.imports(tmp_path / "in")
        share = await delivered(ana, rao)
        file = Opening._file

        async def one_batch_only(self: Opening, *args: Any) -> None:
            await file(self, *args)
            raise asyncio.CancelledError

        with monkeypatch.context() as patched, contextlib.suppress(asyncio.CancelledError):
            patched.setattr(Opening, "_file", one_batch_only)
            await opening(rao, share)
        assert await rao.state(share) is ShareState.DELIVERED
        (scan,) = await rao.library.listed()
        assert 0 < scan.instances < 250
        rao.workers.read_count = 0
        await opening(rao, share)
        assert rao.workers.read_count == 250 - scan.instances
        assert await rao.state(share) is ShareState.IMPORTED
        assert await rao.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)


async def test_a_share_revoked_or_erased_while_it_is_opened_stays_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 250)
        await ana.imports(tmp_path / "in")
        share = await delivered(ana, rao)
        file = Opening._file

        async def then_erase(self: Opening, *args: Any) -> None:
            await file(self, *args)
            if await rao.library.listed():
                await rao.library.erase((await rao.library.listed())[0].scan.hex())

        with monkeypatch.context() as patched:
            patched.setattr(Opening, "_file", then_erase)
            await opening(rao, share)
        assert await rao.state(share) is ShareState.REFUSED
        assert await rao.library.listed() == []
        assert traces.pack_ids(rao.vault) == set()
        assert await rao.vault.db.rows("SELECT * FROM object") == []
        assert await rao.check() == []


async def test_a_header_longer_than_what_the_reader_is_given_first_is_read_all_the_same(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        image = make_ct(tmp_path / "1", ImageComments="x" * 9000, TextValue="y" * 400_000)
        await ana.imports(image)
        await imported(ana, rao)
        (scan,) = await rao.library.listed()
        assert scan.study_uid != "files"
        assert await rao.exported(tmp_path / "out") == [image.read_bytes()]


async def test_what_was_received_can_be_shared_on(tmp_path: Path) -> None:
    async with three_people(tmp_path) as (ana, rao, eve):
        files = make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await imported(ana, rao)
        await imported(rao, eve)
        assert await eve.exported(tmp_path / "out") == sorted(path.read_bytes() for path in files)
        received = await scans.instances_of(eve.vault.db, (await eve.library.listed())[0])
        hashes = {hashlib.sha256(path.read_bytes()).digest() for path in files}
        assert {i.sha256 for i in received} == hashes


async def test_nothing_of_an_offer_that_was_not_accepted_is_fetched(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        make_study(tmp_path / "in", 2)
        await ana.imports(tmp_path / "in")
        await offered(ana, rao)
        assert traces.pack_ids(rao.vault) == set()
