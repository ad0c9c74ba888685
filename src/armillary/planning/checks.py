"""Checks that the planners' settings share: one sentence per wrong range."""

from __future__ import annotations

import math
from typing import Literal

from armillary.core.errors import ConfigError

Returns = Literal["best", "mean"]


def at_least(planner: str, minimum: int, **values: int | float) -> None:
    """Check that settings are finite numbers of at least ``minimum``.

    Raises:
        ConfigError: one of them is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value >= minimum):
            raise ConfigError(f"{planner}: {name} must be at least {minimum:g}; got {value}.")


def positive(planner: str, **values: int | float) -> None:
    """Check that settings are finite numbers above zero.

    Raises:
        ConfigError: one of them is not.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{planner}: {name} must be above 0; got {value}.")


def elites_fit(planner: str, elites: int, samples: int) -> None:
    """Check that there are fewer elites than samples.

    Raises:
        ConfigError: there are not.
    """
    if elites >= samples:
        raise ConfigError(
            f"{planner}: elites must be fewer than samples; got {elites} of {samples}."
        )


def known_returns(planner: str, returns: str) -> None:
    """Check the name of what is returned.

    Raises:
        ConfigError: neither "best" nor "mean".
    """
    if returns not in ("best", "mean"):
        raise ConfigError(f"{planner}: returns must be 'best' or 'mean'; got {returns!r}.")
