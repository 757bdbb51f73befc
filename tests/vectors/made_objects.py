"""Vectors of what lies in packs: chunks, object ids, layouts, pack indexes.

Chunks with faults inside are sealed here with the bare cipher, not with p2pshare, which would not write them.
"""

import hashlib
import struct
from collections.abc import Iterator

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from writing import Segment, Value, Vector, cut, flipped, seeded, seeded_secrets

from p2pshare.crypto.aead import seal_once
from p2pshare.crypto.codec import Codec
from p2pshare.crypto.labels import kdf
from p2pshare.crypto.packindex import index_length, pack_header, pack_trailer, seal_index
from p2pshare.crypto.stream import ObjectKey, ObjectSealer, object_id
from p2pshare.crypto.vaultkeys import VaultKeys
from p2pshare.model.ids import PackId, VaultId
from p2pshare.model.objects import Identity, Layout, ObjectKind, ObjectShape
from p2pshare.model.pack import PackEnd, PackIndex, PackPart, PackScope
from p2pshare.model.packed import encode

KEY = seeded("object key", 32)
COMMITMENT = kdf(KEY, "object/commit")
PLAIN = b"".join(struct.pack("<H", 1000 + i % 40) for i in range(300))  # 600 bytes, like 16-bit pixels
PLANES = PLAIN[0::2] + PLAIN[1::2]
MARK = b"\x80"


def vectors() -> Iterator[Vector]:
    """All of them."""
    yield from _good_chunks()
    yield from _misplaced_chunks()
    yield from _lying_payloads()
    yield from _object_ids()
    yield from _layouts()
    yield from _packs()


# --- chunks -----------------------------------------------------------------------------------------------


def _zstd(data: bytes, **options: object) -> bytes:
    return zstandard.ZstdCompressor(level=1, **options).compress(data)  # type: ignore[arg-type]  # options as given


def _padded(payload: bytes) -> bytes:
    padded = payload + MARK
    return padded + bytes(-len(padded) % 512)


def _forge(codec: int, length: int, padded: bytes, number: int = 0, last: bool = True) -> list[Segment]:
    nonce = number.to_bytes(11, "big") + bytes([last])
    aad = bytes([codec]) + length.to_bytes(4, "big")
    sealed = ChaCha20Poly1305(kdf(KEY, "object/chunk")).encrypt(nonce, padded, aad)
    return _stored(bytes([codec]) + sealed)


def _stored(data: bytes) -> list[Segment]:
    return cut(data, (1, "codec"), (len(data) - 17, "ciphertext"), (16, "tag"))


def _chunk(name: str, expect: str, what: str, stored: bytes | list[Segment], **changed: Value) -> Vector:
    given: dict[str, Value] = {"object_key": KEY, "commitment": COMMITMENT, "number": 0, "last": True}
    given |= {"plain_length": len(PLAIN), "stored": stored} | changed
    result: dict[str, Value] = {}
    if expect == "ok":
        result = {"plain": changed.pop("plain", PLAIN)}
        given.pop("plain", None)
    layer = str(given.pop("layer", "chunk"))
    return Vector(f"chunk-{name}", "chunk", layer, expect, what, given, result)


def _good_chunks() -> Iterator[Vector]:
    sealer = ObjectSealer(ObjectKey(KEY))
    raw, planes = sealer.seal(0, True, PLAIN, Codec.RAW).data, sealer.seal(1, True, PLAIN, Codec.PLANES).data
    zstd = sealer.seal(2, True, bytes(3000), Codec.ZSTD).data
    yield _chunk("raw", "ok", "Codec 0.", _stored(raw))
    yield _chunk("planes", "ok", "Codec 2: byte planes, then zstd. It is chunk 1.", _stored(planes), number=1)
    yield _chunk("zstd", "ok", "Codec 1.", _stored(zstd), number=2, plain_length=3000, plain=bytes(3000))
    empty = ObjectSealer(ObjectKey(KEY)).seal(0, True, b"", Codec.ZSTD).data
    yield _chunk(
        "empty", "ok", "The one chunk of an empty object is always raw.", _stored(empty), plain_length=0, plain=b""
    )
    exact = seeded("512 bytes", 512)
    stored = ObjectSealer(ObjectKey(KEY)).seal(0, True, exact, Codec.RAW).data
    what = "A payload of exactly 512 bytes: its mark and padding are 512 bytes more."
    yield _chunk("padding-of-a-whole-step", "ok", what, _stored(stored), plain_length=512, plain=exact)
    checked = _forge(1, 600, _padded(_zstd(PLAIN, write_checksum=True)))
    yield _chunk("zstd-with-checksum", "ok", "A zstd frame may have a checksum, though p2pshare writes none.", checked)


