"""Recognisers as ONNX and as a state dict, read back by onnxruntime, our interpreter and InsightFace's modules."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import references
from helpers.references import assert_same_embeddings, faces, scrambled
from torch import Tensor, nn

from facemae_cli.errors import FacemaeError, OutputError, UsageError
from facemae_cli.networks import export, zoo
from facemae_cli.networks.architectures.iresnet import DEPTHS, IResNet
from facemae_cli.networks.architectures.mobilefacenet import MobileFaceNet
from facemae_cli.networks.architectures.vit import VisionTransformer
from facemae_cli.networks.card import Card, InputSpec, card_text
from facemae_cli.networks.export import save_onnx, save_pth
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.onnx.graph import load_onnx

SIDE = 32
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "probe": lambda: IResNet((1, 1, 1), dim=7, widths=(4, 6, 8, 10), stem_stride=2, size=SIDE),
    "mbf": lambda: MobileFaceNet(dim=7, blocks=(1, 1, 2, 1), scale=1, size=SIDE),
    "vit": lambda: VisionTransformer(dim=7, size=SIDE, width=12, depth=2, heads=3),
}


def network(name: str = "probe") -> nn.Module:
    made = NETWORKS[name]()
    scrambled(made)
    return made


def onnxruntimes(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["embedding"], {"input": images.numpy()})[0])


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_and_our_interpreter_compute_what_the_network_does_at_any_batch_size(
    tmp_path: Path, name: str
) -> None:
    made, path = network(name), tmp_path / "x.onnx"
    save_onnx(made, SIDE, path)
    ours = load_onnx(path, SIDE)
    assert not ours.one_by_one
    for count in (1, 5):
        images = faces(count, SIDE)
        wanted = made(images)
        assert wanted.shape == (count, 7)
        assert_same_embeddings(onnxruntimes(path, images), wanted)
        assert_same_embeddings(ours(images), wanted)


def test_what_goes_in_and_what_comes_out_is_named_and_open_in_the_batch_alone(tmp_path: Path) -> None:
    save_onnx(network(), SIDE, tmp_path / "x.onnx")
    graph = onnx.load(tmp_path / "x.onnx").graph
    sides = {
        item.name: [side.dim_value or side.dim_param for side in item.type.tensor_type.shape.dim]
        for item in (*graph.input, *graph.output)
    }
    assert sides == {"input": ["n", 3, SIDE, SIDE], "embedding": ["n", 7]}


@torch.no_grad()
def test_r50_goes_from_insightface_through_onnx_to_an_embedder(tmp_path: Path) -> None:
    """As deep as r50 is, and an eighth as wide, which is as much to the exporter."""
    insightfaces = references.scrambled(references.ResNet(DEPTHS["r50"], width=8))
    ours = IResNet(DEPTHS["r50"], width=8).eval()
    ours.load_state_dict(insightfaces.state_dict())
    save_onnx(ours, 112, tmp_path / "r50.onnx")
    (tmp_path / "r50.yaml").write_text(card_text(Card(kind="embedder", input=InputSpec(112), dim=512)))
    wanted = insightfaces(faces())
    assert_same_embeddings(onnxruntimes(tmp_path / "r50.onnx", faces()), wanted)
    loaded = load_embedder(zoo.resolve(str(tmp_path / "r50.onnx"), "embedder"))
    assert_same_embeddings(loaded((faces() + 1) / 2), wanted)


def test_the_network_stays_as_it_is(tmp_path: Path) -> None:
    made = network("vit").train().to(torch.float64)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    fused = [module.fused_attn for module in made.modules() if hasattr(module, "fused_attn")]
    save_onnx(made, SIDE, tmp_path / "x.onnx")
    save_pth(made, tmp_path / "x.pth")
    assert made.training
    assert all(module.training for module in made.modules())
    assert all(parameter.requires_grad for parameter in made.parameters())
    assert fused == [module.fused_attn for module in made.modules() if hasattr(module, "fused_attn")]
    for name, value in made.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


def test_half_precision_and_another_memory_order_export_as_well(tmp_path: Path) -> None:
    made = network().half().to(memory_format=torch.channels_last)
    save_onnx(made, SIDE, tmp_path / "x.onnx")
    with torch.no_grad():
        assert_same_embeddings(onnxruntimes(tmp_path / "x.onnx", faces(2, SIDE)), made.float()(faces(2, SIDE)), 1e-4)


def test_it_exports_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_onnx(network(), SIDE, tmp_path / "x.onnx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("share", "kept"), [(1e-5, True), (1e-3, False), (float("nan"), False)])
def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, kept: bool
) -> None:
    real = onnxruntime.InferenceSession

    class Session:
        def __init__(self, *given: object, **more: object) -> None:
            self.session = real(*given, **more)

        def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [output * np.float32(1 + share) for output in self.session.run(names, feed)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    if kept:
        save_onnx(network(), SIDE, tmp_path / "x.onnx")
    else:
        with pytest.raises(FacemaeError, match=r"x\.onnx: not written: its features would differ"):
            save_onnx(network(), SIDE, tmp_path / "x.onnx")
    assert [path.name for path in tmp_path.iterdir()] == (["x.onnx"] if kept else [])


def test_a_network_of_no_use_is_not_exported(tmp_path: Path) -> None:
    made = network()
    nn.init.constant_(made.get_parameter("fc.bias"), float("nan"))
    with pytest.raises(FacemaeError, match="not finite"):
        save_onnx(made, SIDE, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_told_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export.require_onnx()
    monkeypatch.setattr(export, "NEEDED", ("onnx", "no_such_runtime"))
    with pytest.raises(UsageError, match="needs no_such_runtime: `pip install no_such_runtime`"):
        save_onnx(network(), SIDE, tmp_path / "x.onnx")


@pytest.mark.parametrize("save", [lambda made, path: save_onnx(made, SIDE, path), save_pth])
def test_a_disk_that_fails_is_an_output_error(tmp_path: Path, save: Callable[[nn.Module, Path], None]) -> None:
    with pytest.raises(OutputError):
        save(network(), tmp_path / "gone" / "x")


@torch.no_grad()
def test_a_pth_loads_in_insightfaces_own_modules(tmp_path: Path) -> None:
    with torch.device("meta"):
        theirs, ours = references.MobileFaceNet((1, 4, 6, 2), 2), MobileFaceNet()
    scrambled(ours).to(memory_format=torch.channels_last)
    save_pth(ours.half(), tmp_path / "backbone.pth")
    state = torch.load(tmp_path / "backbone.pth", weights_only=True)
    assert type(state) is dict
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}
    theirs.load_state_dict(state, assign=True)
    assert_same_embeddings(theirs.eval()(faces()), ours.float()(faces()), within=1e-4)
