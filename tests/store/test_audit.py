"""The log: what it holds, and that no entry can change or go missing unnoticed."""

from pathlib import Path

import pytest

from p2pshare.crypto.keys import SigningKey
from p2pshare.store import audit
from tests.world import NOON, Person, one_person


async def entered(ana: Person, *kinds: str) -> None:
    for kind in kinds:
        async with ana.vault.db.transaction() as tx:
            await audit.enter(tx, ana.vault.identity.device, kind, {"name": "Žofie", "n": 1, "x": None}, NOON)


async def problems(ana: Person) -> list[str]:
    return await audit.problems(ana.vault.db, ana.vault.identity.device.public)


async def change(ana: Person, sql: str) -> None:
    async with ana.vault.db.transaction() as tx:
        await tx.execute(sql)


async def test_entries_come_back_in_order_with_their_details(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await entered(ana, "one", "two", "three")
        entries = await audit.entries(ana.vault.db)
        assert [(e.number, e.kind) for e in entries] == [(1, "setup"), (2, "one"), (3, "two"), (4, "three")]
        assert entries[-1].detail == '{"n":1,"name":"Žofie","x":null}'
        assert [e.kind for e in await audit.entries(ana.vault.db, limit=2)] == ["two", "three"]
        assert await problems(ana) == []


@pytest.mark.parametrize(
    ("change_", "said"),
    [
        ("UPDATE log SET detail = '{}' WHERE number = 2", "log: entry 2 was changed"),
        ("UPDATE log SET time = time + 1 WHERE number = 2", "log: entry 2 was changed"),
        ("UPDATE log SET kind = 'other' WHERE number = 4", "log: entry 4 was changed"),
        ("UPDATE log SET signature = zeroblob(64) WHERE number = 3", "log: the signature of entry 3 does not fit"),
        ("DELETE FROM log WHERE number IN (2, 3)", "log: entries 2 to 3 are missing"),
        ("DELETE FROM log WHERE number = 1", "log: entries 1 to 1 are missing"),
    ],
)
async def test_a_changed_or_missing_entry_is_named(tmp_path: Path, change_: str, said: str) -> None:
    async with one_person(tmp_path) as ana:
        await entered(ana, "one", "two", "three")
        await change(ana, change_)
        assert await problems(ana) == [said]


async def test_a_chain_that_somebody_without_the_device_key_made_anew_is_noticed(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:
        await change(ana, "DELETE FROM log")
        async with ana.vault.db.transaction() as tx:
            await audit.enter(tx, SigningKey.generate(), "setup", {}, NOON)
        assert await problems(ana) == ["log: the signature of entry 1 does not fit"]


async def test_an_entry_of_a_transaction_that_fails_is_not_there(tmp_path: Path) -> None:
    async with one_person(tmp_path) as ana:

        async def fails() -> None:
            async with ana.vault.db.transaction() as tx:
                await audit.enter(tx, ana.vault.identity.device, "one", {}, NOON)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fails()
        assert [e.kind for e in await audit.entries(ana.vault.db)] == ["setup"]
