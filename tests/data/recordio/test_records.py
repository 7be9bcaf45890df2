"""RecordIO framing: against vectors MXNet wrote, against a slow reader, and against every flipped bit."""

from __future__ import annotations

import json
import math
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemae_cli.data.recordio import records as recordio
from facemae_cli.data.recordio import scan as recscan
from facemae_cli.data.recordio.records import MAGIC, ScanResult, frame, pack_header, read_payload, scan, unpack_header
from facemae_cli.data.recordio.scan import scan_words
from facemae_cli.errors import InputError

VECTORS = Path(__file__).parent / "fixtures" / "mxnet_vectors.rec"
MAGIC_BYTES = struct.pack("<I", MAGIC)


def scan_bytes(data: bytes) -> ScanResult:
    return scan_words(np.frombuffer(data, "<u4", count=len(data) // 4), len(data))


def payloads(path: Path, found: ScanResult) -> list[bytes]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        rows = zip(found.offsets.tolist(), found.lengths.tolist(), found.parts.tolist(), strict=True)
        return [read_payload(descriptor, *row) for row in rows]
    finally:
        os.close(descriptor)


def slow_records(data: bytes) -> list[bytes]:
    """dmlc's reader, a byte at a time, for sound data."""
    out, at, open_parts = [], 0, b""
    while at < len(data):
        magic, lrec = struct.unpack_from("<II", data, at)
        assert magic == MAGIC
        length = lrec & (1 << 29) - 1
        part = data[at + 8 : at + 8 + length]
        at += 8 + math.ceil(length / 4) * 4
        flag = lrec >> 29
        open_parts = part if flag in (0, 1) else open_parts + MAGIC_BYTES + part
        if flag in (0, 3):
            out.append(open_parts)
    return out


def vectors() -> list[tuple[int, list[float], int, int, bytes]]:
    rows = json.loads(VECTORS.with_suffix(".json").read_text())
    return [(flag, labels, key, id2, bytes.fromhex(body)) for flag, labels, key, id2, body in rows]


def test_reads_what_mxnet_wrote():
    found = scan(VECTORS)
    assert found.problems == []
    assert (found.parts > 1).sum() > 10  # the vectors are of use only if many are split
    index = [tuple(map(int, line.split())) for line in VECTORS.with_suffix(".idx").read_text().splitlines()]
    assert [(key, offset) for (_, _, key, _, _), offset in zip(vectors(), found.offsets, strict=True)] == index
    for payload, (flag, labels, key, id2, body) in zip(payloads(VECTORS, found), vectors(), strict=True):
        header, start = unpack_header(payload)
        assert payload[start:] == body
        assert header == (flag, tuple(labels) if flag else labels[0], key, id2)


def test_writes_what_mxnet_wrote():
    ours = b"".join(
        frame(pack_header(flag, labels if flag else labels[0], key, id2) + body)
        for flag, labels, key, id2, body in vectors()
    )
    assert ours == VECTORS.read_bytes()


def test_frame_splits_by_hand():
    assert frame(b"abcde") == MAGIC_BYTES + struct.pack("<I", 5) + b"abcde\0\0\0"
    assert frame(b"") == MAGIC_BYTES + struct.pack("<I", 0)
    framed = frame(b"ABCD" + MAGIC_BYTES + b"xy" + MAGIC_BYTES)  # the second magic is not aligned
    first = MAGIC_BYTES + struct.pack("<I", 1 << 29 | 4) + b"ABCD"
    assert framed == first + MAGIC_BYTES + struct.pack("<I", 3 << 29 | 6) + b"xy" + MAGIC_BYTES + b"\0\0"


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.lists(st.sampled_from([MAGIC_BYTES, b"a", b"\0\0\0\0", b"\xff"]), max_size=9), max_size=6))
def test_any_payloads_survive(tmp_path_factory, pieces):
    bodies = [b"".join(piece) for piece in pieces]
    data = b"".join(map(frame, bodies))
    path = tmp_path_factory.mktemp("rec") / "a.rec"
    path.write_bytes(data)
    found = scan(path)
    assert payloads(path, found) == bodies == slow_records(data)
    assert found.lengths.tolist() == [len(body) for body in bodies]
    assert found.problems == []


def test_frame_refuses_too_long(monkeypatch):
    monkeypatch.setattr(recordio, "MAX_LENGTH", 10)
    assert len(frame(bytes(10))) == 20
    with pytest.raises(ValueError, match="11 bytes"):
        frame(bytes(11))


