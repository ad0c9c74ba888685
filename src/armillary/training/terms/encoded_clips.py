"""Encoded clips: what every loss term is given of a training step.

Axes: B clips, T steps, Z flattened latent, R = T - K starts, K steps ahead, A action width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from armillary.core.errors import ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import Batch
from armillary.models import JEPA
from armillary.training.clean import clean
from armillary.training.processes import Processes
from armillary.training.rollouts import predict_from_each

Result = TypeVar("Result")


@dataclass(frozen=True)
class EncodedClips:
    """A batch of clips, its latents, and the step at which it is learned from.

    Attributes:
        model: the model that learns.
        batch: the clips.
        latents: the encoder's, with gradients.
        actions: between the steps, normalised; of width 0 where the model takes none.
        step: optimizer step.
        seed: of the run.
        processes: the processes that share the batch.
    """

    model: JEPA
    batch: Batch
    latents: Float[Tensor, "B T Z"]
    actions: Float[Tensor, "B moves A"]
    step: int
    seed: int
    processes: Processes
    _results: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def predictions(
        self, steps_ahead: int, starts: Int[Tensor, " R"] | None = None
    ) -> Float[Tensor, "B R K Z"]:
        """Return the latents predicted from every start, computed once, or from some starts.

        Args:
            steps_ahead: K, less than T.
            starts: steps to start from; None for all.
        """

        def predict() -> Tensor:
            return predict_from_each(
                self.model, self.latents, self.actions, steps_ahead, starts=starts
            )

        return self.shared(("predictions", steps_ahead), predict) if starts is None else predict()

    def shared(self, name: Any, compute: Callable[[], Result]) -> Result:
        """Return a result that several terms share; it is computed for the first that asks.

        Args:
            name: names the result.
            compute: is called once.
        """
        if name not in self._results:
            self._results[name] = compute()
        return self._results[name]

    def generator(self, name: str) -> torch.Generator:
        """Return a random generator of this step: the same in every process.

        Args:
            name: of the term that draws.
        """
        return torch_generator(name, self.seed, self.step)

    def has(self, name: str) -> bool:
        """Return whether the clips have a stream."""
        return name in self.batch.streams

    def stream(self, name: str) -> Tensor:
        """Return a recorded stream as it was before its colours or its depth were augmented.

        Raises:
            ShapeError: the clips do not have it.
        """
        if not self.has(name):
            raise ShapeError(
                f"A loss term reads the stream {name!r}, and the clips have "
                f"{', '.join(sorted(self.batch.streams))}. Record it, or set the weight of the "
                "term to 0."
            )
        return clean(self.batch, name)

    def every(self, steps: int) -> Batch:
        """Return every so manyth step of the clips, without actions, to be encoded again."""
        streams = {name: values[:, ::steps] for name, values in self.batch.streams.items()}
        return Batch(streams, None, self.batch.valid[:, ::steps])
