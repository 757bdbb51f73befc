"""Whether pixel data is all there, and whether it can be what the header declares; nothing is decoded.

Rule 1: native pixel data (PS3.5 §8.1) must be as long as rows, columns, samples, bits and frames say.
Rule 2: encapsulated pixel data (PS3.5 §A.4) is walked, fragment by fragment, to its delimiter.
Rule 3: dimensions that no such number of bytes can hold are refused, so that no decoder ever meets them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2pshare.dicom.scan import ITEM, LONG, SEQUENCE_END, UNDEFINED, PixelElement
from p2pshare.errors import Truncated, Unreadable
from p2pshare.model.limits import GIB, MIB

FRAME_MAX: Final = 2 * GIB  # a decoded frame; whole-slide images are tiled in frames of a few MiB
RATIO_FREE: Final = 64 * MIB
RATIO_MAX: Final = 5000  # empty frames pack about 1000:1
_VIDEO: Final = "1.2.840.10008.1.2.4.10"  # ...100 to ...109: MPEG-2, H.264, H.265 have all frames in one stream


@dataclass(frozen=True, slots=True)
class Geometry:
    """What the header declares of its image (PS3.3 C.7.6.3); 0 where it says nothing."""

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int
    photometric: str

    @property
    def frame_bits(self) -> int:
        """Bits of one frame, unpacked."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples  # PS3.3 C.7.6.3.1.2
        return self.rows * self.columns * samples * self.bits


def check_native(length: int, geometry: Geometry) -> None:
    """Raise `Truncated` when `length` bytes are fewer than declared."""
    declared = (geometry.frame_bits * geometry.frames + 7) // 8
    if length < declared:
        raise Truncated(f"its image data has {length} bytes where {declared} are declared")


def check_encapsulated(pixels: PixelElement, geometry: Geometry, syntax: str, peek: Callable[[int, int], bytes]) -> int:
    """Walk the fragments of `pixels`, reading by `peek(offset, length)`; return where they end.

    Raises:
        Truncated: a fragment, a frame or the delimiter is missing.
        Unreadable: it is not made of fragments, or cannot hold what is declared.
    """
    position, fragments, held = pixels.position, 0, 0
    while True:
        tag, length = _item_header(peek(position, 8))
        position += 8
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or length == UNDEFINED:
            raise Unreadable("its compressed image data is not made of fragments")
        if length and not peek(position + length - 1, 1):
            raise Truncated("its compressed image data goes on past the end of the file")
        position += length
        fragments += 1
        held += length if fragments > 1 else 0  # the first is the offset table
    _check_plausible(geometry, fragments - 1, held, syntax)
    return position


def _item_header(head: bytes) -> tuple[int, int]:
    if len(head) < 8:
        raise Truncated("its compressed image data is not ended")
    group, element = head[0] | head[1] << 8, head[2] | head[3] << 8
    (length,) = LONG.unpack_from(head, 4)
    return group << 16 | element, length


def _check_plausible(geometry: Geometry, fragments: int, held: int, syntax: str) -> None:
    """Raise when the fragments cannot hold the declared frames."""
    frame = geometry.frame_bits // 8
    if frame > FRAME_MAX or (frame * geometry.frames > RATIO_FREE and frame * geometry.frames > RATIO_MAX * held):
        raise Unreadable("it declares more pixels than its data can hold")
    if not syntax.startswith(_VIDEO) and fragments < geometry.frames and frame:
        raise Truncated(f"its image data has {max(fragments, 0)} pieces where {geometry.frames} frames are declared")
