"""Self-test: the suite judged by judges whose scores are known, and by flaws planted on purpose.

An oracle must be right everywhere, an inverted one nowhere; a coin and permuted labels at chance;
what is never surprised exactly at 50 %, and so copy-last wherever something moves out of sight. And
every planted flaw must be found by the check that is there for it, and by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from armillary.core.progress import Progress, silent
from armillary.core.rng import generator
from armillary.understanding.suites.quadruplets.audit import AUDIT, Found, Sets
from armillary.understanding.suites.quadruplets.concepts import CONCEPTS, make_quadruplet
from armillary.understanding.suites.quadruplets.flaws import GENERATOR_FLAWS, SCORER_FLAWS
from armillary.understanding.suites.quadruplets.judges import (
    Coin,
    Constant,
    CopyLast,
    Frames,
    Pans,
    Surprise,
    SurpriseModel,
)
from armillary.understanding.suites.quadruplets.quadruplet import CELLS, Quadruplet
from armillary.understanding.suites.quadruplets.scorer_checks import SCORER_CHECKS, our_rule
from armillary.understanding.suites.quadruplets.scoring import chance_p, double_difference
from armillary.understanding.suites.quadruplets.suite import SEEDS, Suite

COUNT = 48  # one round of all that is counterbalanced
_PLANTED_ON = ("colour", "inertia")
_LEAST_P = 0.001


@dataclass(frozen=True)
class BatchMean:
    """A flawed judge: what it says of a clip depends on the clips beside it."""

    judge: SurpriseModel

    def surprise(self, frames: Frames, pans: Pans) -> Surprise:
        """Return surprise in units of the batch's mean."""
        found = self.judge.surprise(frames, pans)
        return (found / (1 + found.mean())).astype(np.float32)


def self_test(count: int = COUNT, progress: Progress = silent) -> dict[str, dict[str, Any]]:
    """Return every check by name: whether it held, and what was found.

    Args:
        count: quadruplets of each concept; fewer than 48 leave some levels out.
        progress: called after each concept and flaw.
    """
    sets: dict[str, list[Quadruplet]] = {}
    for place, concept in enumerate(CONCEPTS):
        sets[concept] = [make_quadruplet(concept, i, SEEDS["dev"]) for i in range(count)]
        progress(place + 1, len(CONCEPTS), f"made {concept}")
    found: dict[str, Found] = {name: check(sets) for name, check in AUDIT.items()}
    found |= _known_judges(sets)
    found |= {f"scorer_{name}": check(our_rule) for name, check in SCORER_CHECKS.items()}
    found["batch_independence"] = _alone_and_together(CopyLast(), sets)
    found["opaque_order"] = _opaque_order()
    found |= _planted(sets)
    return {name: {"ok": bool(ok), "detail": detail} for name, (ok, detail) in found.items()}


def _known_judges(sets: Sets) -> dict[str, Found]:
    oracle = _shares(sets, lambda made, cell: _reported(made, cell[0] != cell[1]))
    inverted = _shares(sets, lambda made, cell: _reported(made, cell[0] == cell[1]))
    constant = _shares(sets, lambda made, cell: _said(Constant(), made, cell))
    copy = _shares(sets, lambda made, cell: _said(CopyLast(), made, cell))
    moving = {name for name, concept in CONCEPTS.items() if concept.copy == 50}
    return {
        "oracle": _all_are(oracle, 100.0),
        "inverted_oracle": _all_are(inverted, 0.0),
        "constant": _all_are(constant, 50.0),
        "copy_last": _all_are({name: copy[name] for name in sets if name in moving}, 50.0),
        "coin": _in_band(sets, lambda made, cell: _said(Coin(), made, cell)),
        "permuted_labels": _permuted(sets),
    }


def _reported(made: Quadruplet, surprising: bool) -> np.ndarray:
    said = np.zeros(made.frames.shape[2] - 1, np.float32)
    said[made.event - 1] = surprising
    return said


