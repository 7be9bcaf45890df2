"""Networks in the forms that others read: an ONNX graph, and a state dict as InsightFace's trainer keeps it."""

from __future__ import annotations

import copy
import importlib.util
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemae_cli.data.files import write_whole
from facemae_cli.errors import FacemaeError, UsageError
from facemae_cli.networks.onnx.runtime import open_session

INPUT, OUTPUT = "input", "embedding"
OPSET = 17  # the newest that torch 2.4's exporter writes; it has layer norms
AGREEMENT = 1e-4  # of a feature's length
PROBED = (1, 3)  # batch sizes compared, neither of which is the one that is traced
NEEDED = ("onnx", "onnxruntime")


def require_onnx() -> None:
    """Raises UsageError where a package that `save_onnx` needs is missing: ask before hours of training."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UsageError(f"writing ONNX needs {' and '.join(missing)}: `pip install {' '.join(missing)}`")


def save_onnx(network: nn.Module, size: int, path: Path) -> None:
    """Writes `network` as an ONNX file for any batch size, once onnxruntime was seen to compute the same from it.

    The file takes `input`, (N, 3, size, size) float32 normalised as the network wants it, and gives `embedding`,
    (N, dim) float32. The network itself is left as it is. Raises UsageError without onnx and onnxruntime,
    FacemaeError where the two differ by more than 1e-4 of a feature's length or are not finite, OutputError when the
    disk fails.
    """
    require_onnx()
    plain = plain_copy(network)
    content = onnx_graph(plain, {INPUT: torch.zeros(2, 3, size, size)}, OUTPUT)
    try:
        difference = _difference(plain, content, size)
    except ArithmeticError as error:
        raise FacemaeError(f"{path}: not written: {error}") from error
    if difference > AGREEMENT:
        raise FacemaeError(
            f"{path}: not written: its features would differ from the network's by {difference:.1e} of their length, "
            f"over {AGREEMENT:g}; the weights themselves are whole"
        )
    write_whole(path, content)


def save_pth(network: nn.Module, path: Path) -> None:
    """Writes the network's state dict in float32 as `torch.save` does, for `load_state_dict(torch.load(path))`.

    Raises OutputError when the disk fails.
    """
    buffer = io.BytesIO()
    torch.save(dict(plain_copy(network).state_dict()), buffer)
    write_whole(path, buffer.getvalue())


def onnx_graph(network: nn.Module, inputs: Mapping[str, Tensor], output: str, free: Sequence[str] = ("n",)) -> bytes:
    """`network`, on the CPU in float32 and evaluation mode, as an ONNX graph from `inputs` by name to `output`.

    The first axes of the inputs, as many as `free` names, may have any length, and so may the first of the output.
    """
    axes = dict(enumerate(free))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that needs no more packages is called old by its newer one, and warns of every constant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            plain_copy(network),
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes={**dict.fromkeys(inputs, axes), output: {0: free[0]}},
            opset_version=OPSET,
            dynamo=False,
        )
    return buffer.getvalue()


def plain_copy(network: nn.Module) -> nn.Module:
    """A copy to evaluate on the CPU in float32, in plain memory order, with attention as the sums it is made of."""
    plain = copy.deepcopy(network).to("cpu", torch.float32).to(memory_format=torch.contiguous_format)
    module: Any
    for module in plain.modules():
        if hasattr(module, "fused_attn"):  # timm's name for it
            module.fused_attn = False
    return plain.eval().requires_grad_(False)


@torch.no_grad()
def _difference(network: nn.Module, content: bytes, size: int) -> float:
    """How far apart the features are at most, as a share of their length; infinite where they cannot be compared.

    Raises ArithmeticError where the network's own features are not finite.
    """
    session = open_session(content)
    generator = torch.Generator().manual_seed(0)
    shares: list[Tensor] = []
    for count in PROBED:
        images = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
        wanted = network(images).float()
        if not wanted.isfinite().all():
            raise ArithmeticError("the network's features are not finite, so it is of no use to anybody")
        got = torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])
        if got.shape != wanted.shape or not got.isfinite().all():
            return math.inf
        shares.append((got - wanted).norm(dim=1) / wanted.norm(dim=1).clamp(min=1e-30))
    return float(torch.cat(shares).max())
