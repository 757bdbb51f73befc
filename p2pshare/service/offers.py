"""Offers: choosing scans, sealing their keys to a person, and following what became of it."""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pshare.crypto.codec import Codec
from p2pshare.crypto.prelude import prelude
from p2pshare.crypto.seal import check_receipt
from p2pshare.errors import NotFound, PolicyRefusal, TooLarge, UsageError
from p2pshare.model.ids import DeviceId, ObjectId, PersonId, ShareId
from p2pshare.model.letters import ReceiptBody, RevokeLetter, ScanSummary, ShareLetter
from p2pshare.model.limits import QUESTION_MAX, RECEIPT_MAX, SHARE_SCANS_MAX
from p2pshare.model.objects import Keyring, KeyringEntry, Layout, ObjectKind, ObjectRef, ObjectShape
from p2pshare.model.pack import PackEnd, PackScope
from p2pshare.model.packed import decode, encode
from p2pshare.model.views import ENDED, ShareState
from p2pshare.service import filing_packs, handing_out, post
from p2pshare.service.clock import Clock, is_steady
from p2pshare.service.layouts import keyring_entry, shape_from, totals_of
from p2pshare.service.people import People
from p2pshare.service.sealing import SealedObject, seal_object
from p2pshare.store import audit, feeds, filing, people, scans, shares
from p2pshare.store.db import Transaction
from p2pshare.store.locks import maintenance
from p2pshare.store.scans import Scan
from p2pshare.store.shares import Direction, NewShare, Share
from p2pshare.store.vault import Vault

__all__ = ["Offers", "Proof", "Share", "read_question"]


@dataclass(frozen=True, slots=True)
class _Content:
    """All that a share covers now: shapes and keyring entries, one group for each scan."""

    scans: tuple[ScanSummary, ...]
    shapes: tuple[tuple[ObjectShape, ...], ...]
    entries: dict[ObjectId, KeyringEntry]

    def only(self, ids: Collection[ObjectId]) -> "_Content":
        """The part of it that `ids` names: what was offered, and not what came to the scans since."""
        shapes = tuple(tuple(s for s in group if s.id in ids) for group in self.shapes)
        return _Content(self.scans, shapes, {k: v for k, v in self.entries.items() if k in ids})

    @property
    def ids(self) -> dict[ObjectId, int]:
        return {shape.id: number for number, group in enumerate(self.shapes) for shape in group}


@dataclass(frozen=True, slots=True)
class Proof:
    """A receipt, verified anew, as shown; `file` is the receipt as it was signed (docs/format.md §8)."""

    state: str
    layout: str
    time: int
    device: str
    signed_by: str
    signature: str
    file: bytes


