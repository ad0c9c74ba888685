"""LeWM as the training bench's competitor: which sizes, which batch, and its speed per turn.

Its configuration trains with batch 128. On a processor a smaller batch can be faster per frame, so
several are tried and the fastest is measured: in its favour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from armillary.benchmark.peers import PeerProcess
from armillary.core.progress import Progress
from armillary.training.precision import has_fast_bfloat16

_SAID = (
    "Model, SIGReg and heads are the package's; preloaded random tensors, so that no loading, "
    "resizing, logging or checkpoint is counted; AdamW, clip 1.0, windows of 4 frames at frameskip "
    "5, every frame encoded and counted. {} products, the faster on this processor."
)


class LeWM:
    """LeWM's training step at several picture sizes.

    Args:
        peer: the running peer script.
        variants: by name, ``size`` and ``patch`` in pixels, and the ``batches`` to try.
        threads: threads of its step.
    """

    def __init__(
        self, peer: PeerProcess, variants: Mapping[str, Mapping[str, Any]], threads: int
    ) -> None:
        self._peer, self._variants, self._threads = peer, variants, threads
        self._counts: dict[str, int] = {}
        self._bfloat16 = has_fast_bfloat16(torch.device("cpu"))
        products = "bfloat16" if self._bfloat16 else "float32"
        self.about: dict[str, Any] = {"how": _SAID.format(products)}

    def build(self, seconds: float, progress: Progress) -> None:
        """Make every variant with the batch that is fastest per frame.

        Args:
            seconds: how long a turn is to last; at least one step is taken.
            progress: called after each batch size that was tried.
        """
        for place, (name, variant) in enumerate(self._variants.items()):
            tried: dict[int, float] = {}
            for batch in sorted(variant["batches"]):
                tried[batch] = self._try(name, batch)
                progress(place, len(self._variants), f"{name} batch {batch} {tried[batch]:,.1f}/s")
                if tried[batch] < 0.9 * max(tried.values()):
                    break  # clearly slower than a smaller one: larger ones only take longer
            best = max(tried, key=lambda batch: tried[batch])
            made = self._make(name, best)
            self._peer.ask("steps", name=name, count=1)
            self._counts[name] = max(1, round(seconds * tried[best] / (4 * best)))
            chosen = {"size": variant["size"], "patch": variant["patch"], "batch": best}
            speeds = {str(batch): round(speed, 2) for batch, speed in tried.items()}
            self.about[name] = chosen | made | {"tried_frames_per_s": speeds}

    def measures(self) -> dict[str, Callable[[], float]]:
        """Return by name a function that trains for a turn and returns frames/s."""

        def measure(name: str) -> Callable[[], float]:
            return lambda: self._speed(name, self._counts[name])

        return {name: measure(name) for name in self._variants}

    def _try(self, name: str, batch: int) -> float:
        """Return the better of two steps after a first one that warms up."""
        self._make(name, batch)
        self._peer.ask("steps", name=name, count=1)
        return max(self._speed(name, 1) for _ in range(2))

    def _make(self, name: str, batch: int) -> dict[str, Any]:
        size, patch = self._variants[name]["size"], self._variants[name]["patch"]
        return self._peer.ask(
            "build",
            name=name,
            size=size,
            patch=patch,
            batch=batch,
            threads=self._threads,
            bfloat16=self._bfloat16,
        )

    def _speed(self, name: str, count: int) -> float:
        answer = self._peer.ask("steps", name=name, count=count)
        return answer["frames"] / answer["seconds"]
