"""The packing line: what comes out is durable and whole, in packs of one study."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from p2pshare.crypto.codec import Codec
from p2pshare.errors import DiskTrouble, VaultBusy
from p2pshare.model.dicom import FileOutcome
from p2pshare.model.ids import Uid
from p2pshare.model.objects import Identity, ObjectKind
from p2pshare.model.pack import PackEnd
from p2pshare.service.kept import kept_record
from p2pshare.service.pack_line import PackLine
from p2pshare.service.sealing import SealedObject, read_object, seal_object
from p2pshare.store import scans
from p2pshare.store.filing import FiledInstance, FiledObject
from p2pshare.store.packs import PackStore
from tests import traces
from tests.meetings import until
from tests.studies import fresh_uid
from tests.world import Person, one_person

MIB = 1 << 20


async def put(line: PackLine, data: bytes, study: str, sop: str = "") -> FiledInstance:
    """Send one object down the line."""
    sealed = seal_object(data, Codec.RAW)
    for number, chunk in enumerate(sealed.chunks):
        await line.add_chunk(study, sealed.shape.commitment, sealed.key, number, chunk)
    return finish(line, sealed, study, sop)


def finish(line: PackLine, sealed: SealedObject, study: str, sop: str = "") -> FiledInstance:
    """Say that an object's last chunk was added."""
    shape = sealed.shape
    record = replace(kept_record(""), study_uid=Uid(study), series_uid=Uid(study), sop_uid=Uid(sop or fresh_uid()))
    identity = Identity(record.study_uid, record.series_uid, record.sop_uid, "")
    end = PackEnd(shape.object_id, shape.size, sealed.sha256, ObjectKind.DICOM, identity)
    stored = FiledObject(shape.id, shape.commitment, sealed.key, shape.size, sealed.sha256, ObjectKind.DICOM)
    instance = FiledInstance(shape.id, sealed.sha256, record, "", None)
    line.finish(study, end, stored, instance)
    return instance


def a_line(ana: Person, done: list[tuple[bytes, FileOutcome]]) -> PackLine:
    return PackLine(ana.vault, ana.clock, lambda instance, outcome: done.append((instance.object_id, outcome)))


async def stored_hashes(ana: Person) -> list[bytes]:
    hashes = []
    for scan in await scans.listed(ana.vault.db):
        places = await scans.places_of_study(ana.vault.db, scan)
        for i in await scans.instances_of(ana.vault.db, scan):
            data = read_object(ana.vault.packs, i.key, i.commitment, i.size, i.sha256, places[i.object_id])
            hashes.append(hashlib.sha256(data).digest())
    return sorted(hashes)


async def test_everything_that_was_added_is_filed_when_the_line_is_left(tmp_path: Path) -> None:
    contents = [bytes([n]) * size for n, size in enumerate([0, 1, MIB, 3 * MIB + 1, 20 * MIB, 5])]
    done: list[tuple[bytes, FileOutcome]] = []
    async with one_person(tmp_path) as ana:
        async with a_line(ana, done) as line:
            for number, data in enumerate(contents):
                await put(line, data, f"1.{number % 2}")
        assert [outcome for _, outcome in done] == [FileOutcome.STORED] * 6
        assert await stored_hashes(ana) == sorted(hashlib.sha256(data).digest() for data in contents)
        assert await ana.check() == []


async def test_nothing_is_reported_before_all_of_its_packs_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[bytes, FileOutcome]] = []
    durable_when_done: list[int] = []
    async with one_person(tmp_path) as ana:

        def note(instance: FiledInstance, outcome: FileOutcome) -> None:
            done.append((instance.object_id, outcome))
            durable_when_done.append(len(traces.pack_ids(ana.vault)))

        async with PackLine(ana.vault, ana.clock, note) as line:
            await put(line, bytes(20 * MIB), "1.2")
        assert len(done) == 1
        assert durable_when_done == [len(traces.pack_ids(ana.vault))]
        assert durable_when_done[0] >= 3


async def test_more_studies_at_once_than_packs_may_be_open_still_have_packs_of_their_own(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        async with a_line(ana, []) as line:
            for number in range(60):
                await put(line, bytes([number]) * 100, f"1.{number % 10}")
        for pack_id in traces.pack_ids(ana.vault):
            index = ana.vault.packs.read_index(pack_id)
            studies = {p.end.identity.study_uid for p in index.parts if p.end and p.end.identity}
            assert studies == {index.owner.decode()}


async def test_no_more_than_a_few_packs_are_open_at_once(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, a_line(ana, []) as line:
        for number in range(20):
            await put(line, b"x", f"1.{number}")
            assert len(line._open) <= 4


async def test_an_object_whose_first_packs_were_erased_meanwhile_is_not_filed_in_part(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana, one_person(tmp_path) as also_ana:
        study = fresh_uid()
        async with a_line(ana, []) as line:
            await put(line, b"an image of the scan", study)
        done: list[tuple[bytes, FileOutcome]] = []

        async def go_on_after_an_erasure() -> None:
            async with a_line(ana, done) as line:
                large = seal_object(bytes(20 * MIB), Codec.RAW)
                for number, chunk in enumerate(large.chunks):
                    if number == 12:
                        await until(several_packs)
                        await also_ana.library.erase(study)
                    await line.add_chunk(study, large.shape.commitment, large.key, number, chunk)
                finish(line, large, study)

        async def several_packs() -> bool:
            return len(await ana.vault.db.rows("SELECT 1 FROM pack")) >= 2

        with pytest.raises(VaultBusy, match="erased while it was being imported"):
            await go_on_after_an_erasure()
        assert done == []
        assert await scans.listed(ana.vault.db) == []
        assert await ana.check() == []


async def test_a_writer_that_fails_stops_whoever_adds_and_nothing_is_reported_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: PackStore, builder: Any) -> Any:
        raise DiskTrouble("there is no space left")

    monkeypatch.setattr(PackStore, "write", full)
    done: list[tuple[bytes, FileOutcome]] = []
    async with one_person(tmp_path) as ana:

        async def add_for_ever() -> None:
            async with a_line(ana, done) as line:
                while True:
                    await put(line, bytes(9 * MIB), "1.2")

        with pytest.raises(DiskTrouble):
            await asyncio.wait_for(add_for_ever(), 20)
        assert done == []
        assert await scans.listed(ana.vault.db) == []


async def test_a_line_left_in_an_error_reports_only_what_it_filed(tmp_path: Path) -> None:
    done: list[tuple[bytes, FileOutcome]] = []
    async with one_person(tmp_path) as ana:

        async def fail_in_the_middle() -> None:
            async with a_line(ana, done) as line:
                for number in range(40):
                    await put(line, bytes([number]) * MIB, "1.2")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail_in_the_middle()
        assert len(await stored_hashes(ana)) >= len(done)
        assert await ana.check() == []
