"""Check: the contract that every world model keeps, as a function that users can call on their own.

    check_model(lambda: (MyModel().eval(), batch, plans))

Truths: latents [B T N D] and foresight [B S L N D] are finite float32 and repeat bit for bit; what
is known of a clip, a frame or a plan does not depend on its neighbours, nor foresight on actions
that come later; a call writes into nothing, keeps nothing and draws from no global generator.
Whether the model is any good, and whether gradients reach the plans, is not asked here.

Axes: B clips, T steps, N tokens, D width, S plans, L plan length, A action width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.core.errors import CheckFailedError, ConfigError
from armillary.core.protocols import WorldModel
from armillary.core.values import Batch, Latent

Example = tuple[WorldModel, Batch, Float[Tensor, "B S L A"]]
# Float32 sums in another order differ by about 1e-6 of the values; a bfloat16 model by 1e-2.
TOLERANCE = 1e-4


def check_model(
    factory: Callable[[], Example], per_frame: bool = True, tolerance: float = TOLERANCE
) -> None:
    """Check a world model against its contract, on a small example.

    Args:
        factory: makes the model as it is used (``eval()``), a batch of at least 2 differing clips
            of at least 3 steps, and at least 2 differing plans of at least 2 actions for each.
        per_frame: a frame's latent must not depend on its neighbours. ``encode`` alone does not
            promise it, but control does: it encodes one frame per step and keeps the latents.
            False is for encoders that look back; then only looking ahead is refused.
        tolerance: largest difference, as a share of the largest value, that counts as equal where
            the same numbers are computed in batches of another shape.

    Raises:
        CheckFailedError: a part of the contract does not hold; the sentence says which.
        ConfigError: the example is too small or too uniform to show anything.
    """
    trial = _Trial(*factory(), per_frame, tolerance)
    _check_example(trial.batch, trial.plans)
    before = _snapshot(trial), _chance()
    with torch.no_grad():
        latent = trial.model.encode(trial.batch)
        _check_latent(trial, latent)
        tokens = latent.tokens.clone()
        foreseen = trial.model.rollout(latent, trial.plans)
        _check_foresight(trial, latent, foreseen)
        _check_arguments(trial, before[0], latent, tokens)
        _check_frames(trial, latent)
        _check_clips(trial, latent, foreseen)
        _check_plans(trial, latent, foreseen)
        _check_single_step(trial, latent)
        _check_repeats(trial, latent, foreseen)
    _hold(_chance() == before[1], "chance: a call draws from no global random generator")
    _hold(_unchanged(_state(trial.model), before[0][1]), "state: calls leave the model as it was")


@dataclass(frozen=True)
class _Trial:
    """A model, its example, and what is asked of it."""

    model: WorldModel
    batch: Batch
    plans: Tensor
    per_frame: bool
    tolerance: float

    def close(self, one: Tensor, other: Tensor) -> tuple[bool, str]:
        """Return whether two results are equal up to rounding, and how far they are apart."""
        scale = float(other.abs().max()) + 1e-12
        share = float((one - other).abs().max()) / scale
        return share <= self.tolerance, f"apart by {share:.1e} of the largest value"

    def same(self, one: Tensor, other: Tensor, promise: str) -> None:
        """Hold two results to be equal up to rounding."""
        _hold(one.shape == other.shape, f"{promise} (got {_axes(one)}, wanted {_axes(other)})")
        equal, apart = self.close(one, other)
        _hold(equal, f"{promise} ({apart})")


def _check_example(batch: Batch, plans: Tensor) -> None:
    clips, steps = batch.valid.shape
    enough = clips >= 2 and steps >= 3 and plans.ndim == 4 and min(plans.shape[1:3]) >= 2
    if not enough or len(plans) != clips:
        raise ConfigError(
            "check_model needs at least 2 clips of 3 steps and plans [B S L A] with S and L at "
            f"least 2; got {clips} clips of {steps} steps and plans {_axes(plans)}."
        )
    alike = all(_equal(values[0], values[1]) for values in batch.streams.values())
    if alike or (plans.shape[-1] and _equal(plans[:, 0], plans[:, 1])):
        raise ConfigError("check_model needs clips and plans that differ from each other.")


def _check_latent(trial: _Trial, latent: Latent) -> None:
    tokens, batch = latent.tokens, trial.batch
    right = tokens.ndim == 4 and tokens.shape[:2] == batch.valid.shape
    _hold(right, f"shape: encode gives tokens [B T N D] (got {_axes(tokens)})")
    _check_values("encode", tokens)
    kept = latent.actions is None or (
        batch.actions is not None and _equal(latent.actions, batch.actions)
    )
    _hold(kept, "actions: a latent carries the batch's own actions, or none")


def _check_foresight(trial: _Trial, latent: Latent, foreseen: Tensor) -> None:
    wanted = (*trial.plans.shape[:3], *latent.tokens.shape[2:])
    right = foreseen.shape == wanted
    _hold(right, f"shape: rollout gives [B S L N D] {list(wanted)} (got {_axes(foreseen)})")
    _check_values("rollout", foreseen)


def _check_values(call: str, values: Tensor) -> None:
    _hold(values.dtype == torch.float32, f"float32: {call} gives float32 (got {values.dtype})")
    _hold(bool(values.isfinite().all()), f"finite: {call} gives finite numbers")
    _hold(not values.requires_grad, f"gradient: {call} keeps none under torch.no_grad()")


def _check_arguments(trial: _Trial, before: Any, latent: Latent, tokens: Tensor) -> None:
    now = _snapshot(trial)[0]
    _hold(_unchanged(now, before[0]), "arguments: encode and rollout write into no batch and plans")
    _hold(_equal(latent.tokens, tokens), "arguments: rollout does not write into the latent")


def _check_frames(trial: _Trial, latent: Latent) -> None:
    steps = latent.tokens.shape[1]
    early = trial.model.encode(_steps(trial.batch, 0, steps - 1)).tokens
    promise = "ahead: the latent of a step does not depend on later steps"
    trial.same(early, latent.tokens[:, :-1], promise)
    if trial.per_frame:
        alone = [trial.model.encode(_steps(trial.batch, t, t + 1)).tokens for t in range(steps)]
        promise = "frames: a frame alone is encoded as it is among its neighbours"
        trial.same(torch.cat(alone, 1), latent.tokens, promise)


def _check_clips(trial: _Trial, latent: Latent, foreseen: Tensor) -> None:
    for clip in range(len(foreseen)):
        one = slice(clip, clip + 1)
        alone = trial.model.encode(_clips(trial.batch, one))
        promise = "batch: a clip alone is encoded as it is among others"
        trial.same(alone.tokens, latent.tokens[one], promise)
        own = Latent(latent.tokens[one], None if latent.actions is None else latent.actions[one])
        promise = "batch: a clip alone is foreseen as it is among others"
        trial.same(trial.model.rollout(own, trial.plans[one]), foreseen[one], promise)


def _check_plans(trial: _Trial, latent: Latent, foreseen: Tensor) -> None:
    for plan in range(foreseen.shape[1]):
        alone = trial.model.rollout(latent, trial.plans[:, plan : plan + 1])
        promise = "candidates: a plan alone leads where it leads among others"
        trial.same(alone, foreseen[:, plan : plan + 1], promise)
    for length in range(1, foreseen.shape[2]):
        begun = trial.model.rollout(latent, trial.plans[:, :, :length])
        promise = "prefix: the beginning of a plan leads where the whole plan begins"
        trial.same(begun, foreseen[:, :, :length], promise)


def _check_single_step(trial: _Trial, latent: Latent) -> None:
    foreseen = trial.model.rollout(Latent(latent.tokens[:, -1:]), trial.plans)
    _check_foresight(trial, latent, foreseen)


def _check_repeats(trial: _Trial, latent: Latent, foreseen: Tensor) -> None:
    again = trial.model.encode(trial.batch)
    _hold(_equal(again.tokens, latent.tokens), "repeat: encode again gives the same bits")
    once_more = trial.model.rollout(again, trial.plans)
    _hold(_equal(once_more, foreseen), "repeat: rollout again gives the same bits")


def _snapshot(trial: _Trial) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return copies of the arguments, and of the model's weights and buffers."""
    batch = trial.batch
    arguments = {**batch.streams, "valid": batch.valid, "plans": trial.plans}
    if batch.actions is not None:
        arguments["actions"] = batch.actions
    return {name: value.clone() for name, value in arguments.items()}, _state(trial.model)


