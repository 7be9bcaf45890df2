"""Thumbnail attackers by plain loops: means of 8 x 8 pixels, Euclidean distance, correlation."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import named, scan
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.images.codec import encode_png
from facemae_cli.evaluation.leakage.fingerprints import SIDE, thumbnail
from facemae_cli.evaluation.leakage.identification import FeatureSets, Plan, measure
from facemae_cli.evaluation.leakage.matching import match_names
from facemae_cli.evaluation.leakage.thumbnails import THUMBNAILS, by_correlation, by_distance
from facemae_cli.inference.embed import normalised

FACES = [smooth_face(number) for number in range(7)]


def test_a_thumbnail_holds_the_means_of_its_parts() -> None:
    small = thumbnail(FACES[0])
    for row in range(SIDE):
        for column in range(SIDE):
            part = FACES[0][8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(-1, 3)
            np.testing.assert_allclose(small[row, column], [part[:, c].sum() / 64 for c in range(3)], atol=0.51)


def test_the_inner_product_falls_with_the_distance() -> None:
    small = np.stack([thumbnail(face) for face in FACES])
    features = by_distance(small)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    values = small.reshape(len(small), -1).astype(float) / 255 - 0.5
    for a in range(7):
        for b in range(7):
            rest = [np.sqrt(147 - sum(value * value for value in values[at])) for at in (a, b)]
            squared = sum((x - y) ** 2 for x, y in zip(values[a], values[b], strict=True)) + (rest[0] - rest[1]) ** 2
            assert features[a] @ features[b] == pytest.approx(1 - squared / (2 * 147), abs=1e-6)


def test_the_cosine_is_the_correlation_whatever_brightness_and_contrast() -> None:
    small = np.stack([thumbnail(face) for face in FACES[:3]])
    rows = normalised(by_correlation(np.concatenate([small, small // 2 + 40])))[0]
    flat = small.reshape(3, -1).astype(float)
    expected = np.corrcoef(flat)
    np.testing.assert_allclose(rows[:3] @ rows[:3].T, expected, atol=1e-6)
    assert (np.diag(rows[:3] @ rows[3:].T) > 0.999).all()


def test_a_constant_face_correlates_with_nothing_and_what_cannot_be_read_has_no_feature() -> None:
    images = [*(encode_png(face) for face in FACES), b"", encode_png(np.full((14, 14, 3), 9, np.uint8))]
    looked = scan(MemorySource([("p", f"{at}.png", image) for at, image in enumerate(images)]))
    assert looked.valid.tolist() == [*[True] * 7, False, True]
    plain, correlation = (each.of(looked.thumbnails, looked.valid) for each in THUMBNAILS.values())
    assert plain.features.shape == (9, THUMBNAILS["thumbnail"].dim)
    assert plain.valid.tolist() == [*[True] * 7, False, True]
    assert not correlation.valid[8]
    assert not plain.features[7].any()


@pytest.mark.parametrize("name", THUMBNAILS)
@pytest.mark.parametrize("k", [1, 2])
def test_rates_are_those_of_plain_loops_over_pixels_to_the_ninth_decimal(name: str, k: int) -> None:
    names = [f"p{at % 4}/{at}.png" for at in range(12)]
    parts = [(thumbnail(smooth_face(at)).astype(float), thumbnail(smooth_face(50 + at % 4))) for at in range(12)]
    small = np.stack([(0.8 * own + 0.2 * person).astype(np.uint8) for own, person in parts])
    made = np.clip(small + np.random.default_rng(0).normal(0, 25, small.shape), 0, 255).astype(np.uint8)
    sides = [THUMBNAILS[name].of(each, np.ones(12, np.bool_)) for each in (small, made)]
    findings = measure(
        FeatureSets("t", *sides), match_names(named(*names), named(*names), None), Plan(ks=(k,), resamples=9)
    )
    hits = []
    for query in range(12):
        scores = []
        for face in range(12):
            a, b = (side.astype(float).ravel() for side in (small[query], made[face]))
            alike = float(np.corrcoef(a, b)[0, 1])
            scores.append(alike if name == "thumbnail-correlation" else -lifted_distance(a, b))
        nearest = sorted((face for face in range(12) if face != query), key=lambda face: -scores[face])[:k]
        hits.append(any(face % 4 == query % 4 for face in nearest))
    rates = {(each.attack, each.photo): each.risk for each in findings.findings}
    assert rates["real_to_released", "other"] == pytest.approx(np.mean(hits), abs=1e-9)
    assert 0 < np.mean(hits) < 1


def lifted_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared, of values in [-0.5, 0.5] that are brought to one length by one value more."""
    values = [each / 255 - 0.5 for each in (first, second)]
    rest = [np.sqrt(147 - sum(value * value for value in each)) for each in values]
    return float(sum((a - b) ** 2 for a, b in zip(*values, strict=True)) + (rest[0] - rest[1]) ** 2)
