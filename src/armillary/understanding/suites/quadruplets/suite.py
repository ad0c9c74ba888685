"""Suite: the fixed sets of quadruplets, as clips with opaque ids in an order that tells nothing.

DEV is for choosing, TEST for reporting, FRESH for checking: its seed is the hash of a model's
weights and of the code that decides, so it cannot exist before the weights do, and anybody can make
it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from armillary.core.errors import ConfigError, unknown_name
from armillary.core.hashing import file_sha256, json_sha256
from armillary.core.rng import generator
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS, make_quadruplet
from armillary.understanding.suites.quadruplets.quadruplet import CELLS

SEEDS = {"dev": 20_261, "test": 20_262}
QUADRUPLETS_A_BLOCK = 16
_BESIDE = (
    *("../mlp.py", "../ridge.py"),
    *("hidden.py", "rare.py", "rolling.py", "stage_probes.py"),
)


@dataclass(frozen=True)
class Label:
    """What the scorer knows of a clip, and the judge does not.

    Attributes:
        concept: of its quadruplet.
        index: number of the quadruplet in its concept.
        context: 0 or 1.
        outcome: 0 or 1.
        event: first step at which the outcomes differ.
        hidden: steps for which nothing distinguished the outcomes before it.
    """

    concept: str
    index: int
    context: int
    outcome: int
    event: int
    hidden: int

    @property
    def possible(self) -> bool:
        """Whether the clip is."""
        return self.context == self.outcome


@dataclass(frozen=True)
class Clip:
    """A clip as a judge gets it.

    Attributes:
        id: opaque.
        frames: the pictures.
        pans: the camera's moves between them.
    """

    id: str
    frames: UInt8[np.ndarray, "T H W 3"]
    pans: Float32[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class Suite:
    """A set of quadruplets.

    Attributes:
        seed: of the set.
        count: quadruplets of each concept.
        concepts: keys of ``CONCEPTS``.
        visible: the twins, in which nothing is hidden.
    """

    seed: int
    count: int = 500
    concepts: tuple[str, ...] = tuple(CONCEPTS)
    visible: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"A suite needs at least 1 quadruplet a concept, got {self.count}.")
        for name in self.concepts:
            if name not in CONCEPTS:
                raise unknown_name("concept", name, CONCEPTS)

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(CELLS) * self.count * len(self.concepts)

    def blocks(self) -> Iterator[tuple[list[Clip], list[Label]]]:
        """Yield clips and labels, many at a time; concepts, numbers and cells are mixed."""
        for names in self.plan():
            yield self.block(names)

    def plan(self) -> list[list[tuple[str, int]]]:
        """Return concept and number of each quadruplet, block by block."""
        every = [(concept, index) for concept in self.concepts for index in range(self.count)]
        order = generator("suite.order", self.seed).permutation(len(every))
        mixed = [every[place] for place in order]
        size = QUADRUPLETS_A_BLOCK
        return [mixed[begin : begin + size] for begin in range(0, len(mixed), size)]

    def block(
        self, names: Sequence[tuple[str, int]], salt: str = ""
    ) -> tuple[list[Clip], list[Label]]:
        """Return the clips of some quadruplets and their labels, mixed.

        Args:
            names: concept and number of each.
            salt: goes into the ids, so that they cannot be computed from names alone.
        """
        pairs = []
        for concept, index in names:
            made = make_quadruplet(concept, index, self.seed, self.visible)
            for context, outcome in CELLS:
                label = Label(concept, index, context, outcome, made.event, made.hidden)
                frames, pans = made.frames[context, outcome], made.pans[context, outcome]
                pairs.append((Clip(self._id(label, salt), frames, pans), label))
        order = generator("suite.block", self.seed, *(index for _, index in names))
        pairs = [pairs[place] for place in order.permutation(len(pairs))]
        return [clip for clip, _ in pairs], [label for _, label in pairs]

    def _id(self, label: Label, salt: str) -> str:
        name = [
            salt,
            self.seed,
            self.visible,
            label.concept,
            label.index,
            label.context,
            label.outcome,
        ]
        return json_sha256(name)[:20]


def fresh_seed(weights: Path) -> int:
    """Return the seed of the FRESH set that belongs to a model.

    Args:
        weights: file of the model's weights.
    """
    text = f"{file_sha256(weights)} {suite_digest()}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")


def suite_digest() -> str:
    """Return the hash of all code that decides what is asked and how it is scored."""
    from armillary.core import rng, statistics
    from armillary.objectives import scaler, whitening
    from armillary.worlds import stage

    here, there = Path(__file__).parent, Path(str(stage.__file__)).parent
    beside = [(here.parent / name).resolve() for name in _BESIDE]
    files = sorted(
        [
            *here.glob("*.py"),
            *there.glob("*.py"),
            *beside,
            *(Path(str(module.__file__)) for module in (statistics, rng, scaler, whitening)),
        ]
    )
    named = [[f"{file.parent.name}/{file.name}", file_sha256(file)] for file in files]
    return json_sha256(sorted(named))
