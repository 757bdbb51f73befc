"""What a pack's encrypted index holds; the bytes around it are in docs/format.md §4."""

from enum import IntEnum

from p2pshare.model.objects import Identity, ObjectKind
from p2pshare.model.packed import Packed, Whole


class PackScope(IntEnum):
    """What the objects of a pack belong to: a pack never mixes scopes, so erasing one thing removes whole files."""

    STUDY = 1
    SHARE = 2  # the layouts and keyrings of one share
    SNAPSHOT = 3
    ARRIVALS = 4  # chunks received for one share, before and after they are opened


class PackEnd(Packed, frozen=True):
    """What is known of an object once its last chunk is written."""

    object_id: bytes
    size: Whole
    sha256: bytes | None  # None while the key is withheld or the content not yet verified
    kind: ObjectKind
    identity: Identity | None


class PackPart(Packed, frozen=True):
    """The run of one object's chunks that lies in this pack, in order, beginning with chunk `first`.

    Parts of one object in several packs share `commitment`; the one with the last chunk carries `end`. `key` is
    None for chunks that were received and whose key lies in a keyring.
    """

    commitment: bytes
    key: bytes | None
    first: Whole
    lengths: tuple[Whole, ...]
    digests: bytes
    end: PackEnd | None


class PackIndex(Packed, frozen=True):
    """All that a pack holds; the chunks lie one after another in the order of `parts`, from the header on."""

    scope: PackScope
    owner: bytes  # Study Instance UID in ASCII, share id, or empty
    created: Whole  # seconds since 1970
    parts: tuple[PackPart, ...]