def _misplaced_chunks() -> Iterator[Vector]:
    stored = bytes(ObjectSealer(ObjectKey(KEY)).seal(0, True, PLAIN, Codec.RAW).data)
    refused = "share-corrupt"
    yield _chunk("first-bit-flipped", refused, "One bit of the ciphertext.", _stored(flipped(stored, 1)))
    yield _chunk("tag-bit-flipped", refused, "One bit of the tag.", _stored(flipped(stored, -1)))
    what = "The codec byte says zstd; the chunk was sealed as raw."
    yield _chunk("codec-changed", refused, what, _stored(b"\x01" + stored[1:]))
    yield _chunk("codec-unknown", refused, "Codec 3 does not exist.", _stored(b"\x03" + stored[1:]))
    what = "It was sealed as the last chunk of its object, and is opened as one that is not: the object goes on."
    yield _chunk("last-flag-cleared", refused, what, _stored(stored), last=False)
    middle = _forge(0, 600, _padded(PLAIN), last=False)
    what = "It was not sealed as the last chunk of its object, and is opened as the last: the object was cut."
    yield _chunk("last-flag-set", refused, what, middle)
    yield _chunk("reordered", refused, "Chunk 0 in the place of chunk 1.", _stored(stored), number=1)
    other = seeded("other object key", 32)
    changed = {"object_key": other, "commitment": kdf(other, "object/commit")}
    yield _chunk(
        "of-another-object", refused, "It was sealed under the key of another object.", _stored(stored), **changed
    )
    what = "The key is right for the chunk; the object's commitment is to another key."
    yield _chunk("commitment-mismatch", refused, what, _stored(stored), commitment=seeded("x", 32), layer="commitment")
    what = "Its object needs 599 bytes here, not 600."
    yield _chunk("length-changed", refused, what, _stored(stored), plain_length=599)
    yield _chunk("cut", refused, "Its last byte is missing.", _stored(stored[:-1]))
    yield _chunk("cut-to-nothing", refused, "No bytes at all.", b"")
    long = [
        (stored, "a stored chunk"),
        (b"\x00", "more, to one step above the limit of 1,049,105", 1_049_617 - len(stored)),
    ]
    yield _chunk("too-long", refused, "It is longer than any chunk may be.", long)


