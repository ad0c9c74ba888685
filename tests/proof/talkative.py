"""A policy on this package's own serving loop that prints, and raises when the seed is odd.

Run as: talkative.py ROOT.
"""

from __future__ import annotations

import sys

sys.path.insert(0, sys.argv[1])

from armillary.proof.lockdown import isolate

if __name__ == "__main__":
    isolate()

import os

from armillary.core.values import ActionBounds
from armillary.evaluation import RandomPolicy
from armillary.proof.serving import bounds_of, serve


class Talkative:
    observes = ()

    def __init__(self, bounds: ActionBounds) -> None:
        self.random = RandomPolicy(bounds)

    def looks(self, state) -> bool:
        return False

    def init(self, goal, seed: int):
        print("a library's greeting", flush=True)  # noqa: T201
        return self.random.init(goal, seed)

    def act(self, observation, state):
        os.write(1, b"arw1 and not a message")
        if state.seed % 2 and state.step == 2:
            raise ZeroDivisionError("division by zero")
        return self.random.act(observation, state)


if __name__ == "__main__":
    sys.exit(serve(lambda setup: Talkative(bounds_of(setup))))
