"""The record of a diagnosis: what ``armillary diagnose --json`` prints and ``diagnose.json`` holds.

Names here are read by other programs; they only grow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from armillary.core.errors import ArmillaryError, StorageError
from armillary.core.files import write_json
from armillary.core.progress import Progress, silent
from armillary.data import Cache
from armillary.models import JEPA, load_model
from armillary.recipes.time_split import is_in_two
from armillary.understanding.action_rank import CANDIDATES
from armillary.understanding.action_rank import STEPS as RANKED_STEPS
from armillary.understanding.diagnosis import Diagnosis, diagnose
from armillary.understanding.diagnosis_lines import diagnosis_lines
from armillary.understanding.evidence import LIGHT, Limits
from armillary.understanding.metres import metres
from armillary.understanding.motion_skill import AHEAD
from armillary.understanding.stretches import cut

DIAGNOSIS = "diagnose.json"


def diagnose_run(
    run: Path,
    cache: Cache,
    training: Int[np.ndarray, " E"],
    held_out: Int[np.ndarray, " F"],
    streams: tuple[str, ...],
    progress: Progress = silent,
) -> None:
    """Diagnose the model of a run that has just ended, lightly, and leave ``diagnose.json`` in it.

    Where that is not possible (episodes too short or too few), the file says why in
    ``not_measured``, and the run is as good as it was.

    Args:
        run: its folder, with ``model`` in it.
        cache: what it was trained on.
        training: episodes that it was trained on.
        held_out: episodes that it was not trained on.
        streams: names in the cache that the model sees.
        progress: called with units of work done and in all.

    Raises:
        StorageError: the folder is not writable.
    """
    try:
        model = load_model(run / "model")
        skip, acts = model.config.frame_skip, model.config.action_width > 0
        fit, judge = (cut(cache, episodes, skip) for episodes in (training, held_out))
        found = diagnose(model, cache, fit, judge, skip, streams, acts, LIGHT, progress)
        described = f"{len(held_out)} episodes that were held out of the training"
        if is_in_two(cache):
            described = "the end of the only episode, which was held out of the training"
        record = diagnosis_record(found, described, in_metres(model, found, cache, LIGHT))
    except StorageError:
        raise
    except ArmillaryError as error:
        record = {"not_measured": str(error)}
    except (np.linalg.LinAlgError, MemoryError, RuntimeError) as error:
        # the model is saved: what goes wrong from here on must not cost the training
        record = {"not_measured": f"the diagnosis failed: {type(error).__name__}: {error}"}
    write_json(run / DIAGNOSIS, record)


def diagnosis_record(
    found: Diagnosis, judged_on: str, distances: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return a diagnosis as JSON's own types, with its lines; what is not finite becomes None.

    Args:
        found: what was found.
        judged_on: which episodes judge, in words.
        distances: errors of depth and range, as ``in_metres`` returns them.
    """
    record: dict[str, Any] = {
        "prediction": list(found.prediction),
        "action_rank": _action_rank(found),
        "scale": {**asdict(found.scale), "warnings": list(found.scale.warnings)},
        "progress": _progress(found),
        "by_heart": list(found.by_heart),
        "read_out": dict(found.read_out),
        "moved": _moved(found.moved),
        "metres": list(distances),
        "n": {"judged_on": judged_on, **found.counts},
    }
    record = _plain(record)
    record["lines"] = _plain([asdict(line) for line in diagnosis_lines(record)])
    return record


def in_metres(model: JEPA, found: Diagnosis, cache: Cache, limits: Limits) -> list[dict[str, Any]]:
    """Return the errors of depth and range, empty where no sensor measures them.

    Args:
        model: that was diagnosed.
        found: what was found.
        cache: the recording.
        limits: how much is looked at.
    """
    beams = model.config.azimuths_rad, model.config.elevations_rad
    return metres(model, found.evidence, cache, limits, *beams)


def _action_rank(found: Diagnosis) -> dict[str, Any]:
    about = {"candidates": CANDIDATES, "steps": RANKED_STEPS}
    if found.ranks is None:
        why = "the model takes no actions, or too few windows have four model steps after them"
        return {"top1": None, "mean_rank": None, "n": 0, "reason": why, **about}
    ranks = found.ranks
    intervals = {"top1": list(ranks.top1_interval), "mean_rank": list(ranks.mean_rank_interval)}
    values = {"top1": ranks.top1, "mean_rank": ranks.mean_rank, "n": ranks.n}
    return {**values, "intervals": intervals, **about}


def _progress(found: Diagnosis) -> dict[str, Any]:
    if found.progress is None:
        why = "no held-out episode has four model steps"
        return {"spearman": None, "n": 0, "reason": why}
    own = found.progress
    intervals = {"spearman": list(own.interval)}
    places = {
        name: {
            "spearman": followed.latent.spearman,
            "n": followed.latent.n,
            "intervals": {"spearman": list(followed.latent.interval)},
            "steps_to_go": followed.perfect.spearman,
        }
        for name, followed in found.followed.items()
    }
    return {"spearman": own.spearman, "n": own.n, "intervals": intervals, "places": places}


def _moved(streams: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the stream that rests most, which nobody controls, in front of all of them."""
    measured = {
        name: row
        for name, row in streams.items()
        if row["skill"] and row["moved_share"] is not None
    }
    if not measured:
        why = "no place is recorded as truth (a stream named like object_xy), or too few windows "
        empty = {"skill": {}, "false_motion": None, "stream": None, "steps": AHEAD[0]}
        return {**empty, "reason": why + "show it moving", "streams": dict(streams)}
    name = min(measured, key=lambda one: measured[one]["moved_share"])
    return {"stream": name, "steps": AHEAD[0], **measured[name], "streams": dict(streams)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
