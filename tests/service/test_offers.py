"""Offers: what may be offered to whom, what is offered, and how an offer ends."""

from pathlib import Path

import pytest

from p2pshare.errors import (
    AlreadyExists,
    Ambiguous,
    NotFound,
    NotVerified,
    PersonBlocked,
    PolicyRefusal,
    TooLarge,
    UsageError,
)
from p2pshare.model.views import ShareState
from p2pshare.service.offers import read_question
from p2pshare.store import shares
from p2pshare.store.feeds import stored_receipt
from p2pshare.store.shares import Direction
from tests.meetings import imported, meeting, offered, reaches, until
from tests.studies import make_ct, make_study
from tests.world import Person, two_people


async def with_a_scan(ana: Person, folder: Path, instances: int = 3) -> str:
    make_study(folder / "in", instances)
    await ana.imports(folder / "in")
    return (await ana.library.listed())[0].scan.hex()


async def test_an_offer_is_queued_with_totals_of_everything_it_covers(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        scan = await with_a_scan(ana, tmp_path)
        share = await ana.offers.find((await ana.offers.create("rao", [scan], "benign?")).hex()[:6])
        assert share.state is ShareState.QUEUED
        assert (share.objects, share.chunks_total, share.question) == (3, 3, "benign?")
        covered = await shares.covered(ana.vault.db, share.share, Direction.OUT)
        assert sorted(covered.values()) == [-1, -1, 0, 0, 0]
        rows = await ana.vault.db.rows("SELECT sum(length) FROM chunk c JOIN pack p ON p.pack = c.pack WHERE scope = 1")
        assert share.stored_bytes == rows[0][0]
        assert await ana.check() == []


async def test_an_offer_shows_what_the_recipient_needs_to_decide(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        await offered(ana, rao, question="Is it benign?\nThank you.")
        (offer,) = await rao.inbox.listed()
        (scan,) = offer.share.scans
        assert offer.name == "Ana"
        assert offer.verified
        assert offer.share.question == "Is it benign?\nThank you."
        assert (scan.patient, scan.date, scan.description, scan.modalities) == (
            "Doe^Jane", "20240115", "CT Chest", "CT",
        )  # fmt: skip
        assert (scan.instances, scan.bytes) == (3, (await ana.library.listed())[0].bytes)


async def test_nothing_is_offered_to_an_unverified_person_unless_told_so_and_then_it_is_logged(tmp_path: Path) -> None:
    async with two_people(tmp_path, verified=False) as (ana, rao):
        scan = await with_a_scan(ana, tmp_path)
        with pytest.raises(NotVerified):
            await ana.offers.create("rao", [scan], "")
        assert await ana.letters_to(rao) == []
        await ana.offers.create("rao", [scan], "", unverified=True)
        assert len(await ana.letters_to(rao)) == 1
        entry = (await ana.upkeep.log(limit=1))[0]
        assert entry.kind == "share-created"
        assert '"unverified":true' in entry.detail


async def test_an_offer_is_in_the_log_exactly_if_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two_people(tmp_path) as (ana, rao):
        scan = await with_a_scan(ana, tmp_path)

        async def fails(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr("p2pshare.service.offers.audit.enter", fails)
            with pytest.raises(ZeroDivisionError):
                await ana.offers.create("rao", [scan], "")
        assert await ana.offers.listed() == []
        assert await ana.letters_to(rao) == []
        await ana.offers.create("rao", [scan], "")
        assert (await ana.log()).count("share-created") == 1


async def test_nothing_is_offered_to_a_blocked_person(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        scan = await with_a_scan(ana, tmp_path)
        await ana.people.block("rao")
        with pytest.raises(PersonBlocked):
            await ana.offers.create("rao", [scan], "", unverified=True)


async def test_what_cannot_be_offered_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        scan = await with_a_scan(ana, tmp_path)
        for to, texts, question, error in [
            ("nobody", [scan], "", NotFound), ("rao", ["ffffffffffff"], "", NotFound), ("rao", [], "", UsageError),
            ("rao", [scan] * 51, "", UsageError), ("rao", [scan], "?" * 16_385, TooLarge),
            ("rao", [scan], "ü" * 8_193, TooLarge),
        ]:  # fmt: skip
            with pytest.raises(error):
                await ana.offers.create(to, texts, question)
        assert await ana.letters_to(rao) == []
        assert await ana.offers.listed() == []


async def test_a_scan_named_twice_is_offered_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        scan = await with_a_scan(ana, tmp_path)
        share = await ana.offers.create("rao", [scan, scan[:8]], "")
        assert len((await ana.share(share, Direction.OUT)).scans) == 1


async def test_a_question_of_full_length_and_fifty_scans_fit_in_one_letter(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        for number in range(50):
            make_ct(
                tmp_path / f"{number}", PatientName="W" * 64, StudyDescription="W" * 64, PatientID="W" * 64
            )  # fmt: skip
        await ana.imports(*(tmp_path / f"{number}" for number in range(50)))
        await offered(ana, rao, question="?" * 16_384)
        (offer,) = await rao.inbox.listed()
        assert len(offer.share.scans) == 50


async def test_a_later_offer_builds_on_what_that_person_has_and_says_what_was_removed(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        make_study(tmp_path / "other", 2)
        await ana.imports(tmp_path / "other")
        both = [scan.scan.hex() for scan in await ana.library.listed()]
        await imported(ana, rao, *both)
        share = await imported(ana, rao, both[0])
        offer = await ana.share(share, Direction.OUT)
        assert offer.base is not None
        assert offer.objects in (2, 3)
        assert (await rao.share(share, Direction.IN)).objects == offer.objects
        assert len(await rao.library.listed()) == 2
        assert await rao.check() == []


async def test_an_offer_that_was_not_delivered_is_not_built_on(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        scan = await with_a_scan(ana, tmp_path)
        await offered(ana, rao)
        again = await ana.offers.create("rao", [scan], "")
        assert (await ana.share(again, Direction.OUT)).base is None


# --- how it ends ---


async def test_revoking_ends_an_offer_tells_the_other_side_and_works_once(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        share = await offered(ana, rao)
        assert (await ana.offers.revoke(share.hex())).state is ShareState.REVOKED
        with pytest.raises(PolicyRefusal):
            await ana.offers.revoke(share.hex())
        async with meeting(ana, rao):
            await until(reaches(rao, share, ShareState.REVOKED))
        with pytest.raises(PolicyRefusal):
            await rao.inbox.accept(share.hex())
        assert "share-revoked" in await ana.log()


async def test_an_imported_share_can_be_revoked_and_keeps_its_receipt(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        share = await imported(ana, rao)
        revoked = await ana.offers.revoke(share.hex())
        assert "cannot be recalled" in revoked.why
        proof = await ana.offers.receipt(revoked)
        assert proof is not None
        assert proof.state == "imported"


async def test_an_offer_ends_when_its_time_is_over_and_not_before(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        scan = await with_a_scan(ana, tmp_path)
        share = await ana.offers.create("rao", [scan], "", expires=ana.clock() + 100)
        forever = await ana.offers.create("rao", [scan], "")
        ana.clock.advance(100)
        await ana.offers.expire()
        assert await ana.state(share) is ShareState.QUEUED
        ana.clock.advance(1)
        await ana.offers.expire()
        assert await ana.state(share) is ShareState.EXPIRED
        assert await ana.state(forever) is ShareState.QUEUED
        assert (await rao.log()) == ["setup"]


async def test_what_arrived_in_time_stays_imported(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        share = await imported(ana, rao)
        async with ana.vault.db.transaction() as tx:
            await tx.execute("UPDATE share SET expires = 5")
        await ana.offers.expire()
        assert await ana.state(share) is ShareState.IMPORTED


# --- receipts and questions ---


async def test_the_receipt_proves_the_layout_and_can_be_saved_as_it_was_signed(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        share = await ana.share(await imported(ana, rao), Direction.OUT)
        proof = await ana.offers.receipt(share)
        assert proof is not None
        assert (proof.state, proof.layout, proof.signed_by) == ("imported", share.layout.hex(), "Dr Rao")
        assert proof.device == rao.peer.device_id.hex()
        await ana.offers.save(tmp_path / "receipt", proof.file)
        assert stored_receipt((tmp_path / "receipt").read_bytes()[6:]).signature.hex() == proof.signature
        with pytest.raises(AlreadyExists):
            await ana.offers.save(tmp_path / "receipt", b"")


async def test_there_is_no_receipt_before_there_is_one(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, rao):
        await with_a_scan(ana, tmp_path)
        share = await offered(ana, rao)
        assert await ana.offers.receipt(await ana.share(share, Direction.OUT)) is None


async def test_a_share_is_named_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    async with two_people(tmp_path) as (ana, _):
        scan = await with_a_scan(ana, tmp_path)
        ids = [(await ana.offers.create("rao", [scan], "")).hex() for _ in range(17)]
        shared = next(a[0] for n, a in enumerate(ids) if a[0] in {b[0] for b in ids[:n]})
        with pytest.raises(Ambiguous):
            await ana.offers.find(shared)
        assert (await ana.offers.find(ids[0])).share.hex() == ids[0]


def test_a_question_is_read_from_a_file_as_text(tmp_path: Path) -> None:
    (tmp_path / "q").write_bytes("Is it benign? Łódź \xff".encode() + b"\xff")
    assert read_question(tmp_path / "q") == "Is it benign? Łódź ÿ\ufffd"
    (tmp_path / "q").write_bytes(b"?" * 16_385)
    with pytest.raises(TooLarge):
        read_question(tmp_path / "q")
    with pytest.raises(NotFound):
        read_question(tmp_path / "nowhere")
    with pytest.raises(UsageError):
        read_question(tmp_path)
