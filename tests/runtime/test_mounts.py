from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from facemae_cli.runtime import mounts
from facemae_cli.runtime.mounts import Mount, mount_of, mount_within

LINES = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 8:1 /data /mnt/with\040space rw,relatime shared:2 master:1 - ext4 /dev/sda1 rw
24 22 0:30 / /run/secrets ro,relatime - tmpfs tmpfs rw
25 22 8:17 / /media/stick rw - vfat /dev/sdb1 rw,fmask=0022
26 22 0:31 / /nfs rw - nfs4 host:/x ro,vers=4
not a line
"""


def test_what_the_system_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text(LINES)
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    assert list(mounts.mounts()) == [
        Mount(22, Path("/"), "ext4", False),
        Mount(23, Path("/mnt/with space"), "ext4", False),
        Mount(24, Path("/run/secrets"), "tmpfs", True),
        Mount(25, Path("/media/stick"), "vfat", False),
        Mount(26, Path("/nfs"), "nfs4", True),
    ]
    assert [mount.keeps_modes for mount in mounts.mounts()] == [True, True, False, False, False]
    assert mount_within(Path("/mnt")) == Path("/mnt/with space")
    assert mount_within(Path("/mnt/with space")) == Path("/mnt/with space")
    assert mount_within(Path("/mnt/with")) is None
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "none")
    assert list(mounts.mounts()) == []
    assert mount_within(tmp_path) is None
    with (tmp_path / "mountinfo").open() as file:
        assert mount_of(file.fileno()) is None


def test_the_mount_of_an_open_file_is_known() -> None:
    with open("/proc/self/mountinfo") as file:
        found = mount_of(file.fileno())
    assert found is None or (found.at, found.kind) == (Path("/proc"), "proc")


def test_a_real_bind_mount_is_seen(tmp_path: Path) -> None:
    """In a namespace of its own, where the machine allows that; device numbers would not show it."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    code = "import sys, pathlib; from facemae_cli.runtime.mounts import mount_within\n"
    code += "print(mount_within(pathlib.Path(sys.argv[1])))"
    line = f'mount --bind {tmp_path}/a {tmp_path}/b && python3 -c "{code}" {tmp_path}'
    done = subprocess.run(["unshare", "-rm", "sh", "-c", line], capture_output=True, text=True)
    if "mount" in done.stderr or done.returncode in (1, 126, 127):
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    assert done.stdout.strip() == str(tmp_path / "b")
