"""What turns gradients into steps: AdamW, or Muon for the matrices inside a network and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import torch
from torch import nn

from facemae_cli.errors import UsageError
from facemae_cli.training.recipes import FitRecipe

MUON_MOMENTUM = 0.95


def fit_optimizer(network: nn.Module, hidden: Iterable[nn.Parameter], recipe: FitRecipe) -> torch.optim.Optimizer:
    """The optimizer that `recipe` names for `network`; `hidden` are the matrices that Muon steps.

    Muon (Jordan 2024) makes each matrix's step orthogonal. Its steps are scaled to the size of AdamW's (arXiv
    2502.16982, section 2.2), so that both take the same rate and weight decay. Raises UsageError where torch has none.
    """
    betas = float(recipe.beta1), float(recipe.beta2)  # torch refuses a whole number
    if recipe.optimizer == "adamw":
        groups = parameter_groups(network.parameters(), recipe.weight_decay)
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, fused=True)
    if not hasattr(torch.optim, "Muon"):
        raise UsageError(f"recipe optimizer: torch {torch.__version__} has no muon; update torch, or say adamw")
    matrices = list(hidden)
    taken = {id(parameter) for parameter in matrices}
    rest = (parameter for parameter in network.parameters() if id(parameter) not in taken)
    return Combined(
        torch.optim.AdamW(parameter_groups(rest, recipe.weight_decay), lr=recipe.lr, betas=betas, fused=True),
        torch.optim.Muon(
            matrices,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            momentum=MUON_MOMENTUM,
            adjust_lr_fn="match_rms_adamw",
        ),
    )


def parameter_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Weights that decay, and those that do not: biases, norms and tokens, all of one dimension in effect."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in parameters:
        if parameter.requires_grad:
            (kept if max(parameter.shape, default=1) == parameter.numel() else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


class Combined(torch.optim.Optimizer):
    """Several optimizers of different parameters as one: they share its groups and its state, so that rates are set
    and checkpoints are kept as those of any other."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self.parts:
            part.param_groups = list(islice(groups, len(part.param_groups)))
            part.state = self.state

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of each part, in order; `closure`, if given, is called once before them and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As any optimizer's."""
        super().load_state_dict(state_dict)
        self._share()
