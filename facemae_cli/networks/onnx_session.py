"""ONNX embedders through onnxruntime: faster than our interpreter where a CPU computes in fp32 and nothing is trained.

Whether a file is a safe one is decided by our own reader alone. A session takes the place of a network that was loaded
where it gives what that network gives; a file with operators that have no gradients here has only its session.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from facemae_cli.errors import InputError
from facemae_cli.networks.card import Model
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.onnx.file import read_graph
from facemae_cli.networks.onnx.graph import OnnxGraph, UnsupportedOperators
from facemae_cli.networks.onnx.runtime import BatchedNetwork, feature_output, open_session
from facemae_cli.networks.weights import first_line
from facemae_cli.runtime.device import Precision, choose_precision

AGREEMENT = 1e-4  # of the features' length
PROBED = 3  # images a session must take at once


class OnnxSession(BatchedNetwork):
    """An ONNX file run by onnxruntime on the CPU in float32, without gradients.

    `output` is the number of the output that holds features; `channels_last`: whether the file takes (N, H, W, 3).
    Raises ImportError without onnxruntime, and its own errors for a file that it does not run.
    """

    def __init__(self, path: Path, output: int = 0, channels_last: bool = False) -> None:
        super().__init__()
        self.session = open_session(path)
        self.input = self.session.get_inputs()[0].name
        self.output = self.session.get_outputs()[output].name
        self.channels_last = channels_last

    def features(self, images: Tensor) -> Tensor:
        """images: (N, 3, H, W) as the network wants them, on any device -> (N, D) float32 features, on the same."""
        given = images.permute(0, 2, 3, 1) if self.channels_last else images
        (features,) = self.session.run([self.output], {self.input: given.float().contiguous().cpu().numpy()})
        return torch.from_numpy(features).flatten(1).float().to(images.device)

    def choose_output(self, image: Tensor) -> None:
        """Takes the one output that holds features of `image`, (1, 3, H, W). Raises ValueError unless there is one."""
        names = [each.name for each in self.session.get_outputs()]
        given = image.permute(0, 2, 3, 1) if self.channels_last else image
        values = self.session.run(names, {self.input: given.contiguous().numpy()})
        self.output = names[feature_output(names, [value.shape for value in values])]


def inference_precision(name: str, model: Model, device: torch.device) -> Precision:
    """As `choose_precision`, but that `auto` is fp32 for an `.onnx` on a CPU, whatever the CPU: there onnxruntime in
    fp32 outruns our interpreter in bf16. Raises UsageError for an unknown name."""
    if name == "auto" and device.type == "cpu" and model.weights is not None and model.weights.suffix == ".onnx":
        return "fp32"
    return choose_precision(name, device)


def load_for_inference(model: Model, device: torch.device, precision: Precision) -> Embedder:
    """The embedder of `model` to compute features with at `precision`, and never gradients.

    An `.onnx` on a CPU in fp32 runs in onnxruntime where that is installed, takes several images at once and agrees
    with our interpreter; one with operators that only onnxruntime has runs there in any case, on the CPU in fp32.
    Everything else is as `load_embedder` gives it. Raises InputError as that does.
    """
    try:
        embedder = load_embedder(model, device)
    except UnsupportedOperators as error:
        assert model.weights is not None
        return _by_session_alone(model, model.weights, error).to(device)
    if device.type == "cpu" and precision == "fp32" and isinstance(embedder.network, OnnxGraph) and model.weights:
        session = _session(model.weights, embedder.network, embedder.spec.sides)
        embedder.network = session or embedder.network
    return embedder


@torch.no_grad()
def _by_session_alone(model: Model, weights: Path, unsupported: InputError) -> Embedder:
    """The embedder of a file that our interpreter does not run. `read_graph` has found it to be one file and safe."""
    graph = read_graph(weights)
    pair = torch.rand(2, 3, *model.card.input.sides, generator=torch.Generator().manual_seed(0)) * 2 - 1
    try:
        session = OnnxSession(weights, channels_last=graph.channels_last)
        session.choose_output(pair[:1])
        dim = session(pair[:1]).shape[1]
        session.find_batching(pair, AGREEMENT)
    except ImportError as error:
        raise InputError(f"{unsupported}: `pip install onnxruntime`") from error
    except Exception as error:  # onnxruntime raises errors of its own for what it cannot run
        raise InputError(f"{weights}: onnxruntime does not run it either: {first_line(error)}") from error
    if model.card.dim not in (None, dim):
        raise InputError(f"{weights}: the embedder gives {dim}-d features, its card says {model.card.dim}")
    return Embedder(session, model.card.input, dim).frozen()


@torch.no_grad()
def _session(path: Path, network: OnnxGraph, sides: tuple[int, int]) -> OnnxSession | None:
    """A session that gives what `network` gives, or None."""
    if network.one_by_one:
        return None
    images = torch.rand(PROBED, 3, *sides, generator=torch.Generator().manual_seed(0)) * 2 - 1
    try:
        session = OnnxSession(path, network.output, network.channels_last_input)
        wanted, got = network(images), session(images)
    except Exception:  # not installed, or any of the errors of its own that it raises for what it cannot run
        return None
    agrees = got.shape == wanted.shape and bool((got - wanted).norm() <= AGREEMENT * wanted.norm())
    return session if agrees else None
