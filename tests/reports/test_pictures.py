"""Contact sheets place the right picture in the right cell; curves show the right numbers and need no screen."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemae_cli.errors import OutputError
from facemae_cli.reports import pictures
from facemae_cli.reports.pictures import CELL, CHECKS, GAP, TITLE, contact_sheet, curves, save_png

PITCH = CELL + GAP
LEFT = GAP + GAP // 2


def plain(red: int, green: int, blue: int, size: int = 112) -> np.ndarray:
    return np.full((size, size, 3), (red, green, blue), np.uint8)


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The inside of a cell of the first block."""
    top, left = TITLE + GAP + row * PITCH, LEFT + column * PITCH
    return sheet[top : top + CELL, left : left + CELL]


def test_each_picture_stands_in_its_row_and_under_its_heading() -> None:
    rows = [[plain(200, 0, 0), plain(0, 200, 0)], [plain(0, 0, 200), plain(90, 90, 90)]]
    sheet = contact_sheet(rows, ["original", "masked"])
    assert sheet.dtype == np.uint8
    for row in range(2):
        for column in range(2):
            assert (cell(sheet, row, column) == rows[row][column][0, 0]).all()
    assert (sheet[: TITLE - 2].min(axis=(0, 2)) < 128).any(), "no heading is written"


