from __future__ import annotations

import errno
import fcntl
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facemae_cli.data.files import (
    disk_errors,
    is_aside,
    is_inside,
    remove_tree,
    require_outside,
    write_whole,
)
from facemae_cli.errors import OutputError, UsageError


def test_a_file_is_written_with_its_mode_and_nothing_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "é\n", 0o600)
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    write_whole(tmp_path / "a", b"\x00", 0o400)
    assert (tmp_path / "a").read_bytes() == b"\x00"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
    assert os.listdir(tmp_path) == ["a"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"a: disk quota exceeded: free some space, then run again$"):
        write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def write_and_die(path: Path) -> None:
    """`write_whole` in a process that is killed when half the bytes are on their way."""
    pid = os.fork()
    if pid == 0:
        os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
        write_whole(path, "new", 0o600)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_what_a_killed_process_left_aside_gives_way_to_the_next(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    for _ in range(2):
        write_and_die(tmp_path / "a")
        (aside,) = [name for name in os.listdir(tmp_path) if name != "a"]
        assert is_aside(aside)
        assert (tmp_path / "a").read_text() == "old"
    write_whole(tmp_path / "b", "another file")
    assert aside in os.listdir(tmp_path)
    write_whole(tmp_path / "a", "newer", 0o644)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "newer"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("locks", [True, False])
def test_what_a_living_process_writes_aside_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    """Also where a file system has no locks, so that the living and the dead cannot be told apart."""
    real = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", real)
        write_whole(tmp_path / "a", "second")
        real(descriptor)

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(os, "fsync", meanwhile)
    if not locks:
        monkeypatch.setattr(fcntl, "flock", no_locks)
    write_whole(tmp_path / "a", "first")
    assert (tmp_path / "a").read_text() == "first"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_taken_for_abandoned_before_it_was_locked_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process locks and removes it in the moment between; if that goes on, the write fails and says so."""
    real, taken = fcntl.flock, []

    def taken_first(times: int) -> None:
        def flock(descriptor: int, operation: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if len(taken) < times:
                taken.append(path)
                os.unlink(path)
            real(descriptor, operation)

        taken.clear()
        monkeypatch.setattr(fcntl, "flock", flock)

    taken_first(1)
    write_whole(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"
    taken_first(2)
    with pytest.raises(OutputError, match="something else stands there"):
        write_whole(tmp_path / "a", "other")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "text"


def test_writers_of_one_file_at_once_each_write_it_whole(tmp_path: Path) -> None:
    texts = [str(number) * 1000 for number in range(8)]
    seen = set()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            list(pool.map(lambda text: write_whole(tmp_path / "a", text), texts))
            seen.add((tmp_path / "a").read_text())
    assert seen <= set(texts)
    assert os.listdir(tmp_path) == ["a"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", "line\n")
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_in_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="something else stands there"):
        write_whole(tmp_path, "text")
    with pytest.raises(OutputError, match="no such file or directory"):
        write_whole(tmp_path / "missing" / "a", "text")


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "choose another place"),
        (errno.EACCES, "choose another place"),
        (errno.ENOENT, "moved or removed"),
        (errno.EFBIG, "raise the limit on the size of files"),
        (errno.EIO, "repair the disk"),
    ],
)
def test_an_oserror_becomes_one_line_with_the_way_out(number: int, way_out: str) -> None:
    with (
        pytest.raises(OutputError, match=rf"^/x/y: [^\n]*{way_out}[^\n]*, go on so$"),
        disk_errors(Path("/x"), "go on so"),
    ):
        raise OSError(number, os.strerror(number), "/x/y")
    with pytest.raises(OutputError, match=r"^/x: "), disk_errors(Path("/x")):
        raise OSError(number, os.strerror(number))


def test_without_replace_what_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: object, **more: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    for number in range(2):  # with hard links, and on a file system without
        path = tmp_path / str(number)
        write_whole(path, "first", replace=False)
        with pytest.raises(UsageError, match="appeared meanwhile"):
            write_whole(path, "second", replace=False)
        assert path.read_text() == "first"
        monkeypatch.setattr(os, "link", no_links)
    assert sorted(os.listdir(tmp_path)) == ["0", "1"]


@pytest.mark.parametrize(
    ("path", "dataset", "inside"),
    [
        ("o/key", "o", True),
        ("o", "o", True),
        ("link/key", "o", True),
        ("o2/key", "o", False),
        ("d/key", "d/train.rec", True),
        ("d/x/key", "d/train.rec", True),
        ("x.lst", "x.rec", True),
        ("x.facemae.json", "x.rec", True),
        ("key", "x.rec", False),
        ("d/x.lst", "x.rec", False),
        ("o.facemae-part/list", "o", True),
        ("x.rec.facemae-part/list", "x.rec", True),
        ("lfw/list", "lfw/pairs.txt", True),
        ("x.bin.facemae.json", "x.bin", True),
        ("o.list", "o", False),
    ],
)
def test_what_is_inside_a_dataset(tmp_path: Path, path: str, dataset: str, inside: bool) -> None:
    (tmp_path / "link").symlink_to("o")
    if inside:
        with pytest.raises(UsageError, match=r"^--key "):
            require_outside(tmp_path / path, [tmp_path / dataset], "--key")
    else:
        require_outside(tmp_path / path, [tmp_path / dataset], "--key")


def test_inside_is_told_by_the_folder_and_not_by_its_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert is_inside(Path("a/b/c"), tmp_path / "a")
    assert is_inside(Path("a/../a/b"), Path("a"))
    assert not is_inside(Path("a/../ab"), Path("a"))


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "folder").symlink_to(tmp_path / "kept", target_is_directory=True)
    (tmp_path / "tree" / "file").symlink_to(tmp_path / "kept" / "file")
    remove_tree(tmp_path / "tree")
    remove_tree(tmp_path / "tree")
    assert [p.name for p in tmp_path.rglob("*")] == ["kept", "file"]
