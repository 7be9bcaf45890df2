"""What `facemae align` makes of aligned faces that were put into larger photos, against those faces themselves.

    python tests/benchmarks/align.py FACES --detector yunet.onnx --model mobilefacenet.onnx [--pairs 1000]

FACES: a `.rec` or a folder, of whose people pairs are sampled, or a pack, of whose pairs the first of each kind are
taken. Faces are turned by up to 30 degrees, scaled by 0.5 to 4, one to four a photo. Told are the share that is missed,
verification by the model over the pairs of which both faces were found, for the given crops, for those of one look and
of two, also for the most turned faces, and photos a second on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1]))  # for the tests' helpers
from helpers.scenes import Image, Scene, several
from helpers.sources import MemorySource

from facemae_cli.data.alignment import search
from facemae_cli.data.alignment.detector import Detector, load_detector
from facemae_cli.data.alignment.search import Found
from facemae_cli.data.alignment.template import SIZE, apply, warp
from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode, encode_png
from facemae_cli.data.open import kind_of, open_source
from facemae_cli.data.packs.pairs import sample_pairs
from facemae_cli.data.packs.source import open_pack
from facemae_cli.evaluation.metrics import verify_pairs
from facemae_cli.inference.recognizer import Recognizer

TURNED = 15  # degrees, above which a face counts among the most turned
MOST = 4  # faces in a photo
Crops = Mapping[int, Image]


def open_pairs(path: Path, count: int) -> tuple[FaceSource, NDArray[np.int64], NDArray[np.bool_]]:
    """The faces, and about `count` pairs of them: (n, 2) indexes, and whether each is of one person."""
    if kind_of(path) == "pack":
        pack = open_pack(path)
        # Every nth pair, so that all folds are thinned alike.
        kept = np.arange(0, len(pack.same), max(len(pack.same) // count, 1))
        return pack, pack.pairs[kept], pack.same[kept]
    source = open_source(path)
    pairs, same = sample_pairs([source.name(index).identity for index in range(len(source))], count, 0)
    return source, pairs, same


def scenes(faces: Sequence[Image], seed: int) -> tuple[list[tuple[list[int], Scene]], NDArray[np.float64]]:
    """Photos with the numbers of the faces in each, and by how many degrees each face is turned."""
    rng = np.random.default_rng(seed)
    angles, scales = rng.uniform(-30, 30, len(faces)), np.exp(rng.uniform(np.log(0.5), np.log(4), len(faces)))
    order, made = rng.permutation(len(faces)).tolist(), []
    while order:
        group, order = order[: (size := int(rng.integers(1, MOST + 1)))], order[size:]
        made.append((group, several([faces[n] for n in group], scales[group], angles[group], group[0])))
    return made, angles


def nearest(found: Sequence[Found], matrix: NDArray[np.float64]) -> Found | None:
    """The found face that stands where one was put, if there is one."""
    middle = apply(matrix, np.full((1, 2), (SIZE - 1) / 2))
    side = SIZE * float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return next((face for face in found if np.abs(face.middle - middle).max() < 0.3 * side), None)


def align_all(
    photos: Sequence[tuple[list[int], Scene]], look: Callable[[Image], Sequence[Found]]
) -> tuple[Crops, int, float]:
    """The crop of each face that was found, how many more were found than put there, and the seconds it took."""
    crops: dict[int, Image] = {}
    more, took = 0, 0.0
    for group, scene in photos:
        start = time.perf_counter()
        found = look(scene.photo)
        took += time.perf_counter() - start
        matched = {n: face for n, matrix in zip(group, scene.placed, strict=True) if (face := nearest(found, matrix))}
        crops |= {n: warp(scene.photo, face.matrix, SIZE) for n, face in matched.items()}
        more += len(found) - len(matched)
    return crops, more, took


def embedded(recognizer: Recognizer, images: Crops) -> dict[int, NDArray[np.floating]]:
    """The feature of each image."""
    source = MemorySource([(None, f"{n}.png", encode_png(image)) for n, image in images.items()])
    return dict(zip(images, recognizer.embed(source).features, strict=True))


def first_look(photo: Image, detector: Detector) -> list[Found]:
    """What one look finds."""
    return search._apart(search._search(photo, detector, False))


def main(argv: list[str] | None = None) -> None:
    """Puts faces into photos, aligns them, and verifies."""
    parser = argparse.ArgumentParser("align.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--detector", type=Path, help="YuNet's ONNX file, by default that of the hub")
    parser.add_argument("--model", default="embedder-v1")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    detector = load_detector(options.detector)
    source, pairs, same = open_pairs(options.faces, options.pairs)
    used = np.unique(pairs)
    faces = [decode(source.read(int(index))) for index in used]
    pairs = np.searchsorted(used, pairs)
    photos, angles = scenes(faces, options.seed)
    sides = {"one look": lambda photo: first_look(photo, detector)}
    sides["two looks"] = lambda photo: search.find_faces(photo, detector)
    recognizer = Recognizer.load(options.model, "cpu", "fp32")
    given = embedded(recognizer, dict(enumerate(faces)))
    print(f"{len(faces)} faces in {len(photos)} photos, {len(pairs)} pairs, by {options.model}")
    for name, look in sides.items():
        crops, more, took = align_all(photos, look)
        missed = len(faces) - len(crops)
        print(f"{name}: {missed} missed ({100 * missed / len(faces):.2f} %), {more} found where none is,", end=" ")
        print(f"{len(photos) / took:.1f} photos/s, {len(faces) / took:.1f} faces/s")
        features = {**given, **embedded(recognizer, crops)}
        both = np.array([first in crops and second in crops for first, second in pairs.tolist()])
        turned = both & (np.abs(angles[pairs]) > TURNED).all(1)
        for which, kept in (("all pairs", both), (f"both turned by over {TURNED} degrees", turned)):
            tell(which, pairs[kept], same[kept], given, features)


def tell(
    which: str,
    pairs: NDArray[np.int64],
    same: NDArray[np.bool_],
    given: Mapping[int, NDArray[np.floating]],
    aligned: Mapping[int, NDArray[np.floating]],
) -> None:
    """Prints the accuracy over these pairs, of the given crops and of the aligned ones."""
    told = []
    for features in (given, aligned):
        stacked = np.stack([features[n] for n in sorted(given)])
        found = verify_pairs(stacked, pairs, same)
        told.append(f"{100 * (found.accuracy or 0):.2f} +- {100 * (found.std or 0):.2f} %")
    print(f"  {which} ({len(pairs)}): given {told[0]}, aligned {told[1]}")


if __name__ == "__main__":
    main()
