"""Figures 1 and 4 of the paper (arXiv 2205.11090): where an embedder puts faces, and what they look like.

    python tests/benchmarks/figures.py original=private masked=masked.rec MAE=mae.rec FaceMAE=released.rec \
        --model attacker/ [--people 8] [--rows 8] [--out runs/figures]

The first dataset's names join the others (`mask --keep-names`). `features.png`: a panel a dataset, its faces projected
on the two directions in which the first dataset's people differ most, the best photographed people in colour;
`faces.png`: the same photos side by side. Both show faces or features of people: keep them where the faces are kept.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode_masked, decode_visible, probe
from facemae_cli.data.open import open_source
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.reports import pictures

Photo = tuple[str, str]
Floats = NDArray[np.float64]
MOST = 2000  # faces a panel


def photos(source: FaceSource) -> dict[Photo, int]:
    """The number of each photo of somebody known, by person and file name without its ending."""
    names = [source.name(index) for index in range(len(source))]
    return {(each.identity, PurePath(each.photo).stem): at for at, each in enumerate(names) if each.identity}


def joined(sources: Mapping[str, FaceSource]) -> tuple[list[Photo], dict[str, list[int]]]:
    """Photos that are in every dataset, those of the best photographed people first, and their numbers in each."""
    numbers = {name: photos(source) for name, source in sources.items()}
    first, *others = numbers.values()
    shared = [photo for photo in first if all(photo in each for each in others)]
    if not shared:
        raise SystemExit("no photo is in all datasets by name: mask with --keep-names, or give other ones")
    count = Counter(person for person, _ in shared)
    shared.sort(key=lambda photo: (-count[photo[0]], photo))
    return shared, {name: [each[photo] for photo in shared] for name, each in numbers.items()}


def projection(features: Floats, people: Sequence[str]) -> tuple[Floats, Floats]:
    """(D,) the middle and (D, 2) the first principal directions of people's mean features."""
    labels = np.unique(np.asarray(people), return_inverse=True)[1]
    means = np.stack([features[labels == label].mean(0) for label in range(labels.max() + 1)])
    middle = means.mean(0)
    return middle, np.linalg.svd(means - middle, full_matrices=False)[2][:2].T


def draw_features(panels: Mapping[str, Floats], people: Sequence[str], coloured: Sequence[str], path: Path) -> None:
    """Scatters side by side, on the same axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(panels), 3.6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    named = np.asarray(people)
    first: Any = None
    for column, (title, points) in enumerate(panels.items()):
        axes = first = figure.add_subplot(1, len(panels), column + 1, sharex=first, sharey=first)
        axes.scatter(*points.T, s=3, color="0.8", linewidths=0)
        for number, person in enumerate(coloured):
            axes.scatter(*points[named == person].T, s=16, color=f"C{number}", linewidths=0)
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
    canvas.print_png(path)


def shown(source: FaceSource, index: int) -> pictures.Face:
    """A face as a person sees it, a masked one with its holes."""
    data = source.read(index)
    return decode_masked(data) if probe(data).has_alpha else decode_visible(data)


def main(arguments: Sequence[str]) -> None:
    """Draws both figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", metavar="TITLE=DATASET")
    parser.add_argument("--model", required=True, help="the embedder of features.png")
    parser.add_argument("--people", type=int, default=8, help="in colour")
    parser.add_argument("--rows", type=int, default=8, help="of faces.png")
    parser.add_argument("--out", type=Path, default=Path("runs/figures"))
    given = parser.parse_args(arguments)
    sources = {title: open_source(Path(place)) for title, _, place in (each.partition("=") for each in given.datasets)}
    shared, numbers = joined(sources)
    people = [person for person, _ in shared][:MOST]
    coloured = list(dict.fromkeys(people))[: given.people]
    given.out.mkdir(parents=True, exist_ok=True)

    each_person = [people.index(person) for person in dict.fromkeys(people)][: given.rows]
    rows = [[shown(source, numbers[title][at]) for title, source in sources.items()] for at in each_person]
    pictures.save_png(given.out / "faces.png", pictures.contact_sheet(rows, list(sources)))

    recognizer = Recognizer.load(given.model)
    found = {
        title: recognizer.embed(source, indexes=numbers[title][:MOST]).features.astype(np.float64)
        for title, source in sources.items()
    }
    middle, axes = projection(next(iter(found.values())), people)
    panels = {title: (features - middle) @ axes for title, features in found.items()}
    draw_features(panels, people, coloured, given.out / "features.png")
    print(f"{len(people)} photos of {len(set(people))} people: {given.out}/features.png and {given.out}/faces.png")


if __name__ == "__main__":
    main(sys.argv[1:])
