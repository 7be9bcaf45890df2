"""Synthetic people: the same on every run, aligned to the template, alike to themselves and unlike each other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest

from facemae_cli.data.images.codec import decode, probe
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.synthetic import Person, Shot, people, render, write_dataset
from facemae_cli.data.synthetic.camera import TEMPLATE, Pose, landmarks
from facemae_cli.data.synthetic.dataset import invented_name
from facemae_cli.data.synthetic.hair import CUTS
from facemae_cli.data.synthetic.head import half_width
from facemae_cli.data.synthetic.person import Beard, Dice, Hair
from facemae_cli.errors import UsageError
from facemae_cli.masking.pseudonyms import without_suffix

PLAIN = Shot()


def bare(index: int, seed: int = 2) -> Person:
    """A person with nothing before the face."""
    return replace(Person.random(seed, index), glasses="none", beard="none")


def centre(weights: np.ndarray, left: int = 0) -> tuple[float, float]:
    """Where the weight of an image (H, W) lies, in pixels from its corner; `left` is where it was cut out."""
    y, x = np.mgrid[: weights.shape[0], left : left + weights.shape[1]] + 0.5
    return float((x * weights).sum() / weights.sum()), float((y * weights).sum() / weights.sum())


def changed(one: Person, other: Person, shot: Shot) -> np.ndarray:
    """How much each pixel differs between two people, (112, 112)."""
    return np.abs(render(one, shot).astype(float) - render(other, shot)).sum(axis=2)


def test_a_photo_is_a_function_of_person_and_shot() -> None:
    person, shot = Person.random(0, 3), Shot.random(0, 3, 1)
    image = render(person, shot)
    assert image.shape == (112, 112, 3)
    assert image.dtype == np.uint8
    render(Person.random(0, 4), Shot.random(0, 4, 1))  # whatever came before leaves no trace
    assert (render(person, shot) == image).all()


def test_random_values_come_from_numpy_s_stable_uniform_stream() -> None:
    dice = Dice(0, 0)
    expected = [0.6369616873214543, 0.2697867137638703, 0.04097352393619469]
    assert [dice.between(0, 1) for _ in range(3)] == expected
    # four uniform numbers summed, about their mean
    assert Dice(1, 2).bell(10, 3) == pytest.approx(10 + 3 * (np.random.default_rng([1, 2]).random(4).sum() - 2))


def test_dice_keep_their_promises() -> None:
    dice = Dice(7)
    assert all(abs(dice.bell(5, 2) - 5) <= 4 for _ in range(500))
    picks = [dice.pick(["a", "b", "c"], [1, 0, 3]) for _ in range(400)]
    assert set(picks) == {"a", "c"}
    assert 240 < picks.count("c") < 360
    for _ in range(100):
        assert all(0 <= channel <= 1 for channel in dice.color([(255, 250, 245), (0, 5, 10)], 0.5))


def test_the_same_face_stands_in_every_dataset_of_its_seed() -> None:
    small, large = list(people(1, 2, seed=9, size=56)), list(people(2, 3, seed=9, size=56))
    assert [name for name, _ in large] == [(invented_name(i), f"photo {j}.jpg") for i in (0, 1) for j in (1, 2, 3)]
    for (name, image), (other_name, other) in zip(small, large[:2], strict=True):
        assert name == other_name
        assert (image == other).all()
    (_, another_seed), *_ = people(1, 1, seed=10, size=56)
    assert (another_seed != small[0][1]).mean() > 0.5


def test_eyes_and_mouth_stand_where_the_template_has_them() -> None:
    distances: dict[str, list[float]] = {"eye": [], "mouth": []}
    for index in range(6):
        person = bare(index)
        for photo in range(2):
            shot = replace(Shot.random(2, index, photo), lids=1.1, gaze_x=0, gaze_y=0, roll=0, zoom=1, noise=0)
            shot = replace(shot, shift_x=0, shift_y=0)
            irises = changed(replace(person, iris=(1, 0, 0)), replace(person, iris=(0, 1, 0)), shot)
            for left, right, point in ((0, 56, TEMPLATE[0]), (56, 112, TEMPLATE[1])):
                distances["eye"].append(math.dist(centre(irises[:, left:right], left), point))
            red, green = (replace(person, lips=lips, makeup=1.0) for lips in ((1, 0, 0), (0, 0.5, 0)))
            distances["mouth"].append(math.dist(centre(changed(red, green, shot)), TEMPLATE[3:].mean(axis=0)))
    assert np.mean(distances["eye"]) < 1.5
    assert max(distances["eye"]) < 4
    assert np.mean(distances["mouth"]) < 2.5
    assert max(distances["mouth"]) < 5


def test_what_the_aligner_is_off_by_moves_the_picture() -> None:
    person = bare(1)
    irises = [
        centre(changed(replace(person, iris=(1, 0, 0)), replace(person, iris=(0, 1, 0)), shot))
        for shot in (PLAIN, replace(PLAIN, shift_x=3.0, shift_y=-2.0))
    ]
    assert np.subtract(irises[1], irises[0]) == pytest.approx((3, -2), abs=0.25)


def test_proportions_differ_from_person_to_person() -> None:
    points = np.stack([landmarks(Person.random(0, index), PLAIN) for index in range(40)])
    ratios = (points[:, 1, 0] - points[:, 0, 0]) / (points[:, 4, 0] - points[:, 3, 0])
    assert 1.0 < ratios.min() < ratios.mean() - 0.08
    assert ratios.mean() + 0.08 < ratios.max() < 1.5


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.4, 0.0), (0.0, -0.2), (-0.3, 0.15)])
def test_a_pose_leads_there_and_back(yaw: float, pitch: float) -> None:
    pose = Pose(yaw, pitch, np.eye(2, 3))
    x, y, z = np.random.default_rng(0).uniform(-40, 40, (3, 50))
    there = pose.turn(x, y, z)
    assert np.allclose(pose.unturn(*there, z), (x, y))
    if not pitch:
        assert np.allclose(there[0], x * math.cos(yaw) + z * math.sin(yaw))


def test_a_turned_head_shows_less_of_the_side_it_turns_to() -> None:
    """The silhouette of a head, found as what does not change with the backdrop."""
    person = replace(bare(1), hair="bald")

    def halves(yaw: float) -> tuple[float, float]:
        seen = [render(person, replace(PLAIN, yaw=yaw, backdrop=backdrop)).astype(float) for backdrop in (1, 2, 5)]
        row = np.flatnonzero(np.ptp(seen, axis=0).max(axis=2)[60] < 6)
        return 56 - row.min(), row.max() - 56

    left, right = halves(18.0)
    assert left > right + 8
    left, right = halves(-18.0)
    assert right > left + 8
    left, right = halves(0.0)
    assert abs(left - right) <= 3


def test_the_side_that_faces_the_lamp_is_brighter() -> None:
    cheeks = [render(bare(1), replace(PLAIN, light_x=x)).mean(axis=2)[60:80] for x in (-0.8, 0.8)]
    assert cheeks[0][:, 28:40].mean() > cheeks[0][:, 72:84].mean() + 15
    assert cheeks[1][:, 72:84].mean() > cheeks[1][:, 28:40].mean() + 15


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"mouth_open": 0.6}, slice(84, 112)),
        ({"lids": 0.1}, slice(44, 62)),
        ({"gaze_x": 1.0}, slice(46, 58)),
        ({"brow_raise": 2.0}, slice(10, 48)),
    ],
)
def test_an_expression_changes_the_part_it_moves(changes: dict[str, float], rows: slice) -> None:
    before, after = render(bare(0), PLAIN).astype(float), render(bare(0), replace(PLAIN, **changes)).astype(float)
    inside = np.abs(after - before).sum(axis=2)
    share = inside[rows].sum() / inside.sum()
    assert inside.max() > 30
    assert share > 0.8


def distinct(field: str, values: tuple[str, ...], person: Person) -> None:
    """Every value of a field gives a picture of its own."""
    images = [render(replace(person, **{field: value}), PLAIN, 56).astype(float) for value in values]
    for number, image in enumerate(images):
        for other in images[:number]:
            assert np.abs(image - other).max() > 25


def test_every_cut_beard_and_pair_of_glasses_looks_different() -> None:
    person = replace(bare(0), masculine=1.0, hair_color=(0.2, 0.12, 0.08), beard_density=0.9, freckles=0)
    assert set(get_args(Hair)) == set(CUTS)
    distinct("hair", get_args(Hair), person)
    distinct("beard", get_args(Beard), person)
    distinct("glasses", ("none", "round", "square", "rimless"), person)


def test_people_are_many_kinds() -> None:
    made = [Person.random(0, index) for index in range(400)]
    assert {person.hair for person in made} == set(get_args(Hair))
    assert {person.beard for person in made} == set(get_args(Beard))
    assert {person.glasses for person in made} == {"none", "round", "square", "rimless"}
    brightness = np.array([np.mean(person.skin) for person in made])
    assert brightness.min() < 0.35
    assert brightness.max() > 0.75
    assert not any(person.beard != "none" for person in made if person.masculine < 0.5)


@pytest.mark.faces
def test_a_face_recognizer_tells_them_apart(faces_root: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(faces_root / "mobilefacenet.onnx"))
    images = np.stack([image for _, image in people(12, 3)]) / 255
    images = ((images - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(0, 3, 1, 2).astype(np.float32)
    features = session.run(None, {session.get_inputs()[0].name: images})[0]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    scores = features @ features.T
    np.fill_diagonal(scores, -1)
    assert (scores.argmax(axis=1) // 3 == np.arange(36) // 3).mean() > 0.7  # chance is 2 in 35


def test_other_sizes_show_the_same_face() -> None:
    person = Person.random(0, 3)
    small, large = render(person, PLAIN), render(person, PLAIN, 224)
    assert large.shape == (224, 224, 3)
    shrunk = cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(float) - shrunk).mean() < 2
    assert render(person, PLAIN, 28).shape == (28, 28, 3)
    with pytest.raises(ValueError, match="27 pixels"):
        render(person, PLAIN, 27)


def test_the_outline_of_a_head_is_what_its_person_says() -> None:
    person = replace(Person.random(0, 0), face_width=40.0, jaw=0.8, chin=0.42, chin_y=114.0)
    down = 58 + np.array([0, 0.6, 0.93, 1.0, 1.2], np.float32) * (114 - 58)
    # the table of exponents is coarse, so the width of the chin is met to a unit
    assert half_width(person, PLAIN, down) == pytest.approx([40, 32, 16.8, 0, 0], abs=0.8)
    assert half_width(person, PLAIN, np.array([-16.0, -30.0])) == pytest.approx([0, 0])


def test_noise_and_blur_do_what_they_say() -> None:
    person = bare(0)
    clean = render(person, PLAIN).astype(float)
    noisy = render(person, replace(PLAIN, noise=3.0, grain=1)).astype(float)
    inner = (clean > 20) & (clean < 235)
    assert (noisy - clean)[inner].std() == pytest.approx(3.0, rel=0.1)
    soft = render(person, replace(PLAIN, blur=1.5)).astype(float)
    assert np.abs(np.diff(soft, axis=1)).mean() < 0.8 * np.abs(np.diff(clean, axis=1)).mean()


def test_names_are_everybody_s_own() -> None:
    assert len({invented_name(index) for index in range(900)}) == 900
    assert invented_name(0) == "Alex Ashdale"
    assert invented_name(272) == "Alex Ashdale 2"


@pytest.mark.parametrize("form", ["folder", "train.rec"])
def test_a_dataset_holds_the_people_and_equal_runs_give_equal_bytes(tmp_path: Path, form: str) -> None:
    for run in ("one", "two"):
        assert write_dataset(tmp_path / run / form, 2, 2, seed=4) == 4
    source = open_source(tmp_path / "one" / form)
    faces = {without_suffix(source.name(index)): source.read(index) for index in range(len(source))}
    made = {without_suffix(name): image for name, image in people(2, 2, seed=4)}
    assert faces.keys() == made.keys()
    for name, data in faces.items():
        assert probe(data).format == "jpeg"
        assert np.abs(decode(data).astype(int) - made[name]).mean() < 3
    one, two = (
        {path.relative_to(tmp_path / run): path.read_bytes() for path in (tmp_path / run).rglob("*") if path.is_file()}
        for run in ("one", "two")
    )
    assert one == two
    manifest = read_manifest(tmp_path / "one" / form)
    assert manifest is not None
    assert manifest.command == "demo"
    assert manifest.counts == {"in": 4, "out": 4, "refused": {}}


@pytest.mark.parametrize("ask", [lambda: people(0, 1), lambda: people(1, 0), lambda: people(1, 1, seed=-1)])
def test_impossible_counts_are_refused_at_once(ask: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match="must be at least"):
        ask()


def test_a_dataset_is_not_overwritten_unasked(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", 1, 1)
    with pytest.raises(UsageError):
        write_dataset(tmp_path / "raw", 1, 1)
    assert write_dataset(tmp_path / "raw", 1, 2, overwrite=True) == 2
    assert len(open_source(tmp_path / "raw")) == 2


def test_rendering_is_quick() -> None:
    """Fewer than 30 faces a second on a core would make the demo tedious; the limit here is loose for busy machines."""
    started = time.process_time()
    assert len(list(people(4, 5))) == 20
    assert time.process_time() - started < 20 / 5
