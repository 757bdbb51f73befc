"""The programs that p2pshare is measured beside, from Debian's packages, each run fresh and checked for its result.

Rule 1: a peer counts only if it exits with 0 and what it restores or delivers is hash-equal.
Rule 2: a peer is used as its documentation shows it: default compression, default cipher.
"""

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from processes import BenchFailed, NotHere, Ran, Service, cpu_seconds, family, run

PACKAGES: Final = {
    "restic": "restic", "rsync": "rsync", "sshd": "openssh-server", "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}  # fmt: skip
_SBIN: Final = "/usr/sbin"  # where sshd is, and an ordinary user's PATH is not
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_PRIVSEP: Final = Path("/run/sshd")
_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 5.0


def program(name: str) -> Path:
    """Where a program is. Raises NotHere."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{_SBIN}")
    if found is None:
        raise NotHere(f"{name} is not installed (Debian package {PACKAGES.get(name, name)})")
    return Path(found)


def install_missing(say: Callable[[str], None]) -> None:
    """Install the peers that are not here, if that is possible, and say so if it is not."""
    missing = sorted({package for name, package in PACKAGES.items() if not _is_here(name)})
    if not missing:
        return
    if os.getuid() != 0 or not _is_here("apt-get"):
        say(f"not here, and only root on Debian could install them: {', '.join(missing)}")
        return
    say(f"installing Debian's {', '.join(missing)}")
    try:
        with _services_stay_off():
            run(["apt-get", "install", "-y", "--no-install-recommends", *missing], timeout=600)
    except BenchFailed as error:
        say(f"they could not be installed (apt-get update may help): {error}")


def version(name: str) -> str:
    """What a peer says of itself, in one line."""
    if name == "sshd":
        ran = subprocess.run([program("ssh"), "-V"], capture_output=True, text=True, timeout=10, check=False)
        return ran.stderr.strip()
    return run([program(name), "version" if name == "restic" else "--version"]).output.partition("\n")[0].strip()


@dataclass(frozen=True, slots=True)
class Restic:
    """A fresh restic repository below `folder`; its passphrase is in a file."""

    folder: Path
    passphrase_file: Path

    @classmethod
    def fresh(cls, folder: Path, passphrase_file: Path) -> "Restic":
        """Make an empty repository."""
        folder.mkdir(parents=True)
        repo = cls(folder, passphrase_file)
        repo._run("init")
        return repo

    @property
    def repository(self) -> Path:
        """What is stored."""
        return self.folder / "repository"

    def backup(self, source: Path) -> Ran:
        """Back up a folder."""
        return self._run("backup", source)

    def restore(self, target: Path) -> None:
        """Restore the newest snapshot."""
        self._run("restore", "latest", "--target", target)

    def _run(self, *words: str | Path) -> Ran:
        return run(
            [program("restic"), "--quiet", "--repo", self.repository, "--password-file", self.passphrase_file,
             "--cache-dir", self.folder / "cache", *words]
        )  # fmt: skip


class Sshd:
    """An SSH server on a high port of the loopback address, with keys that are made for it and thrown away."""

    def __init__(self, folder: Path, service: Service, port: int) -> None:
        """Made by `running_sshd`."""
        self._folder = folder
        self._service = service
        self._port = port

    def rsync(self, source: Path, target: Path) -> Ran:
        """`rsync -a` of what is in `source` to `target` on the other side; CPU seconds of both sides."""
        before = cpu_seconds([self._service.pid])
        where = f"{_user()}@127.0.0.1:{target}/"
        ran = run([program("rsync"), "-a", "-e", shlex.join(self._ssh()), f"{source}/", where])
        _until(lambda: family([self._service.pid]) == [self._service.pid])  # it has waited for its session
        return Ran(ran.seconds, ran.cpu + cpu_seconds([self._service.pid]) - before, ran.output)

    def answers(self) -> bool:
        """Whether one can log in."""
        try:
            run([*self._ssh(), f"{_user()}@127.0.0.1", "true"], timeout=20)
        except BenchFailed:
            return False
        return True

    def _ssh(self) -> list[str]:
        options = (
            "BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "LogLevel=ERROR",
            f"UserKnownHostsFile={self._folder / 'known_hosts'}", "GlobalKnownHostsFile=none",
        )  # fmt: skip
        words = [str(program("ssh")), "-F", "none", "-p", str(self._port), "-i", str(self._folder / "user_key")]
        for option in options:
            words += ["-o", option]
        return words


@contextmanager
def running_sshd(folder: Path) -> Iterator[Sshd]:
    """An SSH server that runs while the block does. Raises BenchFailed when nobody can log in to it."""
    folder.mkdir(parents=True, mode=0o700)
    port = _free_port()
    for name in ("host_key", "user_key"):
        run([program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name])
    host = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host[0]} {host[1]}\n")
    shutil.copyfile(folder / "user_key.pub", folder / "authorized_keys")
    settings = (
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host_key'}", "PidFile none", "UsePAM no",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}", "StrictModes no", "PasswordAuthentication no",
        "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password", f"AllowUsers {_user()}",
    )  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    argv: list[str | Path] = [program("sshd"), "-D", "-e", "-f", folder / "sshd_config"]
    with _privilege_separation_folder(), Service(argv, folder / "sshd.log") as service:
        sshd = Sshd(folder, service, port)
        if not _until(sshd.answers):
            raise BenchFailed(f"the SSH server lets nobody in: {service.log()}")
        yield sshd


@contextmanager
def _privilege_separation_folder() -> Iterator[None]:
    """Root's sshd wants an empty folder that its service makes at boot."""
    needed = os.getuid() == 0 and not _PRIVSEP.exists()
    if needed:
        _PRIVSEP.mkdir(mode=0o755)
    try:
        yield
    finally:
        if needed:
            with suppress(OSError):
                _PRIVSEP.rmdir()


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Keep packages that are installed from starting their services (Debian's policy-rc.d)."""
    needed = not _POLICY.exists()
    if needed:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if needed:
            _POLICY.unlink()


def _until(true: Callable[[], bool]) -> bool:
    """Wait until something is true, a few seconds at most; say whether it became so."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (done := true()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return done


def _is_here(name: str) -> bool:
    try:
        program(name)
    except NotHere:
        return False
    return True


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
