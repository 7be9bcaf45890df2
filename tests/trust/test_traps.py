"""What a folder or a `.rec` from a stranger may hold: it is refused by name, and the command neither hangs nor bursts.

The parsers have tests of their own; here each trap is met by a command as it is typed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.maskcases import SECRET, encoded, key_file, pixels, put, record

from facemae_cli.app import main
from facemae_cli.data.images.headers.header import PNG_MAGIC
from facemae_cli.data.open import open_source

FACE = encoded(pixels(1, 28, 28), ".png")
LIMIT_MIB = 256


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    key_file(tmp_path / "facemae.key", SECRET)
    put(tmp_path / "raw" / "anna" / "1.png", FACE)
    return tmp_path


def masked(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, int, dict[str, str]]:
    """Exit code, faces written, and the reason by file name for what was refused."""
    code = main(["mask", "--json", *map(str, words)])
    told = json.loads(capsys.readouterr().out)
    return code, told["faces"]["out"], {os.path.basename(each["where"]): each["reason"] for each in told["refused"]}


def in_little_memory(work: Callable[[], Any]) -> Any:
    """What `work` returns, in a process that may take 256 MiB more than it has."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = work()
            taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
            os.write(writer, json.dumps([answer, taken]).encode())
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer, taken = json.loads(pipe.read())
    assert os.waitpid(pid, 0)[1] == 0
    assert taken < LIMIT_MIB, f"{taken} MiB"
    return answer


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, packed: bytes, *more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_MAGIC + head + b"".join(more) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def bombs() -> dict[str, bytes]:
    """Small files that promise, or unpack to, very much."""
    zeros = zlib.compressobj(9)
    head = zeros.compress(bytes(2**20)) + zeros.flush(zlib.Z_FULL_FLUSH)
    again = zeros.compress(bytes(2**20)) + zeros.flush(zlib.Z_FULL_FLUSH)  # such a block may stand any number of times
    gigabyte = head + 1023 * again + zeros.flush()
    side = struct.pack(">HH", 65500, 65500)
    jpeg = encoded(pixels(1, 28, 28))
    frame = jpeg.index(b"\xff\xc0") + 5
    return {
        "sides.png": png(2**31 - 1, 2**31 - 1, zlib.compress(b"")),
        "area.png": png(60_000, 60_000, gigabyte),
        "row.png": png(2**31 - 1, 1, gigabyte),
        "unpacks.png": png(28, 28, gigabyte),
        "sides.jpg": jpeg[:frame] + side + jpeg[frame + 4 :],
        "sides.webp": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X\x0a" + bytes(7) + b"\xff" * 6 + bytes(8),
        "sides.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**31 - 1, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
    }  # fmt: skip


