"""Packs on disk: what was written is what is read, and every other byte is noticed."""

import errno
import os
import secrets
from pathlib import Path

import pytest

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.stream import ObjectOpener, ObjectSealer, object_id
from p2pshare.crypto.vaultkeys import VaultKeys
from p2pshare.errors import DamagedPack, DiskTrouble, LocalError
from p2pshare.model.ids import PackId, Uid, VaultId
from p2pshare.model.limits import CHUNK_SIZE, PACK_MAX
from p2pshare.model.objects import Identity, ObjectKind, chunk_count
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.store.folder import VaultFolder
from p2pshare.store.packs import ClosedPack, PackBuilder, PackStore, placements

STUDY = b"1.2.826.0.1.3680043.8.498.1"
VAULT = VaultId(b"v" * 16)
IDENTITY = Identity(study_uid=Uid(STUDY.decode()), series_uid=Uid("1.2.3"), sop_uid=Uid("1.2.3.4"), sop_class="1.2")


@pytest.fixture
def folder(tmp_path: Path) -> VaultFolder:
    folder = VaultFolder(tmp_path / "vault")
    folder.create()
    return folder


@pytest.fixture
def keys() -> VaultKeys:
    return VaultKeys(VAULT, 2, {1: b"1" * 32, 2: b"2" * 32})


@pytest.fixture
def store(folder: VaultFolder, keys: VaultKeys) -> PackStore:
    return PackStore(folder, keys)


def put(builder: PackBuilder, content: bytes) -> bytes:
    """Put an object into `builder`, and return its commitment."""
    sealer = ObjectSealer()
    count = chunk_count(len(content))
    digests = b""
    for number in range(count):
        plain = content[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]
        chunk = sealer.seal(number, number == count - 1, plain, Codec.RAW)
        builder.add(sealer.commitment, sealer.key, number, chunk.data, chunk.digest)
        digests += chunk.digest
    builder.end(
        sealer.commitment,
        PackEnd(
            object_id=object_id(sealer.commitment, len(content), digests),
            size=len(content),
            sha256=None,
            kind=ObjectKind.DICOM,
            identity=IDENTITY,
        ),
    )
    return sealer.commitment


def filled(*contents: bytes) -> PackBuilder:
    builder = PackBuilder(PackScope.STUDY, STUDY, 1_700_000_000)
    for content in contents:
        put(builder, content)
    return builder


def test_what_was_packed_comes_back(folder: VaultFolder, store: PackStore) -> None:
    contents = [b"", b"one", secrets.token_bytes(CHUNK_SIZE + 5), secrets.token_bytes(3000)]
    closed = store.write(filled(*contents))
    path = folder.pack_path(closed.pack_id)
    assert path.stat().st_size == closed.size
    assert (closed.generation, closed.scope, closed.owner) == (2, PackScope.STUDY, STUDY)
    index = store.read_index(closed.pack_id)
    assert tuple(placements(index)) == closed.placements
    for part, content in zip(index.parts, contents, strict=True):
        assert part.key is not None
        opener = ObjectOpener(part.key, part.commitment)
        places = [place for place in closed.placements if place.commitment == part.commitment]
        stored = store.read_many(closed.pack_id, [(place.offset, place.length) for place in places])
        plain = [
            opener.open(n, n == len(stored) - 1, min(CHUNK_SIZE, len(content) - n * CHUNK_SIZE), data)
            for n, data in enumerate(stored)
        ]
        assert b"".join(plain) == content
    assert store.verify(closed.pack_id) == []
    store.close()
    assert store.read(closed.pack_id, 0, 4) == b"P2PK"
    store.close()


def test_nothing_readable_is_in_the_file_and_no_temporary_file_is_left(folder: VaultFolder, store: PackStore) -> None:
    closed = store.write(filled(b"Planted^Patient" * 100))
    data = folder.pack_path(closed.pack_id).read_bytes()
    assert b"Planted" not in data
    assert STUDY not in data
    assert list(folder.temps()) == []
    assert folder.too_open() == []


