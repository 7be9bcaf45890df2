"""The bundled networks on a CPU by each backend that is installed: torch, onnxruntime, OpenVINO, in fp32 and bf16.

    python tests/benchmarks/backends.py [--models facemae-v1 embedder-v1 probe-v1] [--faces 64]

An autoencoder is given a quarter of its patches, an embedder images. How far each is from torch in fp32 is printed
first: in dB of pixels in [0, 1], or as a share of the features' length. The floor is the network's multiplications over
the rate of one large product in fp32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from timing import Bench, begin, work_floor
from torch import Tensor, nn

from facemae_cli.networks.backends import Backend, compile_autoencoder, compile_embedder, is_installed
from facemae_cli.networks.loading import load_embedder, load_mae
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import Precision, autocast, has_fast_bf16

BATCH = 32
COMPILED: tuple[tuple[Backend, Precision], ...] = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
CPU = torch.device("cpu")


def by_batches(network: nn.Module, precision: Precision, inputs: tuple[Tensor, ...]) -> Tensor:
    """What `network` makes of all faces, BATCH at a time."""
    with torch.inference_mode(), autocast(CPU, precision):
        return torch.cat(
            [network(*batch).float() for batch in zip(*(each.split(BATCH) for each in inputs), strict=True)]
        )


def inputs_of(patch: int | None, side: int, count: int) -> tuple[Tensor, ...]:
    """Visible patches and where they stand, or images."""
    random = torch.Generator().manual_seed(0)
    if patch is None:
        return (torch.rand(count, 3, side, side, generator=random),)
    index = torch.stack([torch.randperm(196, generator=random)[:49].sort().values for _ in range(count)])
    return torch.rand(count, 49, 3 * patch**2, generator=random), index


def measure(bench: Bench, name: str, count: int) -> None:
    """One model by all backends."""
    model = resolve(name)
    is_mae = model.card.kind == "mae"
    network = load_mae(model) if is_mae else load_embedder(model)
    given = inputs_of(network.patch if is_mae else None, 0 if is_mae else network.spec.side, count)
    run = partial(by_batches, inputs=given)
    sides: dict[str, Callable[[], Tensor]] = {"torch in fp32": partial(run, network, "fp32")}
    fast = has_fast_bf16(CPU)
    if fast:
        sides["torch in bf16"] = partial(run, network, "bf16")
    for backend, precision in COMPILED:
        if is_installed(backend) and (precision == "fp32" or fast):
            make = compile_autoencoder if is_mae else compile_embedder
            sides[f"facemae, {backend} in {precision}"] = partial(run, make(network, backend, precision), precision)  # type: ignore[operator]
    wanted = sides["torch in fp32"]()
    for side, work in list(sides.items())[1:]:
        apart = (work() - wanted).double()
        share = float(apart.norm() / wanted.double().norm())
        print(f"  {side}: " + (f"{float(-10 * apart.square().mean().log10()):.1f} dB" if is_mae else f"{share:.1e}"))
    floor = work_floor(
        partial(by_batches, network, "fp32", tuple(each[:1] for each in given)), count, "cpu", "fp32", "face"
    )
    bench.compare(f"{name} by backend: {count} faces, {torch.get_num_threads()} threads", sides, count, floor)


def main(argv: list[str] | None = None) -> None:
    """Each model by its backends."""
    parser = argparse.ArgumentParser("backends.py", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["facemae-v1", "embedder-v1", "probe-v1"])
    parser.add_argument("--faces", type=int, default=64)
    options, bench = begin(parser, argv)
    if bench is not None:
        for name in options.models:
            measure(bench, name, options.faces)


if __name__ == "__main__":
    main()
