"""Whole objects sealed and opened: what comes back is what went in, or it is refused."""

import hashlib
import secrets
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectKey, check_shape
from p2pshare.errors import DamagedPack
from p2pshare.model.limits import CHUNK_SIZE
from p2pshare.model.objects import chunk_count
from p2pshare.model.pack import PackScope
from p2pshare.service.kept import kept_record
from p2pshare.service.sealing import SealedObject, codec_for, open_object, read_object, seal_object
from p2pshare.store.packs import PackBuilder, PackStore
from p2pshare.store.scans import ChunkPlace
from tests.world import one_person

SIZES = [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE]


def packed(packs: PackStore, sealed: SealedObject) -> list[ChunkPlace]:
    builder = PackBuilder(PackScope.STUDY, b"1.2", 0)
    for number, chunk in enumerate(sealed.chunks):
        builder.add(sealed.shape.commitment, sealed.key, number, chunk.data, chunk.digest)
    closed = packs.write(builder)
    return [
        ChunkPlace(sealed.shape.id, p.number, closed.pack_id, p.offset, p.length, p.digest) for p in closed.placements
    ]


def reading(packs: PackStore, sealed: SealedObject, places: list[ChunkPlace]) -> bytes:
    return read_object(packs, sealed.key, sealed.shape.commitment, sealed.shape.size, sealed.sha256, places)


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_sealed_comes_back(tmp_path: Path, size: int) -> None:
    data = secrets.token_bytes(min(size, 4096)) * (size // 4096 + 1)
    data = data[:size]
    async with one_person(tmp_path) as ana:
        for codec in Codec:
            sealed = seal_object(data, codec)
            check_shape(sealed.shape)
            assert len(sealed.chunks) == chunk_count(size)
            assert sealed.sha256 == hashlib.sha256(data).digest()
            assert reading(ana.vault.packs, sealed, packed(ana.vault.packs, sealed)) == data


def test_sealing_the_same_twice_gives_nothing_in_common() -> None:
    one, two = seal_object(b"the same", Codec.RAW), seal_object(b"the same", Codec.RAW)
    assert one.key != two.key
    assert one.shape.object_id != two.shape.object_id
    assert one.chunks[0].data != two.chunks[0].data


async def test_a_missing_swapped_or_repeated_chunk_is_damage(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        sealed = seal_object(bytes(3 * CHUNK_SIZE), Codec.RAW)
        one, two, three = packed(ana.vault.packs, sealed)
        for wrong in ([one, two], [one, one, three], [two, one, three], [one, two, three, three], []):
            with pytest.raises(DamagedPack):
                reading(ana.vault.packs, sealed, wrong)
        swapped = [
            replace(one, offset=two.offset, digest=two.digest),
            replace(two, offset=one.offset, digest=one.digest),
            three,
        ]
        with pytest.raises(DamagedPack, match="does not open"):
            reading(ana.vault.packs, sealed, swapped)


async def test_a_flipped_bit_in_the_pack_is_damage_that_names_the_pack(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        sealed = seal_object(b"x" * 1000, Codec.RAW)
        places = packed(ana.vault.packs, sealed)
        path = ana.vault.folder.pack_path(places[0].pack_id)
        data = bytearray(path.read_bytes())
        data[places[0].offset + 100] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedPack, match=places[0].pack_id.hex()):
            reading(ana.vault.packs, sealed, places)


async def test_the_last_piece_is_not_given_out_before_the_whole_was_verified(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        sealed = seal_object(bytes(2 * CHUNK_SIZE), Codec.RAW)
        places = packed(ana.vault.packs, sealed)
        pieces = open_object(
            ana.vault.packs, sealed.key, sealed.shape.commitment, sealed.shape.size, bytes(32), places
        )  # fmt: skip
        assert len(next(pieces)) == CHUNK_SIZE
        with pytest.raises(DamagedPack, match="not the one that was stored"):
            next(pieces)


async def test_another_key_opens_nothing(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        sealed = seal_object(b"x", Codec.RAW)
        places = packed(ana.vault.packs, sealed)
        with pytest.raises(DamagedPack):
            read_object(ana.vault.packs, ObjectKey(bytes(32)), sealed.shape.commitment, 1, sealed.sha256, places)


@pytest.mark.parametrize(
    ("syntax", "encapsulated", "bits", "codec"),
    [
        ("1.2.840.10008.1.2.1", False, 16, Codec.PLANES),
        ("1.2.840.10008.1.2.1", False, 8, Codec.ZSTD),
        ("1.2.840.10008.1.2.1", False, 0, Codec.ZSTD),
        ("1.2.840.10008.1.2.4.70", True, 16, Codec.RAW),
        ("1.2.840.10008.1.2.1.99", False, 16, Codec.RAW),
    ],
)
def test_what_is_compressed_already_is_not_compressed_again(
    syntax: str, encapsulated: bool, bits: int, codec: Codec
) -> None:
    record = msgspec.structs.replace(
        kept_record(""), transfer_syntax=syntax, encapsulated=encapsulated, bits_allocated=bits
    )  # fmt: skip
    assert codec_for(record) is codec


def test_a_file_that_is_not_dicom_is_compressed_like_any_other() -> None:
    assert codec_for(None) is Codec.ZSTD