def test_pack_header_checks_labels():
    assert pack_header(0, 3, 7) == struct.pack("<IfQQ", 0, 3.0, 7, 0)
    assert pack_header(2, [3, 1], 7, 9) == struct.pack("<IfQQff", 2, 0.0, 7, 9, 3.0, 1.0)
    with pytest.raises(ValueError, match="flag 2"):
        pack_header(2, [1.0], 7)
    with pytest.raises(ValueError, match="flag 0"):
        pack_header(0, [1.0, 2.0], 7)


def test_unpack_header_checks_size():
    with pytest.raises(ValueError, match="23 bytes"):
        unpack_header(bytes(23))
    with pytest.raises(ValueError, match="flag 1"):
        unpack_header(struct.pack("<IfQQ", 1, 0.0, 0, 0))


def test_scan_needs_a_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        scan(tmp_path / "none.rec")


def test_scan_of_nothing(tmp_path):
    path = tmp_path / "empty.rec"
    path.write_bytes(b"")
    assert len(scan(path).offsets) == 0
    path.write_bytes(b"\xff\xd8\xff\xe0 a picture, not records")
    found = scan(path)
    assert len(found.offsets) == 0
    assert [(problem.offset, problem.reason) for problem in found.problems] == [(0, "bad-magic")]


def sample() -> tuple[list[bytes], bytes, list[int]]:
    """Five payloads of 21 to 57 random bytes, the third split in three; their file; where each starts."""
    rng = random.Random(5)
    bodies = [pack_header(0, 1.0, n) + rng.randbytes(20 + 9 * n) for n in range(5)]
    bodies[2] = bodies[2][:24] + MAGIC_BYTES + bodies[2][28:36] + MAGIC_BYTES + bodies[2][40:]
    framed = [frame(body) for body in bodies]
    starts = [sum(map(len, framed[:n])) for n in range(5)]
    return bodies, b"".join(framed), starts


def read_all(data: bytes, tmp_path: Path) -> tuple[list[bytes], ScanResult]:
    path = tmp_path / "damaged.rec"
    path.write_bytes(data)
    found = scan(path)
    return payloads(path, found), found


