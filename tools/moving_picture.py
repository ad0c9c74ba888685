"""Draw docs/images/acting.webp: the committed agent acts the first episodes of its own manifest.

Above each scene stands the goal picture. The plan of every decision is drawn over the scene, and so
is the way taken so far. The agent decides on its usual 64 px pictures; a second copy of the world
takes the same actions and is drawn larger.

    .venv/bin/python tools/moving_picture.py
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from armillary.evaluation import ModelPolicy, WorldFactory, load_manifest
from armillary.evaluation.episode import policy_seed
from armillary.evaluation.manifest import EpisodeSpec, Manifest, draw_goal
from armillary.proof.agent import open_agent

ROOT = Path(__file__).parents[1]
PROOF = ROOT / "results" / "proof" / "tabletop"
OUT = ROOT / "docs" / "images" / "acting.webp"
EPISODES = 3  # the first three, not the prettiest
SIDE, GOAL_SIDE, GAP = 256, 104, 16
FINE = 2  # drawn so many times as large, then brought down: smooth edges
FRAME_MS, LAST_MS = 160, 2500
PUSHER_HEIGHT_M = 0.035  # half of the pusher's
MOST_BYTES = 2_000_000
PAPER, INK, FAINT = (250, 249, 246), (40, 44, 52), (120, 124, 132)
PLAN, TAKEN, TARGET = (255, 196, 60), (255, 255, 255), (60, 220, 140)


@dataclass(frozen=True)
class Moment:
    """What is drawn of one step.

    Attributes:
        scene: [H W 3], large.
        plan_px: [L+1 2] column and row, in ``scene``, where the plan would lead; may be empty.
        taken_px: [K 2] where the pusher was until now.
        distance_m: of the pusher to its goal.
    """

    scene: np.ndarray
    plan_px: np.ndarray
    taken_px: np.ndarray
    distance_m: float


@dataclass(frozen=True)
class Acted:
    """An episode: its goal picture, where the goal is in each scene, and its moments."""

    goal: np.ndarray
    goal_px: np.ndarray
    moments: tuple[Moment, ...]


def main() -> int:
    """Draw the picture, and say what happened in it."""
    torch.set_num_threads(1)
    manifest = load_manifest(PROOF / "run" / "manifests" / "tabletop-reach.json")
    episodes = [acted(manifest, one) for one in manifest.episodes[:EPISODES]]
    steps = max(len(one.moments) for one in episodes)
    frames = [frame(episodes, step, manifest.success_distance) for step in range(steps)]
    frames[0].save(
        OUT,
        save_all=True,
        append_images=frames[1:],
        duration=[FRAME_MS] * (steps - 1) + [LAST_MS],
        loop=0,
        quality=82,
        method=6,
    )
    size = OUT.stat().st_size
    for place, one in enumerate(episodes):
        sys.stdout.write(f"episode {place}: ends {100 * one.moments[-1].distance_m:.1f} cm off\n")
    sys.stdout.write(f"{OUT.relative_to(ROOT)}: {len(frames)} pictures, {size:,} bytes\n")
    return int(size > MOST_BYTES)


@torch.no_grad()
def acted(manifest: Manifest, episode: EpisodeSpec) -> Acted:
    """Let the agent act an episode, and return what is drawn of it."""
    small = WorldFactory(manifest.world, manifest.settings)()
    large = WorldFactory(manifest.world, {**manifest.settings, "image_size": SIDE * FINE})()
    try:
        observation, shown = small.reset(episode.seed), large.reset(episode.seed)
        goal = draw_goal(small, manifest.task, episode)
        pictured = draw_goal(large, manifest.task, episode).observation.streams["rgb"]
        policy = open_agent(PROOF / "agent")(manifest.ruled(small.spec))
        assert isinstance(policy, ModelPolicy)  # a goal policy leaves no plan to draw
        state = policy.init(goal.observation.only(policy.observes), policy_seed(episode))
        places, moments, plan = [small.truth()["pusher_xy"]], [], np.zeros((0, 2))
        for step in range(manifest.budget + 1):
            action = None
            if step < manifest.budget:
                action, state = policy.act(observation.only(policy.observes), state)
                plan = state.plan[: policy.horizon(step)].numpy()  # what is later costs nothing
            ahead = np.concatenate([np.zeros((1, 2)), np.cumsum(plan, 0)]) * small.spec.step_s
            moments.append(
                Moment(
                    scene=shown.streams["rgb"],
                    plan_px=pixels(shown.streams, places[-1] + ahead)
                    if action is not None
                    else ahead[:0],
                    taken_px=pixels(shown.streams, np.array(places)),
                    distance_m=float(small.distance(goal)),
                )
            )
            if action is not None:
                observation, shown = small.step(action), large.step(action)
                places.append(small.truth()["pusher_xy"])
        goal_px = pixels(shown.streams, goal.truth["pusher_xy"][None])[0]
        return Acted(pictured, goal_px, tuple(moments))
    finally:
        small.close()
        large.close()


def pixels(streams: Mapping[str, np.ndarray], places_xy: np.ndarray) -> np.ndarray:
    """Return column and row of places at half the pusher's height: [K 2], metres to pixels."""
    height = np.full((len(places_xy), 1), PUSHER_HEIGHT_M)
    world = np.concatenate([places_xy, height, np.ones_like(height)], 1)
    camera = world @ np.linalg.inv(streams["world_from_camera"]).T
    image = camera[:, :3] @ streams["intrinsics"].T
    return image[:, :2] / image[:, 2:]


