"""Backends on a CPU: which is chosen, and that each computes what torch does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from helpers.models import SHAPE
from helpers.references import scrambled
from torch import Tensor, nn

from facemae_cli.errors import InputError, UsageError
from facemae_cli.networks import backends
from facemae_cli.networks.architectures.iresnet import IResNet
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.backends import FEW, choose_backend, compile_autoencoder, compile_embedder
from facemae_cli.networks.card import InputSpec
from facemae_cli.networks.embedder import Embedder

CPU = torch.device("cpu")
COMPILED = [pytest.param(name, marks=pytest.mark.skipif(not backends.is_installed(name), reason=f"{name} is an extra"))
            for name in ("onnxruntime", "openvino")]  # fmt: skip


@pytest.fixture(scope="module")
def autoencoder() -> MaskedAutoencoder:
    torch.manual_seed(0)
    made = MaskedAutoencoder(**SHAPE, seam=4)
    scrambled(made)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    network = IResNet((1, 1, 1), dim=7, widths=(4, 6, 8, 10), stem_stride=2, size=32)
    scrambled(network)
    return Embedder(network.to(memory_format=torch.channels_last), InputSpec(32), 7).frozen()


def patches(count: int, visible: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(visible)
    index = torch.stack([torch.randperm(196, generator=random)[:visible] for _ in range(count)])
    return torch.rand(count, visible, 192, generator=random), index


def psnr(got: Tensor, wanted: Tensor) -> float:
    return float(-10 * (got.double() - wanted.double()).square().mean().log10())


@pytest.mark.parametrize("backend", COMPILED)
def test_an_autoencoder_is_computed_to_90_db_for_any_faces_and_visible_patches(
    autoencoder: MaskedAutoencoder, backend: backends.Backend
) -> None:
    made = compile_autoencoder(autoencoder, backend, "fp32")
    assert (made.patch, made is autoencoder) == (8, False)
    for count, visible in ((1, 49), (5, 49), (3, 156), (2, 1)):
        given = patches(count, visible)
        assert psnr(made(*given), autoencoder(*given)) >= 90


@pytest.mark.parametrize("backend", COMPILED)
def test_faces_depend_neither_on_those_beside_them_nor_on_threads(
    autoencoder: MaskedAutoencoder, backend: backends.Backend
) -> None:
    given = patches(4, 49)
    made = compile_autoencoder(autoencoder, backend, "fp32")
    wanted = made(*given)
    turned = made(*(each.flip(0) for each in given))
    assert torch.equal(turned.flip(0), wanted)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert torch.equal(compile_autoencoder(autoencoder, backend, "fp32")(*given), wanted)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(made(*given), wanted)


@pytest.mark.parametrize("backend", COMPILED)
def test_an_embedder_is_computed_alike(embedder: Embedder, backend: backends.Backend) -> None:
    made = compile_embedder(embedder, backend, "fp32")
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    wanted, got = embedder(images), made(images)
    assert float((got - wanted).norm() / wanted.norm()) < 1e-5
    assert (made.spec, made.dim, made.training) == (embedder.spec, 7, False)


def test_torch_is_the_network_itself(autoencoder: MaskedAutoencoder, embedder: Embedder) -> None:
    assert compile_autoencoder(autoencoder, "torch", "bf16") is autoencoder
    assert compile_embedder(embedder, "torch", "fp32") is embedder


def test_what_computes_something_else_is_not_taken(
    autoencoder: MaskedAutoencoder, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = backends._runner

    def wrong(*given: object) -> Callable[..., object]:
        run = runner(*given)  # type: ignore[arg-type]
        return lambda inputs: run(inputs) * 1.001

    with monkeypatch.context() as patch:
        patch.setattr(backends, "_runner", wrong)
        for work in (compile_autoencoder, compile_embedder):
            with pytest.raises(InputError, match="onnxruntime does not compute what this network does: use --backend"):
                work(autoencoder if work is compile_autoencoder else embedder, "onnxruntime", "fp32")  # type: ignore[operator]
    monkeypatch.setattr(backends, "_by_onnxruntime", lambda content: nn.Module().missing)
    with pytest.raises(InputError, match="onnxruntime does not run this network"):
        compile_autoencoder(autoencoder, "onnxruntime", "fp32")


CHOICES = [  # asked, precision, faces, autoencoder, installed, bf16 in hardware -> backend, precision
    ("auto", "auto", FEW, True, {"onnxruntime", "openvino"}, True, "torch", "bf16"),
    ("auto", "fp32", FEW, True, {"onnxruntime", "openvino"}, True, "onnxruntime", "fp32"),
    ("auto", "auto", FEW - 1, True, {"onnxruntime", "openvino"}, True, "torch", "bf16"),
    ("auto", "auto", FEW, True, {"onnxruntime"}, True, "torch", "bf16"),
    ("auto", "auto", FEW, True, {"onnxruntime"}, False, "onnxruntime", "fp32"),
    ("auto", "auto", FEW, False, {"onnxruntime"}, False, "torch", "fp32"),
    ("auto", "bf16", FEW, True, {"openvino"}, False, "torch", "bf16"),
    ("auto", "auto", FEW, True, set(), False, "torch", "fp32"),
    ("openvino", "auto", 1, True, {"openvino"}, True, "openvino", "bf16"),
    ("onnxruntime", "auto", 1, True, {"onnxruntime"}, True, "onnxruntime", "fp32"),
    ("torch", "auto", FEW, True, {"openvino"}, True, "torch", "bf16"),
]


@pytest.mark.parametrize(("asked", "precision", "faces", "mae", "there", "bf16", "backend", "computed"), CHOICES)
def test_the_fastest_is_chosen_of_what_is_there(
    asked: str, precision: str, faces: int, mae: bool, there: set[str], bf16: bool, backend: str, computed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(backends, "is_installed", there.__contains__)
    monkeypatch.setattr("facemae_cli.runtime.device.has_fast_bf16", lambda device: bf16)
    assert choose_backend(asked, precision, CPU, faces, autoencoder=mae) == (backend, computed)


def test_what_cannot_be_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda package: False)
    cuda = torch.device("cuda")
    for asked, precision, device, said in (
        ("tvm", "auto", CPU, "--backend 'tvm' is not known; say auto, torch, onnxruntime or openvino"),
        ("onnxruntime", "bf16", CPU, "--backend onnxruntime computes in fp32: use --precision fp32"),
        ("openvino", "fp32", CPU, r"--backend openvino needs .* not installed: `pip install openvino`"),
        ("openvino", "fp32", cuda, "--backend openvino computes on the CPU, not on cuda: use --device cpu"),
        ("auto", "half", CPU, "--precision 'half' is not known"),
    ):
        with pytest.raises(UsageError, match=said):
            choose_backend(asked, precision, device, FEW, autoencoder=True)
    assert choose_backend("auto", "fp32", cuda, FEW, autoencoder=True) == ("torch", "fp32")
