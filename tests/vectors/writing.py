"""How a vector is written: annotated byte strings in JSON, and random bytes that are the same every time.

A byte string is a list of segments [HEX, NOTE] or [HEX, NOTE, COUNT]; see README.md.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Segment = tuple[bytes, str] | tuple[bytes, str, int]
Value = bytes | list[Segment] | str | int | bool | None | list["Value"] | Mapping[str, "Value"]


@dataclass(frozen=True)
class Vector:
    """One input, and what a reader must make of it.

    `layer` is the stage of `kind` that must refuse with the error `expect`, or the last stage when `expect` is "ok".
    """

    name: str
    kind: str
    layer: str
    expect: str
    what: str
    input: Mapping[str, Value]
    result: Mapping[str, Value] = field(default_factory=dict)


def write(vector: Vector, folder: Path) -> None:
    """Write `vector` to its own file."""
    content = {
        "what": vector.what,
        "kind": vector.kind,
        "layer": vector.layer,
        "expect": vector.expect,
        "input": vector.input,
        "result": vector.result,
    }
    (folder / f"{vector.name}.json").write_text(_rendered(content, 0) + "\n", encoding="ascii")


def read_bytes(file: Path, name: str) -> bytes:
    """The byte string `name` of the input of a vector that was written."""
    segments = json.loads(file.read_text("ascii"))["input"][name]
    return b"".join(bytes.fromhex(part[0]) * (part[2] if len(part) == 3 else 1) for part in segments)


def cut(data: bytes, *notes: tuple[int, str]) -> list[Segment]:
    """`data` as segments: (length, note) each; a length of -1 takes the rest."""
    segments: list[Segment] = []
    at = 0
    for length, note in notes:
        end = len(data) if length < 0 else at + length
        if data[at:end]:
            segments.append((data[at:end], note))
        at = end
    assert at == len(data), "the notes do not cover the bytes"
    return segments


def flipped(data: bytes, at: int, mask: int = 1) -> bytes:
    """`data` with bits of one byte changed."""
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def seeded(name: str, length: int) -> bytes:
    """Bytes that look random and are the same every time."""
    return hashlib.shake_256(b"p2pshare test vectors " + name.encode()).digest(length)


@contextmanager
def seeded_secrets(name: str) -> Iterator[None]:
    """Make `secrets.token_bytes` give `seeded` bytes: the same keys, salts and ids at every run."""
    real, count = secrets.token_bytes, 0

    def token_bytes(nbytes: int | None = None) -> bytes:
        nonlocal count
        count += 1
        return seeded(f"{name} {count}", nbytes or 32)

    secrets.token_bytes = token_bytes
    try:
        yield
    finally:
        secrets.token_bytes = real


def _rendered(value: Value, depth: int) -> str:
    """`value` as JSON, each segment of a byte string on a line of its own."""
    indent, end = "\n" + " " * (depth + 1), "\n" + " " * depth
    if isinstance(value, bytes):
        return _rendered([(value, "")] if value else [], depth)
    if isinstance(value, Mapping) and value:
        pairs = [f"{json.dumps(key)}: {_rendered(part, depth + 1)}" for key, part in value.items()]
        return "{" + indent + f",{indent}".join(pairs) + end + "}"
    if isinstance(value, list) and value:
        parts = [_segment(part) if isinstance(part, tuple) else _rendered(part, depth + 1) for part in value]
        return "[" + indent + f",{indent}".join(parts) + end + "]"
    return json.dumps(value)


def _segment(segment: Segment) -> str:
    return json.dumps([segment[0].hex(), *segment[1:]])