def frame(episodes: list[Acted], step: int, success_m: float) -> Image.Image:
    """Return one picture: every episode at a step."""
    width = len(episodes) * (SIDE + GAP) + GAP
    height = GOAL_SIDE + SIDE + 3 * GAP
    page = Image.new("RGB", (width * FINE, height * FINE), PAPER)
    draw = ImageDraw.Draw(page)
    for place, one in enumerate(episodes):
        moment = one.moments[min(step, len(one.moments) - 1)]
        left, top = (GAP + place * (SIDE + GAP)) * FINE, GAP * FINE
        side = GOAL_SIDE * FINE
        page.paste(Image.fromarray(one.goal).resize((side, side)), (left, top))
        text = left + side + 10 * FINE
        write(draw, (text, top + 4 * FINE), "goal picture", INK, 15)
        write(draw, (text, top + 26 * FINE), f"step {step} of {len(one.moments) - 1}", FAINT, 13)
        write(draw, (text, top + 46 * FINE), f"{100 * moment.distance_m:.1f} cm away", FAINT, 13)
        if step == len(one.moments) - 1:
            reached = moment.distance_m <= success_m
            write(draw, (text, top + 70 * FINE), "reached" if reached else "missed", INK, 15)
        page.paste(scene(moment, one.goal_px), (left, top + side + GAP * FINE))
    return page.resize((width, height), Image.Resampling.LANCZOS)


def scene(moment: Moment, goal_px: np.ndarray) -> Image.Image:
    """Return the scene with the goal, the way taken and the present plan."""
    picture = Image.fromarray(moment.scene)
    draw = ImageDraw.Draw(picture)
    u, v = goal_px.tolist()
    ring = 11 * FINE
    draw.ellipse((u - ring, v - ring, u + ring, v + ring), outline=TARGET, width=2 * FINE)
    for way, colour, wide in ((moment.taken_px, TAKEN, 2), (moment.plan_px, PLAN, 3)):
        points = [tuple(point) for point in way.tolist()]
        if len(points) > 1:
            draw.line(points, fill=colour, width=wide * FINE, joint="curve")
    for u, v in moment.plan_px[1:].tolist():
        dot = 2.5 * FINE
        draw.ellipse((u - dot, v - dot, u + dot, v + dot), fill=PLAN)
    return picture


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    size: int,
) -> None:
    """Write a line of text."""
    draw.text(at, text, fill=colour, font=ImageFont.load_default(size * FINE))


if __name__ == "__main__":
    sys.exit(main())
