"""How the C allocator treats large buffers: kept for the next chunk instead of given back after each.

With glibc's defaults every chunk-sized buffer is mapped, faulted in page by page and unmapped again, which took a third
of the processor time of an import or a transfer. Other C libraries are left as they are.
"""

import ctypes
import sys
from typing import Final

from p2pshare.model.limits import MIB

# <malloc.h> of glibc; mallopt(3)
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_KEPT: Final = 64 * MIB  # free memory at the top of the heap that is not given back
_MAPPED_FROM: Final = 16 * MIB  # glibc takes at most 32 MiB here


def reuse_large_buffers() -> bool:
    """Ask the allocator to reuse large buffers; tell whether it understood."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))
