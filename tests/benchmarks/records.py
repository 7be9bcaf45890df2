"""`.rec` files opened and read by facemae, beside MXNet's MXIndexedRecordIO, DALI's reader and a plain loop.

    python tests/benchmarks/records.py [--records 100000]

MXNet (1.9.1 wants Python 3.11 and numpy 1.23) and DALI are measured where they are installed; facemae's reader needs
numpy alone, so an environment that holds nothing but MXNet does, with PYTHONPATH=. set. Bodies are random bytes as
long as a face's JPEG. The plain loop is struct and seek, as one would write it. Opening without an `.idx`, facemae
looks at every byte, to tell what is damaged; the others only follow the lengths. With one it looks at a few records,
and at each other where it is used, which the names ask for.
"""

from __future__ import annotations

import argparse
import struct
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from timing import Bench, Floor, bandwidth, begin

from facemae_cli.data.faces import Name
from facemae_cli.data.recordio.records import frame, pack_header
from facemae_cli.data.recordio.source import RecSource

Read = Callable[[list[int]], int]  # the bodies of these keys; returns their bytes, together
SHORTEST, LONGEST = 4000, 12000  # bytes of a body


def write(path: Path, records: int) -> int:
    """Faces in im2rec's layout with an `.idx`, ten of each person; returns the bytes of all bodies."""
    random = np.random.default_rng(0)
    block = random.bytes(2**20)
    lengths = random.integers(SHORTEST, LONGEST, records).tolist()
    with path.open("wb") as rec, path.with_suffix(".idx").open("w") as index:
        for key, length in enumerate(lengths):
            at = key * 7919 % (len(block) - LONGEST)
            index.write(f"{key}\t{rec.tell()}\n")
            rec.write(frame(pack_header(0, float(key // 10), key) + block[at : at + length]))
    return sum(lengths)


def plain_scan(path: Path) -> list[int]:
    """Where each record starts, by following the lengths."""
    offsets = []
    with path.open("rb") as file:
        while head := file.read(8):
            offsets.append(file.tell() - 8)
            length = struct.unpack("<II", head)[1] & (2**29 - 1)
            file.seek(length + 3 & ~3, 1)
    return offsets


def plain_index(path: Path) -> dict[int, int]:
    """Offset by key, of an `.idx`."""
    lines = (line.split("\t") for line in path.with_suffix(".idx").read_text().splitlines())
    return {int(key): int(offset) for key, offset in lines}


def plain_read(file: BinaryIO, index: dict[int, int], keys: list[int]) -> int:
    """Seek, read, take the header off."""
    total = 0
    for key in keys:
        file.seek(index[key])
        payload = file.read(struct.unpack("<II", file.read(8))[1] & (2**29 - 1))
        struct.unpack_from("<IfQQ", payload)
        total += len(payload[24:])
    return total


def our_read(source: RecSource, keys: list[int]) -> int:
    return sum(len(source.read(key)) for key in keys)


def all_names(source: RecSource) -> list[Name]:
    return [source.name(index) for index in range(len(source))]


def mxnet_read(reader: Any, unpack: Any, keys: list[int]) -> int:
    return sum(len(unpack(reader.read_idx(key))[1]) for key in keys)


def dali_read(path: Path, records: int, shuffled: bool) -> Callable[[], int]:
    """One epoch of DALI's own reader, which takes no order but its own shuffling; 256 records a batch."""
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=256, num_threads=1, device_id=None)
    def reading() -> Any:
        options = {"path": [str(path)], "index_path": [str(path.with_suffix(".idx"))], "random_shuffle": shuffled}
        return tuple(fn.readers.mxnet(**options, initial_fill=4096))  # bodies, labels

    pipeline = reading()
    pipeline.build()

    def epoch() -> int:
        total = done = 0
        while done < records:
            bodies, _ = pipeline.run()
            lengths = [shape[0] for shape in bodies.shape()][: records - done]
            total, done = total + sum(lengths), done + len(lengths)
        return total

    return epoch


def opening(bench: Bench, path: Path, records: int, copy: float) -> None:
    """Opens the file with its `.idx`, and without."""
    size = path.stat().st_size
    bare = path.with_name("bare.rec")
    bare.hardlink_to(path)
    floor = Floor(
        size / copy, f"to look at all of {size / 1e6:.0f} MB at {copy / 1e9:.1f} GB/s, which the others need not"
    )
    sides: dict[str, Any] = {"plain loop over the lengths": lambda: plain_scan(bare)}
    sides["facemae, every byte looked at"] = lambda: RecSource(bare)
    bench.compare(f".rec opened without .idx: {records:,} records", sides, records, floor, "records")
    listed = path.with_suffix(".idx").stat().st_size
    floor = Floor(listed / copy, f"to look at the {listed / 1e6:.1f} MB of the .idx")
    sides = {"plain loop over the .idx": lambda: plain_index(path)}
    if find_spec("mxnet"):
        from mxnet import recordio

        index, rec = str(path.with_suffix(".idx")), str(path)
        sides = {"MXIndexedRecordIO": lambda: recordio.MXIndexedRecordIO(index, rec, "r").close(), **sides}
    sides["facemae, by its .idx"] = lambda: RecSource(path)
    sides["facemae, every byte looked at"] = lambda: RecSource(path, whole=True)
    sides["facemae, by its .idx, and all names"] = lambda: all_names(RecSource(path))
    sides["every byte looked at, and all names"] = lambda: all_names(RecSource(path, whole=True))
    bench.compare(f".rec opened with its .idx: {records:,} records", sides, records, floor, "records")


def reading(bench: Bench, path: Path, records: int, total: int, copy: float) -> None:
    """Reads every body, in order and in a random one, and checks that all sides have read as much."""
    source, index = RecSource(path), plain_index(path)
    floor = Floor(2 * total / copy, f"each byte read and written once, at {copy / 1e9:.1f} GB/s")
    with path.open("rb") as file:
        for how, keys in (
            ("in order", list(range(records))),
            ("at random", np.random.default_rng(1).permutation(records).tolist()),
        ):
            sides: dict[str, Any] = {}
            if find_spec("mxnet"):
                from mxnet import recordio

                reader = recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "r")
                sides["MXIndexedRecordIO"] = lambda reader=reader, keys=keys: mxnet_read(reader, recordio.unpack, keys)
            if find_spec("nvidia.dali") if find_spec("nvidia") else False:
                sides["DALI, readers.mxnet"] = dali_read(path, records, how == "at random")
            sides["plain loop, struct and seek"] = lambda keys=keys: plain_read(file, index, keys)
            sides["facemae"] = lambda keys=keys: our_read(source, keys)
            read = {name: work() for name, work in sides.items() if "DALI" not in name}
            assert set(read.values()) == {total}, read
            bench.compare(f".rec read {how}: {records:,} bodies", sides, records, floor, "records")


def main(argv: list[str] | None = None) -> None:
    """Writes the file, from which everything is then read through the page cache."""
    parser = argparse.ArgumentParser("records.py", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    options, bench = begin(parser, argv)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "faces.rec"
        total = write(path, options.records)
        copy = bandwidth()
        opening(bench, path, options.records, copy)
        reading(bench, path, options.records, total, copy)


if __name__ == "__main__":
    main()
