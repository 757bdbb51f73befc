"""Objects as others see them: chunk layouts, and the keyrings that open them.

An object is one stored byte string under its own random key. A `Layout` tells which stored chunks make up which
objects and is all that sync ever sees; a `Keyring` holds what opens them and is what a hold withholds.
"""

from enum import StrEnum

from p2pshare.model.ids import ChunkDigest, ObjectId, Uid
from p2pshare.model.limits import CHUNK_SIZE
from p2pshare.model.packed import Packed, Whole


class ObjectKind(StrEnum):
    """What the plaintext of an object is."""

    DICOM = "dicom"
    FILE = "file"  # kept as it is: unreadable or not DICOM
    LAYOUT = "layout"
    KEYRING = "keyring"
    SNAPSHOT = "snapshot"


class ObjectShape(Packed, frozen=True):
    """The sealed side of one object: enough to fetch and check it, not to open it.

    `object_id` must equal the hash of the other fields (docs/format.md §3). `lengths` are the stored lengths of its
    chunks in bytes, `digests` their SHA-256 digests, 32 bytes each, one after the other.
    """

    object_id: bytes
    commitment: bytes
    size: Whole
    lengths: tuple[Whole, ...]
    digests: bytes

    def digest(self, number: int) -> ChunkDigest:
        """The SHA-256 of stored chunk `number`."""
        return ChunkDigest(self.digests[32 * number : 32 * number + 32])

    @property
    def id(self) -> ObjectId:
        """`object_id` as its own type."""
        return ObjectId(self.object_id)

    @property
    def stored_bytes(self) -> int:
        """The sum of the stored lengths."""
        return sum(self.lengths)


def chunk_count(size: int) -> int:
    """How many chunks an object of `size` plaintext bytes has; an empty one has one."""
    return max(1, -(-size // CHUNK_SIZE))


def chunk_plain_length(size: int, number: int) -> int:
    """How many plaintext bytes chunk `number` of an object of `size` bytes holds."""
    return min(CHUNK_SIZE, size - number * CHUNK_SIZE) if size else 0


class Layout(Packed, frozen=True, tag="layout", tag_field="t"):
    """The objects of a share. With `base`, it is that layout without `removed` and with `added`.

    `added` has one group for each scan of the letter, in the letter's order, so that a pack of arrivals holds one
    study only even while the keyring is withheld.
    """

    base: bytes | None
    added: tuple[tuple[ObjectShape, ...], ...]
    removed: tuple[bytes, ...]


class KeyringEntry(Packed, frozen=True):
    """What opens one object and what it then must be; UIDs are empty for a file that is not DICOM."""

    object_id: bytes
    key: bytes
    sha256: bytes
    kind: ObjectKind
    study_uid: str
    series_uid: str
    sop_uid: str


class Keyring(Packed, frozen=True, tag="keyring", tag_field="t"):
    """The keys of a share's objects. With `base`, that keyring and `added`."""

    base: bytes | None
    added: tuple[KeyringEntry, ...]


class ObjectRef(Packed, frozen=True):
    """How a letter names an object of the share itself (its layout or keyring) and gives its key."""

    shape: ObjectShape
    key: bytes
    sha256: bytes


class Identity(Packed, frozen=True):
    """The DICOM identity of a stored instance (PS3.3 C.7, C.12)."""

    study_uid: Uid
    series_uid: Uid
    sop_uid: Uid
    sop_class: str