def test_a_transparent_half_shows_the_checkerboard_and_the_black_beneath_does_not_bleed() -> None:
    face = np.zeros((112, 112, 4), np.uint8)
    face[:, :56] = (200, 100, 50, 255)
    shown = cell(contact_sheet([[face]], ["masked"]), 0, 0)
    assert (shown[:, : CELL // 2 - 2] == (200, 100, 50)).all()
    assert set(np.unique(shown[:, CELL // 2 + 2 :])) == set(CHECKS)
    # between the two every value lies between theirs: nothing darker than the face appears at the edge
    assert (shown[..., 0] >= 199).all()
    assert (shown[..., 2] >= 49).all()


def test_checks_alternate() -> None:
    shown = cell(contact_sheet([[np.zeros((8, 8, 4), np.uint8)]], ["masked"]), 0, 0)
    assert shown[0, 0, 0] == CHECKS[1]
    assert shown[0, pictures.CHECK_SIZE, 0] == CHECKS[0]
    assert shown[pictures.CHECK_SIZE, pictures.CHECK_SIZE, 0] == CHECKS[1]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7, 12, 13, 37])
@pytest.mark.parametrize("columns", [1, 3])
def test_every_count_fits_and_every_picture_is_there(count: int, columns: int) -> None:
    rows = [[plain(10 + number, 3 + column, 77, 8) for column in range(columns)] for number in range(count)]
    sheet = contact_sheet(rows, ["title"] * columns, cell=16)
    pixels = {tuple(color) for color in sheet.reshape(-1, 3)}
    assert {(10 + number, 3 + column, 77) for number in range(count) for column in range(columns)} <= pixels
    covered = (sheet[..., 2] == 77).sum()
    assert covered == count * columns * 16 * 16


def test_many_rows_become_blocks_side_by_side_none_of_them_empty() -> None:
    sheet = contact_sheet([[plain(1, 2, 77)] * 3] * 12, ["a", "b", "c"])
    assert 1 < sheet.shape[1] / sheet.shape[0] < 3
    assert (sheet[TITLE + GAP + 5, -sheet.shape[1] // 4 :, 2] == 77).any()


def test_a_missing_picture_leaves_its_place_free() -> None:
    shown = contact_sheet([[None, plain(9, 9, 9)]], ["a", "b"])
    assert (cell(shown, 0, 0) == pictures.PAPER).all()
    assert (cell(shown, 0, 1) == 9).all()


def test_large_pictures_are_averaged_down() -> None:
    stripes = np.zeros((CELL * 4, CELL * 4, 3), np.uint8)
    stripes[:, ::2] = 200
    assert (cell(contact_sheet([[stripes]], ["a"]), 0, 0) == 100).all()


def test_a_long_heading_stays_over_its_column() -> None:
    sheet = contact_sheet([[plain(9, 9, 9), plain(9, 9, 9)]], ["", "reconstructed by a model of long name"])
    ink = np.flatnonzero(sheet[:TITLE].min(axis=(0, 2)) < 200)
    assert ink.min() >= LEFT + PITCH
    assert ink.max() < LEFT + PITCH + CELL


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_an_error(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a picture is"):
        contact_sheet([[bad]], ["a"])


def test_a_row_without_a_heading_is_an_error() -> None:
    with pytest.raises(ValueError, match="at most one picture a heading"):
        contact_sheet([[plain(1, 1, 1)] * 2], ["a"])


HISTORY = [
    {"epoch": 1, "step": 10, "lr": 1e-4, "loss": 5.0, "val_psnr": 14.0, "im": 2.0, "val_im": 2.5},
    {"epoch": 2, "step": 20, "lr": 2e-4, "loss": 0.5, "val_psnr": math.nan, "im": 1.0, "val_im": 1.5},
    {"epoch": 3, "step": 30, "lr": 1e-4, "loss": 0.25, "val_psnr": 15.0, "im": None, "val_im": 1.25},
]


def test_train_and_validation_share_a_panel_and_what_is_not_a_number_is_left_out() -> None:
    steps = [{"step": 5, "loss": 7.0}, {"step": 10, "loss": math.inf}]
    assert pictures._panels(HISTORY, steps) == {
        "loss": {"each step": ([5], [7.0]), "mean of the epoch": ([10, 20, 30], [5.0, 0.5, 0.25])},
        "psnr": {"held-out faces": ([10, 30], [14.0, 15.0])},
        "im": {
            "mean of the epoch": ([10, 20], [2.0, 1.0]),
            "held-out faces": ([10, 20, 30], [2.5, 1.5, 1.25]),
        },
    }


@pytest.mark.parametrize(
    ("name", "values", "scale", "title"),
    [
        ("loss", [5.0, 0.25], "log", "loss: lower is better"),
        ("loss", [5.0, 4.0], "linear", "loss: lower is better"),
        ("loss", [5.0, 0.0], "linear", "loss: lower is better"),
        ("psnr", [1.0, 30.0], "linear", "psnr (dB): higher is better"),
        ("lfw", [0.1, 0.9], "linear", "lfw: higher is better"),
    ],
)
def test_each_panel_says_which_way_is_good_and_a_log_scale_is_for_losses_that_fall_far(
    name: str, values: list[float], scale: str, title: str
) -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    pictures._draw_panel(axes, name, {"mean of the epoch": ([1.0, 2.0], values)})
    assert axes.get_yscale() == scale
    assert axes.get_title() == title
    assert list(axes.lines[0].get_ydata()) == values


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_curves_are_a_png_of_any_number_of_epochs(tmp_path: Path, epochs: int) -> None:
    curves(HISTORY[:epochs], tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    inked = (picture.min(axis=2) < 200).mean()
    assert inked > 0.005 if epochs else inked == 0
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_curves_load_no_window_toolkit_and_importing_pictures_no_matplotlib(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from facemae_cli.reports import pictures;"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules;"
        f"pictures.curves([{{'epoch': 1, 'loss': 1.0}}], Path({str(tmp_path / 'c.png')!r}));"
        "assert 'matplotlib.pyplot' not in sys.modules and 'tkinter' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_save_png_keeps_every_pixel(tmp_path: Path) -> None:
    image = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    save_png(tmp_path / "a.png", image)
    assert (cv2.imread(str(tmp_path / "a.png"))[..., ::-1] == image).all()


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="gone"):
        save_png(tmp_path / "gone" / "a.png", plain(1, 1, 1))
