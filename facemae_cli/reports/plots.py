"""Plots as inline SVG for a page: in the page's colours, with labels as text, and equal bytes for equal figures."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from facemae_cli.reports.text import decimal, exact_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

SIZE = (5.4, 3.6)  # inches of 72 units: small, so that its letters stay readable where a phone scales it down
POINTS = 400  # what a line is thinned to, in steps of its x axis
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (8, 3)), (0, (3, 1)))
INK = "#000000"  # becomes the colour of the text around the plot
STYLE = {
    "axes.facecolor": "none",
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "grid.alpha": 0.16,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a name may hold dollar signs
    "xtick.labelsize": 9.5,
    "xtick.major.width": 0.7,
    "ytick.labelsize": 9.5,
    "ytick.major.width": 0.7,
}


@dataclass(frozen=True)
class LegendEntry:
    """What a series of a plot is called; its colour is the page's `--series-N`, its dashes those of `DASHES`."""

    label: str
    series: int
    filled: bool = False


@dataclass(frozen=True)
class Plot:
    """An SVG element to be put into a page as it is, and the legend to be shown beside it."""

    svg: str
    legend: tuple[LegendEntry, ...]


@dataclass(frozen=True)
class Line:
    """A line of (k,) `x`, ascending, and `y`, with a band from `low` to `high` if there is one.

    With `steps` it holds each y until the next x, as a ROC curve does.
    """

    label: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    steps: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: what it shows, its ends (None: as the values have it), logarithmic or not, and in percent or not.

    With `ticks` these are marked, and no others.
    """

    label: str
    ends: tuple[float | None, float | None] = (None, None)
    log: bool = False
    percent: bool = False
    ticks: Sequence[float] = ()


@dataclass(frozen=True)
class Mark:
    """A thin line across the plot at a value of the x axis, or of the y axis, and its few words."""

    value: float
    words: str
    across: bool = False  # at a value of the y axis


def line_plot(lines: Sequence[Line], x: Axis, y: Axis, ident: str, marks: Sequence[Mark] = ()) -> Plot:
    """Lines with their bands. `ident` heads the ids in the SVG: letters, different for each plot of a page."""

    def plot(axes: Axes) -> None:
        for number, line in enumerate(lines):
            _plot_line(axes, line, number, x)
        _set_axes(axes, x, y)
        _plot_marks(axes, marks)

    return Plot(_svg(ident, plot), tuple(LegendEntry(line.label, number) for number, line in enumerate(lines)))


def histogram(
    groups: Mapping[str, Floats], edges: Floats, x: Axis, y: Axis, ident: str, marks: Sequence[Mark] = ()
) -> Plot:
    """For each group the share of its values in each bin between `edges`; a group sums to 1 if all are inside."""

    def plot(axes: Axes) -> None:
        for number, values in enumerate(groups.values()):
            shares = np.histogram(values, edges)[0] / max(len(values), 1)
            axes.stairs(shares, edges, fill=True, color=_color(number), alpha=0.3, linewidth=0)
            axes.stairs(shares, edges, color=_color(number), linewidth=1.2, linestyle=_dashes(number))
        _set_axes(axes, x, y)
        _plot_marks(axes, marks)

    return Plot(
        _svg(ident, plot), tuple(LegendEntry(label, number, filled=True) for number, label in enumerate(groups))
    )


def _color(number: int) -> str:
    return f"#0000{number % len(DASHES) + 1:02x}"  # stands for --series-N until the SVG is done


def _dashes(number: int) -> Any:
    return DASHES[number % len(DASHES)]


def _plot_line(axes: Axes, line: Line, number: int, x: Axis) -> None:
    chosen = thinned(line.x, x.log)
    if line.low is not None and line.high is not None:
        low, high = line.low[chosen], line.high[chosen]
        step: Literal["post"] | None = "post" if line.steps else None
        axes.fill_between(line.x[chosen], low, high, step=step, color=_color(number), alpha=0.18, linewidth=0)
    single = "o" if len(chosen) <= 12 and not line.steps else None
    axes.plot(
        line.x[chosen],
        line.y[chosen],
        color=_color(number),
        linestyle=_dashes(number),
        linewidth=1.6,
        drawstyle="steps-post" if line.steps else "default",
        marker=single,
        markersize=3.5,
    )


def thinned(x: Floats, log: bool) -> NDArray[np.int64]:
    """Which of ascending `x` to plot: the last of all that fall on one of `POINTS` steps of the axis, and both ends.

    Positive x where `log`. The last, since a curve that climbs at one x ends at its top.
    """
    place = np.log(x) if log else x
    if len(place) < 2 or place[-1] == place[0]:
        return np.arange(len(place))
    cells = np.floor((place - place[0]) / (place[-1] - place[0]) * POINTS)
    kept = np.append(cells[1:] != cells[:-1], True)
    kept[0] = kept[0] or place[1] > place[0]
    return np.flatnonzero(kept)


def _set_axes(axes: Axes, x: Axis, y: Axis) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    for side, axis, limits in ((axes.xaxis, x, axes.set_xlim), (axes.yaxis, y, axes.set_ylim)):
        if axis.log:
            (axes.set_xscale if side is axes.xaxis else axes.set_yscale)("log")
            side.set_minor_locator(NullLocator())
        elif not axis.ticks:
            side.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        if axis.ticks:
            side.set_major_locator(FixedLocator(list(axis.ticks)))
        side.set_major_formatter(FuncFormatter(lambda value, _, percent=axis.percent: tick(value, percent)))
        limits(*axis.ends)
        side.label.set_text(axis.label)
    axes.grid(visible=True)
    axes.set_axisbelow(True)


def tick(value: float, percent: bool) -> str:
    """`value` as a tick says it: the shortest plain decimal, in percent if asked for."""
    return exact_percent(value) if percent else decimal(round(value, 10))


def _plot_marks(axes: Axes, marks: Sequence[Mark]) -> None:
    for mark in marks:
        style: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (2, 2))}
        offset: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9.5}
        if mark.across:
            axes.axhline(mark.value, **style)
            where, place = (0.0, mark.value), axes.get_yaxis_transform()
            axes.annotate(mark.words, where, (4, 3), xycoords=place, va="bottom", ha="left", **offset)
        else:
            axes.axvline(mark.value, **style)
            where, place = (mark.value, 1.0), axes.get_xaxis_transform()
            axes.annotate(mark.words, where, (0, 3), xycoords=place, va="bottom", ha="center", **offset)


def _svg(ident: str, plot: Callable[[Axes], None]) -> str:
    """What `plot` plots, in our style whatever the user's is."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", ident):
        raise ValueError(f"an ident is letters, digits and dashes, not {ident!r}")
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG  # never pyplot, which may look for a screen
    from matplotlib.figure import Figure

    written = io.StringIO()
    # an id is a hash of what it names, and of the salt where one is set: else of something random
    with matplotlib.style.context(["default", {**STYLE, "svg.hashsalt": ident}]):
        figure = Figure(figsize=SIZE, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        plot(figure.add_subplot())
        canvas.print_svg(written, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline(written.getvalue(), ident)


def _inline(svg: str, ident: str) -> str:
    """matplotlib's file as an element of a page: no rules or ids that meet others', fonts and colours of the page."""
    root = ElementTree.fromstring(svg)
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true"}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("style", "metadata"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.tail = None
        element.text = element.text if element.tag == "text" else None
        element.attrib = dict(_attribute(element.tag, *item, ident) for item in element.attrib.items())
        element.attrib.pop("drop", None)
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(tag: str, name: str, value: str, ident: str) -> tuple[str, str]:
    name = name.rpartition("}")[2]
    if name == "id":
        return ("drop", "") if tag == "g" else (name, f"{ident}-{value}")
    if name == "href":
        return name, value.replace("#", f"#{ident}-", 1)
    if name == "clip-path":
        return name, value.replace("url(#", f"url(#{ident}-", 1)
    if name == "style":
        value = re.sub(r"font-family: [^;]*(; |$)", "", value).replace(INK, "currentColor")
        return name, re.sub("#0000(0[1-9])", lambda found: f"var(--series-{int(found[1], 16)})", value)
    return name, re.sub(r"\s+", " ", value)