@pytest.mark.parametrize("record", range(5))
def test_every_flipped_bit_of_a_record_head(tmp_path, record):
    bodies, data, starts = sample()
    for bit in range(64):
        damaged = bytearray(data)
        damaged[starts[record] + bit // 8] ^= 1 << bit % 8
        read, found = read_all(bytes(damaged), tmp_path)
        others = [body for n, body in enumerate(bodies) if n != record]
        for body in others:
            assert body in read, f"bit {bit} of record {record} costs another record"
        changed = [body for body in read if body not in bodies]
        if changed:  # a length that reaches into the zeros of its padding, which framing cannot tell
            assert bit in (32, 33)
            assert [body.rstrip(b"\0") for body in changed] == [bodies[record]]
        else:
            assert [problem.offset for problem in found.problems] == [starts[record]], f"bit {bit} of record {record}"


def test_flipped_bits_where_many_records_are_split():
    rng = random.Random(7)
    for _ in range(40):
        bodies = [pack_header(0, 1.0, n) + b"".join(random_words(rng)) for n in range(6)]
        framed = [frame(body) for body in bodies]
        data = b"".join(framed)
        starts = np.cumsum([0, *map(len, framed)])
        heads = [at for at in range(0, len(data), 4) if data[at : at + 4] == MAGIC_BYTES]
        for head, bit in [(rng.choice(heads), rng.randrange(64)) for _ in range(50)]:
            damaged = bytearray(data)
            damaged[head + bit // 8] ^= 1 << bit % 8
            found = scan_bytes(bytes(damaged))
            record = int(np.searchsorted(starts, head, side="right")) - 1
            kept = [n for n in range(6) if n != record]
            assert found.offsets.tolist() == starts[kept].tolist(), (head, bit)
            assert found.lengths.tolist() == [len(bodies[n]) for n in kept]
            assert len(found.problems) == 1
            assert starts[record] <= found.problems[0].offset < starts[record + 1]


def random_words(rng: random.Random) -> list[bytes]:
    return [rng.choice([MAGIC_BYTES, rng.randbytes(4)]) for _ in range(rng.randrange(30))]


@pytest.mark.parametrize(
    ("bit", "reason"),
    [(3, "bad-magic"), (31, "bad-magic"), (36, "bad-length"), (60, "bad-length"), (61, "bad-flag"), (63, "bad-flag")],
)
def test_damage_has_its_reason_and_offset(tmp_path, bit, reason):
    bodies, data, starts = sample()
    damaged = bytearray(data)
    damaged[starts[3] + bit // 8] ^= 1 << bit % 8
    read, found = read_all(bytes(damaged), tmp_path)
    assert read == [*bodies[:3], bodies[4]]
    assert [(problem.offset, problem.reason) for problem in found.problems] == [(starts[3], reason)]


def test_flipped_flag_inside_a_split_record(tmp_path):
    bodies, data, starts = sample()
    middle = data.index(MAGIC_BYTES, starts[2] + 4)
    for bit in (61, 62, 63):
        damaged = bytearray(data)
        damaged[middle + bit // 8] ^= 1 << bit % 8
        read, found = read_all(bytes(damaged), tmp_path)
        assert read == [bodies[0], bodies[1], bodies[3], bodies[4]]
        assert {problem.reason for problem in found.problems} == {"bad-flag"}


def test_cut_at_every_byte(tmp_path):
    bodies, data, starts = sample()
    ends = [*starts[1:], len(data)]
    for cut in range(1, len(data)):
        read, found = read_all(data[:cut], tmp_path)
        whole = sum(end <= cut for end in ends)
        assert read == bodies[:whole]
        expected = [] if cut in ends else [(starts[whole], "truncated-record")]
        assert [(problem.offset, problem.reason) for problem in found.problems] == expected


def test_wrecked_magic_and_length(tmp_path):
    bodies, data, starts = sample()
    damaged = bytearray(data)
    damaged[starts[1]] ^= 4
    damaged[starts[1] + 5] ^= 64
    read, found = read_all(bytes(damaged), tmp_path)
    assert read == [bodies[0], *bodies[2:]]
    assert [(problem.offset, problem.reason) for problem in found.problems] == [(starts[1], "bad-magic")]


def test_overwritten_magic_and_zero_tail(tmp_path):
    bodies, data, starts = sample()
    damaged = bytearray(data + bytes(4096))
    damaged[starts[1] : starts[1] + 4] = b"XXXX"
    read, found = read_all(bytes(damaged), tmp_path)
    assert read == [bodies[0], *bodies[2:]]
    assert [problem.offset for problem in found.problems] == [starts[1], len(data)]


def test_unset_padding_is_no_damage(tmp_path):
    bodies = [b"x" * 5, b"y" * 6, b"z" * 7]
    data = b"".join(map(frame, bodies)).replace(b"\0\0\0y", b"abcy").replace(b"y\0\0", b"yab").replace(b"z\0", b"za")
    dirty = bytearray(b"".join(map(frame, bodies)))
    dirty[13:16], dirty[30:32], dirty[47:48] = b"abc", b"ab", b"a"
    assert data != dirty
    read, found = read_all(bytes(dirty), tmp_path)
    assert read == bodies
    assert found.problems == []
    dirty[30:32], dirty[47:48] = b"\0\0", b"\0"  # one of three: a length that is a byte short
    assert [problem.reason for problem in scan_bytes(bytes(dirty)).problems] == ["bad-length"]


def test_equal_sizes_hide_no_long_length(tmp_path):
    """With records of 64 framed bytes, a flipped length bit leads exactly to a later record."""
    bodies = [bytes([n]) * 56 for n in range(1, 9)]
    damaged = bytearray(b"".join(map(frame, bodies)))
    damaged[64 + 4] ^= 64
    read, found = read_all(bytes(damaged), tmp_path)
    assert read == [bodies[0], *bodies[2:]]
    assert [(problem.offset, problem.reason) for problem in found.problems] == [(64, "bad-length")]


def test_windows_meet(monkeypatch):
    monkeypatch.setattr(recscan, "_WINDOW", 7)
    _, data, starts = sample()
    assert scan_bytes(data).offsets.tolist() == starts


def test_reads_beyond_two_gigabytes(tmp_path):
    """Offsets over 2^31 in a sparse file; `tests/benchmarks` scans such a file as a whole."""
    path = tmp_path / "large.rec"
    far = 2**32 + 2**20
    with path.open("wb") as file:
        file.seek(far)
        file.write(frame(b"ABCD" + MAGIC_BYTES + b"last"))
    descriptor = os.open(path, os.O_RDONLY)
    assert read_payload(descriptor, far, 12, 2) == b"ABCD" + MAGIC_BYTES + b"last"
    assert read_payload(descriptor, far, 4, 1) == b"ABCD"
    os.close(descriptor)


def test_parts_of_other_writers_end_where_no_word_does(tmp_path):
    (tmp_path / "a.rec").write_bytes(struct.pack("<II3sxII2s2x", MAGIC, 1 << 29 | 3, b"abc", MAGIC, 3 << 29 | 2, b"de"))
    assert payloads(tmp_path / "a.rec", scan(tmp_path / "a.rec")) == [b"abc" + MAGIC_BYTES + b"de"]
