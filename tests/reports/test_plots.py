from __future__ import annotations

import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from facemae_cli.reports import plots
from facemae_cli.reports.plots import Axis, Line, Mark

X, Y = Axis("across"), Axis("up")


def line(label: str, *points: tuple[float, float], steps: bool = False) -> Line:
    x, y = np.array(points, float).T
    return Line(label, x, y, steps=steps)


def series(svg: str, number: int) -> list[list[tuple[float, float]]]:
    """The paths drawn as lines in a series' colour, as points with y upwards."""
    paths = []
    for path in ElementTree.fromstring(svg).iter("path"):
        if f"stroke: var(--series-{number})" in path.get("style", ""):
            numbers = [float(n) for n in re.findall(r"-?\d+\.?\d*", path.get("d", ""))]
            paths.append([(x, -y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)])
    return paths


@pytest.fixture(scope="module")
def two_lines() -> plots.Plot:
    x = np.array([1.0, 2.0, 4.0])
    first = Line("attack <script>", x, x, x - 0.5, x + 0.5)
    marks = [Mark(2.0, "half & half"), Mark(3.0, "limit", across=True)]
    return plots.line_plot(
        [first, line("_chance $\\frac", (1, 1), (4, 2))], Axis("<b>x & $\\frac</b>"), Y, "both", marks=marks
    )


