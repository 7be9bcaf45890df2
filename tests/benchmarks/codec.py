"""Decoding and encoding of 112-pixel faces by facemae, beside Pillow, on one thread and on all.

    python tests/benchmarks/codec.py [--faces 2000]

OpenCV alone, without facemae's checks of every header and checksum and without a turn from BGR, is the third side.
What each side gives is compared: PNGs are equal, JPEGs within what rounding in two versions of libjpeg allows.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import cv2
import numpy as np
from drawings import faces
from PIL import Image
from timing import Bench, Floor, bandwidth, begin, cores

from facemae_cli.data.images.codec import decode, decode_masked, encode_jpeg, encode_png
from facemae_cli.masking import patches

QUALITY = 95
ROUNDING = 2.0  # levels that two decoders may differ by, on average
Codec = Callable[[Any], Any]


def masked(face: np.ndarray, seed: int) -> np.ndarray:
    """(H, W, 4) RGBA with 147 of 196 patches gone."""
    return patches.apply(face, patches.hidden("random", np.random.default_rng(seed).permutation(196)))


def pillow_decode(mode: str, data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def pillow_jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def pillow_png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def cv2_decode(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def cv2_jpeg(image: np.ndarray) -> bytes:
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, *sampling])[1].tobytes()


def cv2_png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def size(item: Any) -> int:
    """Bytes of an image, encoded or not."""
    return item.nbytes if isinstance(item, np.ndarray) else len(item)


def pixels(item: Any) -> np.ndarray:
    """Of an image, encoded or not; RGB or RGBA."""
    if isinstance(item, np.ndarray):
        return item.astype(np.float64)
    picture = Image.open(io.BytesIO(item))
    return np.asarray(picture).astype(np.float64)


def agree(ours: Codec, theirs: Codec, items: Sequence[Any], exact: bool) -> None:
    """Both give the same pictures."""
    for item in items:
        apart = np.abs(pixels(ours(item)) - pixels(theirs(item)))
        assert apart.max() == 0 if exact else apart.mean() <= ROUNDING, apart.max()


def measure(bench: Bench, what: str, sides: dict[str, Codec], items: Sequence[Any], copy: float) -> None:
    """The sides on one thread, then on all, over the same items."""
    moved = sum(size(item) for item in items) * (1 + size(sides["facemae"](items[0])) / size(items[0]))
    floor = Floor(moved / copy, f"each byte in and out once, at {copy / 1e9:.1f} GB/s")
    alone: dict[str, Any] = {name: lambda codec=codec: [codec(item) for item in items] for name, codec in sides.items()}
    bench.compare(f"{what}, one thread", alone, len(items), floor)
    with ThreadPoolExecutor(cores()) as pool:
        shares = [items[at :: cores()] for at in range(cores())]

        def together(codec: Codec) -> None:
            list(pool.map(lambda share: [codec(item) for item in share], shares))

        spread = {name: partial(together, codec) for name, codec in sides.items()}
        bench.compare(f"{what}, {cores()} threads", spread, len(items), floor)


def main(argv: list[str] | None = None) -> None:
    """Four codecs on one thread and on all."""
    parser = argparse.ArgumentParser("codec.py", description=__doc__)
    parser.add_argument("--faces", type=int, default=2000)
    options, bench = begin(parser, argv)
    if bench is None:
        return
    raw = faces(options.faces)
    hidden = [masked(face, seed) for seed, face in enumerate(raw)]
    jpegs, pngs = [encode_jpeg(face, QUALITY) for face in raw], [encode_png(face) for face in hidden]
    copy = bandwidth()
    runs: list[tuple[str, Sequence[Any], tuple[Codec, Codec, Codec], bool]] = [
        ("JPEG decoded", jpegs, (partial(pillow_decode, "RGB"), cv2_decode, decode), False),
        ("masked PNG decoded", pngs, (partial(pillow_decode, "RGBA"), cv2_decode, decode_masked), True),
        ("JPEG encoded, quality 95, 4:4:4", raw, (pillow_jpeg, cv2_jpeg, partial(encode_jpeg, quality=QUALITY)), False),
        ("masked PNG encoded", hidden, (pillow_png, cv2_png, encode_png), True),
    ]
    for what, items, (pillow, bare, ours), exact in runs:
        agree(ours, pillow, items[:8], exact)
        measure(bench, what, {"Pillow": pillow, "OpenCV alone": bare, "facemae": ours}, items, copy)
    kilobytes = [sum(map(len, map(encode, hidden[:8]))) / 8000 for encode in (pillow_png, cv2_png, encode_png)]
    print("a masked PNG takes {:.1f} kB by Pillow, {:.1f} by OpenCV, {:.1f} by facemae".format(*kilobytes))


if __name__ == "__main__":
    main()
