"""How much memory training a recogniser will take, said before its first step and not in the middle of the night."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from facemae_cli.errors import UsageError
from facemae_cli.networks.embedder import Embedder
from facemae_cli.runtime import distributed, launcher
from facemae_cli.runtime.device import Precision, autocast

FLOAT = 4  # bytes
STATES = 3  # a weight, its gradient, its momentum
SAMPLED_COPIES = 4  # of the centres that take part: sampled, normalised, and the gradients of both
LOGIT_COPIES = 5  # cosines, clamped cosines, logits, probabilities, and a gradient
WORKING = 1.75  # what a step takes at its peak, over what it remembers: 1.2 to 1.7 measured for probe, mbf and r18
HEADROOM = 0.9  # of what is free: allocators and kernels want some of their own


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device: of the network and what it remembers for a backward pass (`network`), of all the rank's
    centres and their momenta (`centres`), and of comparing with all classes (`comparing`), times the sample rate."""

    network: int
    centres: int
    comparing: int

    @classmethod
    def of(cls, embedder: Embedder, batch_size: int, classes: int, precision: Precision) -> MemoryEstimate:
        """`embedder` in training; `batch_size` faces over all ranks; `classes` may be 0. Every rank must call it."""
        ranks = distributed.world()
        parameters = sum(parameter.numel() for parameter in embedder.network.parameters())
        share = -(-classes // ranks)
        return cls(
            network=parameters * FLOAT * STATES
            + int(WORKING * remembered_bytes(embedder, precision) * batch_size / ranks),
            centres=2 * share * embedder.dim * FLOAT,
            comparing=share * FLOAT * (SAMPLED_COPIES * embedder.dim + LOGIT_COPIES * batch_size),
        )

    def total(self, sample_rate: float) -> int:
        """Bytes at that share of the classes."""
        return self.network + self.centres + int(self.comparing * sample_rate)

    def require(self, device: torch.device, sample_rate: float) -> str:
        """One line: what is needed and what is free. Raises UsageError, with the way out, where it is too much."""
        needed, free = self.total(sample_rate), free_bytes(device)
        said = f"training takes about {_gib(needed)} of memory"
        if free is None:
            return said
        said += f" of {_gib(free)} that {device} has free"
        if needed <= free * HEADROOM:
            return said
        spare = free * HEADROOM - self.network - self.centres
        rate = spare / self.comparing if self.comparing else 0.0
        if rate >= 0.001:
            raise UsageError(
                f"{said}; --sample-rate {_rounded_down(rate)} would fit, and so might a smaller --batch-size"
            )
        raise UsageError(
            f"{said} (network {_gib(self.network)}, class centres {_gib(self.centres)}); take a smaller --batch-size "
            "or more ranks (torchrun), which share both"
        )


def remembered_bytes(embedder: Embedder, precision: Precision) -> int:
    """Bytes that a face leaves behind in the network for its backward pass, seen by trying two; nothing is learnt."""
    network, device = embedder.network, embedder.mean.device
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that its storage is not used for another
        return tensor

    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}  # norms remember what they saw
    faces = torch.zeros(2, 3, *embedder.spec.sides, device=device)
    training = network.training
    with autocast(device, precision), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        functional_call(network.train(), buffers, (embedder.prepare(faces),))
    network.train(training)
    return sum(tensor.untyped_storage().nbytes() for pointer, tensor in kept.items() if pointer not in own) // 2


def free_bytes(device: torch.device) -> int | None:
    """Memory that a rank can still take on `device`, None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    return min([free, *_container()]) // launcher.local_world_size()


def _container() -> list[int]:
    """What a container's limit leaves, where there is one (cgroup v2)."""
    try:
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such file, or `max`: no limit
        return []
    return [max(limit - used, 0)]


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"


def _rounded_down(rate: float) -> str:
    """Two digits, never more than `rate`."""
    digits = 2
    while (floor := int(rate * 10**digits) / 10**digits) < rate * 0.9:
        digits += 1
    return f"{floor:.{digits}f}"
