"""Answers: what each tool finds. It knows models and datasets, and no protocol.

Everything that comes from outside is bounded here before memory is taken for it. Distances are root
mean squares of the difference of two latents; beside them stands what is usual between two recorded
moments drawn by chance.

Axes: T recorded steps, L model steps, N tokens, D latent width, A action width of a recorded step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from armillary.agent_tools.excerpts import camera_of, check_step, excerpt
from armillary.agent_tools.library import Library, Pair
from armillary.agent_tools.limits import (
    LEAST_SIDE_PX,
    MOST_AHEAD,
    MOST_ROWS,
    MOST_SIDE_PX,
    MOST_SURPRISE,
)
from armillary.agent_tools.pictures import MOST_COLUMNS, coloured, png, strip
from armillary.api.acting import action_box, plan
from armillary.comprehension import calibrate, surprise
from armillary.comprehension.unusual import MEANING
from armillary.core.errors import ConfigError, DatasetError, ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import Batch, Episode, Latent
from armillary.data.layout import first_of_kind
from armillary.planning import GuidedConfig, guided_plan
from armillary.planning.state import box_of
from armillary.recipes.asking import normal_clips, normal_pictures, unusual_events
from armillary.report import spread_steps, top_moments

_REMEMBERED = 8  # model steps before the start that the predictor is shown
_MOST_NUMBERS = 32  # of one stream at one step
_MOST_EVENTS = 20
_DIGITS = 5


@dataclass(frozen=True)
class Answer:
    """What a tool answers.

    Attributes:
        facts: values of JSON by name.
        pictures: PNG files.
    """

    facts: Mapping[str, Any]
    pictures: tuple[bytes, ...] = ()


class Answers:
    """The questions that a language model can ask.

    Args:
        library: what can be asked about.
    """

    def __init__(self, library: Library) -> None:
        self.library = library

    def listing(self) -> Answer:
        """Return which models and datasets there are, and which model sees which dataset."""
        pairs = self.library.pairs
        models = {
            name: _model_facts(next(pair for key, pair in pairs.items() if key[0] == name))
            | {"datasets": [data for model, data in pairs if model == name]}
            for name in self.library.seers
        }
        datasets = {
            name: {
                "episodes": len(found),
                "steps": int(found.lengths.sum()),
                "steps_of_an_episode": [int(found.lengths.min()), int(found.lengths.max())],
                "seconds_per_recorded_step": 1 / found.fps,
                "cameras": list(found.cameras),
                "streams": dict(found.streams),
            }
            for name, found in self.library.datasets.items()
        }
        return Answer(_rounded({"models": models, "datasets": datasets}))

    def encode(self, model: str, dataset: str, episode: int, step: int) -> Answer:
        """Return a summary of the latent of one step, and the places read from it.

        Raises:
            ArmillaryError: an unknown name, or no such episode or step.
        """
        pair = self.library.pair(model, dataset)
        shown = excerpt(pair.dataset, episode, range(step, step + 1), pair.config)
        tokens = _encoded(pair, pair.batch(pair.cache([shown]))).tokens[0]
        usual = pair.reference
        flat = tokens[0].flatten().numpy()
        norms = np.linalg.norm(usual.latents, axis=1)
        facts = {
            "tokens": tokens.shape[1],
            "width": tokens.shape[2],
            "norm": float(np.linalg.norm(flat)),
            "usual_norm": float(np.median(norms)),
            "principal": (usual.components @ (flat - usual.mean) / usual.spread).tolist(),
            "principal_share_of_variance": usual.shares.tolist(),
            "places": _places(pair, tokens, shown, episode, [0]),
        }
        return Answer(_rounded(facts))

    def predict(
        self,
        model: str,
        dataset: str,
        episode: int,
        step: int,
        actions: Sequence[Sequence[float]] | None = None,
        ahead: int = 8,
    ) -> Answer:
        """Return what is predicted from a step on, beside what was recorded.

        Args:
            model: name of the model.
            dataset: name of the dataset.
            episode: number of the episode.
            step: recorded step at which the prediction begins.
            actions: one row for each recorded step; None takes those that were recorded.
            ahead: model steps under the recorded actions; not read where actions are given.

        Raises:
            ArmillaryError: an unknown name, no such step, or actions that cannot be used.
        """
        pair = self.library.pair(model, dataset)
        check_step(pair.dataset, episode, step)
        notes: list[str] = []
        given = None if actions is None else _checked_actions(pair, actions, notes)
        count = ahead if given is None else len(given)
        if not 1 <= count <= MOST_AHEAD:
            raise ConfigError(f"A prediction has 1 to {MOST_AHEAD} model steps; got {count}.")
        seen = _around(pair, episode, step, count)
        if given is None:
            given, count = _recorded_actions(seen, count, notes)
        with torch.no_grad():
            predicted = pair.network.rollout(seen.shown, given[None, None])[0, 0]
        recorded = seen.latent.tokens[0, seen.start + 1 :][:count]
        rows = [seen.start * pair.stride + (one + 1) * pair.stride for one in range(count)]
        facts: dict[str, Any] = {
            "step": [step + (one + 1) * pair.stride for one in range(count)],
            "ahead_s": [(one + 1) * pair.step_s for one in range(count)],
            "distance": _apart(predicted[: len(recorded)], recorded),
            "distance_of_no_change": _apart(seen.shown.tokens[0, -1:], recorded),
            "distance_of_two_moments_by_chance": pair.reference.apart,
            "places": _places(pair, predicted, seen.episode, episode, rows),
        }
        if actions is not None:
            notes.append("Recorded is what happened under the recorded actions, not under yours.")
        if len(recorded) < count:
            notes.append(f"The episode ends; {len(recorded)} of {count} steps can be compared.")
        pictures, captions = _prediction_picture(pair, seen, predicted, episode)
        return Answer(_rounded(facts | captions | {"notes": notes}), pictures)

    def surprise(
        self, model: str, dataset: str, episode: int, step: int = 0, steps: int = MOST_SURPRISE
    ) -> Answer:
        """Return where the model's predictions fail in an episode.

        Args:
            model: name of the model.
            dataset: name of the dataset.
            episode: number of the episode.
            step: recorded step with which to begin.
            steps: model steps at most.

        Raises:
            ArmillaryError: an unknown name, no such step, or no other episode to say what is usual.
        """
        pair = self.library.pair(model, dataset)
        check_step(pair.dataset, episode, step)
        if not 2 <= steps <= MOST_SURPRISE:
            raise ConfigError(f"Surprise takes 2 to {MOST_SURPRISE} model steps; got {steps}.")
        length = int(pair.dataset.lengths[episode])
        end = min(length, step + (steps - 1) * pair.stride + 1)
        if end - step <= pair.stride:
            raise DatasetError(
                f"Only {end - step} recorded steps are left from step {step}, and a model step "
                f"takes {pair.stride + 1}. Begin earlier."
            )
        others = pair.sample.others(episode)
        if not len(others):
            raise DatasetError(
                f"The dataset {dataset!r} has one episode, and others are needed to say what is "
                "usual."
            )
        clip = pair.batch(
            pair.cache([excerpt(pair.dataset, episode, range(step, end), pair.config)])
        )
        cache = pair.sample.cache
        trace = surprise(
            pair.network, calibrate(pair.network, normal_clips(cache, others, pair.stride)), clip
        )
        values, copied = trace.values[0], trace.copy_last[0]
        usual = normal_pictures(cache, others, pair.stride)
        begin_s = step / pair.dataset.fps
        unusual = unusual_events(clip, usual, pair.step_s) if usual else {}
        facts = {
            "judged_steps": [step, end - 1],
            "usual": 1.0,
            "median": float(np.median(values)),
            "peaks": [
                {
                    "step": step + one * pair.stride,
                    "time_s": begin_s + one * pair.step_s,
                    "surprise": float(values[one - 1]),
                    "surprise_of_no_change": float(copied[one - 1]),
                }
                for one in sorted(top_moments(values))
            ],
            "calibrated_on_episodes": len(others),
            "events": [
                {
                    "from_s": begin_s + one.begin_s,
                    "to_s": begin_s + one.end_s,
                    "what": MEANING[one.measure],
                    "times_the_threshold": one.score,
                }
                for one in (unusual.get("events") or ())[:_MOST_EVENTS]
            ],
            "notes": [f"The episode goes on to step {length - 1}."] if end < length else [],
        }
        return Answer(_rounded(facts))

    def plan(
        self,
        model: str,
        dataset: str,
        episode: int,
        step: int,
        goal_step: int,
        goal_episode: int | None = None,
        ahead: int = 8,
        seed: int = 0,
    ) -> Answer:
        """Return actions that should lead from a step to what another step shows.

        Args:
            model: name of the model.
            dataset: name of the dataset.
            episode: number of the episode.
            step: recorded step at which the plan begins.
            goal_step: recorded step whose picture is the goal.
            goal_episode: of the goal; None for the same episode.
            ahead: model steps of the plan.
            seed: of the search.

        Raises:
            ArmillaryError: an unknown name, no such step, or a model without actions.
        """
        pair = self.library.pair(model, dataset)
        if not 1 <= ahead <= MOST_AHEAD:
            raise ConfigError(f"A plan has 1 to {MOST_AHEAD} model steps; got {ahead}.")
        if not pair.config.action_width:
            raise ConfigError(f"The model {model!r} takes no actions, and a plan is made of them.")
        elsewhere = episode if goal_episode is None else goal_episode
        now, goal = (
            excerpt(pair.dataset, number, range(at, at + 1), pair.config)
            for number, at in ((episode, step), (elsewhere, goal_step))
        )
        found = _planned(pair, now, goal, ahead, seed)
        goal_tokens = _encoded(pair, pair.batch(pair.cache([goal]))).tokens[0]
        every = torch.cat([found.start, found.predicted])
        rows = found.actions.reshape(-1, pair.world_action_width)
        facts: dict[str, Any] = {
            "planner": found.planner,
            "actions": rows.tolist(),
            "seconds_per_action": pair.step_s / pair.stride,
            "predicted_cost": found.cost,
            "model_steps_taken": found.model_steps,
            "distance_to_goal": _apart(every, goal_tokens),
            "distance_of_two_moments_by_chance": pair.reference.apart,
            "places": _places(pair, every, None, episode, []),
            "goal_places": _places(pair, goal_tokens, goal, elsewhere, [0]),
            "notes": ["Nothing was executed; distances and places are the model's predictions."],
        }
        pictures, captions = _plan_picture(pair, now, goal, found.predicted, episode)
        return Answer(_rounded(facts | captions), pictures)

    def view(
        self, dataset: str, episode: int, step: int, camera: str = "", side_px: int = 256
    ) -> Answer:
        """Return the picture of a step, and the numbers that were recorded with it.

        Args:
            dataset: name of the dataset.
            episode: number of the episode.
            step: recorded step.
            camera: name of the camera; empty for the colour camera.
            side_px: longer side of the picture, pixels.

        Raises:
            ArmillaryError: an unknown name, no such step, or a size that is not drawn.
        """
        found = self.library.dataset(dataset)
        if not LEAST_SIDE_PX <= side_px <= MOST_SIDE_PX:
            raise ConfigError(
                f"A picture has {LEAST_SIDE_PX} to {MOST_SIDE_PX} pixels; got {side_px}."
            )
        check_step(found, episode, step)
        name = camera_of(found, camera)
        (image,) = found.frames(episode, name, [step])
        low = found.read_low(episode)
        drawn = coloured(image, found.cameras[name], side_px)
        acted = low.actions is not None and step < len(low.actions)
        facts = {
            "camera": name,
            "recorded_px": [image.shape[1], image.shape[0]],
            "drawn_px": [drawn.shape[1], drawn.shape[0]],
            "time_s": float(low.time_ns[step] - low.time_ns[0]) / 1e9,
            "last_step": len(low) - 1,
            "action": low.actions[step].tolist() if acted and low.actions is not None else None,
            "numbers": {
                key: stream.values[step].ravel()[:_MOST_NUMBERS].tolist()
                for key, stream in low.streams.items()
                if stream.kind in ("truth", "proprio")
            },
        }
        return Answer(_rounded(facts), (png(drawn),))


@dataclass(frozen=True)
class _Seen:
    """A stretch of an episode around the step at which a prediction begins.

    Attributes:
        episode: the stretch.
        batch: the same as the model gets it.
        latent: of all its model steps.
        start: model step of the stretch at which the prediction begins.
    """

    episode: Episode
    batch: Batch
    latent: Latent
    start: int

    @property
    def shown(self) -> Latent:
        """What the predictor is shown."""
        acted = self.latent.actions is not None and self.start
        before = self.latent.actions[:, : self.start] if acted and self.latent.actions is not None \
            else None
        return Latent(self.latent.tokens[:, : self.start + 1], before)


@dataclass(frozen=True)
class _Found:
    """A plan: actions [L kA], predictions [L N D], where it starts [1 N D], and its price."""

    planner: str
    actions: Float[Tensor, "L _"]
    predicted: Float[Tensor, "L N D"]
    start: Float[Tensor, "1 N D"]
    cost: float
    model_steps: int


def _model_facts(pair: Pair) -> dict[str, Any]:
    config = pair.config
    facts: dict[str, Any] = {
        "sees": list(config.sensors),
        "may_lack": list(config.optional_sensors),
        "picture_px": config.encoder.image_size,
        "latent": [config.encoder.tokens, config.encoder.width],
        "seconds_per_model_step": pair.step_s,
        "recorded_steps_per_model_step": pair.stride,
        "action_width": pair.world_action_width,
        "goal_policy": pair.seer.policy is not None,
    }
    if config.action_width:
        box = action_box(pair.network)
        facts |= {"action_low": box.low.tolist(), "action_high": box.high.tolist()}
    return facts


def _encoded(pair: Pair, batch: Batch) -> Latent:
    with torch.no_grad():
        return pair.network.encode(batch)


def _around(pair: Pair, episode: int, step: int, count: int) -> _Seen:
    """Return the steps that the predictor remembers, and those that it will be compared with."""
    before = min(step // pair.stride, _REMEMBERED)
    if pair.config.action_width and not pair.dataset.has_actions:
        before = 0  # its memory is made of actions, too
    last = min(step + count * pair.stride, int(pair.dataset.lengths[episode]) - 1)
    shown = excerpt(
        pair.dataset, episode, range(step - before * pair.stride, last + 1), pair.config
    )
    batch = pair.batch(pair.cache([shown]))
    return _Seen(shown, batch, _encoded(pair, batch), before)


def _checked_actions(
    pair: Pair, actions: Sequence[Sequence[float]], notes: list[str]
) -> Float[Tensor, "L _"]:
    """Return given actions inside the model's bounds, a row for each model step."""
    width, stride = pair.world_action_width, pair.stride
    if not width:
        raise ConfigError(
            f"The model {pair.seer.name!r} takes no actions. Leave actions out, and say how far "
            "with ahead."
        )
    most = min(MOST_ROWS, MOST_AHEAD * stride)
    if not 1 <= len(actions) <= most or len(actions) % stride:
        several = f", a multiple of {stride}" if stride > 1 else ""
        raise ShapeError(f"Give 1 to {most} actions{several}; got {len(actions)}.")
    if any(len(row) != width for row in actions):
        raise ShapeError(f"Each action has {width} numbers, one row for each recorded step.")
    values = np.array(actions, np.float64)
    if not np.isfinite(values).all():
        raise ShapeError("Actions are finite numbers; got NaN or an infinite one.")
    box = action_box(pair.network)
    within = np.clip(values, box.low, box.high)
    changed = int((within != values).any(axis=1).sum())
    if changed:
        notes.append(
            f"{changed} of {len(values)} actions were clipped to the bounds that `list` gives."
        )
    return torch.from_numpy(within.astype(np.float32)).reshape(-1, width * stride)


