"""Where keys are kept: the file's safety, pipes, standard input and the environment."""

import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest

from facemae_cli.errors import FacemaeError, InputError, OutputError, UsageError
from facemae_cli.masking.key import Key
from facemae_cli.runtime import mounts
from facemae_cli.runtime.progress import SILENT

SECRET = bytes(range(32))
KEY = Key(SECRET)


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, label, total, unit="faces", done=0):
        raise AssertionError("a key shows no progress")

    def advance(self, count=1, note=""):
        raise AssertionError("a key shows no progress")

    def notice(self, line):
        self.lines.append(line)


def found_or_made(path, outside=(), progress=SILENT):
    """A key as `mask` takes it: made where there is none."""
    return Key.find(path, outside=outside, progress=progress) or Key.passing().keep(path, progress=progress)


def written(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_missing_key_is_made_once_and_read_back(tmp_path):
    path, listener = tmp_path / "facemae.key", Listener()
    key = found_or_made(path, progress=listener)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == key.secret.hex() + "\n"
    assert len(listener.lines) == 1
    assert str(path) in listener.lines[0]
    assert found_or_made(path, progress=listener) == key
    assert len(listener.lines) == 1
    assert found_or_made(tmp_path / "second.key").secret != key.secret


def test_a_missing_key_is_not_made_unless_asked(tmp_path):
    with pytest.raises(UsageError, match="--key FILE"):
        Key.load(tmp_path / "no.key")
    assert not list(tmp_path.iterdir())


def test_a_key_edited_by_hand_still_loads(tmp_path):
    assert Key.load(written(tmp_path / "key", f"  {SECRET.hex().upper()}\r\n\n")) == KEY


@pytest.mark.parametrize("text", ["", "\n", "00" * 31, "00" * 33, "zz" * 32, "00" * 32 + "\n" + "00" * 32, "é" * 32])
def test_what_is_no_key_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        found_or_made(written(tmp_path / "key", text))
    assert (tmp_path / "key").read_text() == text


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    with pytest.raises(UsageError, match="chmod 600"):
        Key.load(written(tmp_path / "key", SECRET.hex(), mode))


def test_a_folder_is_no_key(tmp_path):
    with pytest.raises(UsageError, match="not a file"):
        found_or_made(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_named_pipe_that_nobody_writes_does_not_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("facemae_cli.masking.key_file.WRITER_SECONDS", 0.05)
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(UsageError, match="no key came within"):
        Key.load(tmp_path / "key")


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_key_comes_through_a_pipe_in_pieces_and_late(tmp_path):
    os.mkfifo(tmp_path / "key", 0o644)

    def tell():
        with (tmp_path / "key").open("w") as file:
            for piece in (SECRET.hex()[:7], SECRET.hex()[7:] + "\n"):
                time.sleep(0.05)
                file.write(piece)
                file.flush()

    writer = threading.Thread(target=tell)
    writer.start()
    assert found_or_made(tmp_path / "key") == KEY
    writer.join()


def piped(text):
    """The reading end of a pipe that holds `text` and has ended."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    return reading


@pytest.mark.parametrize("text", ["", "00" * 31, "x" * 5000])
def test_what_comes_through_a_pipe_and_is_not_a_key_is_refused(text):
    descriptor = piped(text)
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        found_or_made(Path(f"/dev/fd/{descriptor}"))
    os.close(descriptor)


def test_a_key_by_descriptor_as_of_a_process_substitution(tmp_path):
    descriptor = piped(SECRET.hex())
    assert Key.load(Path(f"/dev/fd/{descriptor}")) == KEY
    os.close(descriptor)
    with written(tmp_path / "key", SECRET.hex(), 0o644).open() as file:  # opened by whoever may read it
        assert Key.load(Path(f"/dev/fd/{file.fileno()}")) == KEY


@pytest.mark.parametrize("ranks", ["1", "2"])
def test_a_key_from_standard_input_is_for_one_process(monkeypatch, ranks):
    monkeypatch.setenv("WORLD_SIZE", ranks)
    descriptor, kept = piped(SECRET.hex() + "\n"), os.dup(0)
    try:
        os.dup2(descriptor, 0)
        if ranks == "1":
            assert found_or_made(Path("-")) == KEY
        else:
            with pytest.raises(UsageError, match="by one process alone: under torchrun give a file, or FACEMAE_KEY"):
                Key.load(Path("-"))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(descriptor)


def test_a_key_in_the_environment_stands_for_the_default_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEMAE_KEY", SECRET.hex())
    listener = Listener()
    assert found_or_made(Path("facemae.key"), progress=listener) == KEY
    assert listener.lines == [f"the key is the one in FACEMAE_KEY (key_id {KEY.key_id})"]
    assert os.listdir(tmp_path) == []
    other = found_or_made(tmp_path / "other.key")  # a file that is named wins
    assert other != KEY
    os.rename(tmp_path / "other.key", tmp_path / "facemae.key")
    with pytest.raises(UsageError, match="are two keys"):
        Key.load(Path("facemae.key"))
    written(tmp_path / "facemae.key", SECRET.hex())
    assert Key.load(Path("facemae.key")) == KEY
    monkeypatch.setenv("FACEMAE_KEY", "secret")
    with pytest.raises(UsageError, match="FACEMAE_KEY is not a facemae key") as caught:
        Key.load(Path("facemae.key"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("line", "why"), [("ro - ext4", "mounted read-only"), ("rw - vfat", "vfat keeps no modes")])
def test_a_key_whose_mode_cannot_be_changed_is_taken_with_a_note(tmp_path, monkeypatch, line, why):
    """As of a secret store: 0644 on a read-only mount, or a file system that has no modes."""
    file = written(tmp_path / "key", SECRET.hex(), 0o644)
    with file.open() as opened:
        number = Path(f"/proc/self/fdinfo/{opened.fileno()}").read_text().split("mnt_id:")[1].split()[0]
    (tmp_path / "mountinfo").write_text(f"{number} 1 0:9 / {tmp_path} {line} /dev/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    listener = Listener()
    assert Key.load(file, progress=listener) == KEY
    assert len(listener.lines) == 1
    assert why in listener.lines[0]
    (tmp_path / "mountinfo").write_text(f"{number} 1 0:9 / {tmp_path} rw - ext4 /dev/x rw\n")
    with pytest.raises(UsageError, match=r"chmod 600 .*or give it on standard input: --key - < "):
        Key.load(file)


def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(OutputError, match=r"cannot be written; --key FILE names a place that can be written$"):
        found_or_made(tmp_path / "key")
    assert os.listdir(tmp_path) == []


def test_a_key_in_no_folder(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        found_or_made(tmp_path / "missing" / "key")
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, InputError)):
        found_or_made(tmp_path / "file" / "key")


@pytest.fixture(params=["nameless", "named"])
def way(request, monkeypatch):
    """Both ways a key is made: as a file without a name, and where the system has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    return request.param


def test_a_key_that_can_not_be_written_leaves_nothing(tmp_path, monkeypatch, way):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        found_or_made(tmp_path / "key")
    assert not list(tmp_path.iterdir())


def test_a_key_is_made_whole_for_its_owner_alone(tmp_path, way):
    before = os.umask(0)
    try:
        key = found_or_made(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]
    assert Key.load(tmp_path / "key") == key


def test_a_process_killed_while_it_makes_a_key_leaves_none(tmp_path):
    pid = os.fork()
    if pid == 0:
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        found_or_made(tmp_path / "key")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not list(tmp_path.iterdir())


def test_of_two_processes_that_make_a_key_at_once_both_have_the_first(tmp_path, monkeypatch, way):
    listener, real = Listener(), os.open

    def late(path, flags, *mode, **more):
        if flags & (os.O_CREAT | getattr(os, "O_TMPFILE", 0)) and not (tmp_path / "key").exists():
            written(tmp_path / "key", SECRET.hex())
        return real(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", late)
    assert found_or_made(tmp_path / "key", progress=listener) == KEY
    assert listener.lines == []


@pytest.mark.parametrize(
    ("key", "dataset"),
    [
        ("raw/facemae.key", "raw"),
        ("raw/anna/facemae.key", "raw"),
        ("raw/../raw/facemae.key", "raw"),
        ("link/facemae.key", "raw"),
        ("set/facemae.key", "set/train.rec"),
        ("faces.rec", "faces.rec"),
    ],
)
def test_a_key_inside_a_dataset_is_refused(tmp_path, key, dataset):
    (tmp_path / "raw" / "anna").mkdir(parents=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    with pytest.raises(UsageError, match=r"--key .* is inside the dataset"):
        found_or_made(tmp_path / key, outside=[tmp_path / "other", tmp_path / dataset])
    assert not (tmp_path / key).exists()


@pytest.mark.parametrize("dataset", ["raw", "raw.rec", "facemae.key.d", "set/train.rec"])
def test_a_key_beside_a_dataset_is_fine(tmp_path, dataset):
    found_or_made(tmp_path / "facemae.key", outside=[tmp_path / dataset])
    assert (tmp_path / "facemae.key").exists()


def test_nothing_shows_the_secret(tmp_path):
    shown = [repr(KEY), str(KEY), f"{KEY}", KEY.key_id]
    for text in (SECRET.hex() + "0", SECRET.hex()[:-1]):
        with pytest.raises(FacemaeError) as caught:
            Key.load(written(tmp_path / "key", text))
        shown.append(str(caught.value))
    with pytest.raises(FacemaeError) as caught:
        Key(SECRET[:31])
    shown.append(str(caught.value))
    assert not [text for text in shown if SECRET.hex()[:8] in text or repr(SECRET[:8])[2:-1] in text]
