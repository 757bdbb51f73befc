"""`scan ls` and `scan find` in a vault of 200,000 images in 2,000 scans: whole commands, and the query in them.

The vault is filled through the store's own code with rows that point to packs which are not there: listing reads none.
A command that only opens and closes the vault is measured in turn, so that what listing adds can be told from it.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Final

from context import Context
from nodes import Person, open_vault
from results import Line, alone, shown

from p2pshare.model.dicom import DicomRecord
from p2pshare.model.ids import ChunkDigest, ObjectId, PackId, Uid
from p2pshare.model.objects import ObjectKind
from p2pshare.store import filing, scans, snapshots
from p2pshare.store.vault import Vault

GOAL_SECONDS: Final = 0.3
STUDIES: Final = 2000
IMAGES: Final = 100  # of each study
_TIMES: Final = 7
_STUDIES_AT_ONCE: Final = 50
_STORED: Final = 300_000  # bytes, as a CT slice has
_NAMES: Final = ("Abara", "Bianchi", "Chen", "Dubois", "Eriksen", "Farouk", "García", "Haddad", "Ito", "Jensen")
_KINDS: Final = (("CT", "CHEST"), ("MR", "BRAIN"), ("CR", "HAND"), ("US", "ABDOMEN"), ("MG", "BREAST"))
_WORD: Final = "jensen"


def measure(context: Context) -> None:
    """Fill a vault, then list and find in it."""
    with context.measuring("listing"), context.fresh("listing") as folder:
        person = Person.fresh("Ana", folder / "ana")
        context.say(f"entering {STUDIES * IMAGES:,} images")
        asyncio.run(_fill(person))
        commands = {"opening": ("unlock", "--check"), "ls": ("scan", "ls"), "find": ("scan", "find", _WORD)}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(_TIMES):
            for name, words in commands.items():
                seconds[name].append(person.run(*words).seconds)
        queries = asyncio.run(_queries(person))
        context.results.lines += _lines(seconds, queries)


def _lines(seconds: dict[str, list[float]], queries: dict[str, list[float]]) -> list[Line]:
    opening = median(seconds["opening"])
    lines = [alone("opening a vault of 200,000 images with a key file", seconds["opening"], "s", note="unlock --check")]
    for name, shown_as in (("ls", "scan ls"), ("find", "scan find")):
        added = [mine - opening for mine in seconds[name]]
        note = (
            f"whole command {shown(median(seconds[name]), 's')}, of which {shown(opening, 's')} are process start and"
            f" opening; the query alone, in an open vault, {shown(median(queries[name]), 's')}"
        )
        lines += [
            alone(f"{shown_as}, query and listing after the unlock", added, "s", goal=GOAL_SECONDS, note=note),
            alone(f"{shown_as}, whole command", seconds[name], "s"),
        ]
    return lines


async def _queries(person: Person) -> dict[str, list[float]]:
    vault = await open_vault(person)
    try:
        return {
            "ls": [await _timed(lambda: scans.listed(vault.db)) for _ in range(_TIMES)],
            "find": [await _timed(lambda: scans.found(vault.db, _WORD)) for _ in range(_TIMES)],
        }
    finally:
        await vault.close()


async def _timed(query: Callable[[], Awaitable[Sequence[object]]]) -> float:
    began = time.monotonic()
    await query()
    return time.monotonic() - began


# --- a vault full of rows ---


async def _fill(person: Person) -> None:
    vault = await open_vault(person)
    try:
        for first in range(0, STUDIES, _STUDIES_AT_ONCE):
            await _enter(vault, range(first, min(STUDIES, first + _STUDIES_AT_ONCE)))
        await snapshots.write_if_needed(vault, int(time.time()))  # as an import does when it ends
    finally:
        await vault.close()


async def _enter(vault: Vault, studies: range) -> None:
    packs, objects, chunks, instances = [], [], [], []
    for study in studies:
        pack = PackId(_digest("pack", study)[:16])
        packs.append(filing.FiledPack(pack, 1, 0, _STORED * IMAGES, _uid(study), None))
        for number in range(IMAGES):
            object_id = ObjectId(_digest("object", study, number))
            sha256, key, mark = (_digest(kind, study, number) for kind in ("sha256", "key", "commitment"))
            objects.append(filing.FiledObject(object_id, mark, key, 2 * _STORED, sha256, ObjectKind.DICOM))
            place = number * _STORED
            chunks.append(
                filing.FiledChunk(object_id, 0, pack, place, _STORED, ChunkDigest(_digest("chunk", study, number)))
            )
            instances.append(filing.FiledInstance(object_id, sha256, _record(study, number), "", None))
    async with vault.db.transaction() as tx:
        await filing.enter_packs(tx, packs)
        await filing.enter_objects(tx, objects)
        await filing.enter_chunks(tx, chunks)
        await filing.enter_instances(tx, instances, int(time.time()))


def _record(study: int, number: int) -> DicomRecord:
    modality, body_part = _KINDS[study % len(_KINDS)]
    series = number // 50
    return DicomRecord(
        study_uid=Uid(_uid(study)), series_uid=Uid(f"{_uid(study)}.{series}"),
        sop_uid=Uid(f"{_uid(study)}.{series}.{number}"), sop_class="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax="1.2.840.10008.1.2.1", patient_name=f"{_NAMES[study % len(_NAMES)]}^P{study // 7:04}",
        patient_id=f"ID{study // 7:06}", birth_date="19700101", sex="O",
        study_date=f"20{study % 25:02}{1 + study % 12:02}{1 + study % 28:02}", study_time="101500",
        study_description=f"{modality} {body_part.title()} {study % 40}", accession=f"A{study:07}",
        institution=f"Hospital {study % 30}", modality=modality, series_description=f"series {series + 1}",
        series_number=series + 1, body_part=body_part, instance_number=number + 1, frames=1, rows=512, columns=512,
        bits_allocated=16, encapsulated=False, warnings=(),
    )  # fmt: skip


def _uid(study: int) -> str:
    return f"2.25.{1_000_000_007 * (study + 1)}"


def _digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()
