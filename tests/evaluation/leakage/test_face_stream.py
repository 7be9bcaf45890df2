"""One reading of a dataset for all who look at it: how often faces are decoded, and what everybody sees."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.embedders import SPEC, Strange, small, strange_source
from helpers.models import write_mae
from helpers.ranks import on_ranks
from helpers.sources import MemorySource, memory_source

from facemae_cli.data.images.codec import decode, encode_png
from facemae_cli.evaluation.leakage.dataset_features import DatasetFeatures, see_dataset
from facemae_cli.evaluation.leakage.face_stream import AS_IT_IS, FaceStream, Viewer, unchanged
from facemae_cli.evaluation.leakage.imitation import Imitator, MaskingRecipe
from facemae_cli.evaluation.leakage.thumbnails import THUMBNAILS
from facemae_cli.evaluation.leakage.transforms import MIRROR_IMAGES, TRANSFORMS
from facemae_cli.inference.embed import features_of
from facemae_cli.inference.pipeline import AHEAD
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Card, Model
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.progress import SILENT

CPU = torch.device("cpu")
THUMBS = {name: Viewer.of(each, "auto") for name, each in THUMBNAILS.items()}


def recognizer(embedder: Embedder) -> Recognizer:
    return Recognizer(Model("small", Card(kind="embedder", input=SPEC), Path("small")), embedder, CPU, "fp32")


def stream(source: MemorySource, viewers: dict[str, Viewer], batch: str = "4") -> FaceStream:
    everybody = {(AS_IT_IS, name): viewer for name, viewer in viewers.items()}
    return FaceStream(source, range(len(source)), {AS_IT_IS: unchanged}, everybody)


def test_a_face_is_decoded_once_for_all_and_once_more_for_each_imitation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    decoder, read = cv2.imdecode, MemorySource.read

    def counted(*given: object) -> object:
        counts["decoded"] += 1
        return decoder(*given)  # type: ignore[call-overload]

    def reading(self: MemorySource, index: int) -> bytes:
        counts["read"] += 1
        return read(self, index)

    source, two = memory_source(3, 3), [small(), small()]
    mae = Imitator(resolve(str(write_mae(tmp_path / "mae")), "mae"), MaskingRecipe(), CPU, "fp32")
    viewers = {f"small {at}": Viewer.of(recognizer(each), "4") for at, each in enumerate(two)} | THUMBS
    monkeypatch.setattr(cv2, "imdecode", counted)
    monkeypatch.setattr(MemorySource, "read", reading)
    for each in two:
        each.network.batches = 0
    see_dataset(source, viewers, [(mae, 2)], threads=2)
    assert counts == {"read": 9, "decoded": 9 + 2 * 9}
    assert [each.network.batches for each in two] == [3 + 2 * 3] * 2


def test_everybody_sees_what_an_embedding_of_the_faces_gives() -> None:
    source, network = strange_source(), Embedder(Strange(), SPEC, 3)
    seen = see_dataset(source, {"strange": Viewer.of(recognizer(network), "2")} | THUMBS, threads=2)
    wanted = recognizer(network).embed(source, batch_size="2")
    np.testing.assert_array_equal(seen.by["strange"].features, wanted.features)
    assert (seen.by["strange"].valid.tolist(), seen.by["strange"].refused) == (wanted.valid.tolist(), wanted.refused)
    assert seen.by["thumbnail"].refused == []
    assert seen.scan.valid.tolist() == [True, False, True, True, False]
    assert [face is None for face in seen.scan.digests] == [False] * 5


def test_faces_of_another_size_are_counted_as_an_embedding_counts_them(tmp_path: Path) -> None:
    """`verify` reads features that an audit kept, and says how many faces were resized."""
    source = MemorySource([*memory_source(2, 2, SPEC.size).faces, *memory_source(3, 1, 2 * SPEC.size).faces])
    attacker = recognizer(small())
    seen = see_dataset(source, {"small": Viewer.of(attacker, "4")}, cache=tmp_path)
    assert seen.by["small"].resized == attacker.embed(source, batch_size="4", workers=1).resized == 3
    kept = attacker.embed(source, batch_size="4", workers=1, cache=tmp_path)
    assert kept.resized == 3


def test_faces_in_several_ways_are_those_that_were_changed_before() -> None:
    source, viewer = memory_source(2, 2, 16), Viewer.of(recognizer(small()), "4")
    rows = [3, 0]
    looked = FaceStream(source, rows, TRANSFORMS, {(name, "small"): viewer for name in TRANSFORMS})
    looked.run(2, "embed", SILENT)
    assert viewer.runner is not None
    for name, change in TRANSFORMS.items():
        images = [np.ascontiguousarray(change(decode(source.read(row)))) for row in rows]
        features, valid = features_of(images, viewer.runner, 96)
        np.testing.assert_array_equal(looked.seen(name, "small").features, features)
        assert valid.all()
        same = MIRROR_IMAGES.get(name, name)
        if same != name:
            plain = [decode(source.read(row)) for row in rows] if same is None else None
            other = looked.seen(same, "small").features if same else features_of(plain, viewer.runner, 96)[0]
            np.testing.assert_array_equal(other, features)


def test_no_more_than_a_few_batches_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()
    most = 0

    class Counted(MemorySource):
        def read(self, index: int) -> bytes:
            counts["read"] += 1
            return super().read(index)

    source = Counted(memory_source(20, 2, 16).faces)
    viewer = Viewer.of(recognizer(small()), "4")
    look = Viewer.features

    def looking(self: Viewer, pictures: list[object]) -> object:
        nonlocal most
        counts["seen"] += len(pictures)
        most = max(most, counts["read"] - counts["seen"])
        return look(self, pictures)  # type: ignore[arg-type]

    monkeypatch.setattr(Viewer, "features", looking)
    stream(source, {"small": viewer}).run(2, "embed", SILENT)
    assert counts == {"read": 40, "seen": 40}
    assert most <= 4 * (AHEAD + 1)


def test_ranks_share_the_faces_and_all_get_all(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = [*memory_source(7, 3, 16).faces, ("p9", "0.png", b"broken")]
    source, network = MemorySource(faces), small()
    wanted = see_dataset(source, {"small": Viewer.of(recognizer(network), "4")} | THUMBS)
    network.network.batches = 0

    def seen() -> DatasetFeatures:
        """By a viewer of this rank's own: what is in flight is no two ranks' in common."""
        return see_dataset(source, {"small": Viewer.of(recognizer(network), "4")} | THUMBS)

    for made in on_ranks(3, seen, monkeypatch):
        for name in wanted.by:
            np.testing.assert_array_equal(made.by[name].features, wanted.by[name].features)
        assert made.scan.whole == wanted.scan.whole
        np.testing.assert_array_equal(made.scan.thumbnails, wanted.scan.thumbnails)
    assert network.network.batches == 6, "no batch twice"


def test_a_dataset_of_pngs_with_alpha_is_seen_as_it_looks() -> None:
    image = np.dstack([decode(memory_source(1, 1, 16).read(0)), np.full((16, 16), 255, np.uint8)])
    image[:8, :, 3] = 0
    shown = np.where(image[..., 3:] > 0, image[..., :3], np.uint8(0))
    source = MemorySource([(None, "1", encode_png(image)), (None, "2", encode_png(shown))])
    seen = see_dataset(source, {"small": Viewer.of(recognizer(small()), "4")})
    np.testing.assert_array_equal(*seen.by["small"].features)
