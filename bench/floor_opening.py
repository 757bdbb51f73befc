"""What opening cannot be faster than: every image of a vault decrypted, decompressed and hashed by two threads.

By the functions that the node uses, of packs in the page cache; nothing is read by a worker, and nothing filed.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from nodes import Person, open_vault

from p2pshare.model.ids import ObjectId
from p2pshare.service.memory import reuse_large_buffers
from p2pshare.service.sealing import open_object
from p2pshare.store import scans
from p2pshare.store.vault import Vault

_THREADS: Final = 2
_LOT: Final = 25


def seconds(person: Person) -> float:
    """Measure the one scan of a vault that no node has open."""
    reuse_large_buffers()
    return asyncio.run(_measure(person))


async def _measure(person: Person) -> float:
    vault = await open_vault(person)
    try:
        (scan,) = await scans.listed(vault.db)
        images = await scans.instances_of(vault.db, scan)
        places = await scans.places_of_study(vault.db, scan)
        lots = [images[start : start + _LOT] for start in range(0, len(images), _LOT)]
        began = time.monotonic()
        with ThreadPoolExecutor(_THREADS) as threads:
            for done in [threads.submit(_open, vault, lot, places) for lot in lots]:
                done.result()
        return time.monotonic() - began
    finally:
        await vault.close()


def _open(
    vault: Vault,
    images: list[scans.StoredInstance],
    places: dict[ObjectId, list[scans.ChunkPlace]],
) -> None:
    for image in images:
        for _ in open_object(
            vault.packs, image.key, image.commitment, image.size, image.sha256, places[image.object_id]
        ):
            pass
