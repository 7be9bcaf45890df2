"""Embedders of images that are not square: by the card, and with the part of a face that their template holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from helpers.models import write_embedder
from helpers.sources import MemorySource, smooth_face
from onnx import helper

from facemae_cli.data.images.codec import encode_png, middle
from facemae_cli.errors import InputError
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import InputSpec, card_text, load_card
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.onnx_session import OnnxSession
from facemae_cli.networks.zoo import resolve

SIDES = (112, 96)


def upright(path: Path, size: object = SIDES, declared: tuple[int, int] = SIDES, cosine: bool = False) -> Path:
    """An embedder that declares images of these sides, whose card says `size`; with an operator of onnxruntime's."""
    model = onnx.load(write_embedder(path, dim=8))
    for dim, side in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], declared, strict=True):
        dim.dim_value = side
    if cosine:
        model.graph.node[-1].output[0] = "f"
        model.graph.node.append(helper.make_node("Cos", ["f"], ["y"]))
    onnx.save(model, path)
    card = yaml.safe_load(path.with_suffix(".yaml").read_text())
    card["input"]["size"] = list(size) if isinstance(size, tuple) else size
    path.with_suffix(".yaml").write_text(yaml.safe_dump(card))
    return path


def by_onnxruntime(path: Path, images: np.ndarray) -> np.ndarray:
    """Features of (n, 112, 112, 3) faces, of their middle 96 columns, mirrored ones added, at length 1."""
    session = onnxruntime.InferenceSession(str(path))
    given = ((images[:, :, 8:104].astype(np.float32) / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2)
    found = sum(session.run(None, {"x": np.ascontiguousarray(each)})[0] for each in (given, given[..., ::-1]))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_it_sees_the_middle_of_an_aligned_face(cosine: bool, precision: str, tmp_path: Path) -> None:
    path = upright(tmp_path / "phi.onnx", cosine=cosine)
    faces = np.stack([smooth_face(number) for number in range(3)])
    made = Recognizer.load(str(path), "cpu", precision)
    source = MemorySource([("p", f"{at}.png", encode_png(face)) for at, face in enumerate(faces)])
    found = made.embed(source, workers=1)
    np.testing.assert_allclose(found.features, by_onnxruntime(path, faces), atol=1e-5)
    assert found.resized == 0
    assert isinstance(made.embedder.network, OnnxSession)


def test_it_teaches_as_well(tmp_path: Path) -> None:
    path = upright(tmp_path / "phi.onnx")
    faces = np.stack([smooth_face(number) for number in range(3)])
    images = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255
    images.requires_grad_()
    embedder = load_embedder(resolve(str(path), "embedder"))
    both = embedder(images) + embedder(images.flip(3))
    wanted = by_onnxruntime(path, faces)
    np.testing.assert_allclose(torch.nn.functional.normalize(both).detach(), wanted, atol=1e-5)
    both.sum().backward()
    assert images.grad is not None
    assert images.grad[..., :8].abs().sum() == images.grad[..., 104:].abs().sum() == 0 < images.grad.abs().sum()


def test_what_cannot_run_says_so(tmp_path: Path) -> None:
    square = upright(tmp_path / "a.onnx", size=112)
    with pytest.raises(InputError, match=r"the graph takes \? x 3 x 112 x 96, its card says images of 112 x 112"):
        Recognizer.load(str(square), "cpu")
    turned = upright(tmp_path / "b.onnx", size=(96, 112))
    with pytest.raises(InputError, match="its card says images of 96 x 112 pixels"):
        Recognizer.load(str(turned), "cpu")
    bare = upright(tmp_path / "c.onnx")
    bare.with_suffix(".yaml").unlink()
    with pytest.raises(InputError, match=r"write c.yaml beside it with .* the size as a side or as \[height, width\]"):
        Recognizer.load(str(bare), "cpu")


def test_cards_say_one_side_or_two(tmp_path: Path) -> None:
    card = load_card(upright(tmp_path / "phi.onnx").with_suffix(".yaml"))
    assert (card.input.size, card.input.sides, card.input.pixels) == (SIDES, SIDES, "112 x 96")
    (tmp_path / "again.yaml").write_text(card_text(card))
    assert load_card(tmp_path / "again.yaml") == card
    assert InputSpec((112, 112)) == InputSpec(112)
    with pytest.raises(InputError, match=r"only an \.onnx can take images that are not square"):
        _ = card.input.side
    for size, says in (([112], "a side in pixels, or height and width"), ([112, 0], "a whole number from 1 to 4096")):
        with pytest.raises(InputError, match=says):
            InputSpec(size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "given", "rows", "columns"),
    [
        (SIDES, (112, 112), (0, 112), (8, 104)),
        (SIDES, (112, 96), (0, 112), (0, 96)),
        (SIDES, (224, 224), (0, 224), (16, 208)),
        ((96, 112), (100, 100), (7, 93), (0, 100)),
        (112, (100, 130), (0, 100), (0, 130)),
    ],
)
def test_the_part_of_a_face_that_a_network_sees(size, given, rows, columns) -> None:
    assert middle(*given, InputSpec(size).sides) == (slice(*rows), slice(*columns))
