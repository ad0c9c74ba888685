"""Controls: random, no-op and oracle are held against their own choices, on any processor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from stages import small_suite, under_portable

from armillary.core.protocols import World
from armillary.core.values import Goal, WorldSpec
from armillary.evaluation import OracleSpec, evaluate
from armillary.evaluation.manifest import Manifest, make_manifest
from armillary.evaluation.oracle import Oracle
from armillary.evaluation.records import Record
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.stage import Stage, set_stage
from armillary.proof.verify.case import How
from armillary.proof.verify.replaying import LIMITS, Following
from armillary.proof.verify.verdict import verify

NONCE = "8" * 64


@dataclass(frozen=True)
class Rounding(Oracle):
    """Acts as the oracle does, but for a factor at one step or at all."""

    factor: float
    at: int | None = None

    def act(self, world: World, goal: Goal, seed: int, step: int) -> np.ndarray:
        action = super().act(world, goal, seed, step)
        return action * self.factor if self.at in (None, step) else action


@dataclass(frozen=True)
class RoundingSpec:
    factor: float
    at: int | None = None

    def __call__(self, world: WorldSpec) -> Rounding:
        return Rounding(self.factor, self.at)

    def identity(self) -> str:
        return OracleSpec().identity()


@pytest.fixture(scope="module")
def pushes() -> Manifest:
    return make_manifest("tabletop", "push", episodes=3, seed=5)


def problems(manifest: Manifest, records: tuple[Record, ...]) -> list[str]:
    run = Following(manifest, LIMITS["other-isa"])()
    return [run(("oracle", record)) for record in records]


def test_rounding_that_contact_makes_large_is_no_lie(pushes: Manifest) -> None:
    there = evaluate(pushes, RoundingSpec(1 - 1e-9))
    here = evaluate(pushes, OracleSpec())
    gaps = [
        np.abs(np.subtract(a.distances, b.distances)).max()
        for a, b in zip(there, here, strict=True)
    ]
    assert max(gaps) > LIMITS["other-isa"]  # running it again would call it a lie
    assert problems(pushes, there) == ["", "", ""]


def test_one_other_action_of_an_oracle_is_found(pushes: Manifest) -> None:
    lazy = evaluate(pushes, RoundingSpec(0.999, at=2))
    assert all("acts otherwise than this control does" in one for one in problems(pushes, lazy))


def test_a_control_that_stops_early_or_ends_otherwise_is_found(pushes: Manifest) -> None:
    (record, *_) = evaluate(pushes, OracleSpec())
    early = replace(record, actions=record.actions[:9], distances=record.distances[:10])
    (said,) = problems(pushes, (early,))
    assert said.endswith("ends after 9 steps, and this control goes on.")
    (said,) = problems(pushes, (replace(record, outcome="crash", error="broken"),))
    assert said.endswith(f"ends as crash, here as {record.outcome}.")
    wild = replace(record, actions=((9.0, 9.0), *record.actions[1:]))
    (said,) = problems(pushes, (wild,))
    assert said.endswith("here as crash.")


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with under_portable():
        suite = small_suite("controlled", episodes=4, budget=3)
        yield set_stage(tmp_path_factory.mktemp("stage"), suite, boundary=False)


@pytest.mark.parametrize("arithmetic", ["same", "other-isa"])
def test_a_whole_run_with_such_an_oracle_is_refuted(
    stage: Stage, tmp_path: Path, arithmetic: str
) -> None:
    forge = Forge.of(stage)
    for task, row in forge.rows.items():
        row["oracle"] = list(evaluate(forge.drawn[task], RoundingSpec(0.999, at=2)))
    how = How(nonce=NONCE, suites=(stage.suite,), arithmetic=arithmetic)
    found = verify(forge.write(tmp_path / "forged"), how, (0, 1))
    assert [rule.name for rule in found.refuting] == ["replay.controls"]
    assert verify(stage.honest, how, (0, 1)).verdict == "accepted"
