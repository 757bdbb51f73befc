"""The desk: what one live session with one device asks of this node, answered from the vault.

Rule 1: every request re-checks the share and the person; what was true a minute ago is not remembered.
Rule 2: the first thing said is a receipt; then letters; a receipt follows every milestone.
"""

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Final

from p2pshare.engine.changes import Changes
from p2pshare.engine.pace import Pace
from p2pshare.errors import DamagedPack, LocalError, NotFound, PersonBlocked, PolicyRefusal, RemoteError, WrongChunk
from p2pshare.model.ids import Epoch, ObjectId, PackId, ShareId
from p2pshare.model.ports import ChunkRun, MissingChunks, PeerIdentity, Sealed, StoredChunk
from p2pshare.model.views import ShareState
from p2pshare.service import post
from p2pshare.service.arrivals import Arrival, find_arrival
from p2pshare.service.clock import Clock
from p2pshare.service.letters_in import LettersIn
from p2pshare.store import audit, feeds, people, serving, shares
from p2pshare.store.scans import ChunkPlace
from p2pshare.store.shares import Direction, Share
from p2pshare.store.vault import Vault

_PROGRESS_SECONDS: Final = 1.0  # between receipts that only count chunks
_LOGGED_REFUSALS: Final = 20  # of one session
_COMING = (ShareState.ACCEPTED, ShareState.SENDING)


