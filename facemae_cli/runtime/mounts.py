"""Where file systems are mounted, bind mounts among them, as Linux tells it in `/proc`; elsewhere nothing is known."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# File systems that keep no owner and mode for a file: what `chmod` says there is lost, or refused.
WITHOUT_MODES = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "9p", "drvfs", "cifs", "smb3"})


@dataclass(frozen=True)
class Mount:
    """A mounted file system: `number` of the mount, the folder or file it stands `at`, its `kind` such as ext4."""

    number: int
    at: Path
    kind: str
    read_only: bool

    @property
    def keeps_modes(self) -> bool:
        """Whether a file's mode can be changed there."""
        return not self.read_only and self.kind not in WITHOUT_MODES


def mounts() -> Iterator[Mount]:
    """All that is mounted, as this process sees it; nothing where the system does not say."""
    with suppress(OSError):
        for line in MOUNTS.read_bytes().splitlines():
            with suppress(ValueError, IndexError):
                yield _parsed(line)


def _parsed(line: bytes) -> Mount:
    before, _, after = line.partition(b" - ")
    fields, (kind, _, options) = before.split(b" "), after.split(b" ")[:3]
    at = re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), fields[4])
    read_only = b"ro" in fields[5].split(b",") or b"ro" in options.split(b",")
    return Mount(int(fields[0]), Path(os.fsdecode(at)), kind.decode("ascii", "replace"), read_only)


def mount_within(path: Path) -> Path | None:
    """`path`, or the first place below it, where something is mounted: it can neither be renamed nor removed."""
    whole = path.resolve()
    if os.path.ismount(whole):
        return whole
    return next((each.at for each in mounts() if each.at.is_relative_to(whole)), None)


def mount_of(descriptor: int) -> Mount | None:
    """The mount through which a file was opened; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        said = Path(f"/proc/self/fdinfo/{descriptor}").read_text().split("mnt_id:")[1]
        number = int(said.split()[0])
        return next((each for each in mounts() if each.number == number), None)
    return None