def _lying_payloads() -> Iterator[Vector]:
    refused = "share-corrupt"

    def zstd(name: str, what: str, payload: bytes, codec: int = 1, length: int = 600) -> Vector:
        return _chunk(name, refused, what, _forge(codec, length, _padded(payload)), plain_length=length)

    good = _zstd(PLAIN)
    yield zstd("zstd-size-too-small", "The frame is good, and holds 600 bytes; the object needs 601.", good, length=601)
    yield zstd("zstd-size-too-large", "The frame is good, and holds 600 bytes; the object needs 599.", good, length=599)
    yield zstd("zstd-without-size", "The frame does not say its content size.", _zstd(PLAIN, write_content_size=False))
    yield zstd("zstd-two-frames", "Two frames of 300 bytes each.", _zstd(PLAIN[:300]) + _zstd(PLAIN[300:]))
    yield zstd("zstd-good-frame-twice", "A second frame after one that is complete.", good + good)
    yield zstd("zstd-trailing-byte", "One byte after the frame.", good + b"\x00")
    skippable = b"\x50\x2a\x4d\x18" + struct.pack("<I", 600) + bytes(600)
    yield zstd("zstd-skippable-frame", "A skippable frame; its 600 bytes are no content.", skippable)
    yield zstd("zstd-skippable-after", "A skippable frame after a good one.", good + b"\x50\x2a\x4d\x18" + bytes(4))
    yield zstd("zstd-cut", "The frame ends too early.", good[:-1])
    yield zstd("zstd-not", "No zstd at all.", b"these are no compressed bytes")
    yield zstd("zstd-nothing", "A payload of no bytes.", b"")
    block = struct.pack("<I", (131_072 << 3) | 0b010)[:3] + b"\x00"  # RFC 8878 §3.1.1.2: an RLE block of 128 KiB
    final = struct.pack("<I", (131_072 << 3) | 0b011)[:3] + b"\x00"
    magic = b"\x28\xb5\x2f\xfd"
    bomb = magic + b"\xa0" + struct.pack("<I", 1 << 30) + block * 511 + final
    yield zstd("zstd-bomb", "The frame says 1 GiB, and unpacks to 64 MiB.", bomb)
    sly = magic + b"\x40\x50" + struct.pack("<H", 600 - 256) + block * 511 + final
    yield zstd("zstd-sly-bomb", "The frame says 600 bytes, and unpacks to 64 MiB.", sly)
    wide = magic + b"\x40" + b"\x68" + struct.pack("<H", 344) + struct.pack("<I", (600 << 3) | 0b011)[:3] + b"\x07"
    yield zstd("zstd-wide-window", "A frame of 600 bytes that asks for a window of 8 MiB.", wide)
    dictionary = (
        magic + b"\x61" + b"\x07" + struct.pack("<H", 344) + struct.pack("<I", (600 << 3) | 0b011)[:3] + b"\x07"
    )
    yield zstd("zstd-dictionary", "A frame that names a dictionary.", dictionary)
    yield zstd("zstd-empty", "An empty chunk as a zstd frame: an empty chunk is always raw.", _zstd(b""), length=0)
    yield zstd("planes-odd", "Byte planes of 599 bytes.", _zstd(PLANES[:599]), codec=2, length=599)
    yield zstd("raw-too-long", "A raw payload of 600 bytes, sealed as one of 512.", PLAIN, codec=0, length=512)
    for name, what, padded in (
        ("padding-without-mark", "Zeros only.", bytes(1024)),
        ("padding-with-a-bit", "A bit in the zeros after the mark.", flipped(_padded(PLAIN), 1000)),
        ("padding-of-a-step-too-much", "512 zeros more than needed.", _padded(PLAIN) + bytes(512)),
        ("padding-mark-wrong", "The mark is 0x40.", _padded(PLAIN).replace(MARK, b"\x40")),
    ):
        yield _chunk(name, refused, what, _forge(0, 600, padded))


# --- object ids and layouts -------------------------------------------------------------------------------


def _shape(size: int = 1_048_576 + 600) -> ObjectShape:
    lengths = (1_049_105, 1041)
    digests = seeded("digest 0", 32) + seeded("digest 1", 32)
    return ObjectShape(
        object_id=object_id(COMMITMENT, size, digests),
        commitment=COMMITMENT,
        size=size,
        lengths=lengths,
        digests=digests,
    )


def _with(shape: ObjectShape, own_id: bool = True, **changed: object) -> ObjectShape:
    values = {name: getattr(shape, name) for name in shape.__struct_fields__} | changed
    if own_id:
        values["object_id"] = object_id(values["commitment"], values["size"], values["digests"])
    return ObjectShape(**values)


def _id_vector(name: str, expect: str, what: str, shape: ObjectShape) -> Vector:
    lengths: list[Value] = list(shape.lengths)
    half = [(shape.digests[i : i + 32], f"digest of chunk {i // 32}") for i in range(0, len(shape.digests), 32)]
    given: dict[str, Value] = {
        "object_id": shape.object_id,
        "commitment": shape.commitment,
        "size": shape.size,
        "lengths": lengths,
        "digests": half,
    }
    return Vector(f"object-id-{name}", "object", "object id", expect, what, given)


