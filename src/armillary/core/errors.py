"""Errors for people: one sentence that says what was wanted, what came, where, and what to do.

Every error a user can cause derives from ``ArmillaryError``; the command line prints its sentence
and leaves with its ``exit_code``. Anything else is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ArmillaryError(Exception):
    """The family of errors that carry a sentence for the user and an exit code."""

    exit_code = 2


class ConfigError(ArmillaryError, ValueError):
    """A setting that cannot be: unknown name, wrong range, two settings that contradict."""


class FormatError(ArmillaryError, ValueError):
    """A file or folder that is not what its format promises."""


class DatasetError(ArmillaryError, ValueError):
    """A dataset that cannot be used: damaged, empty, or without the streams that are needed."""


class MissingEpisodeError(DatasetError, IndexError):
    """A number for which a dataset has no episode."""


class MissingStepError(ArmillaryError, IndexError):
    """A number for which an episode has no step."""


class CheckpointError(ArmillaryError, ValueError):
    """A model folder that cannot be loaded safely and completely."""


class ShapeError(ArmillaryError, ValueError):
    """An array whose shape or values break the contract (width of actions, NaN, bounds)."""


class WorldError(ArmillaryError, RuntimeError):
    """A world that broke its contract or crashed while it was stepped."""


class StorageError(ArmillaryError, OSError):
    """The disk said no: not writable, or full. What was finished before is kept."""


class TrainingError(ArmillaryError, RuntimeError):
    """Training that cannot go on: the loss is not a number, or no data is left after the split."""


class CheckFailedError(ArmillaryError):
    """A check ran and did not hold (``check_world`` and its like, a ledger, a signature)."""

    exit_code = 1


class MissingExtraError(ArmillaryError, ImportError):
    """An optional dependency that is not installed."""

    exit_code = 3


def unknown_name(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name outside a closed set, with a suggestion where one is near.

    Args:
        what: the kind of thing that was named, e.g. ``"planner"``.
        name: what the user wrote.
        known: the names that exist.
    """
    choices = sorted(known)
    near = get_close_matches(name, choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"There is no {what} called {name!r}.{hint} Known: {', '.join(choices)}.")


def unknown_recipe(name: str) -> ConfigError:
    """Return the error for a recipe that there is not: one recipe is for any recording.

    Args:
        name: what the user wrote.
    """
    return ConfigError(
        f"There is no recipe called {name!r}; use world, which trains on any recording."
    )
