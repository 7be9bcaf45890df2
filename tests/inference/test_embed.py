"""Faces to features: against a plain loop, in shares, from the cache, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.embedders import SPEC, Small, Strange, run, small, strange_source
from helpers.ranks import on_ranks, run_ranks
from helpers.sources import MemorySource, memory_source, smooth_face

from facemae_cli.data.images.codec import encode_png
from facemae_cli.errors import UsageError
from facemae_cli.inference import embed as embed_module
from facemae_cli.inference.embed import MirrorSum, evaluating, normalised
from facemae_cli.networks.embedder import Embedder
from facemae_cli.runtime import distributed, threads, worker_pool


def plain(embedder: Embedder, numbers: list[int], mirrored: bool = True) -> np.ndarray:
    """The same, face by face, by the formula."""
    rows = []
    for number in numbers:
        face = torch.from_numpy(smooth_face(number, 16)).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            row = embedder(face) + (embedder(face.flip(3)) if mirrored else 0)
        rows.append((row / row.norm()).numpy()[0])
    return np.stack(rows)


@pytest.mark.parametrize("mirrored", [True, False])
def test_features_are_the_formula_s(mirrored: bool) -> None:
    embedder, source = small(), memory_source(3, 3, 16)
    made = run(source, embedder, mirrored=mirrored)
    wanted = plain(embedder, [0, 1, 2, 100, 101, 102, 200, 201, 202], mirrored)
    np.testing.assert_allclose(made.features, wanted, atol=1e-6)
    assert (made.features.dtype, made.valid.tolist(), made.refused, made.resized) == (np.float32, [True] * 9, [], 0)


def test_both_views_of_a_batch_go_through_at_once() -> None:
    embedder = small()
    run(memory_source(3, 3, 16), embedder)
    assert embedder.network.batches == 3  # type: ignore[comparison-overlap]


def test_only_the_faces_asked_for_in_the_order_asked() -> None:
    embedder = small()
    made = run(memory_source(3, 3, 16), embedder, indexes=[7, 0, 7])
    np.testing.assert_allclose(made.features, plain(embedder, [201, 0, 201]), atol=1e-6)
    assert len(run(memory_source(1, 1, 16), embedder, indexes=[]).features) == 0


def test_worker_processes_read_the_same_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    source, embedder = memory_source(3, 3, 16), small()
    source.faces[4] = ("p1", "1.png", b"no image")
    alone = run(source, embedder)
    monkeypatch.setattr(worker_pool, "ITEMS_A_WORKER", 0.01)
    made = run(source, embedder, workers=2)
    assert np.array_equal(made.features, alone.features)
    assert made.refused == alone.refused


def test_ranks_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    opened = embed_module.open_codecs
    monkeypatch.setattr(embed_module, "open_codecs", lambda count, *more: asked.append(count) or opened(count, *more))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(threads, "cores", lambda: 8)
    for workers in (None, 3):
        run(memory_source(2, 2, 16), small(), workers=workers)
    assert asked == [4, 3]
    with pytest.raises(UsageError, match="--workers -1 must be at least 1"):
        run(memory_source(2, 2, 16), small(), workers=-1)


def test_faces_of_another_size_are_resized_and_counted() -> None:
    big = np.repeat(np.repeat(smooth_face(0, 16), 2, 0), 2, 1)
    made = run(MemorySource([("a", "1", encode_png(big)), ("a", "2", encode_png(smooth_face(0, 16)))]), small())
    np.testing.assert_allclose(made.features[0], made.features[1], atol=1e-6)
    assert made.resized == 1


def test_the_embedder_evaluates_and_stays_in_the_mode_it_was_in() -> None:
    embedder, source = small(), memory_source(2, 2, 16)
    wanted = run(source, embedder).features
    embedder.train()
    network: Any = embedder.network
    network.norm.eval()  # frozen by whoever trains it
    np.testing.assert_array_equal(run(source, embedder).features, wanted)
    assert (embedder.training, network.training, network.drop.training, network.norm.training) == (*[True] * 3, False)
    assert not network.norm.running_mean.any()
    with pytest.raises(KeyError), evaluating(embedder):
        raise KeyError
    assert network.drop.training


def test_a_batch_size_that_is_none() -> None:
    with pytest.raises(UsageError, match="--batch-size 'many'"):
        run(memory_source(1, 1, 16), small(), batch_size="many")
    assert run(memory_source(2, 1, 16), small(), batch_size="auto").valid.all()


def test_what_has_no_feature_is_refused_with_its_reason() -> None:
    made = run(strange_source(), Embedder(Strange(), SPEC, 3))
    assert made.valid.tolist() == [False, False, True, False, False]
    assert [(item.where, item.reason) for item in made.refused] == [
        ("memory/a/1.png", "no-embedding"),
        ("memory/b/2.jpg", "truncated"),
        ("memory/d/4.png", "no-embedding"),
        ("memory/e/5.jpg", "empty"),
    ]
    np.testing.assert_allclose(made.features[2], np.full(3, 3**-0.5), atol=1e-6)
    assert not made.features[[0, 1, 3, 4]].any()
    nothing = run(strange_source(), Embedder(Strange(), SPEC, 3), indexes=[1, 4])
    assert (nothing.valid.tolist(), len(nothing.refused)) == ([False, False], 2)


def test_a_masked_face_is_embedded_as_it_looks() -> None:
    image = np.dstack([smooth_face(3, 16), np.full((16, 16), 255, np.uint8)])
    image[:8, :, 3] = 0
    shown = np.where(image[..., 3:] > 0, image[..., :3], np.uint8(0))
    made = run(MemorySource([(None, "1", encode_png(image)), (None, "2", encode_png(shown))]), small())
    np.testing.assert_array_equal(made.features[0], made.features[1])


def test_lengths_of_any_scale_become_one() -> None:
    rows = np.array([[3, 4], [3e30, 4e30], [3e-30, 4e-30], [0, 0], [np.nan, 1], [np.inf, 1]], np.float32)
    unit, valid = normalised(rows)
    np.testing.assert_allclose(unit[:3], [[0.6, 0.8]] * 3, rtol=1e-6)
    assert valid.tolist() == [True, True, True, False, False, False]
    assert not unit[3:].any()


def test_bf16_comes_close() -> None:
    embedder, source = small(), memory_source(1, 2, 16)
    low, full = (run(source, embedder, precision=precision).features for precision in ("bf16", "fp32"))
    assert 0 < np.abs(low - full).max() < 0.02


def test_gradients_do_not_hold_what_was_embedded() -> None:
    images = torch.zeros(2, 16, 16, 3, dtype=torch.uint8)
    assert MirrorSum(small())(images).requires_grad, "the network itself is differentiable"
    assert not small().frozen()(images.permute(0, 3, 1, 2).float()).requires_grad


@pytest.mark.parametrize("cached", [False, True])
def test_ranks_share_the_work_and_all_get_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cached: bool) -> None:
    source, network = memory_source(7, 3, 16), Small()
    wanted = run(source, Embedder(network, SPEC, 96).eval())
    more: dict[str, Any] = {"cache": tmp_path / "cache", "model_digest": "m"} if cached else {}
    monkeypatch.setattr("facemae_cli.inference.embed.GATHERED", 3)
    alone = network.batches
    made = on_ranks(3, lambda: run(source, Embedder(network, SPEC, 96).eval(), **more), monkeypatch)
    assert network.batches == 2 * alone, "no batch twice"
    for each in made:
        np.testing.assert_allclose(each.features, wanted.features, atol=1e-6)
        assert each.valid.all()
    if cached:
        on_ranks(2, lambda: run(source, Embedder(network, SPEC, 96).eval(), **more), monkeypatch)
        assert network.batches == 2 * alone


def test_real_ranks_agree(tmp_path: Path) -> None:
    source = strange_source()
    wanted = run(source, Embedder(Strange(), SPEC, 3), batch_size="2")
    for made in run_ranks(2, tmp_path, lambda rank: run(source, Embedder(Strange(), SPEC, 3), batch_size="2")):
        np.testing.assert_allclose(made.features, wanted.features, atol=1e-6)
        assert (made.valid.tolist(), made.refused) == (wanted.valid.tolist(), wanted.refused)


def test_progress_counts_every_face_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counter:
        total = done = 0

        def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
            self.total = total

        def advance(self, count: int = 1, note: str = "") -> None:
            self.done += count

        def notice(self, line: str) -> None:
            raise AssertionError(line)

    counters = [Counter(), Counter()]
    source = memory_source(3, 3, 16)
    run(source, small(), progress=counters[0])
    on_ranks(2, lambda: run(source, small(), progress=counters[distributed.rank()]), monkeypatch)
    assert (counters[0].total, counters[0].done) == (9, 18)