def _said(judge: SurpriseModel, made: Quadruplet, cell: tuple[int, int]) -> np.ndarray:
    return judge.surprise(made.frames[cell][None], made.pans[cell][None])[0]


def _shares(sets: Sets, said: Any) -> dict[str, float]:
    """Return the D-accuracy of a judge by concept, per cent."""
    return {
        concept: 100 * float(np.mean([_double(made, said) for made in quadruplets]))
        for concept, quadruplets in sets.items()
    }


def _double(made: Quadruplet, said: Any) -> float:
    return double_difference({cell: said(made, cell) for cell in CELLS})


def _all_are(shares: Mapping[str, float], wanted: float) -> Found:
    off = {name: share for name, share in shares.items() if share != wanted}
    if off:
        return False, ", ".join(f"{name} {share:.1f} %" for name, share in off.items())
    return True, f"{wanted:g} % in {len(shares)} concepts"


def _in_band(sets: Sets, said: Any) -> Found:
    doubles = [_double(made, said) for quadruplets in sets.values() for made in quadruplets]
    p = chance_p(np.array(doubles))
    return p > _LEAST_P, f"{100 * np.mean(doubles):.1f} % of {len(doubles)}, p = {p:.3f}"


def _permuted(sets: Sets) -> Found:
    """Score an oracle after its labels were permuted, each quadruplet's by a coin."""
    rng = generator("permuted labels")
    doubles = []
    for quadruplets in sets.values():
        for made in quadruplets:
            flip = bool(rng.integers(2))
            reports = {cell: _reported(made, (cell[0] != cell[1]) ^ flip) for cell in CELLS}
            doubles.append(double_difference(reports))
    p = chance_p(np.array(doubles))
    return p > _LEAST_P, f"{100 * np.mean(doubles):.1f} % of {len(doubles)}, p = {p:.3f}"


def _alone_and_together(judge: SurpriseModel, sets: Sets) -> Found:
    made = next(iter(sets.values()))[0]
    frames, pans = (values.reshape(4, *values.shape[2:]) for values in (made.frames, made.pans))
    together = judge.surprise(frames, pans)
    alone = np.concatenate([judge.surprise(frames[i : i + 1], pans[i : i + 1]) for i in range(4)])
    off = float(np.abs(together - alone).max() / max(1e-9, np.abs(together).max()))
    return off < 1e-5, f"alone and in a batch differ by {off:.1e}"


def _opaque_order() -> Found:
    """Neither the id of a clip nor its place tells whether it is possible."""
    suite = Suite(SEEDS["dev"], 4, ("colour", "number", "inertia"))
    labels = [(clip.id, label.possible) for clips, known in suite.blocks()
              for clip, label in zip(clips, known, strict=True)]  # fmt: skip
    first = np.array([float(possible) for _, possible in labels[: len(labels) // 2]])
    odd = np.array([float(int(name[-1], 16) % 2 == possible) for name, possible in labels])
    least = min(chance_p(first), chance_p(odd))
    return least > _LEAST_P, f"place and id tell nothing, p = {least:.2f}"


def _planted(sets: Sets) -> dict[str, Found]:
    """Return for each planted flaw whether its check found it."""
    found: dict[str, Found] = {}
    for name, (check, plant) in GENERATOR_FLAWS.items():
        flawed = {concept: plant(sets[concept]) for concept in _PLANTED_ON if concept in sets}
        found[f"flaw_{name}"] = _caught(check, AUDIT[check](flawed))
    for name, (check, rule) in SCORER_FLAWS.items():
        found[f"flaw_{name}"] = _caught(check, SCORER_CHECKS[check](rule))
    flawed_judge = _alone_and_together(BatchMean(CopyLast()), sets)
    found["flaw_batch_dependent_score"] = _caught("batch_independence", flawed_judge)
    return found


def _caught(check: str, found: Found) -> Found:
    held, detail = found
    return not held, f"{check} {'missed it' if held else 'found it'}: {detail}"
