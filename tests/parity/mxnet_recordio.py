"""RecordIO parity with MXNet 1.9.1, both ways and byte for byte; and the fixture the test suite keeps.

MXNet needs an environment of its own: Python 3.11, `mxnet==1.9.1`, `numpy==1.23.5`. There, from the checkout:

    PYTHONPATH=. python tests/parity/mxnet_recordio.py [--write-fixture tests/data/fixtures]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

import mxnet as mx
import numpy as np

from facemae_cli.data.recordio.records import MAGIC, frame, pack_header, read_payload, scan, unpack_header

MAGIC_BYTES = struct.pack("<I", MAGIC)


class Record(NamedTuple):
    flag: int
    labels: list[float]
    key: int
    id2: int
    body: bytes


def random_record(random_: random.Random, key: int, longest: int) -> Record:
    """A record of flag 0, 2 or 5; a fifth have no body, most of the others hold the magic somewhere."""
    flag = random_.choice([0, 2, 5])
    labels = [float(np.float32(random_.uniform(-1e6, 1e6))) for _ in range(max(flag, 1))]
    if random_.random() < 0.05:
        labels[0] = float(np.frombuffer(MAGIC_BYTES, "<f4")[0])  # the magic in the header itself
    is_empty = random_.random() < 0.2
    body = bytearray(random_.randbytes(0 if is_empty else random_.randrange(longest)))
    for _ in range(0 if is_empty else random_.randrange(5)):
        at = random_.randrange(len(body) + 1)
        at -= at % 4 if random_.random() < 0.6 else 0
        body[at : at + 4] = MAGIC_BYTES * random_.choice([1, 1, 2])
    return Record(flag, labels, key, random_.choice([0, 1, 2**63 + key]), bytes(body))


def mxnet_payload(record: Record) -> bytes:
    label = record.labels[0] if record.flag == 0 else record.labels
    return mx.recordio.pack(mx.recordio.IRHeader(record.flag, label, record.key, record.id2), record.body)


def our_payload(record: Record) -> bytes:
    label = record.labels[0] if record.flag == 0 else record.labels
    return pack_header(record.flag, label, record.key, record.id2) + record.body


def write_by_mxnet(folder: Path, records: list[Record]) -> Path:
    path = folder / "mxnet.rec"
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for record in records:
        writer.write_idx(record.key, mxnet_payload(record))
    writer.close()
    return path


def write_by_us(folder: Path, records: list[Record]) -> Path:
    path = folder / "ours.rec"
    with path.open("wb") as rec, path.with_suffix(".idx").open("w") as index:
        for record in records:
            index.write(f"{record.key}\t{rec.tell()}\n")
            rec.write(frame(our_payload(record)))
    return path


def check_our_reader(path: Path, records: list[Record]) -> int:
    """Our reading of MXNet's file: returns how many records it had split."""
    found = scan(path)
    assert found.problems == []
    assert len(found.offsets) == len(records)
    descriptor = os.open(path, os.O_RDONLY)
    for record, *where in zip(
        records, found.offsets.tolist(), found.lengths.tolist(), found.parts.tolist(), strict=True
    ):
        payload = read_payload(descriptor, *where)
        assert payload == mxnet_payload(record)
        header, start = unpack_header(payload)
        labels = [header.label] if record.flag == 0 else list(header.label)
        assert (header.flag, labels, header.key, header.id2, payload[start:]) == record
    os.close(descriptor)
    return int((found.parts > 1).sum())


def check_mxnet_reader(path: Path, records: list[Record]) -> None:
    reader = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
    assert reader.keys == [record.key for record in records]
    for record in records:
        payload = reader.read_idx(record.key)
        assert payload == our_payload(record)
        header, body = mx.recordio.unpack(payload)
        assert (header.flag, header.id, header.id2, body) == (record.flag, record.key, record.id2, record.body)
        assert np.atleast_1d(header.label).tolist() == record.labels
    reader.close()


def write_fixture(folder: Path) -> None:
    random_ = random.Random(19)
    records = [random_record(random_, key, 60) for key in range(40)]
    written = write_by_mxnet(folder, records)
    for suffix in (".rec", ".idx"):
        written.with_suffix(suffix).replace(folder / f"mxnet_vectors{suffix}")
    rows = [record._replace(body=record.body.hex()) for record in records]
    text = ",\n".join(json.dumps(row) for row in rows)
    (folder / "mxnet_vectors.json").write_text(f"[\n{text}\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-fixture", type=Path)
    folder = parser.parse_args().write_fixture
    if folder:
        write_fixture(folder)
    random_ = random.Random(2205)
    records = [random_record(random_, key, 400) for key in range(1000)]
    with tempfile.TemporaryDirectory() as scratch:
        theirs, ours = write_by_mxnet(Path(scratch), records), write_by_us(Path(scratch), records)
        split = check_our_reader(theirs, records)
        check_mxnet_reader(ours, records)
        same = [theirs.with_suffix(s).read_bytes() == ours.with_suffix(s).read_bytes() for s in (".rec", ".idx")]
        size = theirs.stat().st_size
    flags = {flag: sum(record.flag == flag for record in records) for flag in (0, 2, 5)}
    aligned = sum(at % 4 == 0 for record in records for at in magics(record))
    unaligned = sum(at % 4 != 0 for record in records for at in magics(record))
    empty = sum(not record.body for record in records)
    print(f"mxnet {mx.__version__}, numpy {np.__version__}: {len(records)} records, {size} bytes")
    print(
        f"records by flag {flags}, empty bodies {empty}, magics in payloads: {aligned} aligned, {unaligned} unaligned"
    )
    print(f"written by mxnet, read by facemae: {len(records)} equal payloads and headers, {split} of them split")
    print(f"written by facemae, read by mxnet: {len(records)} equal payloads and headers")
    print(f"files byte-identical: .rec {same[0]}, .idx {same[1]}")
    assert all(same)


def magics(record: Record) -> list[int]:
    payload = mxnet_payload(record)
    return [at for at in range(len(payload) - 3) if payload[at : at + 4] == MAGIC_BYTES]


if __name__ == "__main__":
    main()