class Offers:
    """The use cases around shares that I make."""

    def __init__(self, vault: Vault, now: Clock) -> None:
        """Work on `vault`."""
        self._vault = vault
        self._now = now
        self._people = People(vault, now)

    async def create(
        self, to: str, scan_texts: Sequence[str], question: str, *, expires: int | None = None, unverified: bool = False
    ) -> ShareId:
        """Offer scans to a person; the letter is queued when this returns.

        Raises:
            NotVerified, PersonBlocked: a rule says no. NotFound, Ambiguous: no such person or scan.
        """
        person = await self._people.sendable(to, unverified_too=unverified)
        if not scan_texts or len(scan_texts) > SHARE_SCANS_MAX:
            raise UsageError(f"choose 1 to {SHARE_SCANS_MAX} scans")
        if len(question.encode()) > QUESTION_MAX:
            raise TooLarge("the question")
        chosen = {scan.study: scan for scan in [await scans.by_prefix(self._vault.db, t) for t in scan_texts]}
        share = ShareId(secrets.token_bytes(16))
        content = await self._content(list(chosen.values()))
        base = await self._best_base(person.person_id, content)
        created: audit.Detail = {
            "share": share.hex(), "person": person.person_id.hex(), "name": person.name,
            "scans": len(chosen), "objects": len(content.ids), "unverified": not person.verified,
        }  # fmt: skip
        await self._offer(share, person.person_id, content, base, question, expires, log=("share-created", created))
        return share

    async def offer_whole(self, share: Share) -> None:
        """Offer the same share anew with its whole layout: the recipient lacks what the first one built on."""
        texts = [s.study_uid for s in share.scans]
        covered = await shares.covered(self._vault.db, share.share, Direction.OUT)
        now_here = await self._content([await scans.by_prefix(self._vault.db, t) for t in texts])
        content = now_here.only({object_id for object_id, scan in covered.items() if scan >= 0})
        again: audit.Detail = {"share": share.share.hex(), "person": share.person.hex(), "objects": len(content.ids)}
        await self._offer(
            share.share, share.person, content, None, share.question, share.expires, state=ShareState.ACCEPTED,
            log=("share-offered-whole", again),
        )  # fmt: skip

    async def listed(self) -> list[Share]:
        """My shares, the newest first."""
        return await shares.listed(self._vault.db, Direction.OUT)

    async def find(self, text: str) -> Share:
        """The one share of mine whose id begins with `text`. Raises NotFound or Ambiguous."""
        return await shares.by_prefix(self._vault.db, text, Direction.OUT)

    async def receipt(self, share: Share) -> Proof | None:
        """The recipient's signed statement of how far a share came; None while there is none."""
        stored = await shares.receipt_of(self._vault.db, share.share)
        if stored is None:
            return None
        signed = feeds.stored_receipt(stored)
        device = await people.device(
            self._vault.db, DeviceId(decode(signed.body, ReceiptBody, limit=RECEIPT_MAX, what="a receipt").sender)
        )
        if device is None:
            raise NotFound("the device that signed it")
        body = check_receipt(signed, device.device.public)
        said = next((a for a in body.shares if a.share == share.share), None)
        person = await people.by_id(self._vault.db, share.person)
        if said is None:
            return None
        return Proof(
            state=said.state.value, layout=said.layout.hex(), time=body.time, device=body.sender.hex(),
            signed_by=person.name if person else "", signature=signed.signature.hex(), file=prelude(b"P2PR") + stored,
        )  # fmt: skip

    async def save(self, path: Path, data: bytes) -> None:
        """Write a receipt to a new file. Raises AlreadyExists or UsageError."""
        await asyncio.to_thread(handing_out.write_new, path, data)

    async def revoke(self, text: str) -> Share:
        """End a share: nothing more is served, and the recipient is told. Raises PolicyRefusal if it has ended."""
        found = await self.find(text)
        now = self._now()
        why = "revoked; copies that arrived cannot be recalled"
        async with self._vault.db.transaction() as tx:
            share = await shares.get(tx, found.share, Direction.OUT) or found  # as it is now, and stays until it ends
            if share.state in (ShareState.DECLINED, ShareState.REVOKED, ShareState.EXPIRED, ShareState.REFUSED):
                raise PolicyRefusal(f"this share is {share.state.value} already")
            await shares.move(tx, share, ShareState.REVOKED, why, now)
            await post.write(tx, self._vault, share.person, RevokeLetter(share=share.share), now)
            await audit.enter(
                tx, self._vault.identity.device, "share-revoked",
                {"share": share.share.hex(), "person": share.person.hex()}, now,
            )  # fmt: skip
        return await self.find(share.share.hex())

    async def expire(self) -> None:
        """End shares whose time is over, unless the clock has just jumped."""
        now = self._now()
        if not await is_steady(self._vault.db, now):
            return
        for share in await self.listed():
            if share.expires is not None and share.expires < now and share.state not in ENDED:
                async with self._vault.db.transaction() as tx:
                    await shares.move(tx, share, ShareState.EXPIRED, "its time is over", now)

    async def _content(self, chosen: Sequence[Scan]) -> _Content:
        summaries, groups = [], []
        entries: dict[ObjectId, KeyringEntry] = {}
        for scan in chosen:
            places = await scans.places_of_study(self._vault.db, scan)
            instances = await scans.instances_of(self._vault.db, scan)
            if not instances:
                raise NotFound(f"an image in scan {scan.scan.hex()}")
            groups.append(tuple(shape_from(i, places[i.object_id]) for i in instances))
            entries.update({i.object_id: keyring_entry(i, scan.study_uid) for i in instances})
            summaries.append(_summary(scan))
        return _Content(tuple(summaries), tuple(groups), entries)

    async def _best_base(self, person: PersonId, content: _Content) -> tuple[Share, dict[ObjectId, int]] | None:
        """The delivered share with that person that has most of the content; None when none has any."""
        done = await shares.of_person(
            self._vault.db, person, Direction.OUT, (ShareState.DELIVERED, ShareState.IMPORTED)
        )
        wanted = content.ids
        best: tuple[Share, dict[ObjectId, int]] | None = None
        most = 0
        for share in reversed(done[-20:]):
            had = {
                k: v for k, v in (await shares.covered(self._vault.db, share.share, Direction.OUT)).items() if v >= 0
            }
            common = sum(1 for object_id in had if object_id in wanted)
            if common > most:
                best, most = (share, had), common
        return best

    async def _offer(
        self, share: ShareId, person: PersonId, content: _Content, base: tuple[Share, dict[ObjectId, int]] | None,
        question: str, expires: int | None, *, log: tuple[str, audit.Detail], state: ShareState = ShareState.QUEUED,
    ) -> None:  # fmt: skip
        had = base[1] if base else {}
        ids = content.ids
        layout = Layout(
            base=base[0].layout if base else None,
            added=tuple(tuple(s for s in group if s.id not in had) for group in content.shapes),
            removed=tuple(object_id for object_id in had if object_id not in ids),
        )
        keyring = Keyring(
            base=base[0].keyring if base else None,
            added=tuple(entry for object_id, entry in content.entries.items() if object_id not in had),
        )
        sealed_layout = await asyncio.to_thread(seal_object, encode(layout), Codec.ZSTD)
        sealed_keyring = await asyncio.to_thread(seal_object, encode(keyring), Codec.ZSTD)
        totals = totals_of(shape for group in content.shapes for shape in group)
        letter = ShareLetter(
            share=share, scans=content.scans, question=question, expires=expires,
            layout=_ref(sealed_layout), keyring=_ref(sealed_keyring),
            objects=totals.objects, chunks=totals.chunks, stored_bytes=totals.stored_bytes,
        )  # fmt: skip
        own = [(sealed_layout, ObjectKind.LAYOUT), (sealed_keyring, ObjectKind.KEYRING)]
        async with maintenance(self._vault.folder, exclusive=False):
            written = await asyncio.to_thread(_write_own_objects, self._vault, share, own, self._now())
            async with self._vault.db.transaction() as tx:
                new = NewShare(Direction.OUT, person, None, state, letter, base[0].layout if base else None)
                await self._enter(tx, new, own, written, ids)
                await audit.enter(tx, self._vault.identity.device, *log, self._now())

    async def _enter(
        self, tx: Transaction, new: NewShare, own: Sequence[tuple[SealedObject, ObjectKind]],
        written: filing_packs.WrittenPacks, ids: dict[ObjectId, int],
    ) -> None:  # fmt: skip
        now = self._now()
        share = ShareId(new.letter.share)
        await filing.enter_packs(tx, written.packs)
        await filing.enter_objects(
            tx,
            [filing.FiledObject(o.shape.id, o.shape.commitment, o.key, o.shape.size, o.sha256, k) for o, k in own],
        )
        await filing.enter_chunks(tx, written.chunks)
        await shares.enter(tx, new, now)
        covered = [*ids.items(), *((o.shape.id, -1) for o, _ in own)]
        await shares.cover(tx, share, Direction.OUT, covered)
        await post.write(tx, self._vault, new.person, new.letter, now)


