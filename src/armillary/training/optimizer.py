"""Optimizer: AdamW, with decay on matrices only, and what it keeps for each parameter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from armillary.training.config import OptimizerConfig

# what AdamW keeps for a parameter; the scalar is the number of steps
_STATE = ("exp_avg", "exp_avg_sq", "step")


class Optimizer:
    """torch's AdamW over all parameters of a learner.

    Args:
        learner: whose parameters move.
        config: rate and decay; the rate is set with ``set_rate`` before every step.
    """

    def __init__(self, learner: nn.Module, config: OptimizerConfig) -> None:
        every = list(learner.parameters())
        groups = [
            {"params": [p for p in every if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW(groups, lr=config.lr, fused=True)

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self._adamw.param_groups[0]["lr"])

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of every parameter."""
        for group in self._adamw.param_groups:
            group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._adamw.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the parameters by their gradients."""
        self._adamw.step()

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """Return what is kept for a parameter, by name; zero before the first step."""
        state: dict[str, Any] = self._adamw.state.get(parameter, {})
        zeros = {
            name: torch.tensor(0.0) if name == "step" else torch.zeros_like(parameter)
            for name in _STATE
        }
        return {name: state.get(name, zero) for name, zero in zeros.items()}

    def restore(self, parameter: Tensor, moments: dict[str, Tensor]) -> None:
        """Set what is kept for a parameter."""
        kept = {name: value.to(parameter.device) for name, value in moments.items()}
        self._adamw.state[parameter] = kept
