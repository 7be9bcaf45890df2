"""What computes a network on a CPU: torch, or onnxruntime or OpenVINO from a graph made of it when it is loaded.

Milliseconds a face on one core (AMD EPYC with AVX512-BF16; 32 faces at a time, medians of 7, sides by turns):

                  torch fp32  torch bf16  onnxruntime fp32  OpenVINO fp32  OpenVINO bf16
    facemae-v1         13.61        6.45              8.74           7.81           4.25
    embedder-v1         9.08        4.47              8.72           6.71           3.46
    probe-v1            4.64        2.56              4.43           3.30           1.74

Held to AVX2, facemae-v1 in fp32: torch 12.40, onnxruntime 8.54, OpenVINO 8.30; embedder-v1: 9.20, 8.64, 7.09.

`auto` is onnxruntime for an autoencoder in fp32, else torch. OpenVINO, the fastest, is taken by name alone: a process
that had compiled several networks with it crashed when it started another program. To make and compile a graph takes
0.3 to 0.8 s of CPU, so for few faces it is torch. An `.onnx` file is not computed here but by `onnx_session`:
onnxruntime has it 1.1 times as fast as OpenVINO.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from facemae_cli.errors import InputError, UsageError
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.export import onnx_graph
from facemae_cli.networks.onnx.runtime import open_session
from facemae_cli.networks.weights import first_line
from facemae_cli.runtime.choices import check_backend
from facemae_cli.runtime.device import Precision, choose_precision

Backend = Literal["torch", "onnxruntime", "openvino"]
Run = Callable[[list[Any]], Any]

FEW = 512  # faces, for fewer of which no graph is worth making
AGREEMENT: dict[Precision, float] = {"fp32": 1e-4, "bf16": 0.05}  # of the length of what torch computes in fp32
INSTALL = {"onnxruntime": "pip install onnxruntime", "openvino": "pip install openvino"}
VISIBLE = 2  # patches of the example that an autoencoder's graph is made from


def choose_backend(
    asked: str, precision: str, device: torch.device, faces: int, *, autoencoder: bool
) -> tuple[Backend, Precision]:
    """What computes an autoencoder, or an embedder that torch built, for so many `faces`, and in what precision.

    Both are names or `auto`. Raises UsageError for what is not known, not installed, or cannot go together.
    """
    check_backend(asked)
    if asked == "onnxruntime" and precision == "bf16":
        raise UsageError("--backend onnxruntime computes in fp32: use --precision fp32, or --backend torch for bf16")
    computed = choose_precision("fp32" if asked == "onnxruntime" and precision == "auto" else precision, device)
    if asked == "torch":
        return "torch", computed
    if asked != "auto":
        _require(asked, device)
        return ("openvino" if asked == "openvino" else "onnxruntime"), computed
    return _fastest(computed, device, faces, autoencoder), computed


def _fastest(precision: Precision, device: torch.device, faces: int, autoencoder: bool) -> Backend:
    if device.type != "cpu" or faces < FEW:
        return "torch"
    return "onnxruntime" if autoencoder and precision == "fp32" and is_installed("onnxruntime") else "torch"


def _require(backend: str, device: torch.device) -> None:
    if device.type != "cpu":
        raise UsageError(f"--backend {backend} computes on the CPU, not on {device}: use --device cpu")
    if not is_installed(backend):
        raise UsageError(f"--backend {backend} needs a package that is not installed: `{INSTALL[backend]}`")


def is_installed(package: str) -> bool:
    """Whether a backend's package can be imported."""
    return importlib.util.find_spec(package) is not None


class CompiledNetwork(nn.Module):
    """A network as a backend computes it: takes and gives the tensors that the network does, without gradients."""

    def __init__(self, run: Run, backend: Backend) -> None:
        super().__init__()
        self.run, self.backend = run, backend

    def forward(self, *inputs: Tensor) -> Tensor:
        """Each input on the CPU -> float32."""
        return torch.from_numpy(self.run([each.contiguous().numpy() for each in inputs]))


class CompiledAutoencoder(CompiledNetwork):
    """An autoencoder as a backend computes it, of `patch` x `patch` pixels a patch."""

    def __init__(self, run: Run, backend: Backend, patch: int) -> None:
        super().__init__(run, backend)
        self.patch = patch


def compile_autoencoder(
    network: MaskedAutoencoder, backend: Backend, precision: Precision
) -> MaskedAutoencoder | CompiledAutoencoder:
    """`network` as `backend` computes it, for any number of faces and of visible patches; itself for torch.

    Raises InputError where the backend does not compute what the network does.
    """
    if backend == "torch":
        return network
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "visible": torch.rand(2, VISIBLE, network.patch**2 * 3, generator=generator),
        "index": torch.arange(2 * VISIBLE).view(2, VISIBLE),
    }
    content = onnx_graph(network, inputs, "faces", ("n", "visible"))
    made = CompiledAutoencoder(_runner(content, backend, precision), backend, network.patch)
    more = {
        "visible": torch.rand(3, 5, network.patch**2 * 3, generator=generator),
        "index": torch.arange(15).view(3, 5),
    }
    _check(network, made, more, precision)
    return made


def compile_embedder(embedder: Embedder, backend: Backend, precision: Precision) -> Embedder:
    """`embedder` with its network as `backend` computes it, for any number of faces; itself for torch.

    Raises InputError where the backend does not compute what the network does.
    """
    if backend == "torch":
        return embedder
    images = torch.rand(3, 3, *embedder.spec.sides, generator=torch.Generator().manual_seed(0)) * 2 - 1
    content = onnx_graph(embedder.network, {"input": images[:2]}, "embedding")
    made = CompiledNetwork(_runner(content, backend, precision), backend)
    _check(embedder.network, made, {"input": images}, precision)
    return Embedder(made, embedder.spec, embedder.dim).frozen()


@torch.no_grad()
def _check(network: nn.Module, made: CompiledNetwork, inputs: Mapping[str, Tensor], precision: Precision) -> None:
    wanted, got = network(*inputs.values()).float(), made(*inputs.values())
    if got.shape != wanted.shape or not (got - wanted).norm() <= AGREEMENT[precision] * wanted.norm():
        raise InputError(f"{made.backend} does not compute what this network does: use --backend torch")


def _runner(content: bytes, backend: Backend, precision: Precision) -> Run:
    try:
        return _by_openvino(content, precision) if backend == "openvino" else _by_onnxruntime(content)
    except UsageError:
        raise
    except Exception as error:  # each has errors of its own for what it cannot run
        raise InputError(f"{backend} does not run this network: {first_line(error)}; use --backend torch") from error


def _by_onnxruntime(content: bytes) -> Run:
    session = open_session(content)
    names = [each.name for each in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


def _by_openvino(content: bytes, precision: Precision) -> Run:
    openvino: Any = importlib.import_module("openvino")  # an extra, which type checkers need not know
    wanted = {"fp32": "f32", "bf16": "bf16"}[precision]
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": wanted,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # several processes may share the cores
    }
    core = openvino.Core()
    compiled: Any = core.compile_model(core.read_model(content), "CPU", settings)
    if compiled.get_property("INFERENCE_PRECISION_HINT").to_string() != wanted:
        raise UsageError(f"--backend openvino does not compute in {precision} on this CPU: use --precision fp32")
    request: Any = compiled.create_infer_request()

    def run(inputs: list[Any]) -> Any:
        request.infer(inputs, share_inputs=True)
        return request.get_output_tensor(0).data.copy()  # the next faces are written over it

    return run