def read_question(path: Path) -> str:
    """The question in a text file. Raises NotFound, UsageError or TooLarge."""
    try:
        with path.open("rb") as file:
            data = file.read(QUESTION_MAX + 1)
    except FileNotFoundError:
        raise NotFound(str(path)) from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > QUESTION_MAX:
        raise TooLarge("the question")
    return data.decode("utf-8", "replace")


def _summary(scan: Scan) -> ScanSummary:
    return ScanSummary(
        study_uid=scan.study_uid, patient=scan.patient_name[:400], birth_date=scan.birth_date[:16],
        date=scan.study_date[:16], description=scan.description[:400], modalities=scan.modalities[:100],
        instances=scan.instances, bytes=scan.bytes,
    )  # fmt: skip


def _ref(sealed: SealedObject) -> ObjectRef:
    return ObjectRef(shape=sealed.shape, key=sealed.key, sha256=sealed.sha256)


def _write_own_objects(
    vault: Vault, share: ShareId, own: Sequence[tuple[SealedObject, ObjectKind]], now: int
) -> filing_packs.WrittenPacks:
    """Write a share's layout and keyring into packs of their own."""
    written = filing_packs.PackFiler(vault.packs, PackScope.SHARE, share, now)
    for sealed, kind in own:
        for number, chunk in enumerate(sealed.chunks):
            written.add(sealed.shape.commitment, sealed.key, number, chunk.data, chunk.digest, sealed.shape.id)
        end = PackEnd(object_id=sealed.shape.id, size=sealed.shape.size, sha256=sealed.sha256, kind=kind, identity=None)
        written.end(sealed.shape.commitment, end)
    return written.close()
