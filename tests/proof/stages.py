"""A small suite and the numeric profile of its claims, for tests of the verifier."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from armillary.proof.builtin import builtin_suite
from armillary.proof.profiles import PROFILES
from armillary.proof.suite import Suite


@contextmanager
def under_portable() -> Iterator[None]:
    # torch is loaded already: claims and verifications of this process are alike all the same
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PROFILES["portable"].items():
            patch.setenv(name, value)
        yield


def small_suite(name: str, episodes: int = 3, budget: int = 2) -> Suite:
    tiny = builtin_suite("tiny")
    task = replace(tiny.tasks[0], episodes=episodes, budget=budget, success_distance="0.3")
    return replace(tiny, id=name, tasks=(task,), golden=tiny.golden[:1])