class VaultDesk:
    """The `Desk` of one session with `peer`."""

    def __init__(
        self, vault: Vault, now: Clock, peer: PeerIdentity, changes: Changes, term: int, pace: Pace | None = None
    ) -> None:
        """Made by the engine for each session."""
        self._vault = vault
        self._now = now
        self._peer = peer
        self._changes = changes
        self._term = term
        self._pace = pace or Pace(None)
        self._letters_in = LettersIn(vault, now, peer, term)
        self._seen = changes.number
        self._said: post.Statement | None = None
        self._said_at = 0.0
        self._handed: set[tuple[Epoch, int]] = set()
        self._prekey = 0
        self._arrivals: dict[ShareId, Arrival] = {}
        self._refused: set[ShareId] = set()
        self._not_taken = 0

    # --- what goes out ---

    async def outgoing_receipt(self) -> Sealed | None:
        """See `Desk`."""
        said = await post.statement(self._vault, self._peer.person_id, self._peer.device_id, self._now())
        if self._said is not None:
            if said == self._said:
                return None
            only_counts = said.milestones == self._said.milestones
            if only_counts and time.monotonic() - self._said_at < _PROGRESS_SECONDS:
                return None
        self._said, self._said_at = said, time.monotonic()
        return await post.sealed_receipt(self._vault, self._peer.device_id, said, self._now(), self._term)

    async def outgoing_letters(self) -> Sequence[Sealed]:
        """See `Desk`. Letters handed out before go again when the device has a newer prekey."""
        device = await people.device(self._vault.db, self._peer.device_id)
        if device is None or await self._blocked():
            return []
        if device.device.prekey.number != self._prekey:
            self._prekey = device.device.prekey.number
            self._handed.clear()
        waiting = await feeds.unacknowledged(self._vault.db, self._peer.person_id, self._peer.device_id)
        sealed: list[Sealed] = []
        for letter in waiting:
            place = (letter.epoch, letter.number)
            if place not in self._handed:
                self._handed.add(place)
                envelope = await post.sealed_letter(self._vault, letter.letter, self._peer.device_id)
                sealed += [envelope] if envelope is not None else []
                if envelope is not None and letter.share is not None and letter.kind == "share":
                    await shares.count_sent(self._vault.db, letter.share, len(envelope) + 1, self._term)
        return sealed

    async def serve(self, share: ShareId, runs: Sequence[ChunkRun], room: int) -> Sequence[StoredChunk]:
        """See `Desk`."""
        wanted: list[ChunkPlace] = []
        for place in await self._served(share, runs):
            if wanted and place.length > room:
                break
            wanted.append(place)
            room -= place.length
        return await asyncio.to_thread(self._read, wanted)

    def _read(self, places: Sequence[ChunkPlace]) -> list[StoredChunk]:
        by_pack: dict[PackId, list[ChunkPlace]] = {}
        for place in places:
            by_pack.setdefault(place.pack_id, []).append(place)
        data: dict[tuple[ObjectId, int], bytes] = {}
        for pack_id, here in by_pack.items():
            spans = self._vault.packs.read_many(pack_id, [(p.offset, p.length) for p in here])
            for place, span in zip(here, spans, strict=True):
                if hashlib.sha256(span).digest() != place.digest:
                    raise DamagedPack(f"pack {pack_id.hex()}: a chunk is not what was written")
                data[place.object_id, place.number] = span
        return [StoredChunk(p.object_id, p.number, Sealed(data[p.object_id, p.number])) for p in places]

    async def _served(self, share_id: ShareId, runs: Sequence[ChunkRun]) -> list[ChunkPlace]:
        """Where the chunks of `runs` lie, if the share lets that person have them now."""
        found = await serving.look_up(self._vault.db, share_id, runs)
        if found is None or found[0].person != self._peer.person_id:
            raise NotFound("a share with that person")
        terms, places = found
        if terms.blocked:
            raise PersonBlocked(share_id.hex())
        if terms.state not in serving.SERVED or (terms.expires is not None and terms.expires < self._now()):
            raise PolicyRefusal(f"the share is {terms.state.value}")
        if not terms.covered:
            raise NotFound("that object in the share")
        asked = [(run.object_id, run.first + n) for run in runs for n in range(run.count)]
        if [(place.object_id, place.number) for place in places] != asked:
            raise DamagedPack("a chunk is missing")
        if terms.state is ShareState.ACCEPTED:
            await self._begin_sending(share_id)
        return places

    async def _begin_sending(self, share_id: ShareId) -> None:
        async with self._vault.db.transaction(self._term) as tx:
            share = await shares.get(tx, share_id, Direction.OUT)
            if share is not None and share.state is ShareState.ACCEPTED:
                await shares.move(tx, share, ShareState.SENDING, "", self._now())

    async def _blocked(self) -> bool:
        person = await people.by_id(self._vault.db, self._peer.person_id)
        return person is None or bool(person.blocked)

    async def sent(self, share: ShareId, wire_bytes: int) -> None:
        """See `Desk`."""
        if not await serving.count(self._vault.db, share, wire_bytes, self._now(), self._term):
            raise PolicyRefusal("the share ended while it was being sent")
        await self._pace.spend(wire_bytes)

    # --- what comes in ---

    async def take_receipt(self, sealed: Sealed) -> None:
        """See `Desk`."""
        await self._logged(self._letters_in.take_receipt(sealed))

    async def take_envelope(self, sealed: Sealed) -> None:
        """See `Desk`."""
        await self._logged(self._letters_in.take_envelope(sealed))

    async def _logged(self, taking: Coroutine[None, None, None]) -> None:
        try:
            await taking
        except RemoteError as error:
            self._not_taken += 1
            if self._not_taken > _LOGGED_REFUSALS:
                raise  # one who sends nothing but nonsense must not fill the log
            async with self._vault.db.transaction(self._term) as tx:
                detail = {"device": self._peer.device_id.hex(), "why": error.code, "what": error.what}
                await audit.enter(tx, self._vault.identity.device, "refused", detail, self._now())
            raise

    async def missing(self, room: int) -> Sequence[MissingChunks]:
        """See `Desk`."""
        found: list[MissingChunks] = []
        for share in await self._coming():
            arrival = await self._arrival(share)
            if arrival is None:
                continue
            more = arrival.missing(room)
            room -= sum(m.shape.lengths[n] for m in more for n in m.numbers)
            found += more
            if room <= 0:
                break
        return found

    async def _coming(self) -> list[Share]:
        return await shares.of_person(self._vault.db, self._peer.person_id, Direction.IN, _COMING)

    async def _arrival(self, share: Share) -> Arrival | None:
        arrival = self._arrivals.get(share.share)
        if arrival is not None and arrival.share.layout == share.layout:
            return arrival
        with suppress(RemoteError, DamagedPack):  # refused: its state and the log say why
            arrival = await find_arrival(self._vault, self._now, share.share, self._term)
            if arrival is not None:
                self._arrivals[share.share] = arrival
            return arrival
        return None

    async def keep(self, share: ShareId, chunk: StoredChunk) -> None:
        """See `Desk`."""
        arrival = self._arrivals.get(share)
        if arrival is None:
            return
        try:
            await arrival.keep(chunk)
            if arrival.complete:
                await self._changes.announce()  # the receipt need not wait until the database is looked at again
        except WrongChunk:
            raise  # whoever sent it broke the rules
        except (RemoteError, DamagedPack):
            pass  # refused: its state and the log say why

    async def refused(self, share: ShareId, object_id: ObjectId, why: str) -> None:
        """See `Desk`."""
        if share in self._refused:
            return
        self._refused.add(share)
        async with self._vault.db.transaction(self._term) as tx:
            current = await shares.get(tx, share, Direction.IN)
            if current is None or current.person != self._peer.person_id or current.state not in _COMING:
                return
            await shares.move(tx, current, current.state, f"the sender does not send it ({why[:80]})", self._now())
            detail = {"share": share.hex(), "object": object_id.hex(), "why": why[:200]}
            await audit.enter(tx, self._vault.identity.device, "chunk-refused", detail, self._now())

    async def changed(self) -> None:
        """See `Desk`. Also returns when it is time for a receipt that only counts chunks."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PROGRESS_SECONDS if self._arrivals else None):
                self._seen = await self._changes.wait_beyond(self._seen)

    async def closed(self) -> WrongChunk | None:
        """See `Desk`."""
        wrong: WrongChunk | None = None
        for arrival in self._arrivals.values():
            try:
                await arrival.flush()
            except WrongChunk as error:
                wrong = error
            except (RemoteError, LocalError):
                pass  # what is not durable now is asked for again
        self._arrivals.clear()
        return wrong
