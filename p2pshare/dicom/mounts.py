"""What file system a file is on, and whether its times can be trusted to show every change.

From /proc/self/mountinfo (proc_pid_mountinfo(5)); where there is none, no file system is trusted.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# keep ctime, which no program can set; optical, FAT, exFAT, NTFS, network and FUSE file systems do not, or not reliably
_KEEP_CTIME: Final = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nilfs2", "overlay", "reiserfs", "tmpfs", "xfs", "zfs")
)
_MOUNTINFO: Final = Path("/proc/self/mountinfo")
_BY_UUID: Final = Path("/dev/disk/by-uuid")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its type, and its UUID, or device numbers where it has none."""

    kind: str
    filesystem: str

    @property
    def keeps_ctime(self) -> bool:
        """Whether a change of a file's content always shows in its ctime."""
        return self.kind in _KEEP_CTIME


class Mounts:
    """Looks up mounts by open descriptors; remembers each device, since a medium may be exchanged between scans."""

    def __init__(self) -> None:
        self._known: dict[int, Mount | None] = {}

    def of_folder(self, path: Path) -> Mount | None:
        """The mount that the folder `path` is on, or None if that cannot be found out."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            device = os.fstat(fd).st_dev
            if device not in self._known:
                self._known[device] = _mount_of(fd, device)
            return self._known[device]
        except OSError:
            return None
        finally:
            os.close(fd)


def _mount_of(fd: int, device: int) -> Mount | None:
    mount_id = _field(Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii", errors="replace"), "mnt_id:")
    for line in _MOUNTINFO.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        mount = parse_mountinfo(line)
        if mount is not None and mount[0] == mount_id:
            return Mount(mount[1], _uuid(mount[2]) or f"{os.major(device)}:{os.minor(device)}")
    return None


def parse_mountinfo(line: str) -> tuple[str, str, str] | None:
    """Mount id, file system type and source of a line of mountinfo; None if it is not one."""
    before, dash, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if not dash or len(fields) < 6 or len(rest) < 2:
        return None
    source = rest[1].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
    return fields[0], rest[0], source


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        if line.startswith(name):
            return line.removeprefix(name).strip()
    return ""


def _uuid(source: str) -> str:
    """The UUID of the file system on the block device `source`, "" if there is none."""
    try:
        device = Path(source).stat().st_rdev if source.startswith("/dev/") else 0
        links = list(_BY_UUID.iterdir()) if device else []
    except OSError:
        return ""
    for link in links:
        try:
            if link.stat().st_rdev == device:
                return link.name
        except OSError:
            continue
    return ""
