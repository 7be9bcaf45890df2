from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from facemae_cli import __version__
from facemae_cli.data.images.codec import encode_png
from facemae_cli.evaluation import metrics
from facemae_cli.evaluation.verification.page import PackReport, WorstPair, verification_page
from facemae_cli.reports.html import Callout
from facemae_cli.reports.text import percent, percent_interval

EVIL = "<script>alert(1)</script>"
FACE = encode_png(np.full((16, 16, 3), 90, np.uint8))


def pack(name: str, distances: Any, same: Any, worst: tuple[WorstPair, ...] = ()) -> PackReport:
    verified = metrics.verify_distances(distances, same)
    return PackReport(name, verified, np.array(distances, float), np.array(same, bool), worst)


def sampled_report(name: str, negatives: int = 1500, seed: int = 0) -> PackReport:
    random = np.random.default_rng(seed)
    distances = np.concatenate([random.normal(0.8, 0.25, 500), random.normal(1.9, 0.2, negatives)]).clip(0, 4)
    order = random.permutation(500 + negatives)
    worst = (
        WorstPair(FACE, FACE, True, 1.9314, f"pair 7 {EVIL}"),
        WorstPair(FACE, FACE, False, 0.7, "pair 9"),
    )
    return pack(name, distances[order], (np.arange(500 + negatives) < 500)[order], worst)


def page(*packs: PackReport, **others: Any) -> str:
    model = {"name": "r50", "sha256": "ab" * 32}
    return verification_page(title="Report", model=model, packs=packs, settings={"precision": "fp32"}, **others)


@pytest.fixture(scope="module")
def two() -> str:
    verdict = Callout("passed", "Passed", [f"{EVIL} reached 90 %"])
    return page(
        sampled_report(f"lfw {EVIL}"), sampled_report("agedb", seed=1), notes=["3 people are in both"], verdict=verdict
    )


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S)))


def test_it_says_what_was_measured_and_how(two: str) -> None:
    said = text(two)
    found = sampled_report("").verification
    assert found.accuracy is not None
    assert f"{100 * found.accuracy:.2f} ± {100 * (found.std or 0):.2f} %" in said
    interval = percent_interval(found.interval, 2)
    assert f"{percent(found.accuracy, 2)} of 2000 pairs are judged correctly (95 % interval {interval})" in said
    assert "one answer for all would be right for 75 %" in said
    assert percent(found.tar_at_far[1e-3], 2) in said
    assert "TAR at FAR 0.0001 needs 10000 pairs of two people; there are 1500." in said
    for words in ("Verification by r50", "model r50", "model sha256 " + "ab" * 32, "precision fp32", "Passed"):
        assert words in said
    assert "3 people are in both" in said
    assert f"Made by facemae {__version__}." in said
    assert "InsightFace" in said


def test_it_shows_the_worst_pairs_by_kind(two: str) -> None:
    kinds = re.findall(r"<h3>(.*?)</h3>.*?</ul>", two, flags=re.S)
    assert kinds == ["One person, taken for two: the worst", "Two people, taken for one: the worst"] * 2
    assert two.count('src="data:image/jpeg;base64,') == 8
    assert "distance 1.931" in text(two)


def test_names_do_not_run(two: str) -> None:
    assert "<script" not in two
    # a sentence, a row, a heading, a reason, and of two pairs the captions and four alternative texts
    assert two.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 10


def test_ids_are_unique_over_all_plots(two: str) -> None:
    assert two.count("<figure>") == 4
    ids = re.findall(r'\sid="([^"]*)"', two)
    assert len(ids) == len(set(ids)) > 4


def test_equal_figures_give_equal_bytes() -> None:
    assert page(sampled_report("a", 100)) == page(sampled_report("a", 100))
    assert page(sampled_report("a", 100)) != page(sampled_report("a", 101))


def test_the_curve_passes_through_the_tar() -> None:
    """The plot's line at the FAR of 0.01, read off the SVG, is the TAR that the table gives."""
    report = sampled_report("a", 1000)
    svg = re.findall(r"<svg viewBox.*?</svg>", page(report), flags=re.S)[0]
    line = re.search(r'<path d="([^"]*)"[^>]*stroke: var\(--series-1\)', svg)
    assert line
    points = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", line[1]), float)
    ticks = {said: float(x) for x, said in re.findall(r'<text style="[^"]*middle" x="([\d.]+)"[^>]*>([\d.]+)<', svg)}
    heights = {said: float(y) for y, said in re.findall(r'end" x="[\d.]+" y="([\d.]+)"[^>]*>([\d.]+) %<', svg)}
    (low, y_low), *_, (high, y_high) = ((float(said), y) for said, y in heights.items())
    reached = points[points[:, 0] <= ticks["0.01"] + 0.01][-1]
    letters = 3.6  # a tick's letters stand that far below its place
    shown = low + (reached[1] + letters - y_low) / (y_high - y_low) * (high - low)
    found = metrics.verify_distances(report.distances, report.same, fars=[0.01]).tar_at_far[0.01]
    assert found is not None
    assert shown == pytest.approx(100 * found, abs=0.15)


@pytest.mark.parametrize(
    ("distances", "same", "figures", "said"),
    [
        ([], [], 0, "no accuracy can be given; no pair: there are no others"),
        ([0.5], [True], 1, "no accuracy can be given; 1 pair: there are no others"),
        ([0.5, 0.7], [False, False], 1, "No pair is of one person: there is no TAR"),
        ([0.0, 0.0, 0.0], [True, False, False], 2, "3 pairs are fewer than 10 folds"),
        ([4.0000001, 0.3], [False, True], 2, "2 pairs are fewer than 10 folds"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_packs_that_say_little_are_shown(distances: list[float], same: list[bool], figures: int, said: str) -> None:
    html = page(pack("few", distances, same))
    assert html.count("<figure>") == figures
    assert said in text(html)
    assert "nan" not in text(html)
