"""Landmarks: recorded latents that are far apart, and the ways between them that were recorded.

A goal may be farther than any that a goal policy was trained for. A shortest way over landmarks
leads there, and a sub-goal is a landmark on it. The file, ``policy/landmarks.safetensors``, is
beside the goal policy. It says which model it belongs to, and beside other weights it is refused.

Axes: M landmarks, W ways, Z flattened latent.
Source: Savinov et al. 2018 (1803.00653) and Eysenbach et al. 2019 (1906.05253) for a graph of
recorded observations; theirs ask a network how far two are apart, here the recording tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from armillary.core.errors import CheckpointError
from armillary.models.beside import model_sha256, read_about, write_beside
from armillary.models.checkpoint import read_tensors

LANDMARKS_FILE = "policy/landmarks.safetensors"
# A sub-goal is this share of the distance away to which the goal policy was trained. It is below
# one, since a goal policy is surer of what is near. Nearer goals are gone to straight.
SHARE_OF_FAR = 0.5
_KIND = "landmarks"
_MOST_LANDMARKS = 100_000
_MOST_WAYS = 10_000_000


@dataclass(frozen=True)
class Ways:
    """The shortest ways from all landmarks to one goal.

    Attributes:
        left: [M], model steps to the goal; infinite where no way leads there.
        after: [M], the next landmark on the way; negative at its end, and where there is none.
    """

    left: Float[np.ndarray, " M"]
    after: Int64[np.ndarray, " M"]


@dataclass(frozen=True)
class Landmarks:
    """Landmarks, and what is known of the ways between them.

    Attributes:
        latents: [M Z], flattened.
        pairs: [W 2], from which landmark to which.
        steps: [W], model steps of each way, above 0.
        far: model steps; nine in ten goals that the goal policy was trained for are nearer.

    Raises:
        CheckpointError: shapes or values that do not go together.
    """

    latents: Float[Tensor, "M Z"]
    pairs: Int64[Tensor, "W 2"]
    steps: Float[Tensor, " W"]
    far: float

    def __post_init__(self) -> None:
        count = len(self.latents)
        within = not len(self.pairs) or (self.pairs.min() >= 0 and self.pairs.max() < count)
        if not count or len(self.pairs) != len(self.steps) or not within:
            raise CheckpointError("Landmarks and the ways between them do not go together.")
        values = torch.cat([self.latents.flatten(), self.steps, torch.tensor([self.far])])
        if not values.isfinite().all() or not bool((self.steps > 0).all()) or self.far <= 0:
            raise CheckpointError("A landmark or a way is not a finite number, or takes no time.")

    def nearest(self, latents: Float[Tensor, "B Z"]) -> Int64[Tensor, " B"]:
        """Return the landmark that is nearest to each latent.

        Args:
            latents: flattened.
        """
        return torch.cat([
            torch.cdist(some, self.latents).argmin(1) for some in latents.split(4096)
        ])  # fmt: skip

    def ways_to(self, goal: Float[Tensor, " Z"]) -> Ways:
        """Return the shortest ways to the landmark that is nearest to a goal.

        Args:
            goal: flattened.
        """
        last = int(self.nearest(goal[None])[0])
        left, after = dijkstra(self._backwards, indices=last, return_predecessors=True)
        return Ways(left, after.astype(np.int64))

    def sub_goal(
        self, latent: Float[Tensor, " Z"], ways: Ways
    ) -> tuple[Float[Tensor, " Z"], float] | None:
        """Return where to go first, and in how many model steps; None for straight to the goal.

        Args:
            latent: the present, flattened.
            ways: to the goal.
        """
        here = int(self.nearest(latent[None])[0])
        first = SHARE_OF_FAR * self.far
        if not first < ways.left[here] < np.inf:
            return None
        there = here
        while ways.left[here] - ways.left[there] < first:
            there = int(ways.after[there])
        return self.latents[there], float(ways.left[here] - ways.left[there])

    @cached_property
    def _backwards(self) -> csr_matrix:
        begins, ends = self.pairs.numpy().T
        shape = len(self.latents), len(self.latents)
        return csr_matrix((self.steps.double().numpy(), (ends, begins)), shape)


def save_landmarks(landmarks: Landmarks, folder: Path) -> Path:
    """Write landmarks beside the goal policy of a model, in one step, and return the file.

    Args:
        landmarks: of the latents of the model in ``folder``.
        folder: a model folder.

    Raises:
        CheckpointError: the folder holds no model.
        StorageError: the disk is full or not writable; older landmarks stay.
    """
    about = {
        "landmarks": len(landmarks.latents),
        "ways": len(landmarks.steps),
        "far": landmarks.far,
    }
    tensors = {
        "latents": landmarks.latents.contiguous(),
        "pairs": landmarks.pairs.double(),  # exact, and all files of models hold real numbers
        "steps": landmarks.steps.contiguous(),
    }
    return write_beside(folder, LANDMARKS_FILE, _KIND, about, tensors)


def load_landmarks(folder: Path, latent_width: int) -> Landmarks | None:
    """Read the landmarks of a model folder; None where there are none.

    Args:
        folder: a model folder.
        latent_width: Z of its model.

    Raises:
        CheckpointError: the file is damaged or belongs to another model.
    """
    path = folder / LANDMARKS_FILE
    if not path.is_file():
        return None
    about = read_about(path, _KIND, "landmarks")
    count, ways, far = about.get("landmarks"), about.get("ways"), about.get("far")
    counted = isinstance(count, int) and isinstance(ways, int) and isinstance(far, float)
    if not counted or not (0 < count <= _MOST_LANDMARKS and 0 <= ways <= _MOST_WAYS):
        raise CheckpointError(f"{path}: does not say how many landmarks and ways it holds.")
    if about.get("model_sha256") != model_sha256(folder):
        raise CheckpointError(
            f"{path}: belongs to another model. Remove it, and find landmarks for this one with: "
            f"armillary landmarks {folder} DATASET"
        )
    shapes = {"latents": (count, latent_width), "pairs": (ways, 2), "steps": (ways,)}
    tensors = read_tensors(path, {name: torch.Size(shape) for name, shape in shapes.items()})
    pairs = tensors["pairs"].long()
    if not torch.equal(pairs.to(tensors["pairs"].dtype), tensors["pairs"]):
        raise CheckpointError(f"{path}: a way leads between landmarks that have no whole number.")
    try:
        return Landmarks(tensors["latents"], pairs, tensors["steps"], far)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
