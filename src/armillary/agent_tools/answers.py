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

from armillary.agent_tools.drawing import plan_picture, prediction_picture
from armillary.agent_tools.excerpts import camera_of, check_step, excerpt, most_steps
from armillary.agent_tools.library import Library, Pair
from armillary.agent_tools.limits import (
    LEAST_SIDE_PX,
    MOST_AHEAD,
    MOST_SIDE_PX,
    MOST_SURPRISE,
)
from armillary.agent_tools.pictures import coloured, png
from armillary.agent_tools.rollouts import around, checked_actions, planned, recorded_actions
from armillary.agent_tools.surprises import surprise_facts
from armillary.core.errors import ConfigError, DatasetError
from armillary.core.values import Episode

_MOST_NUMBERS = 32  # of one stream at one step
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
            | {"datasets": {key[1]: _bounds(pair) for key, pair in pairs.items() if key[0] == name}}
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
        tokens = pair.encoded(shown).tokens[0]
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
        given = None if actions is None else checked_actions(pair, actions, notes)
        count = ahead if given is None else len(given)
        if not 1 <= count <= MOST_AHEAD:
            raise ConfigError(f"A prediction has 1 to {MOST_AHEAD} model steps; got {count}.")
        seen = around(pair, episode, step, count)
        if given is None:
            given = recorded_actions(pair, seen, count, notes)
            count = len(given)
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
        pictures, captions = prediction_picture(pair, seen, predicted)
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
        most = min((steps - 1) * pair.stride + 1, most_steps(pair.dataset, pair.config))
        end = min(length, step + most)
        if end - step <= pair.stride:
            raise DatasetError(
                f"Only {end - step} recorded steps are left from step {step}, and a model step "
                f"takes {pair.stride + 1}. Begin earlier."
            )
        notes = [f"The episode goes on to step {length - 1}."] if end < length else []
        facts = surprise_facts(pair, episode, range(step, end))
        return Answer(_rounded(facts | {"notes": notes}))

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
        found = planned(pair, now, goal, ahead, seed)
        goal_tokens = pair.encoded(goal).tokens[0]
        rows = found.actions.reshape(-1, pair.world_action_width)
        facts: dict[str, Any] = {
            "planner": found.planner,
            "actions": rows.tolist(),
            "seconds_per_action": pair.step_s / pair.stride,
            "predicted_cost": found.cost,
            "model_steps_taken": found.model_steps,
            "distance_to_goal": _apart(found.tokens, goal_tokens),
            "distance_of_two_moments_by_chance": pair.reference.apart,
            "places": _places(pair, found.tokens, None, episode, []),
            "goal_places": _places(pair, goal_tokens, goal, elsewhere, [0]),
            "notes": ["Nothing was executed; distances and places are the model's predictions."],
        }
        pictures, captions = plan_picture(
            pair, (episode, step), (elsewhere, goal_step), found.tokens[-1:]
        )
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
        action = None if low.actions is None else low.actions[step : step + 1].ravel().tolist()
        facts = {
            "camera": name,
            "recorded_px": [image.shape[1], image.shape[0]],
            "drawn_px": [drawn.shape[1], drawn.shape[0]],
            "time_s": float(low.time_ns[step] - low.time_ns[0]) / 1e9,
            "last_step": len(low) - 1,
            "action": action or None,  # none leads away from the last step
            "numbers": {
                key: stream.values[step].ravel()[:_MOST_NUMBERS].tolist()
                for key, stream in low.streams.items()
                if stream.kind in ("truth", "proprio")
            },
        }
        return Answer(_rounded(facts), (png(drawn),))


def _model_facts(pair: Pair) -> dict[str, Any]:
    config = pair.config
    return {
        "sees": list(config.sensors),
        "may_lack": list(config.optional_sensors),
        "picture_px": config.encoder.image_size,
        "latent": [config.encoder.tokens, config.encoder.width],
        "seconds_per_model_step": pair.step_s,
        "recorded_steps_per_model_step": pair.stride,
        "action_width": pair.world_action_width,
        "goal_policy": pair.seer.policy is not None,
    }


def _bounds(pair: Pair) -> dict[str, Any]:
    """Return the bounds of an action, where the model takes one."""
    if not pair.config.action_width:
        return {}
    return {"action_low": pair.box.low.tolist(), "action_high": pair.box.high.tolist()}


def _apart(latents: Float[Tensor, "_ N D"], others: Float[Tensor, "_ N D"]) -> list[float]:
    """Return the root mean square difference of latents, step by step; one may stand for all."""
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
        place: dict[str, Any] = {"read": read(tokens).tolist()}
        place |= {"mean_error": read.error, "r2": read.r2}
        place |= {"fitted_on_this_episode": episode in pair.fitted_on}
        if recorded is not None:
            stream = recorded.streams[name]
            truth = [stream.values[row].tolist() for row in rows if row < len(recorded)]
            place |= {"recorded": truth, "unit": stream.unit, "frame": stream.frame}
        found[name] = place
    return found


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
