"""A dataset seen by all attackers of an audit: from one reading of its faces, beside a reading for each attacker.

    python tests/benchmarks/audit.py [--faces 512]

Attackers are two small networks with random weights, and thumbnails. How often a face is decoded is printed first. The
floor is what the networks take with all faces in memory.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from drawings import write_faces
from random_models import write_folder
from timing import Floor, begin, timed

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode_visible
from facemae_cli.data.open import open_source
from facemae_cli.evaluation.leakage.dataset_features import see_dataset
from facemae_cli.evaluation.leakage.face_stream import Viewer
from facemae_cli.evaluation.leakage.fingerprints import thumbnail
from facemae_cli.evaluation.leakage.thumbnails import THUMBNAILS
from facemae_cli.inference.embed import features_of
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.zoo import resolve


@contextmanager
def counting_decodes(counts: Counter[str], name: str) -> Iterator[None]:
    """Counts images decoded within."""
    decoder: Callable[..., Any] = cv2.imdecode

    def counted(*given: Any) -> Any:
        counts[name] += 1
        return decoder(*given)

    cv2.imdecode = counted
    try:
        yield
    finally:
        cv2.imdecode = decoder


def one_by_one(source: FaceSource, recognizers: list[Recognizer]) -> None:
    """Each attacker reads every face for itself, and so does who looks for copies."""
    small = np.stack([thumbnail(decode_visible(source.read(at))) for at in range(len(source))])
    for each in THUMBNAILS.values():
        each.of(small, np.ones(len(small), np.bool_))
    for recognizer in recognizers:
        recognizer.embed(source)


def main(argv: list[str] | None = None) -> None:
    """Both ways by turns."""
    parser = argparse.ArgumentParser("audit.py", description=__doc__)
    parser.add_argument("--faces", type=int, default=512)
    options, bench = begin(parser, argv)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        source = open_source(write_faces(root / "faces.rec", options.faces))
        card = resolve("probe").card
        recognizers = [Recognizer.load(str(write_folder(card, root / name).path), bench.device) for name in "ab"]
        viewers = {name: Viewer.of(each, "auto") for name, each in zip("ab", recognizers, strict=True)}
        viewers |= {name: Viewer.of(each, "auto") for name, each in THUMBNAILS.items()}
        ways = {
            "a reading for each attacker": partial(one_by_one, source, recognizers),
            "facemae, one reading": partial(see_dataset, source, viewers),
        }
        counts: Counter[str] = Counter()
        for name, way in ways.items():
            with counting_decodes(counts, name):
                way()
            print(f"  {name}: {counts[name] / options.faces:.2f} decodes a face")
        images = [np.zeros((112, 112, 3), np.uint8)] * min(options.faces, 64)
        runners = [viewer.runner for viewer in viewers.values() if viewer.runner]
        alone = min(
            timed(lambda: [features_of(images, runner, recognizers[0].dim) for runner in runners]) for _ in range(3)
        )
        floor = Floor(alone * options.faces / len(images), "what the networks take with the faces in memory")
        bench.compare(f"a dataset for all attackers of an audit: {options.faces} faces", ways, options.faces, floor)


if __name__ == "__main__":
    main()
