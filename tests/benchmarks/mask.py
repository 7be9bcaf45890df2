"""`facemae mask` of a `.rec`, to a folder and to a `.rec`, beside a loop of Pillow and numpy that does the same.

    python tests/benchmarks/mask.py [--faces 2000]

The plain loop reads the `.rec` by struct, hides 147 random patches and lets Pillow write PNG; on one thread, as one
would write it first, and on all. facemae also draws masks from each photo's pixels and a key, gives new names in a new
order, checks every image it reads, and makes the output durable. The floor is OpenCV's decoder and encoder alone.
"""

from __future__ import annotations

import argparse
import io
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from codec import cv2_decode, cv2_png
from drawings import write_faces
from PIL import Image
from timing import Floor, begin, cores, timed

from facemae_cli.data.images.codec import decode_masked
from facemae_cli.data.open import open_source
from facemae_cli.masking import patches as masking
from facemae_cli.tasks.mask import mask

HIDDEN = 147  # of 196 patches


def bodies(path: Path) -> Iterator[bytes]:
    """The images of a `.rec`, in its order."""
    with path.open("rb") as file:
        while head := file.read(8):
            length = struct.unpack("<II", head)[1] & (2**29 - 1)
            payload = file.read(length + 3 & ~3)[:length]
            flag = struct.unpack_from("<I", payload)[0]
            if len(payload) > 24 + 4 * flag:
                yield payload[24 + 4 * flag :]


def plain_masked(data: bytes) -> bytes:
    """One face, 147 of its patches gone, as PNG."""
    face = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    height, width = face.shape[:2]
    visible = np.ones(196, np.uint8)
    visible[np.random.permutation(196)[:HIDDEN]] = 0
    alpha = np.kron(visible.reshape(14, 14), np.ones((height // 14, width // 14), np.uint8))[..., None]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([face * alpha, alpha * 255], axis=2)).save(buffer, "PNG")
    return buffer.getvalue()


def plain(source: Path, out: Path, threads: int) -> None:
    """All faces of a `.rec`, by one thread or several, into a folder or a `.rec`."""
    if threads == 1:
        store(map(plain_masked, bodies(source)), out)
    else:
        with ThreadPoolExecutor(threads) as pool:
            store(pool.map(plain_masked, bodies(source)), out)


def store(images: Iterable[bytes], out: Path) -> None:
    """A file each in a folder, or records under their numbers, with an `.idx`."""
    if out.suffix != ".rec":
        out.mkdir(exist_ok=True)
        for number, image in enumerate(images):
            (out / f"{number}.png").write_bytes(image)
        return
    with out.open("wb") as rec, out.with_suffix(".idx").open("w") as index:
        for number, image in enumerate(images):
            payload = struct.pack("<IfQQ", 0, 0.0, number, 0) + image
            index.write(f"{number}\t{rec.tell()}\n")
            rec.write(struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4))


def check(out: Path, faces: int) -> None:
    """All faces are there, each with 147 patches hidden."""
    source = open_source(out)
    assert len(source) == faces, f"{out.name}: {len(source)} faces"
    for index in range(0, faces, 97):
        assert int(masking.read_mask(decode_masked(source.read(index))).sum()) == HIDDEN


def codecs_alone(source: Path) -> float:
    """Seconds for OpenCV to decode and encode every face, on one thread."""
    random, jpegs = np.random.default_rng(0), list(bodies(source))
    masks = [masking.hidden("random", random.permutation(196)) for _ in jpegs]
    masked = [masking.apply(cv2_decode(data), mask) for data, mask in zip(jpegs, masks, strict=True)]
    decoded = min(timed(lambda: [cv2_decode(data) for data in jpegs]) for _ in range(3))
    return decoded + min(timed(lambda: [cv2_png(face) for face in masked]) for _ in range(3))


def main(argv: list[str] | None = None) -> None:
    """Both forms of output, after which what was written is looked at."""
    parser = argparse.ArgumentParser("mask.py", description=__doc__)
    parser.add_argument("--faces", type=int, default=2000)
    options, bench = begin(parser, argv)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = write_faces(root / "raw.rec", options.faces)
        floor = Floor(codecs_alone(source) / cores(), f"OpenCV's decoder and encoder alone on {cores()} cores")
        for form, suffix in (("folder", ""), (".rec", ".rec")):
            outs = [root / f"{name}{suffix}" for name in ("plain", "threads", "ours")]
            sides: dict[str, Callable[[], object]] = {
                "plain loop": partial(plain, source, outs[0], 1),
                f"plain loop, {cores()} threads": partial(plain, source, outs[1], cores()),
                "facemae mask": partial(mask, source, outs[2], key=root / "key", overwrite=True),
            }
            bench.compare(f"mask: .rec to {form}, {options.faces} faces", sides, options.faces, floor)
            for out in outs:
                check(out, options.faces)


if __name__ == "__main__":
    main()