def _recorded_actions(
    seen: _Seen, count: int, notes: list[str]
) -> tuple[Float[Tensor, "L _"], int]:
    """Return the recorded actions after the start, and for how many model steps there are some."""
    left = min(count, seen.latent.tokens.shape[1] - 1 - seen.start)
    if left < 1:
        raise ConfigError("The episode ends before one model step has passed. Begin earlier.")
    if left < count:
        notes.append(f"The episode ends; {left} of {count} steps are predicted.")
    if seen.latent.actions is None:
        if seen.batch.actions is None and seen.episode.actions is None:
            return torch.zeros(left, 0), left
        raise ConfigError("The episode has no actions here; give some.")
    return seen.latent.actions[0, seen.start : seen.start + left], left


def _planned(pair: Pair, now: Episode, goal: Episode, ahead: int, seed: int) -> _Found:
    """Return a plan: of the goal policy with a guided search where there is one, else iCEM's."""
    if pair.seer.policy is None:
        made = plan(
            pair.network, now.observation(0), goal.observation(0), seed=seed, length=ahead
        )
        start = _encoded(pair, pair.batch(pair.cache([now]))).tokens[0]
        actions = torch.from_numpy(made.actions).reshape(ahead, -1)
        return _Found("icem", actions, made.predicted, start, made.cost, made.model_steps)
    latent = _encoded(pair, pair.batch(pair.cache([now])))
    wanted = _encoded(pair, pair.batch(pair.cache([goal]))).tokens.flatten()
    box = box_of(action_box(pair.network), pair.stride)
    search = GuidedConfig(longest=MOST_AHEAD)
    rng = torch_generator("policy.guided", seed, 0)
    made = guided_plan(
        pair.network, pair.seer.policy, latent, wanted, float(ahead), box, search, rng
    )
    with torch.no_grad():
        predicted = pair.network.rollout(latent, made.actions[:, None])[0, 0]
    return _Found(
        "guided",
        made.actions[0],
        predicted,
        latent.tokens[0],
        float(made.costs[0]),
        made.model_steps,
    )


