"""Keys: bit-by-bit vectors from plain hashlib and base64, the key file's safety, and that nothing shows the secret."""

import base64
import hashlib
import hmac
import os
import signal
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemae_cli.data.faces import Name
from facemae_cli.errors import FacemaeError, InputError, OutputError, UsageError
from facemae_cli.masking.key import (
    Key,
    kept_order,
    keyed_order,
    recover_names,
    seed_mask_key,
    seed_payload,
    without_suffix,
)

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


def digest(message: bytes) -> bytes:
    return hmac.new(SECRET, message, hashlib.sha256).digest()


def written(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return path


def test_pseudonyms_are_128_bits_of_hmac_in_base32():
    expected = base64.b32encode(digest(b"identityfamily/Ada Lovelace")[:16]).decode().strip("=").lower()
    assert KEY.identity("family/Ada Lovelace") == expected
    assert len(expected) == 26
    expected = base64.b32encode(digest(b"photofamily/Ada Lovelace\x001.jpg")[:16]).decode().strip("=").lower()
    assert KEY.photo("family/Ada Lovelace", "1.jpg") == expected
    assert KEY.photo(None, "1.jpg") == base64.b32encode(digest(b"photo\x001.jpg")[:16]).decode().strip("=").lower()


def test_known_vectors_stay_what_they_were():
    assert KEY.key_id == "fa0cde5e86539aca"
    assert KEY.identity("anna") == "ggbtneithe5eisrwx5qihoaq6i"
    assert KEY.photo("anna", "1.jpg") == "yoi5gexeslq4rhof2adtypqyoq"


def test_order_and_key_id():
    assert KEY.order("anna") == digest(b"orderanna")
    assert KEY.order("anna", "1.jpg") == digest(b"orderanna\x001.jpg")
    assert KEY.order(None) == digest(b"order")
    assert KEY.key_id == digest(b"key-id")[:8].hex()
    assert KEY.mask_key == SECRET


def test_one_name_typed_in_two_unicode_forms_is_one_name():
    assert KEY.identity("Zoe\u0308") == KEY.identity("Zo\u00eb")
    assert KEY.photo("Zoe\u0308", "e\u0301.png") == KEY.photo("Zo\u00eb", "\u00e9.png")
    assert KEY.identity("Zoe") != KEY.identity("Zo\u00eb")


def test_file_names_that_are_no_text_are_kept_apart():
    assert KEY.identity(os.fsdecode(b"caf\xe9")) != KEY.identity(os.fsdecode(b"caf\xe8"))


@given(
    one=st.tuples(st.text(max_size=8), st.text(max_size=8)),
    other=st.tuples(st.text(max_size=8), st.text(max_size=8)),
)
@settings(max_examples=60, deadline=None)
def test_no_identity_and_file_name_run_together(one, other):
    if any("\0" in part for part in (*one, *other)):
        return
    same = KEY.photo(*one) == KEY.photo(*other)
    assert same == (seed_payload(Name(*one)) == seed_payload(Name(*other)))
    assert KEY.photo("ab", "c") != KEY.photo("a", "bc")


def test_seeds_are_keys_of_their_own():
    assert seed_mask_key(0) == hashlib.sha256(b"facemae mask seed 0").digest()
    assert seed_mask_key(12) == hashlib.sha256(b"facemae mask seed 12").digest()
    assert seed_payload(Name("a/b", "c.jpg")) == b"a/b\x00c.jpg"
    assert seed_payload(Name(None, "c.jpg")) == b"\x00c.jpg"


def test_every_name_is_found_again_with_the_key():
    names = [Name(f"person {i}/deep", f"{j}.jpg") for i in range(5) for j in range(3)] + [Name(None, "x.png")]
    released = [KEY.name(name) for name in names]
    with_suffix = [Name(name.identity, f"{name.photo}.png") for name in released]
    who = recover_names(names, KEY)
    assert [who[without_suffix(name)] for name in with_suffix] == names
    assert not set(recover_names(names, Key(bytes(32)))) & set(released)


def test_only_the_suffix_of_an_image_is_left_out():
    names = ["a.b.jpg", "Mr. X", "Mr. Y", "1.JPEG", "x.webp", ".png", "7"]
    assert [without_suffix(Name("anna", name)).photo for name in names] == [
        "a.b",
        "Mr. X",
        "Mr. Y",
        "1",
        "x",
        ".png",
        "7",
    ]


def test_the_order_of_names_by_key():
    names = [
        Name("anna", "1.jpg"),
        Name(None, "1.jpg"),
        Name("bert", "1.jpg"),
        Name("anna", "2.jpg"),
        Name("bert", "1.jpg"),
    ]
    order, repeated = keyed_order(names, KEY)
    expected = sorted(
        range(5), key=lambda i: (digest(b"order" + (names[i][0] or "").encode()), KEY.order(names[i][0], names[i][1]))
    )
    assert order == expected
    assert repeated == {4}


def test_kept_names_that_differ_in_their_suffix_alone_are_repeated():
    photos = ["1.jpg", "1.png", "Mr. X", "Mr. Y", "1.txt", "1.JPG"]
    order, repeated = kept_order(
        [*(Name("anna", photo) for photo in photos), Name("bert", "1.jpg"), Name(None, "1.jpg")]
    )
    assert order == list(range(8))
    assert repeated == {1, 5}


def test_a_missing_key_is_made_once_and_read_back(tmp_path):
    path, listener = tmp_path / "facemae.key", Listener()
    key = Key.load(path, create=True, progress=listener)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == key.secret.hex() + "\n"
    assert len(listener.lines) == 1
    assert str(path) in listener.lines[0]
    assert Key.load(path, create=True, progress=listener) == key
    assert len(listener.lines) == 1
    assert Key.load(tmp_path / "second.key", create=True).secret != key.secret


def test_a_missing_key_is_not_made_unless_asked(tmp_path):
    with pytest.raises(UsageError, match="--key FILE"):
        Key.load(tmp_path / "no.key")
    assert not list(tmp_path.iterdir())


def test_a_key_edited_by_hand_still_loads(tmp_path):
    assert Key.load(written(tmp_path / "key", f"  {SECRET.hex().upper()}\r\n\n")) == KEY


@pytest.mark.parametrize("text", ["", "\n", "00" * 31, "00" * 33, "zz" * 32, "00" * 32 + "\n" + "00" * 32, "é" * 32])
def test_what_is_no_key_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match="64 hexadecimal digits"):
        Key.load(written(tmp_path / "key", text), create=True)
    assert (tmp_path / "key").read_text() == text


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    with pytest.raises(UsageError, match="chmod 600"):
        Key.load(written(tmp_path / "key", SECRET.hex(), mode))


