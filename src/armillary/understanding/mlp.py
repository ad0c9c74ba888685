"""A small network as read-out: what a latent holds, whether or not it lies there in a line.

Two hidden layers, seconds on one core. It is judged beside the linear read-out, never instead.

Axes: F samples, X features, Y targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from armillary.core.rng import torch_generator
from armillary.objectives.scaler import Scaler

HIDDEN = 128
BATCH = 512
STEPS = 400  # enough for the read-outs of the demo to level off; not swept


@dataclass(frozen=True)
class MLP:
    """A fitted network with the scales of its inputs and outputs.

    Attributes:
        network: standardised features -> standardised targets.
        inputs: scale of the features.
        mean: [Y], mean of the targets.
        spread: [Y], standard deviation of the targets.
    """

    network: nn.Module
    inputs: Scaler
    mean: Float[np.ndarray, " Y"]
    spread: Float[np.ndarray, " Y"]

    @torch.no_grad()
    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the targets [F Y] read out from features [F X]."""
        if not self.inputs.kept.any():
            return np.tile(self.mean, (len(features), 1))
        scaled = torch.from_numpy(self.inputs.apply(features)).float()
        return self.network(scaled).numpy() * self.spread + self.mean


def fit_mlp(features: np.ndarray, targets: np.ndarray, seed: int = 0, steps: int = STEPS) -> MLP:
    """Fit targets [F Y] from features [F X] by AdamW with a cosine schedule.

    Args:
        features: [F X].
        targets: [F Y].
        seed: of the weights and of the order of samples.
        steps: updates.
    """
    inputs = Scaler.fit(features)
    mean, spread = targets.mean(axis=0), targets.std(axis=0) + 1e-9
    x = torch.from_numpy(inputs.apply(features)).float()
    y = torch.from_numpy((targets - mean) / spread).float()
    chance = torch_generator("probe mlp", seed)
    if not x.shape[1]:  # a constant encoder leaves no feature: the mean is all there is to say
        return MLP(nn.Identity(), inputs, mean, spread)
    network = _network(x.shape[1], y.shape[1], chance)
    _descend(network, x, y, steps, chance)
    return MLP(network, inputs, mean, spread)


def _network(inputs: int, outputs: int, chance: torch.Generator) -> nn.Module:
    widths = (inputs, HIDDEN, HIDDEN, outputs)
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        linear = nn.utils.skip_init(nn.Linear, width, following)
        assert isinstance(linear, nn.Linear)
        nn.init.normal_(linear.weight, std=width**-0.5, generator=chance)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.GELU()]
    return nn.Sequential(*layers[:-1])


def _descend(network: nn.Module, x: Tensor, y: Tensor, steps: int, chance: torch.Generator) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(x), (min(BATCH, len(x)),), generator=chance)
        loss = (network(x[chosen]) - y[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