def test_every_flipped_byte_is_noticed_and_named(folder: VaultFolder, store: PackStore) -> None:
    closed = store.write(filled(b"one", b"two"))
    path = folder.pack_path(closed.pack_id)
    sound = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(sound):
            os.pwrite(file.fileno(), bytes([byte ^ 1 << at % 8]), at)
            faults = store.verify(closed.pack_id)
            assert len(faults) == 1, at
            assert faults[0].startswith(f"pack {closed.pack_id.hex()}: "), at
            chunk = next((p for p in closed.placements if p.offset <= at < p.offset + p.length), None)
            if chunk is None:
                with pytest.raises(DamagedPack, match=closed.pack_id.hex()):
                    store.read_index(closed.pack_id)
            else:
                assert f"chunk {chunk.number} of object" in faults[0]
                assert "not what was written" in faults[0]
            os.pwrite(file.fileno(), bytes([byte]), at)
    assert store.verify(closed.pack_id) == []
    store.close()


def test_every_other_length_is_noticed(folder: VaultFolder, store: PackStore) -> None:
    closed = store.write(filled(b"one"))
    path = folder.pack_path(closed.pack_id)
    sound = path.read_bytes()
    for data in (sound + b"\0", b"\0" + sound, sound + sound, sound):
        path.write_bytes(data)
        assert len(store.verify(closed.pack_id)) == (data != sound)
    for length in [PACK_MAX * 1000, *range(len(sound) - 1, -1, -1)]:
        os.truncate(path, length)
        assert len(store.verify(closed.pack_id)) == 1
    store.close()


def test_a_missing_pack_is_named(folder: VaultFolder, store: PackStore) -> None:
    closed = store.write(filled(b"one"))
    folder.pack_path(closed.pack_id).unlink()
    assert store.verify(closed.pack_id) == [f"pack {closed.pack_id.hex()}: it is missing"]
    with pytest.raises(DamagedPack, match="missing"):
        store.read(closed.pack_id, 44, 10)


def test_a_pack_in_the_place_of_another_is_noticed(folder: VaultFolder, store: PackStore) -> None:
    one, two = store.write(filled(b"one")), store.write(filled(b"two"))
    folder.pack_path(one.pack_id).write_bytes(folder.pack_path(two.pack_id).read_bytes())
    assert "another pack" in store.verify(one.pack_id)[0]
    store.close()


def test_a_pack_of_another_vault_is_noticed(folder: VaultFolder, store: PackStore) -> None:
    closed = store.write(filled(b"one"))
    stranger = PackStore(folder, VaultKeys(VaultId(b"w" * 16), 2, {2: b"2" * 32}))
    assert "another vault" in stranger.verify(closed.pack_id)[0]
    thief = PackStore(folder, VaultKeys(VAULT, 2, {2: b"3" * 32}))
    assert "does not open" in thief.verify(closed.pack_id)[0]
    for opened in (store, stranger, thief):
        opened.close()


def test_packs_of_older_generations_are_read_and_new_ones_are_of_the_newest(
    folder: VaultFolder, store: PackStore
) -> None:
    older = PackStore(folder, VaultKeys(VAULT, 1, {1: b"1" * 32}))
    closed = older.write(filled(b"one"))
    assert closed.generation == 1
    assert store.verify(closed.pack_id) == []
    newer = store.write(filled(b"two"))
    assert newer.generation == 2
    assert "generation" in older.verify(newer.pack_id)[0]
    older.keys = store.keys
    assert older.verify(newer.pack_id) == []
    store.close()
    older.close()


