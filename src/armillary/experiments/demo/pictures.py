"""Pictures of a demo: contact sheet, curves, plans drawn over the scene, and a push."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64

from armillary.core.rng import generator
from armillary.data import Cache
from armillary.evaluation import EpisodeSpec, WorldFactory, load_manifest, read_records
from armillary.evaluation.manifest import draw_goal
from armillary.evaluation.records import actions_of
from armillary.evaluation.specs import PolicyFactory
from armillary.report import Chart, ContactSheet, Curve, PlanView, smoothed
from armillary.training import read_log

_CONTACT = 12
_PUSHES = "records/model.jsonl"
PUSHER_HEIGHT_M = 0.035
_TERMS = {
    "train/rollout": "rollout",
    "train/inverse_dynamics": "inverse dynamics",
    "train/visual_words": "visual words",
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
    """Return curves of the losses and of the latent's effective rank, from the run's log."""
    log = read_log(run / "log.jsonl")
    losses = tuple(
        curve for name, label in _TERMS.items() if (curve := _curve(log, name, label)) is not None
    )
    rank = _curve(log, "latent/effective_rank", "effective rank")
    charts = [Chart("Loss terms, unweighted", losses, y_label="loss", log_y=True)]
    if rank is not None:
        charts.append(Chart("Effective rank of the latent", (rank,), y_label="dimensions"))
    return tuple(charts)


@dataclass(frozen=True)
class Lens:
    """A camera, to draw places of the world on its picture.

    Attributes:
        intrinsics: K [3 3], pixels.
        world_from_camera: [4 4], metres.
    """

    intrinsics: np.ndarray
    world_from_camera: np.ndarray

    def pixels(
        self, places_xy: Float64[np.ndarray, "K 2"], height_m: float
    ) -> Float64[np.ndarray, "K 2"]:
        """Return (column, row) of places at one height above the table."""
        height = np.full((len(places_xy), 1), height_m)
        world = np.concatenate([places_xy, height, np.ones_like(height)], 1)
        camera = world @ np.linalg.inv(self.world_from_camera).T
        image = camera[:, :3] @ self.intrinsics.T
        return (image[:, :2] / image[:, 2:]).astype(np.float64)


@torch.no_grad()
def plan_view(model_folder: Path, spec: PolicyFactory, seed: int, steps: int) -> PlanView:
    """Act one episode, and return each plan beside the path that was taken."""
    world = WorldFactory("tabletop", {"image_size": 64})()
    try:
        observation = world.reset(seed)
        goal = world.draw_goal("reach", generator("demo.plan", seed))
        policy: Any = spec(world.spec)
        first = observation.streams
        state = policy.init(goal.observation.only(policy.observes), seed)
        frames, places, plans = [first["rgb"]], [world.truth()["pusher_xy"]], []
        for step in range(steps):
            action, state = policy.act(observation.only(policy.observes), state)
            plan = state.plan[: policy.horizon(step)]  # what it would do later costs nothing
            plans.append(_expected(places[-1], plan.numpy(), world.spec.step_s))
            observation = world.step(action)
            frames.append(observation.streams["rgb"])
            places.append(world.truth()["pusher_xy"])
        step_s = world.spec.step_s
    finally:
        world.close()
    lens = Lens(first["intrinsics"], first["world_from_camera"])
    target = np.asarray(goal.truth["pusher_xy"], np.float64)
    nothing = np.zeros((0, 2))
    return PlanView(
        frames=np.stack(frames),
        time_s=np.arange(steps + 1) * step_s,
        goal=goal.observation.streams["rgb"],
        plans_px=(*(lens.pixels(plan, PUSHER_HEIGHT_M) for plan in plans), nothing),
        taken_px=lens.pixels(np.array(places, np.float64), PUSHER_HEIGHT_M),
        goal_px=tuple(lens.pixels(target[None], PUSHER_HEIGHT_M)[0].tolist()),
        distance=_distances(plans[0], np.array(places), target, step_s),
        caption=f"Episode with seed {seed}: a search with the model alone plans anew at every "
        "step. The numbers above are of the goal policy. The goal is the small picture.",
    )


def push_view(out: Path) -> PlanView:
    """Return an episode of pushing, as its recorded actions play it again.

    It is the first that reached its goal, where there is one, and its caption says so.

    Args:
        out: folder of the evaluation.
    """
    manifest, records = load_manifest(out / "manifest.json"), read_records(out / _PUSHES)
    reached = [record for record in records if record.outcome == "success"]
    record = (reached or records)[0]
    world: Any = WorldFactory(manifest.world, manifest.settings)()
    try:
        seen = world.reset(record.seed)
        episode = EpisodeSpec(record.id, record.seed, record.goal_seed)
        goal = draw_goal(world, manifest.task, episode)
        frames, places, objects = [seen.streams["rgb"]], [world.truth()["pusher_xy"]], []
        for action in actions_of(record):
            objects.append(world.truth()["object_xy"])
            frames.append(world.step(action).streams["rgb"])
            places.append(world.truth()["pusher_xy"])
        objects.append(world.truth()["object_xy"])
        step_s = world.spec.step_s
    finally:
        world.close()
    lens = Lens(seen.streams["intrinsics"], seen.streams["world_from_camera"])
    target = np.asarray(goal.truth["object_xy"], np.float64)
    time_s = np.arange(len(frames)) * step_s
    way_cm = 100 * np.linalg.norm(np.array(objects) - target, axis=1)
    return PlanView(
        frames=np.stack(frames),
        time_s=time_s,
        goal=goal.observation.streams["rgb"],
        plans_px=tuple(np.zeros((0, 2)) for _ in frames),
        taken_px=lens.pixels(np.array(places, np.float64), PUSHER_HEIGHT_M),
        goal_px=tuple(lens.pixels(target[None], PUSHER_HEIGHT_M)[0].tolist()),
        distance=Chart(
            "Distance of the object to its goal",
            (Curve("what happened", time_s, way_cm),),
            "time, s",
            "cm",
        ),
        caption=f"Pushing with the goal policy, tried in the model. {len(reached)} of "
        f"{len(records)} episodes reached their goal; this is the first "
        f"{'that did' if reached else 'of all'}.",
    )


def _expected(
    start: np.ndarray, plan: Float32[np.ndarray, "L 2"], step_s: float
) -> Float64[np.ndarray, "K 2"]:
    """Return the places that velocities lead to, from where the pusher is."""
    moves = np.concatenate([np.zeros((1, 2)), np.cumsum(plan, 0, dtype=np.float64)])
    return np.asarray(start, np.float64) + moves * step_s


def _distances(
    plan: np.ndarray, taken: np.ndarray, target: Float64[np.ndarray, " 2"], step_s: float
) -> Chart:
    curves = [
        Curve(name, np.arange(len(way)) * step_s, 100 * np.linalg.norm(way - target, axis=1))
        for name, way in (("first plan", plan), ("what happened", taken))
    ]
    return Chart("Distance to the goal", tuple(curves), "time, s", "cm")


def _curve(log: list[dict], name: str, label: str) -> Curve | None:
    points = [(entry["step"], entry[name]) for entry in log if name in entry]
    if not points:
        return None
    steps, values = np.array(points, np.float64).T
    return smoothed(Curve(label, steps, values), 3)
