"""Judging: how far predicted sweeps are from the true ones, beside baselines without learning.

The error of a sweep is the mean absolute error of range over its beams that had a return. Every
method gives every beam a range; one that left a beam open would be charged the whole range. What is
compared is the difference on the same sweep; its interval and its p-value move whole blocks of
consecutive sweeps, since neighbours are not independent.

Axes: B sweeps, P beams.

Source: Kuensch 1989 (blocks); Fisher 1935 (flipping signs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from armillary.core.rng import generator
from armillary.core.statistics import block_bootstrap_interval
from armillary.experiments.lidar.track import Track, between
from armillary.experiments.lidar.views import TOGETHER, make_views
from armillary.models.range_mixture import mixture_quantile
from armillary.models.sweeps import SweepForesight
from armillary.spatial.scan_warp import FILL_RULES, fill_scan_gaps, warp_scan_ranges

# what counts as one surface: metres, and a share of the range; tuned for the warp, like its filling
LINKS = ((0.0, 0.0), (0.3, 0.05), (0.5, 0.1), (1.0, 0.2))
_FLIPS = 9999
_DIGITS = 4


@dataclass(frozen=True)
class Baseline:
    """A baseline at its best.

    Attributes:
        errors_m: [B].
        chosen: which of its variants that was.
    """

    errors_m: Float[np.ndarray, " B"]
    chosen: str


def sweep_errors(
    predicted_m: Float[Tensor, "B P"], truth_m: Float[Tensor, "B P"]
) -> Float[np.ndarray, " B"]:
    """Return the mean absolute error of each sweep in metres, over beams with a return."""
    held = truth_m.isfinite()
    away = (predicted_m.nan_to_num(0.0) - truth_m).abs()
    return (torch.where(held, away, 0.0).sum(1) / held.sum(1).clamp(min=1)).double().numpy()


def persistence(track: Track, targets: Int[np.ndarray, " B"], horizon: int) -> Baseline:
    """Return the errors of the last sweep itself, with the filling that is best on these."""
    last, truth = track.ranges_m[targets - horizon], track.ranges_m[targets]
    return _best({rule: sweep_errors(fill_scan_gaps(last, rule), truth) for rule in FILL_RULES})


def rigid_warp(track: Track, targets: Int[np.ndarray, " B"], horizon: int) -> Baseline:
    """Return the errors of the last sweep moved by the odometry, at its best on these sweeps."""
    chosen = torch.from_numpy(targets)
    way = between(track.recorded, chosen - horizon, chosen).float()
    last, truth = track.ranges_m[chosen - horizon], track.ranges_m[chosen]
    found = {}
    for link in LINKS:
        warped = warp_scan_ranges(last, track.angles_rad, way, *link)
        for rule in FILL_RULES:
            name = f"surface {link[0]:g} m + {100 * link[1]:g} %, filled {rule}"
            found[name] = sweep_errors(fill_scan_gaps(warped, rule), truth)
    return _best(found)


def prediction_errors(
    model: SweepForesight,
    track: Track,
    poses: Float[Tensor, "T 4 4"],
    targets: Int[np.ndarray, " B"],
    horizon: int,
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Return the errors of the model, and of its first input: all sweeps together, warped."""
    views = make_views(track, poses, torch.from_numpy(targets), horizon)
    with torch.no_grad():
        predicted = mixture_quantile(model(views.view))
    together = views.view.seen_m[:, TOGETHER]
    return sweep_errors(predicted, views.truth_m), sweep_errors(together, views.truth_m)


def compared(
    seeds_m: Float[np.ndarray, "S B"], others: Mapping[str, Baseline], block: int
) -> dict[str, Any]:
    """Return mean errors, and by how much each baseline is worse than the model.

    Args:
        seeds_m: errors of one model per seed, on consecutive sweeps.
        others: baselines by name.
        block: sweeps in a block.

    Returns:
        Metres; ``interval`` (95 %) and ``p`` are of baseline minus model, ``seeds_better`` counts
        the seeds whose own interval lies above zero.
    """
    model = seeds_m.mean(0)
    value: dict[str, Any] = {"n": len(model), "model": round(float(model.mean()), _DIGITS)}
    value["model_seeds"] = [round(float(one.mean()), _DIGITS) for one in seeds_m]
    parts: dict[str, dict[str, Any]] = {
        "interval": {},
        "p": {},
        "gain_share": {},
        "seeds_better": {},
        "chosen": {},
    }
    for name, other in others.items():
        mean = float(other.errors_m.mean())
        value[name] = round(mean, _DIGITS)
        worse = other.errors_m - model
        low, high = block_bootstrap_interval(worse, block)
        parts["interval"][name] = [round(low, _DIGITS), round(high, _DIGITS)]
        parts["p"][name] = sign_flip_p(worse, block)
        parts["gain_share"][name] = round(float(worse.mean()) / mean, _DIGITS)
        own = [block_bootstrap_interval(other.errors_m - one, block)[0] > 0 for one in seeds_m]
        parts["seeds_better"][name] = f"{sum(own)} of {len(own)}"
        parts["chosen"][name] = other.chosen
    return value | parts


def sign_flip_p(differences: Float[np.ndarray, " B"], block: int) -> float:
    """Return the two-sided p-value of a mean difference: signs of whole blocks are flipped."""
    sums = np.add.reduceat(differences, np.arange(0, len(differences), block))
    signs = generator("sign flips", len(sums)).choice([-1.0, 1.0], size=(_FLIPS, len(sums)))
    # as far out as what was found, up to rounding, counts as farther
    beyond = np.abs(signs @ sums) >= np.abs(sums.sum()) - 1e-12
    return float((1 + beyond.sum()) / (1 + _FLIPS))


def _best(variants: Mapping[str, np.ndarray]) -> Baseline:
    name = min(variants, key=lambda one: float(variants[one].mean()))
    return Baseline(variants[name], name)