def _object_ids() -> Iterator[Vector]:
    good = _shape()
    swapped = good.digests[32:] + good.digests[:32]
    bad = "malformed"
    yield _id_vector("of-two-chunks", "ok", "An object of 1 MiB and 600 bytes.", good)
    what = "The digests of chunk 0 and chunk 1 changed places."
    yield _id_vector("digests-swapped", bad, what, _with(good, own_id=False, digests=swapped))
    what = "The size is one byte less."
    yield _id_vector("size-changed", bad, what, _with(good, own_id=False, size=good.size - 1))
    what = "The commitment is to another key."
    yield _id_vector("commitment-changed", bad, what, _with(good, own_id=False, commitment=seeded("other", 32)))
    yield _id_vector(
        "bit-flipped", bad, "A bit of the id itself.", _with(good, False, object_id=flipped(good.object_id, 0))
    )
    what = "Two chunks for an object of one byte; the id is honest."
    yield _id_vector("chunk-too-many", bad, what, _with(good, size=1))
    what = "Three lengths, two digests; the id is honest."
    yield _id_vector("length-too-many", bad, what, _with(good, lengths=(*good.lengths, 529)))
    what = "No stored chunk has 1,040 bytes; the id does not cover lengths, the digests do."
    yield _id_vector("length-impossible", bad, what, _with(good, lengths=(1_049_105, 1040)))
    yield _id_vector("length-negative", bad, "A length below zero.", _with(good, lengths=(1_049_105, -495)))
    what = "A chunk one step longer than the longest."
    yield _id_vector("length-too-long", bad, what, _with(good, lengths=(1_049_617, 1041)))
    yield _id_vector("size-huge", "too-large", "It claims 2^63 bytes.", _with(good, own_id=False, size=1 << 63))
    yield _id_vector("size-negative", bad, "It claims -1 bytes.", _with(good, own_id=False, size=-1))


def _layouts() -> Iterator[Vector]:
    good = Layout(base=None, added=((_shape(),),), removed=())
    packed = encode(good)
    lying = Layout(base=None, added=((_with(_shape(), own_id=False, size=1_048_577),),), removed=())

    def layout(name: str, layer: str, expect: str, what: str, data: bytes) -> Vector:
        return Vector(f"layout-{name}", "layout", layer, expect, what, {"packed": data})

    bad = "malformed"
    yield layout("of-one-object", "object id", "ok", "One scan, one object.", packed)
    yield layout("object-lies", "object id", bad, "An object whose id is not the hash of the rest.", encode(lying))
    yield layout("trailing-byte", "layout", bad, "One byte after it.", packed + b"\x00")
    yield layout("cut", "layout", bad, "Its last byte is missing.", packed[:-1])
    yield layout("wrong-tag", "layout", bad, "Its tag says keyring.", packed.replace(b"\xa6layout", b"\xa7keyring"))
    unknown = b"\x85" + packed[1:] + b"\xa4more\xc0"
    yield layout("unknown-field", "layout", bad, "A fifth field.", unknown)
    yield layout(
        "missing-field", "layout", bad, "A field is missing.", b"\x83" + packed[1:].replace(b"\xa4base\xc0", b"")
    )
    hole = packed.replace(b"\xa7lengths\x92", b"\xa7lengths\xdd\xff\xff\xff\xff")
    yield layout("array-claims-4-billion", "layout", bad, "An array that claims 4,294,967,295 elements.", hole)
    deep = b"\x84\xa1t\xa6layout\xa4base" + b"\x91" * 100_000
    notes: list[Segment] = [(deep[:15], "its beginning"), (b"\x91", "an array of one element", 100_000)]
    what = "Arrays within arrays, 100,000 deep."
    yield Vector("layout-deep", "layout", "layout", bad, what, {"packed": notes})


# --- packs ------------------------------------------------------------------------------------------------