def test_images_that_would_burst_the_memory(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = bombs()
    assert max(map(len, made.values())) < 2**21
    assert len(zlib.decompressobj().decompress(made["area.png"][41:], 2**23)) == 2**23
    for name, data in made.items():
        put(work / "raw" / "bombs" / name, data)
    # Text that nobody reads unpacks to a gigabyte; the picture beside it is a face like any other.
    texts = chunk(b"zTXt", b"Comment\0\0" + made["area.png"][41:-28])
    put(work / "raw" / "anna" / "text.png", FACE[:33] + texts + FACE[33:])
    code, faces, refused = in_little_memory(lambda: masked(capsys, "--workers", 1))
    assert (code, faces) == (3, 2)
    assert refused == dict.fromkeys(made, "too-large") | {"unpacks.png": "corrupt"}


def test_devices_pipes_and_links_out_of_the_tree(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "secret.png").write_bytes(FACE)
    os.mkfifo(work / "raw" / "pipe.png")
    os.mkfifo(work / "raw" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("raw/socket.jpg")
    for name, target in {
        "zero.png": "/dev/zero", "tty.jpg": "/dev/tty", "out.png": "../secret.png", "up.jpg": "..", "root": "/",
        "loop.png": "loop.png", "key.png": "../facemae.key",
    }.items():  # fmt: skip
        (work / "raw" / name).symlink_to(target)
    if os.geteuid() == 0:
        os.mknod(work / "raw" / "device.png", 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero again
    code, faces, refused = masked(capsys)
    assert (code, faces) == (3, 1)
    assert refused.pop("device.png", "not-a-file") == "not-a-file"
    assert Counter(refused.values()) == {"not-a-file": 2, "outside": 6, "broken-link": 1}


def test_a_pipe_in_the_place_of_a_dataset_s_own_file(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(work / "raw" / "pairs.txt")
    assert masked(capsys)[:2] == (0, 1)
    os.mkfifo(work / "raw" / "facemae.json")
    for command in (["mask", "--out", "m"], ["inspect", "raw"], ["convert", "--in", "raw", "--out", "c.rec"]):
        assert main(command) == 2
        assert "raw/facemae.json: a pipe or a device" in capsys.readouterr().err


def test_a_pipe_in_the_place_of_a_sidecar(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "x.rec").write_bytes(record(0, 1, [], 1, FACE))
    for kind in ("idx", "lst", "property"):
        os.mkfifo(work / f"x.{kind}")
    assert masked(capsys, "--in", "x.rec")[:2] == (0, 1)
    os.mkfifo(work / "x.facemae.json")
    assert main(["mask", "--in", "x.rec", "--out", "m"]) == 2


HOSTILE = [
    "../../escaped/1.png", "../escaped.png", "/escaped/1.png", "a/../../escaped/1.png", "a//1.png", "./1.png",
    "a/./1.png", "a/nul\0.png", "a/\\x00.png", "bell\x07/1.png", "a/\x1b[2J.png", "line\u2028/1.png", "a/\x85.png",
    ".hidden/1.png",
    "a/.png", "facemae.json/1.png", "a/facemae.json", "train.rec/1.png", "x" * 4096 + "/1.png",
    "a/" + "y" * 4096 + ".png",
    "z/" * 300 + "1.png", "a/" + "\u00e4" * 200 + ".png", "con/1.png", "A/1.png", "a/1.png", "a/1.PNG", "a /1.png",
    "folder.png/1.png", "-rf/1.png", "$(touch run)/`run`.png", "a/\u202egnp.1.png",
]  # fmt: skip


def write_hostile(path: Path) -> Path:
    """A `.rec` whose `.lst` names its faces so."""
    records = [record(0, number, [], number, FACE) for number in range(len(HOSTILE))]
    path.write_bytes(b"".join(records))
    lines = [f"{number}\t{number}\t{name}\n" for number, name in enumerate(HOSTILE)]
    path.with_suffix(".lst").write_bytes("".join(lines).encode())
    return path


@pytest.mark.parametrize("out", ["out/inner/faces", "out/inner/x.rec", "out/inner/train.rec"])
@pytest.mark.parametrize("command", ["convert", "mask --keep-names", "mask"])
def test_names_that_lead_elsewhere_or_break_a_line(
    work: Path, out: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing appears outside the output, nothing is lost unsaid, and what was written is read back."""
    write_hostile(work / "names.rec")
    before = set(work.rglob("*"))
    (work / "out" / "inner").mkdir(parents=True)
    code = main([*command.split(), "--in", "names.rec", "--out", out, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == (3 if told["refused"] else 0)
    assert told["faces"]["out"] + len(told["refused"]) == len(HOSTILE)
    assert {each["reason"] for each in told["refused"]} <= {"bad-name", "same-name"}
    assert all("\n" not in each["detail"] + each["where"] and "\x1b" not in each["detail"] for each in told["refused"])
    made = set(work.rglob("*")) - before
    assert {path.relative_to(work).parts[:2] for path in made if path.parent != work} == {("out", "inner")}
    faces = open_source(work / out)
    names = [faces.name(index) for index in range(len(faces))]
    assert (len(faces), list(faces.refused)) == (told["faces"]["out"], [])
    assert len(set(names)) >= len(names) - (command == "convert")  # a .rec may hold two faces of one name
    if command == "mask":
        assert told["refused"] == []


def test_file_names_that_differ_in_case_alone_stay_two(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Anna/1.png", "ANNA/1.png", "anna/1.PNG", "anna/" + "n" * 250 + ".png"):
        put(work / "raw" / name, FACE)
    assert masked(capsys, "--out", "a") == (0, 5, {})
    assert masked(capsys, "--out", "b", "--keep-names") == (3, 4, {"1.png": "same-name"})
    assert masked(capsys, "--out", "b.rec", "--keep-names") == (3, 4, {"1.png": "same-name"})


def lying_recs() -> dict[str, bytes]:
    """Files whose lengths point past their end, into each other, or around the 29 and 32 bits they have."""
    good, magic = record(0, 1, [], 1, FACE), struct.pack("<I", 0xCED7230A)
    longer = magic + struct.pack("<I", len(FACE) + 24 + 4000) + good[8:]
    return {
        "past-the-end": good + magic + struct.pack("<I", 2**29 - 1) + b"x" * 64,
        "past-the-next": good + longer + good,
        "into-itself": good + magic + struct.pack("<I", 4) + good,
        "wraps-29-bits": good + magic + struct.pack("<I", 0xFFFFFFFF) + bytes(64) + good,
        "never-ends": good + b"".join(magic + struct.pack("<I", 1 << 29 | 4) + bytes(4) for _ in range(2000)),
        "middle-first": good + magic + struct.pack("<I", 2 << 29 | 4) + bytes(4) + good,
        "labels-wrap": good + magic + struct.pack("<I", 24) + struct.pack("<IfQQ", 0x40000000, 0, 1, 0) + good,
        "labels-past": good + magic + struct.pack("<I", 24) + struct.pack("<IfQQ", 0xFFFFFFFF, 0, 1, 0) + good,
        "keys-wrap": good + record(0, 1, [], 2**64 - 1, FACE),
        "label-is-none": good + record(0, float("nan"), [], 2, FACE) + record(0, 3e38, [], 3, FACE),
    }


@pytest.mark.parametrize("case", sorted(lying_recs()))
def test_a_rec_whose_lengths_lie(work: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "x.rec").write_bytes(lying_recs()[case])
    code, faces, refused = in_little_memory(lambda: masked(capsys, "--in", "x.rec", "--workers", 1))
    assert (code in (0, 3), faces >= 1) == (True, True)
    assert (code == 3) == bool(refused)


@pytest.mark.parametrize(
    "index",
    [
        "1\t0\n2\t0\n3\t0\n", f"1\t{2**63}\n2\t{2**64 - 4}\n", "1\t-4\n", "1\t3\n2\t8\n",
        f"{2**64}\t0\n1\t{10**17}\n", "\0\n",
    ],
)  # fmt: skip
def test_an_index_that_lies(work: Path, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every record is a face once, wherever the index points."""
    (work / "x.rec").write_bytes(record(0, 1, [], 1, FACE) + record(0, 2, [], 2, FACE))
    (work / "x.idx").write_text(index)
    code, faces, _ = masked(capsys, "--in", "x.rec", "--seed", 1)
    assert (code in (0, 3), faces) == (True, 2)
    assert np.array_equal([len(open_source(work / "x.rec"))], [2])
