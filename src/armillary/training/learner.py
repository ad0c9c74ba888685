"""Learner: a model and the loss terms that it learns from.

Axes: B clips, T steps, Z flattened latent, A action width.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from armillary.core.errors import ConfigError, ShapeError
from armillary.core.rng import key, torch_generator
from armillary.core.values import Batch
from armillary.models import JEPA
from armillary.models.seeding import seeded
from armillary.training.processes import Processes
from armillary.training.sensor_dropout import draw_kept
from armillary.training.terms import TERMS, EncodedClips, ObjectiveConfig


class Learner(nn.Module):
    """Encodes a batch of clips and computes every term that has a weight.

    Args:
        model: the model that learns.
        objective: which terms count, and their settings.
        seed: names the weights of the heads and the random directions of SIGReg.
        processes: where this one stands among those that share a batch; None stands alone.
        parts: into which the clips are divided for the encoder, each encoded again in the backward
            pass (``ComputeConfig.gradient_accumulation``).

    Raises:
        ConfigError: a term, or sensor dropout, does not go with the model.
    """

    def __init__(
        self,
        model: JEPA,
        objective: ObjectiveConfig,
        seed: int,
        processes: Processes | None = None,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.seed = model, objective, seed
        self.processes = processes or Processes(0, 1, torch.device("cpu"))
        self.parts = parts
        if objective.sensor_dropout and not model.config.optional_sensors:
            raise ConfigError(
                "objective.sensor_dropout needs model.optional_sensors, which is empty. Set it to "
                "0 or name the sensors that may be missing."
            )
        with seeded(key("learner", seed) >> 65):
            made = {name: TERMS[name](model.config, objective) for name in objective.weights}
        self.terms = nn.ModuleDict(made)

    def forward(
        self, batch: Batch, step: int
    ) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "B T Z"]]:
        """Return the loss terms by name, and the latents for the diagnosis.

        Args:
            batch: clips.
            step: optimizer step, names this step's random directions.
        """
        latents = self._encoded(batch, self._kept(batch, step))
        actions = self._actions(batch, latents)
        clips = EncodedClips(self.model, batch, latents, actions, step, self.seed, self.processes)
        return {name: term(clips) for name, term in self.terms.items()}, latents

    def _encoded(self, batch: Batch, kept: dict[str, Tensor] | None) -> Float[Tensor, "B T Z"]:
        if self.parts == 1:
            return self.model.encode(batch, kept).tokens.flatten(2)

        def encoded(own: Tensor) -> Tensor:
            streams = {name: values[own] for name, values in batch.streams.items()}
            clips = Batch(streams, None, batch.valid[own])
            used = None if kept is None else {name: one[own] for name, one in kept.items()}
            return self.model.encode(clips, used).tokens.flatten(2)

        clips = torch.arange(len(batch.valid), device=batch.valid.device)
        return torch.cat(
            [
                checkpoint(encoded, own, use_reentrant=False, preserve_rng_state=False)
                for own in clips.tensor_split(self.parts)
            ]
        )

    def _kept(self, batch: Batch, step: int) -> dict[str, Tensor] | None:
        if not self.objective.sensor_dropout:
            return None
        rng = torch_generator("sensor_dropout", self.seed, step)
        share, clips = self.objective.sensor_dropout, len(batch.valid) * self.processes.count
        # drawn for the clips of all processes, so that a clip's lot is the same in any of them
        kept = draw_kept(self.model.config, share, clips, rng)
        own = torch.from_numpy(self.processes.share(np.arange(clips)))
        return {name: used[own].to(batch.valid.device) for name, used in kept.items()}

    def _actions(self, batch: Batch, latents: Tensor) -> Tensor:
        if self.model.config.action_width:
            if batch.actions is None:
                raise ShapeError(
                    f"The model takes {self.model.config.action_width} action numbers, and the "
                    "data have none. Set model.action_width to 0 to train on plain video."
                )
            return self.model.normalizer.actions(batch.actions)
        return latents.new_zeros(len(latents), latents.shape[1] - 1, 0)
