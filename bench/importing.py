"""`p2pshare import` beside `restic backup`: both encrypt, compress, index and make durable, and unlock by a passphrase.

Timed: one command from its start to its end, passphrase stretching (Argon2id, scrypt) included. Not timed: making the
empty vault or repository, and the check afterwards that every file comes back byte for byte.
"""

from pathlib import Path

from context import Context, both, settle
from corpora import Material, check_same, tree_size
from nodes import PASSPHRASE, Person
from peers import Restic
from processes import Ran
from results import Line, paired, shown

WALL_GOAL = 0.45
SIZE_GOAL = 0.85


def measure(context: Context) -> None:
    """The study, and the large object."""
    with context.measuring("import of the study"):
        _compare(context, "study", context.corpora.study())
    with context.measuring("import of the multi-frame object"):
        _compare(context, "object", context.corpora.multiframe())


def _compare(context: Context, what: str, material: Material) -> None:
    ours: list[tuple[Ran, int]] = []
    peer: list[tuple[Ran, int]] = []
    for number, ours_first in context.pairs():
        for mine in (True, False) if ours_first else (False, True):
            with context.fresh("import") as folder:
                (ours if mine else peer).append((_ours if mine else _restic)(folder, material))
        context.say(f"round {number + 1}: p2pshare {ours[-1][0].seconds:.2f} s, restic {peer[-1][0].seconds:.2f} s")
    about = both(material)
    lines = context.results.lines
    wall = [ran.seconds for ran, _ in ours], [ran.seconds for ran, _ in peer]
    lines.append(paired(f"import {what}, wall, restic backup", *wall, goal=WALL_GOAL, note=about))
    cpu = [ran.cpu for ran, _ in ours], [ran.cpu for ran, _ in peer]
    lines.append(paired(f"import {what}, CPU, restic backup", *cpu))
    stored = [float(size) for _, size in ours], [float(size) for _, size in peer]
    lines.append(paired(f"import {what}, stored bytes, restic", *stored, unit="MB", goal=SIZE_GOAL))
    rate = material.size / (1 << 20) / sorted(wall[0])[len(wall[0]) // 2]
    lines.append(Line(f"import {what}, rate", rate, "MiB/s", ours=shown(rate, "MiB/s")))


def _ours(folder: Path, material: Material) -> tuple[Ran, int]:
    person = Person.fresh("Ana", folder / "ana")
    settle()
    ran = person.run("import", material.folder, by_passphrase=True)
    size = tree_size(person.vault)
    person.export(folder / "out")
    check_same(folder / "out", material.digests, "p2pshare import and export")
    return ran, size


def _restic(folder: Path, material: Material) -> tuple[Ran, int]:
    secret = folder / "passphrase"
    secret.write_text(PASSPHRASE + "\n")
    restic = Restic.fresh(folder / "restic", secret)
    settle()
    ran = restic.backup(material.folder)
    size = tree_size(restic.repository)
    restic.restore(folder / "out")
    check_same(folder / "out", material.digests, "restic backup and restore")
    return ran, size