def _apart(latents: Float[Tensor, "L N D"], others: Float[Tensor, "L N D"]) -> list[float]:
    """Return the root mean square difference of latents, step by step."""
    if not len(others):
        return []
    return (latents - others).square().mean(dim=(-2, -1)).sqrt().tolist()


def _places(
    pair: Pair,
    tokens: Float[Tensor, "L N D"],
    recorded: Episode | None,
    episode: int,
    rows: Sequence[int],
) -> dict[str, Any]:
    """Return the places that are read from latents, beside the recorded ones.

    Args:
        pair: whose read-outs are taken.
        tokens: of L moments.
        recorded: stretch that holds the truth of these moments; None for none.
        episode: number of it.
        rows: of each moment in the stretch; those past its end have no truth.
    """
    found = {}
    for name, read in pair.read_outs.items():
        found[name] = {"read": read(tokens).tolist(), "error": read.error, "r2": read.r2}
        if recorded is not None:
            stream = recorded.streams[name]
            truth = [stream.values[row].tolist() for row in rows if row < len(recorded)]
            found[name] |= {"recorded": truth, "unit": stream.unit, "frame": stream.frame}
            found[name] |= {"fitted_on_this_episode": episode in pair.fitted_on}
    return found


def _prediction_picture(
    pair: Pair, seen: _Seen, predicted: Float[Tensor, "L N D"], episode: int
) -> tuple[tuple[bytes, ...], dict[str, Any]]:
    """Return recorded pictures above those nearest to the predictions, and what each is."""
    chosen = spread_steps(len(predicted), MOST_COLUMNS)
    frames = pair.nearest(predicted[list(chosen)], but=episode)
    if not frames:
        return (), {}
    rows = [(seen.start + 1 + one) * pair.stride for one in chosen]
    recorded = _colours(seen.episode)
    blank = np.full_like(pair.picture(frames[0]), 255)
    above = [blank if recorded is None or r >= len(recorded) else recorded[r] for r in rows]
    below = [pair.picture(frame) for frame in frames]
    said = {
        "picture": {
            "columns_ahead_s": [(one + 1) * pair.step_s for one in chosen],
            "upper_row": "recorded (white after the end of the episode)",
            "lower_row": "pictures of other episodes whose latents are nearest to the predictions",
            "nearest": _named(pair, frames),
        }
    }
    return (png(strip([above, below])),), said


