"""The page of `verify --report`: how a recogniser verified packs of pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli import __version__
from facemae_cli.data.packs.source import BinPack, PackSource
from facemae_cli.evaluation.groups import group_lines
from facemae_cli.evaluation.metrics import Floats, Verification, roc, worst_pairs
from facemae_cli.evaluation.roc_plot import alarm_axis, first_alarm, roc_line
from facemae_cli.evaluation.verification.groups import GroupAccuracy
from facemae_cli.evaluation.verification.results import DIGITS, VerifiedPack, cells
from facemae_cli.reports.html import (
    Block,
    Callout,
    Facts,
    Figure,
    Gallery,
    Paragraphs,
    Picture,
    Row,
    Section,
    Shown,
    Table,
    render,
)
from facemae_cli.reports.plots import Axis, Mark, histogram, line_plot
from facemae_cli.reports.text import decimal, percent, percent_interval, rate, sentence

ONE, TWO = "pairs of one person", "pairs of two people"
BINS = 64
FARTHEST = 4.0  # squared distance of opposite features

PROTOCOL = (
    "A face and its mirror image are embedded; the sum of both, scaled to length 1, is the face's feature. Two faces "
    "are called one person where the squared distance of their features, from 0 to 4, is below a threshold.",
    "Accuracy follows InsightFace's protocol: the pairs, in the order of the pack, are cut into 10 folds. Each fold is "
    "judged by the first threshold of 0, 0.01, …, 3.99 that judges most pairs of the other folds correctly. What is "
    "given is the mean over the folds ± their standard deviation, Wilson's 95 % interval over all pairs, and the "
    "mean of the thresholds.",
    "TAR at a FAR is the share of the pairs of one person that are accepted at the largest threshold which accepts at "
    "most that share of the pairs of two people, over all pairs, with Wilson's 95 % interval. The band of the curve "
    "is the same interval at each of its points.",
)


@dataclass(frozen=True)
class WorstPair:
    """A misjudged pair: both faces as encoded images, whether they are of one person, and their distance."""

    first: bytes
    second: bytes
    same: bool
    distance: float
    caption: str


@dataclass(frozen=True)
class PackReport:
    """A pack as it was verified: squared `distances` (p,), whether each pair is of the `same` person (p,) bool,

    the pairs to show, worst first (see `facemae_cli.evaluation.metrics.worst_pairs`), and the accuracy by group.
    """

    name: str
    verification: Verification
    distances: Floats
    same: NDArray[np.bool_]
    worst: Sequence[WorstPair] = ()
    groups: Sequence[GroupAccuracy] = ()


def pack_report(name: str, pack: PackSource, verified: VerifiedPack) -> PackReport:
    """A pack as a report shows it, with the worst misjudged pairs."""
    shown = []
    for at in worst_pairs(verified.verification, verified.distances, verified.same).tolist():
        number = int(verified.kept[at])
        first, second = pack.pairs[number].tolist()
        photos = "" if isinstance(pack, BinPack) else f": {pack.name(first).photo}, {pack.name(second).photo}"
        caption = f"pair {number + 1}{photos}"
        faces = pack.read(first), pack.read(second)
        shown.append(WorstPair(*faces, bool(verified.same[at]), float(verified.distances[at]), caption))
    return PackReport(name, verified.verification, verified.distances, verified.same, shown, verified.groups)


def verification_page(
    *,
    title: str,
    model: Mapping[str, str],
    packs: Sequence[PackReport],
    settings: Mapping[str, str],
    notes: Sequence[str] = (),
    verdict: Callout | None = None,
) -> str:
    """What `verify --report` writes: an HTML page that stands alone; equal figures give equal bytes.

    `model` and `settings` are names and values as they are to be read, digests among them; `model["name"]` is
    named in the subtitle. `notes` are what the reader must know, `verdict` is that of the gates, if any. Raises
    FaceError for a picture that cannot be read.
    """
    opening: list[Block] = [verdict] if verdict else []
    opening.append(Paragraphs([_in_words(pack) for pack in packs]))
    if notes:
        opening.append(Paragraphs(notes, remark=True))
    opening.append(_summary(packs))
    sections = [Section(pack.name, _blocks(pack, f"pack{number}")) for number, pack in enumerate(packs, 1)]
    measured: list[Block] = [Paragraphs(PROTOCOL), Facts([*_headed("model", model), *settings.items()])]
    sections.append(Section("How it was measured", measured))
    subtitle = f"Verification by {model.get('name', 'a recogniser')}"
    return render(title, subtitle, opening, sections, f"Made by facemae {__version__}.")


def _headed(head: str, values: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(head if name == "name" else f"{head} {name}", value) for name, value in values.items()]


def _in_words(pack: PackReport) -> str:
    found = pack.verification
    if found.accuracy is None:
        return f"{pack.name}: no accuracy can be given; {found.notes[0]}."
    words = f"{pack.name}: {percent(found.accuracy, DIGITS)} of {found.pairs} pairs are judged correctly"
    guess = max(found.positives, found.pairs - found.positives) / found.pairs
    words += f" (95 % interval {percent_interval(found.interval, DIGITS)})"
    return f"{words}; one answer for all would be right for {percent(guess, 0)}."


def _summary(packs: Sequence[PackReport]) -> Table:
    fars = list(dict.fromkeys(far for pack in packs for far in pack.verification.tar_at_far))
    columns = ["pack", "pairs", "accuracy ± std", "95 % interval"]
    columns += [f"TAR at FAR {decimal(far)}" for far in fars]
    rows = [[pack.name, str(pack.verification.pairs), *cells(pack.verification, fars)] for pack in packs]
    return Table([*columns, "threshold"], rows)


def _blocks(pack: PackReport, ident: str) -> list[Block]:
    found = pack.verification
    blocks: list[Block] = []
    if found.notes:
        blocks.append(Paragraphs([*map(sentence, found.notes)], remark=True))
    if found.pairs:
        blocks.append(Row([*_roc_figure(pack, ident), _histogram_figure(pack, ident)]))
    blocks.append(Facts(_details(found)))
    if pack.groups:
        blocks += [
            Paragraphs([*map(sentence, group_lines(pack.groups))]),
            _groups(pack.groups),
        ]
    for same, heading in ((True, "One person, taken for two"), (False, "Two people, taken for one")):
        shown = [_shown(pair) for pair in pack.worst if pair.same is same]
        if shown:
            blocks.append(Gallery(f"{heading}: the worst", shown))
    return blocks


def _groups(groups: Sequence[GroupAccuracy]) -> Table:
    columns = ["group", "pairs", "accuracy, 95 % interval", "two people accepted", "one person rejected"]
    rows = []
    for each in groups:
        rates = [
            rate(share, ends, DIGITS)
            for share, ends in (
                (each.accuracy, each.interval),
                (each.false_accepts, each.false_accepts_interval),
                (each.false_rejects, each.false_rejects_interval),
            )
        ]
        rows.append([f"{each.column} {each.value}", str(each.pairs), *rates])
    return Table(columns, rows, "Pairs of which both faces are in the group")


def _details(found: Verification) -> list[tuple[str, str]]:
    rows = [(ONE, str(found.positives)), (TWO, str(found.pairs - found.positives))]
    for far, tar in found.tar_at_far.items():
        threshold, interval = found.tar_thresholds[far], found.tar_intervals[far]
        if tar is not None:
            value = f"{percent(tar, DIGITS)}, 95 % interval {percent_interval(interval, DIGITS)}"
            rows.append((f"TAR at FAR {decimal(far)}", f"{value}, below a distance of {threshold:.4f}"))
    if found.folds:
        rows.append(("accuracy of each fold, %", "  ".join(f"{100 * accuracy:.2f}" for accuracy in found.folds)))
        rows.append(("threshold of each fold", "  ".join(f"{threshold:.2f}" for threshold in found.thresholds)))
    return rows


def _shown(pair: WorstPair) -> Shown:
    what = "of one person, taken for two" if pair.same else "of two people, taken for one"
    faces = (("first", pair.first), ("second", pair.second))
    pictures = [Picture(data, which, f"The {which} face of a pair {what}: {pair.caption}.") for which, data in faces]
    return Shown(pictures, (f"distance {pair.distance:.3f}", pair.caption))


def _roc_figure(pack: PackReport, ident: str) -> list[Figure]:
    """The curve, where there are pairs of both kinds."""
    negatives = pack.verification.pairs - pack.verification.positives
    if not negatives or not pack.verification.positives:
        return []
    curve = roc(pack.distances, pack.same)
    first = first_alarm(negatives)
    line = roc_line("TAR", curve, pack.verification.positives, first)
    assert line.low is not None
    room = max(1.0 - float(line.low.min()), 0.01)
    plot = line_plot(
        [line],
        alarm_axis("FAR: accepted pairs of two people", first),
        Axis("TAR: accepted pairs of one person", (max(1 - 1.03 * room, 0.0), 1 + 0.02 * room), percent=True),
        f"{ident}-roc",
    )
    area = f"The area below it is {curve.auc:.5f}."
    caption = f"ROC: accepted pairs of one person against accepted pairs of two, on a logarithmic scale. {area}"
    return [Figure(plot, caption, f"ROC curve. {area}")]


def _histogram_figure(pack: PackReport, ident: str) -> Figure:
    found = np.clip(pack.distances, 0.0, FARTHEST)
    farthest = min(FARTHEST, max(math.ceil(4 * float(found.max())) / 4, 0.25))
    groups = {ONE: found[pack.same], TWO: found[~pack.same]}
    threshold = pack.verification.threshold
    plot = histogram(
        {label: values for label, values in groups.items() if len(values)},
        np.linspace(0, farthest, BINS + 1),
        Axis("squared distance of the features", (0.0, farthest)),
        Axis("share of the pairs", (0.0, None), percent=True),
        f"{ident}-histogram",
        [] if threshold is None else [Mark(threshold, f"threshold {threshold:.2f}")],
    )
    medians = [f"median of {label} {np.median(values):.3f}" for label, values in groups.items() if len(values)]
    caption = "How far apart the faces of a pair are. The further the two kinds stand apart, the better."
    return Figure(plot, caption, f"Histograms of distances; {', '.join(medians)}.")