def test_an_object_may_go_on_in_the_next_pack(store: PackStore) -> None:
    sealer = ObjectSealer()
    pieces = [sealer.seal(n, n == 1, bytes(CHUNK_SIZE if n == 0 else 9), Codec.RAW) for n in range(2)]
    packs: list[ClosedPack] = []
    for number, piece in enumerate(pieces):
        builder = PackBuilder(PackScope.ARRIVALS, b"s" * 16, 0)
        builder.add(sealer.commitment, None, number, piece.data, piece.digest)
        if number == 1:
            end = PackEnd(object_id=bytes(32), size=CHUNK_SIZE + 9, sha256=None, kind=ObjectKind.FILE, identity=None)
            builder.end(sealer.commitment, end)
        packs.append(store.write(builder))
    indexes = [store.read_index(closed.pack_id) for closed in packs]
    assert [(i.parts[0].first, i.parts[0].key, i.parts[0].end is None) for i in indexes] == [
        (0, None, True),
        (1, None, False),
    ]
    store.close()


def test_the_packs_on_disk_are_listed_and_strange_names_are_not(folder: VaultFolder, store: PackStore) -> None:
    closed = [store.write(filled(bytes([n]))) for n in range(5)]
    name = "ab" * 16
    (folder.packs / "zz").mkdir()
    for stray in (f"zz/{name}.p2pk", "readme.txt", f"zz/{name}.p2pk.0.tmp", f"zz/{name.upper()}.p2pk"):
        (folder.packs / stray).touch()
    assert list(store.ids()) == sorted(pack.pack_id for pack in closed)
    store.close()


def test_deleted_packs_are_gone_also_for_another_process(folder: VaultFolder, keys: VaultKeys) -> None:
    store, other = PackStore(folder, keys), PackStore(folder, keys)
    closed = [store.write(filled(bytes([n]))) for n in range(3)]
    for pack in closed:
        assert other.verify(pack.pack_id) == []
    before = len(list(Path("/proc/self/fd").iterdir()))
    store.verify(closed[0].pack_id)
    store.delete([closed[0].pack_id, closed[1].pack_id, PackId(bytes(16))])
    assert len(list(Path("/proc/self/fd").iterdir())) == before  # the bytes are really given back
    assert list(store.ids()) == [closed[2].pack_id]
    for pack in closed[:2]:
        with pytest.raises(DamagedPack, match="missing"):
            other.read(pack.pack_id, 0, 4)
    store.close()
    other.close()


def test_snapshots_lie_in_a_folder_of_their_own(folder: VaultFolder, keys: VaultKeys, store: PackStore) -> None:
    snapshots = PackStore(folder, keys, snapshots=True)
    builder = PackBuilder(PackScope.SNAPSHOT, b"", 1_700_000_000)
    put(builder, b"rows")
    closed = snapshots.write(builder)
    assert folder.snapshot_path(closed.pack_id).is_file()
    assert list(snapshots.ids()) == [closed.pack_id]
    assert list(store.ids()) == []
    assert snapshots.verify(closed.pack_id) == []
    snapshots.delete([closed.pack_id])
    assert list(snapshots.ids()) == []


@pytest.mark.parametrize("call", ["writev", "fdatasync", "rename", "fsync"])
def test_when_the_disk_refuses_nothing_of_the_pack_is_left(
    folder: VaultFolder, store: PackStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    kept = store.write(filled(b"kept"))
    before = {path for path in folder.path.rglob("*") if path.is_file()}
    original = getattr(os, call)
    monkeypatch.setattr(secrets, "token_bytes", lambda size: kept.pack_id[:1] + os.urandom(size - 1))

    def refuse(*_: object) -> None:
        monkeypatch.setattr(os, call, original)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(DiskTrouble, match="no space left"):
        store.write(filled(b"new"))
    assert {path for path in folder.path.rglob("*") if path.is_file()} == before
    assert store.verify(kept.pack_id) == []
    store.write(filled(b"new"))
    store.close()


def test_a_pack_larger_than_readers_take_is_not_written(folder: VaultFolder, store: PackStore) -> None:
    builder = PackBuilder(PackScope.ARRIVALS, b"s" * 16, 0)
    chunk = bytes(1 + CHUNK_SIZE + 512 + 16)
    for number in range(16):
        builder.add(b"c" * 32, None, number, chunk, bytes(32))
    with pytest.raises(LocalError, match="wrong pack"):
        store.write(builder)
    assert list(store.ids()) == []
    assert list(folder.temps()) == []
