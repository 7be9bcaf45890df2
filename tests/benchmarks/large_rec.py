"""Opens `.rec` files of many records and of more than 2^31 bytes, and prints how long that takes.

    python tests/benchmarks/large_rec.py [RECORDS] [FOLDER]

RECORDS (2,000,000) small faces in 4 GB or so; FOLDER (the system's) takes the file, which is removed at the end.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from facemae_cli.data.recordio.records import frame, pack_header
from facemae_cli.data.recordio.source import RecSource

BODY = 2000  # bytes, give or take
CHUNK = 10_000


def write(path: Path, records: int) -> None:
    """Images of 20 each person, all cut from one block of random bytes."""
    block = random.Random(0).randbytes(2**20)
    with path.open("wb") as rec, path.with_suffix(".idx").open("w") as index:
        at = 0
        for start in range(0, records, CHUNK):
            framed, lines = [], []
            for key in range(start, min(start + CHUNK, records)):
                cut = key * 7919 % (len(block) - 2 * BODY)
                framed.append(frame(pack_header(0, float(key // 20), key) + block[cut : cut + BODY + key % 64]))
                lines.append(f"{key}\t{at}\n")
                at += len(framed[-1])
            rec.write(b"".join(framed))
            index.write("".join(lines))


def main(records: int, folder: str | None) -> None:
    """Writes the file, opens it twice (the second time from the page cache), and checks faces all over it."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "large.rec"
        write(path, records)
        size = path.stat().st_size
        print(f"{records} records, {size / 1e9:.2f} GB ({'over' if size > 2**31 else 'under'} 2^31 bytes)")
        for round_ in ("first", "again"):
            start = time.perf_counter()
            source = RecSource(path)
            seconds = time.perf_counter() - start
            print(f"opened ({round_}): {seconds:.2f} s, {records / seconds / 1e6:.2f} million records/s")
        assert len(source) == records
        assert source.refused == []
        for index in np.random.default_rng(0).integers(0, records, 1000).tolist():
            assert len(source.read(index)) == BODY + index % 64
            assert source.name(index) == (str(index // 20), str(index))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"peak memory, the mapped file included: {peak:.2f} GB")


if __name__ == "__main__":
    main(int((sys.argv[1:2] or ["2000000"])[0]), (sys.argv[2:3] or [None])[0])
