"""Pictures for people: contact sheets of faces, and curves of a training run."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from facemae_cli.data.files import write_whole
from facemae_cli.data.images.codec import encode_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Face = NDArray[np.uint8]

CELL = 128  # side of a face on a sheet, in pixels
GAP = 6
TITLE = 24  # height of the line of headings
PAPER, INK = 250, 60
CHECKS, CHECK_SIZE = (252, 226), 8
SHAPE = 1.5  # width to height that a sheet of many rows is broken up for
NOT_CURVES = ("epoch", "step", "lr")
FALLING = ("loss", "pixel", "im", "rm", "privacy", "margin", "teacher")  # the rest, accuracies by pack, should rise


def contact_sheet(rows: Sequence[Sequence[Face | None]], headings: Sequence[str], cell: int = CELL) -> Face:
    """Faces in a grid: (H, W, 3) uint8 RGB.

    A row holds what belongs together, one picture a heading: (h, w, 3) RGB or (h, w, 4) RGBA uint8 of any size, scaled
    into a square of `cell` pixels, transparent parts over a light checkerboard; None leaves a place free. Many rows
    are broken into columns side by side. Raises ValueError for a row longer than `headings`, or what is not a picture.
    """
    if not headings or any(len(row) > len(headings) for row in rows):
        raise ValueError(f"a row has at most one picture a heading; headings: {len(headings)}")
    blocks = _blocks(len(rows), len(headings), cell)
    tall = max(math.ceil(len(rows) / blocks), 1)
    block_width = len(headings) * (cell + GAP) + 2 * GAP
    sheet = np.full((TITLE + tall * (cell + GAP) + GAP, blocks * block_width, 3), PAPER, np.uint8)
    for number, row in enumerate(rows):
        top = TITLE + GAP + number % tall * (cell + GAP)
        left = number // tall * block_width + GAP + GAP // 2
        for column, picture in enumerate(row):
            if picture is not None:
                x = left + column * (cell + GAP)
                sheet[top : top + cell, x : x + cell] = _cell(picture, cell)
    return _write_headings(sheet, list(headings) * blocks, [block_width * n for n in range(blocks)], cell)


def _blocks(rows: int, columns: int, cell: int) -> int:
    """Into how many blocks side by side to break the rows, for a sheet of about the shape of a page."""

    def misfit(blocks: int) -> float:
        width = blocks * (columns * (cell + GAP) + 2 * GAP)
        height = TITLE + math.ceil(rows / blocks) * (cell + GAP)
        return abs(math.log(width / height / SHAPE))

    # a count that would leave the last block empty is left out
    return min((n for n in range(1, rows + 1) if math.ceil(rows / math.ceil(rows / n)) == n), key=misfit, default=1)


def _cell(picture: Face, cell: int) -> Face:
    if picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"a picture is (H, W, 3 or 4) uint8, not {picture.shape} {picture.dtype}")
    shrinks = max(picture.shape[:2]) > cell
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    if picture.shape[2] == 3:
        how = how if shrinks else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(picture, (cell, cell), interpolation=how), np.uint8)
    # colours are weighted by their opacity, so that black under the transparency does not bleed into its edge
    alpha = picture[..., 3:].astype(np.float32) / 255
    color = cv2.resize(picture[..., :3] * alpha, (cell, cell), interpolation=how)
    cover = cv2.resize(alpha, (cell, cell), interpolation=how)[..., None]
    return np.rint(color + _checkerboard(cell) * (1 - cover)).clip(0, 255).astype(np.uint8)


def _checkerboard(cell: int) -> NDArray[np.float32]:
    """(cell, cell, 1): squares of two light greys."""
    odd = (np.arange(cell) // CHECK_SIZE) % 2
    return np.where(odd[:, None] ^ odd[None, :], *CHECKS).astype(np.float32)[..., None]


def _write_headings(sheet: Face, headings: Sequence[str], starts: Sequence[int], cell: int) -> Face:
    image = Image.fromarray(sheet)
    pen = ImageDraw.Draw(image)
    each = len(headings) // len(starts)
    for number, heading in enumerate(headings):
        middle = starts[number // each] + GAP + GAP // 2 + number % each * (cell + GAP) + cell // 2
        size = 15
        while size > 6 and pen.textlength(heading, font=ImageFont.load_default(size)) > cell:
            size -= 1
        pen.text((middle, TITLE // 2 + 2), heading, fill=(INK,) * 3, anchor="mm", font=ImageFont.load_default(size))
    return np.array(image)


def curves(history: Sequence[Mapping[str, Any]], path: Path, steps: Sequence[Mapping[str, float]] = ()) -> None:
    """Plot the figures of a training run against its steps, as a PNG at `path`; each title says which way is good.

    `history` holds a mapping an epoch, with `step` and figures by name; `x` and `val_x` share a panel. `steps` holds
    finer ones, means over a few steps. What is missing or not finite is left out. Raises OutputError.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # never pyplot, which may look for a screen
    from matplotlib.figure import Figure

    panels = _panels(history, steps)
    wide = min(max(len(panels), 1), 3)
    tall = math.ceil(max(len(panels), 1) / wide)
    figure = Figure(figsize=(4.2 * wide, 3.1 * tall), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (name, lines) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(tall, wide, number + 1), name, lines)
    picture = io.BytesIO()
    canvas.print_png(picture, metadata={"Software": None})
    write_whole(path, picture.getvalue())


Points = tuple[list[float], list[float]]
# What a line of a panel is: its colour, width and opacity.
LINES = {
    "each step": ("tab:blue", 0.8, 0.45),
    "mean of the epoch": ("tab:blue", 1.5, 1.0),
    "held-out faces": ("tab:orange", 1.5, 1.0),
}


def _panels(history: Sequence[Mapping[str, Any]], steps: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Points]]:
    """Panel -> line -> (steps, values), in the order in which names first come up."""
    panels: dict[str, dict[str, Points]] = {}
    for entry in history:
        for key in entry:
            panels.setdefault(key.removeprefix("val_"), {})
    for line, entries in (("each step", steps), ("mean of the epoch", history)):
        for number, entry in enumerate(entries, 1):
            for key, value in entry.items():
                if key in NOT_CURVES or not isinstance(value, int | float) or not math.isfinite(value):
                    continue
                name = "held-out faces" if key.startswith("val_") else line
                at, values = panels.setdefault(key.removeprefix("val_"), {}).setdefault(name, ([], []))
                at.append(float(entry.get("step", number)))
                values.append(float(value))
    return {name: lines for name, lines in panels.items() if lines}


def _draw_panel(axes: Axes, name: str, lines: Mapping[str, Points]) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    for line, (at, values) in lines.items():
        color, width, opacity = LINES[line]
        marker = "o" if len(at) < 25 and line != "each step" else None
        axes.plot(at, values, color=color, label=line, linewidth=width, alpha=opacity, marker=marker, markersize=3)
    everything = [value for _, values in lines.values() for value in values]
    if name in FALLING and min(everything) > 0 and max(everything) > 8 * min(everything):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    unit, better = " (dB)" if name == "psnr" else "", "lower" if name in FALLING else "higher"
    axes.set_title(f"{name}{unit}: {better} is better", fontsize=10)
    axes.set_xlabel("step", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(which="both", labelsize=8)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, frameon=False)


def save_png(path: Path, image: Face, mode: int = 0o644) -> None:
    """Write `image`, (H, W, 3) or (H, W, 4) uint8, as a PNG that appears whole. Raises OutputError."""
    write_whole(path, encode_png(image), mode)