def _state(model: WorldModel) -> dict[str, Tensor]:
    if not isinstance(model, torch.nn.Module):
        return {}
    return {name: value.clone() for name, value in model.state_dict().items()}


def _chance() -> tuple[bytes, bytes, int]:
    """Return the state of torch's and numpy's global generators.

    Python's own is left out: run-time type checkers draw from it.
    """
    state = np.random.get_state(legacy=False)["state"]
    drawn = torch.random.get_rng_state().numpy().tobytes()
    return drawn, state["key"].tobytes(), int(state["pos"])


def _steps(batch: Batch, start: int, stop: int) -> Batch:
    actions = None if batch.actions is None else batch.actions[:, start : stop - 1]
    streams = {name: values[:, start:stop] for name, values in batch.streams.items()}
    alone = stop - start == 1
    return Batch(streams, None if alone else actions, batch.valid[:, start:stop])


def _clips(batch: Batch, chosen: slice) -> Batch:
    actions = None if batch.actions is None else batch.actions[chosen]
    streams = {name: values[chosen] for name, values in batch.streams.items()}
    return Batch(streams, actions, batch.valid[chosen])


def _unchanged(now: dict[str, Tensor], before: dict[str, Tensor]) -> bool:
    return now.keys() == before.keys() and all(_equal(now[name], before[name]) for name in now)


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _axes(values: Tensor) -> list[int]:
    return list(values.shape)


def _hold(holds: bool, promise: str) -> None:
    if not holds:
        raise CheckFailedError(f"check_model: this does not hold: {promise}.")
