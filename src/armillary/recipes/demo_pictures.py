"""Pictures of a demo: contact sheet, curves, what was foreseen, and a plan drawn over the scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from armillary.control import ModelSpec, WorldFactory
from armillary.core.rng import generator
from armillary.data import Cache, Windows
from armillary.models import JEPA
from armillary.models.decoder import Decoder
from armillary.report import Chart, ContactSheet, Curve, PlanView, RolloutStrip, smoothed
from armillary.training import read_log

_CONTACT = 12
_AHEAD = (1, 2, 4, 6, 8, 10, 12)
_PUSHER_HEIGHT_M = 0.035
_TERMS = {
    "train/rollout": "rollout",
    "train/inverse_dynamics": "inverse dynamics",
    "train/bird_view": "view from above",
    "train/variance": "variance",
}


def contact_sheet(cache: Cache) -> ContactSheet:
    """Return pictures and depth of the middle of evenly spaced episodes."""
    chosen = np.linspace(0, cache.num_episodes - 1, _CONTACT).astype(np.int64)
    middle = cache.starts[chosen] + cache.lengths[chosen] // 2
    depth_m = np.asarray(cache.arrays["depth"][middle], np.float32) / 1000
    frames = len(cache.arrays["rgb"])
    return ContactSheet(
        rgb=tuple(np.asarray(cache.arrays["rgb"][middle])),
        depth_m=tuple(depth_m),
        caption=f"{cache.num_episodes:,} episodes, {frames:,} steps; scene, light, colours and "
        "camera are drawn anew for each. Below each picture its depth.",
    )


def training_charts(run: Path) -> tuple[Chart, ...]:
    """Return curves of the losses and of how much the latent says, from the run's log."""
    log = read_log(run / "log.jsonl")
    losses = tuple(
        curve for name, label in _TERMS.items() if (curve := _curve(log, name, label)) is not None
    )
    rank = _curve(log, "latent/effective_rank", "effective rank")
    charts = [Chart("Loss terms, unweighted", losses, y_label="loss", log_y=True)]
    if rank is not None:
        charts.append(Chart("Dimensions that the latent uses", (rank,), y_label="of its width"))
    return tuple(charts)


@torch.no_grad()
def rollout_strip(model: JEPA, decoder: Decoder, cache: Cache, episode: int) -> RolloutStrip:
    """Foresee a held-out episode from its first frame and its actions, and draw both."""
    length = int(min(cache.lengths[episode], max(_AHEAD) + 1))
    clip = Windows(cache, np.array([episode]), length).gather(np.zeros(1, np.int64))
    latent = model.encode(clip)
    first = type(latent)(latent.tokens[:, :1], None)
    assert clip.actions is not None
    foreseen = model.rollout(first, clip.actions[:, None])[0, 0].flatten(1)
    steps = [step for step in _AHEAD if step < length]
    pictures = decoder.pictures(foreseen)
    rgb = clip.streams["rgb"][0]
    return RolloutStrip(
        labels=tuple(f"+{step / cache.fps:.1f} s" for step in steps),
        came=tuple(rgb[step].numpy() for step in steps),
        foreseen=tuple(pictures[step - 1].numpy() for step in steps),
        caption="Held-out episode: what the camera saw, and what was foreseen from the first "
        "frame and the actions alone, drawn by a small decoder trained on frozen latents.",
    )


@dataclass(frozen=True)
class _Lens:
    """A camera of the tabletop, to draw places of the world on its picture."""

    intrinsics: np.ndarray
    world_from_camera: np.ndarray

    def pixels(self, places_xy: np.ndarray) -> np.ndarray:
        """Return (column, row) of places at half the pusher's height: [K 2]."""
        height = np.full((len(places_xy), 1), _PUSHER_HEIGHT_M)
        world = np.concatenate([places_xy, height, np.ones_like(height)], 1)
        camera = world @ np.linalg.inv(self.world_from_camera).T
        image = camera[:, :3] @ self.intrinsics.T
        return image[:, :2] / image[:, 2:]


@torch.no_grad()
def plan_view(model_folder: Path, spec: ModelSpec, seed: int, steps: int) -> PlanView:
    """Act one episode and draw the first plan and the way that was then taken."""
    world = WorldFactory("tabletop", {"image_size": 64})()
    try:
        observation = world.reset(seed)
        goal = world.draw_goal("reach", generator("demo.plan", seed))
        policy = spec(world.spec)
        seen = observation.streams
        lens = _Lens(seen["intrinsics"], seen["world_from_camera"])
        state = policy.init(goal.observation.only(policy.observes), seed)
        places, plan = [world.truth()["pusher_xy"]], None
        for _ in range(steps):
            action, state = policy.act(observation.only(policy.observes), state)
            plan = state.plan.numpy() if plan is None else plan
            observation = world.step(action)
            places.append(world.truth()["pusher_xy"])
        assert plan is not None
        expected = places[0] + np.concatenate([np.zeros((1, 2)), np.cumsum(plan, 0)])
        expected = places[0] + (expected - places[0]) * world.spec.step_s
        return PlanView(
            scene=seen["rgb"],
            goal=goal.observation.streams["rgb"],
            plan_px=lens.pixels(expected).astype(np.float64),
            taken_px=lens.pixels(np.array(places)).astype(np.float64),
            goal_px=tuple(lens.pixels(goal.truth["pusher_xy"][None])[0].tolist()),
            caption="The first plan, and the way that was then taken while replanning.",
        )
    finally:
        world.close()


def _curve(log: list[dict], name: str, label: str) -> Curve | None:
    points = [(entry["step"], entry[name]) for entry in log if name in entry]
    if not points:
        return None
    steps, values = np.array(points, np.float64).T
    return smoothed(Curve(label, steps, values), 3)
