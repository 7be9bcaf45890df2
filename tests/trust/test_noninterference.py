"""What is hidden influences nothing: with a given mask, no byte of any output depends on a hidden pixel."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.maskcases import encoded, key_file, pixels, put, rgba, tree
from helpers.models import write_mae
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from facemae_cli.data.faces import Name
from facemae_cli.masking import patches
from facemae_cli.masking.key import seed_mask_key, seed_payload
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import reconstruct

NAMES = [Name("anna/deep", "1.png"), Name("anna/deep", "2.png"), Name("bert", "1.png"), Name(None, "loose.png")]
SIDE = 28
EXAMPLES = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # each example runs two commands, so none is made smaller
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
OPTIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "strategy": st.sampled_from(patches.STRATEGIES),
        "keep_names": st.booleans(),
        "ratio": st.sampled_from([None, 0.3, 0.9]),
    }
).map(lambda options: options | ({"ratio": None} if options["strategy"] == "parts" else {}))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_mae(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path / "the.key")


def hidden_pixels(name: Name, options: dict) -> np.ndarray:
    """(SIDE, SIDE) bool, from the format's definition of a seeded mask."""
    order = patches.permutation(seed_mask_key(options["seed"]), (SIDE, SIDE), seed_payload(name))
    ratio = 0.42 if options["strategy"] in ("eyes", "mouth") and options["ratio"] == 0.3 else options["ratio"]
    options["ratio"] = ratio  # 0.3 covers neither region
    return patches.per_pixel(patches.hidden(options["strategy"], order, ratio), SIDE, SIDE)


def write_twins(folder: Path, options: dict, change: np.random.Generator) -> list[Path]:
    """Two raw datasets that differ in what the masks hide, and in nothing else; one in every hidden byte, at times."""
    twins = [folder / "one", folder / "two"]
    for number, name in enumerate(NAMES):
        face = pixels(number, SIDE, SIDE)
        other, where = face.copy(), hidden_pixels(name, options)
        other[where] = change.integers(0, 256, (int(where.sum()), 3)) if number else 255 - face[where]
        assert not np.array_equal(face, other)
        for twin, image in zip(twins, (face, other), strict=True):
            put(twin / (name.identity or "") / name.photo, encoded(image, ".png"))
    return twins


@EXAMPLES
@given(options=OPTIONS, change=st.integers(0, 2**32), rec=st.booleans())
def test_hidden_pixels_change_no_byte_of_masked_nor_of_released(
    tmp_path_factory: pytest.TempPathFactory, model: str, options: dict, change: int, rec: bool
) -> None:
    folder = tmp_path_factory.mktemp("twins")
    secret, suffix = key_file(folder / "the.key"), ".rec" if rec else ""
    made = []
    for raw in write_twins(folder, options, np.random.default_rng(change)):
        outputs = raw.with_name(
            f"{raw.name}-out"
        )  # of one name for both: a dataset's card says what its file is called
        outputs.mkdir()
        masked, released, sheet = (outputs / part for part in ("m" + suffix, "r" + suffix, "s.png"))
        assert mask(raw, masked, key=secret, workers=2, **options).faces == len(NAMES)
        done = reconstruct(masked, released, model=model, device="cpu", precision="fp32", batch_size="2", preview=sheet)
        assert done.faces == len(NAMES)
        made.append((tree(masked), tree(released), sheet.read_bytes()))
    assert made[0] == made[1]
    shutil.rmtree(folder)


@EXAMPLES
@given(change=st.integers(0, 2**32), where=st.integers(0, 2**16), value=st.integers(1, 255))
def test_a_colour_under_the_mask_is_refused_and_never_used(
    tmp_path_factory: pytest.TempPathFactory, model: str, change: int, where: int, value: int
) -> None:
    """One hidden sample of one face, put back by whatever tool: that face is left out, the others are as without."""
    folder = tmp_path_factory.mktemp("under")
    options = {"seed": change, "strategy": "random", "keep_names": True, "ratio": None}
    raw, _ = write_twins(folder, options, np.random.default_rng(change))
    mask(raw, folder / "masked", key=key_file(folder / "the.key"), **options)
    spoilt = folder / "masked" / "bert" / "1.png"
    face = rgba(spoilt.read_bytes())
    rows, columns = np.nonzero(face[..., 3] == 0)
    face[rows[where % len(rows)], columns[where % len(rows)], where % 3] = value
    spoilt.write_bytes(cv2.imencode(".png", cv2.cvtColor(face, cv2.COLOR_RGBA2BGRA))[1].tobytes())
    how = {"model": model, "device": "cpu", "precision": "fp32", "batch_size": "2"}
    done = reconstruct(folder / "masked", folder / "spoilt", **how)
    assert [(item.reason, item.where) for item in done.refused] == [("colour-under-mask", str(spoilt))]
    assert not (folder / "spoilt" / "bert").exists()
    shutil.rmtree(folder)


@EXAMPLES
@given(change=st.integers(0, 2**32), color=st.tuples(*[st.integers(0, 255)] * 3), tolerance=st.integers(1, 16))
def test_what_a_mask_of_one_colour_covers_may_waver_and_changes_no_byte(
    tmp_path_factory: pytest.TempPathFactory, model: str, change: int, color: tuple[int, int, int], tolerance: int
) -> None:
    folder, random = tmp_path_factory.mktemp("painted"), np.random.default_rng(change)
    options = {"seed": change, "strategy": "random", "keep_names": True, "ratio": None}
    for number, name in enumerate(NAMES):
        where = hidden_pixels(name, options)
        for twin in ("one", "two"):
            face = pixels(number, SIDE, SIDE)
            waver = random.integers(-tolerance, tolerance + 1, (int(where.sum()), 3))
            face[where] = np.clip(np.array(color) + waver, 0, 255)
            put(folder / twin / (name.identity or "") / name.photo, encoded(face, ".png"))
    for twin in ("one", "two"):
        done = reconstruct(
            folder / twin, folder / f"{twin}-r", model=model, device="cpu", precision="fp32", batch_size="2",
            mask_color=bytes(color).hex(), mask_tolerance=tolerance,
        )  # fmt: skip
        assert (done.faces, done.ratio) == (len(NAMES), 0.75)
    assert tree(folder / "one-r") == tree(folder / "two-r")
    shutil.rmtree(folder)
