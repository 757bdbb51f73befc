"""What every test of the store gets."""

import threading
from collections.abc import Iterator

import aiosqlite
import pytest


@pytest.fixture(autouse=True)
def no_connection_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A test that forgets to close a database fails; one that fails before closing it does not hang the run."""
    made: list[aiosqlite.Connection] = []
    original = aiosqlite.Connection.__init__

    def remember(self: aiosqlite.Connection, *args: object, **kwargs: object) -> None:
        original(self, *args, **kwargs)  # type: ignore[arg-type]
        made.append(self)

    monkeypatch.setattr(aiosqlite.Connection, "__init__", remember)
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and "worker_thread" in thread.name]
    for thread in left:
        thread.join(0.5)  # one that was closed may still be on its way out
    left = [thread for thread in left if thread.is_alive()]
    if left:
        for connection in made:
            connection.stop()
        pytest.fail("a database was left open")
