"""From closed packs to rows."""

from pathlib import Path

from p2pshare.crypto.codec import Codec
from p2pshare.model.ids import ShareId
from p2pshare.model.objects import ObjectKind
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.service.filing_packs import PackFiler
from p2pshare.service.sealing import SealedObject, seal_object
from p2pshare.store import filing
from p2pshare.store.scans import places_of
from tests.world import one_person

SHARE = ShareId(b"s" * 16)
MIB = 1 << 20


def added(filer: PackFiler, sealed: SealedObject) -> None:
    shape = sealed.shape
    for number, chunk in enumerate(sealed.chunks):
        filer.add(shape.commitment, sealed.key, number, chunk.data, chunk.digest, shape.id)
    end = PackEnd(
        object_id=shape.object_id, size=shape.size, sha256=sealed.sha256, kind=ObjectKind.LAYOUT, identity=None
    )  # fmt: skip
    filer.end(shape.commitment, end)


async def test_objects_are_written_to_as_many_packs_as_they_need_and_every_chunk_gets_a_row(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        objects = [seal_object(bytes([n]) * (3 * MIB), Codec.RAW) for n in range(4)]
        filer = PackFiler(ana.vault.packs, PackScope.SHARE, SHARE, 0)
        for sealed in objects:
            added(filer, sealed)
        written = filer.close()
        assert len(written.packs) == 2
        assert {(p.share, p.study_uid, p.scope) for p in written.packs} == {(SHARE, None, 2)}
        async with ana.vault.db.transaction() as tx:
            await filing.enter_packs(tx, written.packs)
            await filing.enter_objects(
                tx,
                [filing.FiledObject(o.shape.id, o.shape.commitment, o.key, o.shape.size, o.sha256, ObjectKind.LAYOUT)
                 for o in objects],
            )  # fmt: skip
            await filing.enter_chunks(tx, written.chunks)
        places = await places_of(ana.vault.db, [o.shape.id for o in objects])
        for sealed in objects:
            for place, chunk in zip(places[sealed.shape.id], sealed.chunks, strict=True):
                assert ana.vault.packs.read(place.pack_id, place.offset, place.length) == chunk.data


async def test_nothing_added_is_nothing_written(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        written = PackFiler(ana.vault.packs, PackScope.SHARE, SHARE, 0).close()
        assert (written.packs, written.chunks) == ([], [])
        assert list(ana.vault.packs.ids()) == []