def test_importing_loads_no_matplotlib_and_drawing_no_pyplot() -> None:
    script = """
import sys, facemae_cli.evaluation.verification.page, numpy as np
assert not {"matplotlib", "jinja2", "torch"} & set(sys.modules)
from facemae_cli.reports.plots import *
histogram({"a": np.array([0.5])}, np.linspace(0, 1, 3), Axis("x"), Axis("y"), "a")
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_svg_takes_colours_and_letters_from_its_page(two_lines: plots.Plot) -> None:
    assert not re.search(r"#0000|font-family|xmlns|http|<style|<metadata|<!|<\?", two_lines.svg)
    assert two_lines.svg.startswith("<svg viewBox=")
    assert {"var(--series-1)", "var(--series-2)", "currentColor"} <= set(
        re.findall(r"[\w-]+\([\w-]+\)|currentColor", two_lines.svg)
    )
    colours = {colour for _, colour in re.findall(r"(fill|stroke): ([^;\"]+)", two_lines.svg)}
    assert colours == {"none", "currentColor", "var(--series-1)", "var(--series-2)"}


def test_labels_are_text_and_nothing_else(two_lines: plots.Plot) -> None:
    texts = [element.text for element in ElementTree.fromstring(two_lines.svg).iter("text")]
    assert {"<b>x & $\\frac</b>", "up", "half & half", "limit"} <= set(texts)
    assert "<b>" not in two_lines.svg
    assert [(key.label, key.series, key.filled) for key in two_lines.legend] == [
        ("attack <script>", 0, False),
        ("_chance $\\frac", 1, False),
    ]


def test_ids_begin_with_the_ident_and_are_the_ones_referred_to(two_lines: plots.Plot) -> None:
    ids = re.findall(r' id="([^"]*)"', two_lines.svg)
    assert ids
    assert len(ids) == len(set(ids))
    assert all(name.startswith("both-") for name in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', two_lines.svg)) == set(ids)


@pytest.mark.parametrize("ident", ["", "1a", 'a"b', "a b", "a\n"])
def test_an_ident_is_plain(ident: str) -> None:
    with pytest.raises(ValueError, match="letters, digits and dashes"):
        plots.line_plot([], X, Y, ident)


def test_equal_figures_give_equal_bytes_in_any_style() -> None:
    lines = [line("a", (0, 0), (1, 1))]
    before = plots.line_plot(lines, X, Y, "a")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30, "svg.hashsalt": None, "lines.marker": "x"}):
        assert plots.line_plot(lines, X, Y, "a") == before


def test_lines_go_where_the_figures_are(two_lines: plots.Plot) -> None:
    (first,) = [path for path in series(two_lines.svg, 1) if len(path) == 3]
    (x1, y1), (x2, y2), (x3, y3) = first
    assert (x3 - x2) / (x2 - x1) == pytest.approx(2, abs=1e-3)
    assert (y3 - y2) / (y2 - y1) == pytest.approx(2, abs=1e-3)
    (second,) = [path for path in series(two_lines.svg, 2) if len(path) == 2]
    assert second[0] == pytest.approx((x1, y1), abs=0.01)
    assert (second[1][1] - y1) / (y3 - y1) == pytest.approx(1 / 3, abs=1e-3)
    assert "fill: var(--series-1); fill-opacity: 0.18" in two_lines.svg
    assert "fill: var(--series-2); fill-opacity: 0.18" not in two_lines.svg


def test_steps_hold_their_value() -> None:
    plot = plots.line_plot([line("a", (0.01, 0), (0.1, 1), (1, 2), steps=True)], Axis("x", log=True), Y, "a")
    (path,) = [path for path in series(plot.svg, 1) if len(path) > 2]
    corners = [(round(x - path[0][0], 2), round(y - path[0][1], 2)) for x, y in path]
    (wide, _), (_, tall) = corners[1], corners[2]
    assert corners == [
        pytest.approx(corner, abs=0.05)
        for corner in [(0, 0), (wide, 0), (wide, tall), (2 * wide, tall), (2 * wide, 2 * tall)]
    ]


def test_a_histogram_shows_shares() -> None:
    groups = {"same": np.array([0.1, 0.6, 0.7, 0.8]), "none": np.array([])}
    plot = plots.histogram(groups, np.array([0, 0.5, 1.0]), X, Axis("share", (0, 1), percent=True), "h")
    outline = max(series(plot.svg, 1), key=len)
    floor = min(y for _, y in outline)
    heights = sorted({round(y - floor, 1) for _, y in outline} - {0.0})
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.01)
    assert [(key.label, key.filled) for key in plot.legend] == [("same", True), ("none", True)]
    assert ">100 %<" in plot.svg


@pytest.mark.parametrize(
    ("value", "percent", "said"),
    [
        (0.001, True, "0.1 %"),
        (1.0, True, "100 %"),
        (0.07, True, "7 %"),
        (1e-5, False, "0.00001"),
        (0.30000000000000004, False, "0.3"),
        (300.0, False, "300"),
    ],
)
def test_ticks_are_plain_decimals(value: float, percent: bool, said: str) -> None:
    assert plots.tick(value, percent) == said


def test_given_ticks_are_the_only_ones() -> None:
    axis = Axis("x", (0.001, 1), log=True, ticks=(0.01, 1.0))
    plot = plots.line_plot([line("a", (0.001, 0.2), (1, 0.4))], axis, Axis("y", (0, 1), ticks=(0, 1)), "a")
    texts = [element.text for element in ElementTree.fromstring(plot.svg).iter("text")]
    assert sorted(text for text in texts if text) == ["0", "0.01", "1", "1", "x", "y"]


def test_thinning_keeps_the_last_of_each_step_and_the_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "POINTS", 4)
    x = np.array([0, 0, 0.1, 0.2, 0.6, 0.7, 0.7, 1.0])
    assert plots.thinned(x, log=False).tolist() == [3, 6, 7]
    assert plots.thinned(x[1:], log=False).tolist() == [0, 2, 5, 6]
    assert plots.thinned(10**x, log=True).tolist() == [3, 6, 7]
    assert plots.thinned(np.array([2.0]), log=True).tolist() == [0]
    assert plots.thinned(np.array([2.0, 2.0]), log=False).tolist() == [0, 1]


def test_many_points_are_few_in_the_svg() -> None:
    x = np.linspace(0, 1, 20001)
    assert len(plots.thinned(x, log=False)) == plots.POINTS + 2
    assert len(plots.line_plot([Line("a", x, x)], X, Y, "a").svg) < 40_000
