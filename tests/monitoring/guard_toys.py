"""Points that jump or get stuck at a step, and a guard for the exact model of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import point_world as toy

from armillary.evaluation import evaluate, make_manifest
from armillary.evaluation.policies import RandomPolicy
from armillary.evaluation.records import actions_of
from armillary.monitoring import Watcher, fit_normal, set_limits, watch

AT = 6  # index of the first observation that shows the event


@dataclass
class Jumping(toy.PointWorld):
    """Jumps by a few of its steps, towards the middle."""

    def step(self, action):
        if self.step_index == AT - 1:
            self.xy = self.xy - 0.3 * np.sign(self.xy)
        return super().step(action)


@dataclass
class Stuck(toy.PointWorld):
    """Ignores every action from a step on."""

    def step(self, action):
        return super().step(action if self.step_index < AT - 1 else np.zeros(2))


def watcher() -> Watcher:
    return Watcher(toy.PointModel(), toy.BOUNDS)


def watch_again(record, world):
    point, actions = world(), actions_of(record)
    seen = [point.reset(record.seed), *(point.step(action) for action in actions)]
    return watch(watcher(), seen, actions)


def normal_life(episodes: int, seed: int):
    manifest = make_manifest("point", "reach", episodes, seed, world_factory=toy.PointWorld)
    records = evaluate(manifest, lambda spec: RandomPolicy(spec.bounds), toy.PointWorld)
    return [watch_again(record, toy.PointWorld) for record in records]


def calibrated():
    normal = fit_normal(normal_life(20, seed=1))
    guard = set_limits(normal, normal_life(199, seed=2), 0.02, 4, "random")
    # The toy's only residuals are the rounding of its picture, and the limit is as tight: 1 episode
    # in 50 may pass it. Four times that leaves nothing to chance; real events are 1000 times it.
    return replace(guard, limits={name: 4 * limit for name, limit in guard.limits.items()})