def _plan_picture(
    pair: Pair, now: Episode, goal: Episode, predicted: Float[Tensor, "L N D"], episode: int
) -> tuple[tuple[bytes, ...], dict[str, Any]]:
    """Return now, the picture nearest to the predicted end, and the goal."""
    frames = pair.nearest(predicted[-1:], but=episode)
    ends = _colours(now), _colours(goal)
    if not frames or ends[0] is None or ends[1] is None:
        return (), {}
    said = {
        "picture": {
            "columns": [
                "now",
                "picture of another episode whose latent is nearest to the predicted end",
                "goal",
            ],
            "nearest": _named(pair, frames),
        }
    }
    return (png(strip([[ends[0][0], pair.picture(frames[0]), ends[1][0]]])),), said


def _named(pair: Pair, frames: Sequence[int]) -> list[dict[str, int]]:
    usual = pair.reference
    return [{"episode": int(usual.episodes[f]), "step": int(usual.steps[f])} for f in frames]


def _colours(episode: Episode) -> np.ndarray | None:
    name = first_of_kind({name: stream.kind for name, stream in episode.streams.items()})
    return None if name is None else episode.streams[name].values


def _rounded(value: Any) -> Any:
    """Return facts with five digits: a language model reads them, and more say nothing.

    What is not finite becomes null, which JSON can hold.
    """
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