def test_a_folder_is_no_key(tmp_path):
    with pytest.raises(UsageError, match="not a file"):
        Key.load(tmp_path, create=True)


@pytest.mark.skipif(os.name != "posix", reason="named pipes are POSIX")
def test_a_named_pipe_is_no_key_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(UsageError, match="not a file"):
        Key.load(tmp_path / "key")


def test_a_key_in_no_folder(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        Key.load(tmp_path / "missing" / "key", create=True)
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, InputError)):
        Key.load(tmp_path / "file" / "key", create=True)


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
        Key.load(tmp_path / "key", create=True)
    assert not list(tmp_path.iterdir())


def test_a_key_is_made_whole_for_its_owner_alone(tmp_path, way):
    before = os.umask(0)
    try:
        key = Key.load(tmp_path / "key", create=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]
    assert Key.load(tmp_path / "key") == key


def test_a_process_killed_while_it_makes_a_key_leaves_none(tmp_path):
    pid = os.fork()
    if pid == 0:
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        Key.load(tmp_path / "key", create=True)
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
    assert Key.load(tmp_path / "key", create=True, progress=listener) == KEY
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
        Key.load(tmp_path / key, create=True, outside=[tmp_path / "other", tmp_path / dataset])
    assert not (tmp_path / key).exists()


@pytest.mark.parametrize("dataset", ["raw", "raw.rec", "facemae.key.d", "set/train.rec"])
def test_a_key_beside_a_dataset_is_fine(tmp_path, dataset):
    Key.load(tmp_path / "facemae.key", create=True, outside=[tmp_path / dataset])
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