def _packs() -> Iterator[Vector]:
    vault_id, pack_id = VaultId(seeded("vault id", 16)), PackId(seeded("pack id", 16))
    keys = VaultKeys(vault_id, 1, {1: seeded("vault key", 32)})
    with seeded_secrets("pack"):
        sealer = ObjectSealer()
    chunk = sealer.seal(0, True, PLAIN, Codec.PLANES)
    header = pack_header(vault_id, 1, pack_id)
    identity = Identity(
        study_uid="2.25.1", series_uid="2.25.2", sop_uid="2.25.3", sop_class="1.2.840.10008.5.1.4.1.1.2"
    )
    end = PackEnd(
        object_id=object_id(sealer.commitment, len(PLAIN), chunk.digest),
        size=len(PLAIN),
        sha256=hashlib.sha256(PLAIN).digest(),
        kind=ObjectKind.DICOM,
        identity=identity,
    )
    part = PackPart(
        commitment=sealer.commitment, key=sealer.key, first=0, lengths=(len(chunk.data),), digests=chunk.digest, end=end
    )
    index = PackIndex(scope=PackScope.STUDY, owner=b"2.25.1", created=1_700_000_000, parts=(part,))
    offset = len(header) + len(chunk.data)
    trailer = pack_trailer(offset, index_length(index))
    key = keys.pack_key(1, pack_id)
    sealed = seal_index(key, header, trailer, index)
    good = header + chunk.data + sealed + trailer

    def pack(name: str, layer: str, expect: str, what: str, data: bytes) -> Vector:
        notes = ((4, "magic"), (1, "version"), (1, "suite"), (2, "zero"), (16, "vault id"), (4, "generation"))
        notes += ((16, "pack id"), (len(chunk.data), "stored chunk 0"), (-1, "index, and trailer"))
        given: dict[str, Value] = {"vault_id": vault_id, "generation": 1, "vault_key": seeded("vault key", 32)}
        return Vector(f"pack-{name}", "pack", layer, expect, what, given | {"file": cut(data, *notes)})

    def forged(name: str, what: str, packed: bytes) -> Vector:
        end_bytes = pack_trailer(offset, len(packed) + 16)
        data = header + chunk.data + seal_once(key, header + end_bytes, packed) + end_bytes
        return pack(name, "pack index", "damaged-pack", what, data)

    bad = "damaged-pack"
    yield pack("of-one-object", "chunk digest", "ok", "One object of one chunk.", good)
    yield pack("magic-changed", "pack header", bad, "Its magic is P2PX.", b"P2PX" + good[4:])
    yield pack("version-raised", "pack header", "unsupported", "Version 2.", good[:4] + b"\x02" + good[5:])
    yield pack("suite-changed", "pack header", "unsupported", "Suite 2.", good[:5] + b"\x02" + good[6:])
    yield pack("zero-changed", "pack header", bad, "The two zero bytes are not zero.", flipped(good, 7))
    yield pack("vault-changed", "pack header", bad, "It is another vault's.", flipped(good, 8))
    yield pack("generation-unknown", "pack header", bad, "Its key is of generation 2.", flipped(good, 27, 3))
    yield pack("id-changed", "pack index", bad, "A bit of the pack id.", flipped(good, 40))
    yield pack("chunk-changed", "chunk digest", bad, "A bit of the stored chunk.", flipped(good, 50))
    yield pack("index-changed", "pack index", bad, "A bit of the sealed index.", flipped(good, offset))
    yield pack("index-tag-changed", "pack index", bad, "A bit of the index's tag.", flipped(good, -17))
    yield pack(
        "trailer-offset-changed", "pack trailer", bad, "The index is said to begin one byte later.", flipped(good, -9)
    )
    yield pack(
        "trailer-length-huge",
        "pack trailer",
        bad,
        "The index is said to have 4 GiB.",
        good[:-8] + b"\xff" * 4 + good[-4:],
    )
    yield pack("trailer-magic-changed", "pack trailer", bad, "The last four bytes are not KP2P.", flipped(good, -1))
    yield pack("cut", "pack trailer", bad, "Its last byte is missing.", good[:-1])
    yield pack(
        "byte-inserted", "pack trailer", bad, "A byte between chunk and index.", good[:offset] + b"\x00" + good[offset:]
    )
    packed = encode(index)
    yield forged("index-trailing-byte", "The index opens; it has one byte more than a PackIndex.", packed + b"\x00")
    short = PackPart(commitment=part.commitment, key=part.key, first=0, lengths=(529,), digests=part.digests, end=end)
    other = PackIndex(scope=index.scope, owner=index.owner, created=index.created, parts=(short, part))
    yield forged("index-too-many-bytes", "The index opens; it describes more bytes than the pack has.", encode(other))
    late = PackPart(
        commitment=part.commitment, key=part.key, first=1, lengths=part.lengths, digests=part.digests, end=end
    )
    other = PackIndex(scope=index.scope, owner=index.owner, created=index.created, parts=(late,))
    yield forged("index-wrong-count", "The index opens; its object of 600 bytes ends with chunk 1.", encode(other))
    what = "The index opens; its scope is 9."
    yield forged("index-scope-unknown", what, packed.replace(b"\xa5scope\x01", b"\xa5scope\x09"))
