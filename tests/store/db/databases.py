"""A small database with every kind of thing in it, and other processes that have it open."""

import subprocess
import sys
import textwrap
from pathlib import Path

from p2pshare.store.db import Database

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SCHEMA = """
-- a comment; with a semicolon
CREATE TABLE word (id INTEGER PRIMARY KEY, word TEXT NOT NULL) STRICT;
CREATE TABLE use (word INTEGER NOT NULL REFERENCES word, place TEXT DEFAULT 'here; there') STRICT;
CREATE TRIGGER shout AFTER INSERT ON word WHEN new.word = 'loud' BEGIN
    UPDATE word SET word = 'LOUD' WHERE id = new.id;
    INSERT INTO use (word) VALUES (new.id);
END;
CREATE VIRTUAL TABLE found USING fts5 (text);
INSERT INTO found (found, rank) VALUES ('secure-delete', 1);
-- the end
"""
SECOND = "ALTER TABLE word ADD COLUMN language TEXT NOT NULL DEFAULT 'en'; CREATE INDEX by_word ON word (word)"


async def made(path: Path, *words: str) -> Database:
    db = await Database.open(path, KEY, [SCHEMA], create=True)
    await add(db, *words)
    return db


async def add(db: Database, *words: str) -> None:
    async with db.transaction() as tx:
        await tx.many("INSERT INTO word (word) VALUES (?)", [(word,) for word in words])


async def words(db: Database) -> list[str]:
    return [row[0] for row in await db.rows("SELECT word FROM word ORDER BY id")]


def other_process(path: Path, body: str, *args: str) -> subprocess.Popen[str]:
    """Another process that has the database open as `db`; it prints, and `body` may await `line()` from us."""
    program = f"""
import asyncio, sys, time, os, signal
from pathlib import Path
from p2pshare.errors import *
from p2pshare.store.db import Database
from p2pshare.store.db.connection import Connection

def line():
    return asyncio.to_thread(sys.stdin.readline)

async def main():
    db = await Database.open(Path({str(path)!r}), bytes.fromhex({KEY.hex()!r}), [{SCHEMA!r}])
    print("open", flush=True)
{textwrap.indent(textwrap.dedent(body), "    ")}
    await db.close()

asyncio.run(main())
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert said(process) == "open"
    return process


def repr_length(content: bytes | None) -> str:
    return "missing" if content is None else f"{len(content)} bytes"


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def finished(process: subprocess.Popen[str], tell: str = "") -> str:
    output, _ = process.communicate(tell, timeout=60)
    assert process.returncode == 0
    return output
