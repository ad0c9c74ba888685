"""Record four worlds that no recipe was tuned on: Fetch, Fetch before noise, a puck, a maze.

They judge the one recipe by read-outs of places that are recorded as truth:

- ``fetch``: FetchReach; ``hand_xyz``.
- ``fetch_moving``: FetchReach; where no robot, table or target is, drifting noise; ``hand_xyz``.
- ``metaworld``: push-v3 of Meta-World; ``hand_xyz`` and ``puck_xyz``.
- ``pointmaze``: PointMaze_Medium; ``ball_xy``.

Meta-World needs a MuJoCo below 4, and armillary uses the newest: make an environment for it.

    python3.11 -m venv gymvenv
    gymvenv/bin/pip install -e . 'mujoco<4' gymnasium-robotics metaworld
    gymvenv/bin/python scripts/record_gym_worlds.py out/gym
    gymvenv/bin/python scripts/record_gym_worlds.py out/gym --only pointmaze --episodes 400 --resume

Each dataset is ``OUT/NAME``, with eight of its episodes as pictures in ``OUT/NAME.png``. The same
arguments give the same episodes. One core needs about twelve minutes for all four.

The environments keep their own cameras, lights and targets, but pictures are drawn without
multisampling, at twice the size, and without reflections (Meta-World also without shadows, which
would take four times as long). Meta-World's camera ``corner2`` stands nearer than in the package,
where the puck is two pixels wide.

Axes: H W picture, A action.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np

from armillary.data import open_dataset
from armillary.worlds import record
from armillary.worlds.gl import import_mujoco
from armillary.worlds.gym.environment import GymWorld

_SIZE_PX, _DRAWN_PX = 64, 128
_METRES = ("m", "world")


class Told(gymnasium.Wrapper):
    """An environment that tells places as truth, holds actions, and draws pictures quickly.

    Args:
        env: a Gymnasium environment of MuJoCo.
        places: from its observation to places by name.
        fps: actions per second of simulated time, after ``repeat``.
        repeat: how often each action is applied.
        shadows: whether they are drawn.
        look_at_xyz: where the camera looks; without it PointMaze's looks at the middle of what
            stands there when the first picture is drawn, so every process would have its own view.
    """

    def __init__(
        self,
        env: Any,  # what gymnasium does not declare is asked for
        places: Callable[[Any], Mapping[str, np.ndarray]],
        fps: float,
        repeat: int = 1,
        shadows: bool = True,
        look_at_xyz: tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__(env)
        self._places, self._repeat = places, repeat
        self._shadows, self._look_at = shadows, look_at_xyz
        names = ("hand_xyz", "puck_xyz", "ball_xy")
        units = dict.fromkeys(names, _METRES)
        self.metadata = {**env.metadata, "render_fps": fps, "truth_units": units}
        self.simulator = getattr(env.unwrapped, "point_env", env.unwrapped)
        quality = self.simulator.model.vis.quality
        quality.shadowsize, quality.offsamples = 1024, 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and tell the places."""
        raw, info = self.env.reset(**options)
        return raw, {**info, "truth": self._places(raw)}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Apply one action ``repeat`` times and tell the places."""
        for _ in range(self._repeat):
            raw, reward, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                break
        return raw, float(reward), terminated, truncated, {**info, "truth": self._places(raw)}

    def render(self) -> np.ndarray:
        """Return a picture [H W 3]."""
        renderer = self.simulator.mujoco_renderer
        if renderer.viewer is None:
            self.env.render()  # makes the viewer
        viewer: Any = renderer.viewer
        flags, flag = viewer.scn.flags, import_mujoco().mjtRndFlag
        flags[flag.mjRND_REFLECTION], flags[flag.mjRND_SHADOW] = 0, self._shadows
        if self._look_at is not None:
            viewer.cam.lookat[:] = self._look_at
        return np.asarray(self.env.render())


class MovingBackground(gymnasium.Wrapper):
    """Coloured noise that drifts where the simulator sees no robot, no table and no target.

    Texture, direction and speed (half a pixel to two of the recorded pixels a step) are drawn anew
    for each episode, from its seed.
    """

    def __init__(self, env: Told) -> None:
        super().__init__(env)
        mujoco = import_mujoco()
        self._simulator = env.simulator
        model = env.simulator.model
        bodies = [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_BODY, b) for b in model.geom_bodyid]
        # Half transparent boxes mark where the hand is pulled to: they would cover it in the mask.
        model.geom_rgba[[name == "robot0:mocap" for name in bodies], 3] = 0
        self._floor = model.geom("floor0").id

    def reset(self, *, seed: int | None = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and draw another background."""
        rng = np.random.default_rng(seed)
        self._texture = _noise(rng)
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2.0) * _DRAWN_PX / _SIZE_PX
        self._drift = speed * np.array([np.sin(angle), np.cos(angle)])
        self._count = 0
        return self.env.reset(seed=seed, **options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Apply one action; the background goes on."""
        self._count += 1
        return self.env.step(action)

    def render(self) -> np.ndarray:
        """Return a picture [H W 3]."""
        picture = np.asarray(self.env.render())
        down, right = (self._drift * self._count).round().astype(int)
        noise = np.roll(self._texture, (down, right), (0, 1))[: len(picture), : picture.shape[1]]
        return np.where(self._is_thing()[..., None], picture, noise)

    def _is_thing(self) -> np.ndarray:
        """Return where a robot, a table or a target is [H W], from the scene just drawn."""
        mujoco, viewer = import_mujoco(), self._simulator.mujoco_renderer.viewer
        scene, window = viewer.scn, viewer.viewport
        flags = [int(mujoco.mjtRndFlag.mjRND_SEGMENT), int(mujoco.mjtRndFlag.mjRND_IDCOLOR)]
        scene.flags[flags] = 1
        mujoco.mjr_render(window, scene, viewer.con)
        scene.flags[flags] = 0
        code = np.zeros((window.height, window.width, 3), np.uint8)
        mujoco.mjr_readPixels(code, None, window, viewer.con)
        number = code[::-1, :, 0] + 256 * code[::-1, :, 1].astype(np.int64)
        geom = int(mujoco.mjtObj.mjOBJ_GEOM)
        shown = scene.geoms[: scene.ngeom]
        floor = [g.segid + 1 for g in shown if g.objtype == geom and g.objid == self._floor]
        return ~np.isin(number, [0, *floor])


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Return periodic coloured noise [2H 2W 3] with grains of 2 and 8 recorded pixels."""
    side = 2 * _DRAWN_PX
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    total = np.zeros((side, side, 3))
    for grain in (2, 8):
        blur = np.exp(-2 * (np.pi * frequency * grain * _DRAWN_PX / _SIZE_PX / 2) ** 2)
        waves = np.fft.fft2(rng.normal(size=total.shape), axes=(0, 1)) * blur[..., None]
        layer = np.fft.ifft2(waves, axes=(0, 1)).real
        total += layer / layer.std()
    return np.clip(128 + 32 * total, 0, 255).astype(np.uint8)


def make_fetch(moving: bool = False, **settings: Any) -> gymnasium.Env:
    """Make FetchReach: an arm whose hand follows the action, 25 steps/s."""
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    env = _made("FetchReach-v4", **settings)
    told = Told(env, lambda raw: {"hand_xyz": raw["achieved_goal"]}, fps=25)
    return MovingBackground(told) if moving else told


def make_maze(**settings: Any) -> gymnasium.Env:
    """Make PointMaze_Medium: forces on a ball, each held for 0.04 s."""
    import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    env = _made("PointMaze_Medium-v3", continuing_task=True, **settings)
    return Told(
        env,
        lambda raw: {"ball_xy": raw["achieved_goal"]},
        fps=25,
        repeat=4,
        look_at_xyz=(0.0, 0.0, 0.0),
    )


def make_push(**settings: Any) -> gymnasium.Env:
    """Make Meta-World's push-v3 with places drawn anew at each reset, each action held twice."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    size = {"width": _DRAWN_PX, "height": _DRAWN_PX}
    env = _Seeded(ALL_V3_ENVIRONMENTS["push-v3"](camera_name="corner2", **size, **settings))
    return Told(
        env,
        lambda raw: {"hand_xyz": raw[:3], "puck_xyz": raw[4:7]},
        fps=40,
        repeat=2,
        shadows=False,
    )


class _Seeded(gymnasium.Wrapper):
    """Meta-World's environment as Gymnasium wants it: what is drawn follows the seed of reset."""

    _CAMERA_XYZ = (0.75, 0.075, 0.7)  # nearer than the package's; many papers use it

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        env._set_task_called, env._freeze_rand_vec, env.seeded_rand_vec = True, False, True
        env.model.cam_pos[env.model.camera("corner2").id] = self._CAMERA_XYZ

    def reset(self, *, seed: int | None = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Reset with a seed."""
        if seed is not None:
            bare: Any = self.env.unwrapped
            bare.seed(seed)
        return self.env.reset(**options)


def _made(env_id: str, **settings: Any) -> gymnasium.Env:
    size = {"width": _DRAWN_PX, "height": _DRAWN_PX}
    return gymnasium.make(env_id, disable_env_checker=True, **size, **settings)


@dataclass(frozen=True)
class Stroke:
    """What the hand is doing.

    Attributes:
        kind: ``drag`` (grip the puck and take it along), ``push`` (from the side) or ``wander``.
        goal: where the puck shall go [2], metres.
        phase: 0 on the way above the start, 1 going down, 2 moving the puck.
        speed: of the largest action, 1 for the bounds.
        wander: a held action [4], of ``wander``.
        steps_left: after which another stroke is drawn.
    """

    kind: str
    goal: np.ndarray
    phase: int
    speed: float
    wander: np.ndarray
    steps_left: int


class PushWorld(GymWorld):
    """Meta-World's push with an exploring policy: strokes to drawn places, and random moves."""

    def explore(
        self, rng: np.random.Generator, state: Stroke | None
    ) -> tuple[np.ndarray, Stroke | None]:
        """Return a noisy action [4] of the present stroke, and the stroke."""
        truth = self.truth()
        hand, puck = truth["hand_xyz"].astype(np.float64), truth["puck_xyz"].astype(np.float64)
        if state is None or state.steps_left <= 0:
            state = _draw_stroke(rng)
        action, state = _follow(hand, puck, state)
        action = action + rng.normal(0, [0.25, 0.25, 0.15, 0.1])
        bounds = self.spec.bounds
        return np.clip(action, bounds.low, bounds.high), replace(
            state, steps_left=state.steps_left - 1
        )


_TABLE_XY = ((-0.25, 0.5), (0.25, 0.85))
_ABOVE_M, _LOW_M, _BESIDE_M = 0.13, 0.05, 0.09


def _draw_stroke(rng: np.random.Generator) -> Stroke:
    kind = str(rng.choice(["drag", "push", "wander"], p=[0.4, 0.4, 0.2]))
    steps = int(rng.integers(4, 12)) if kind == "wander" else 40
    wander = rng.uniform(-1, 1, 4)
    return Stroke(kind, rng.uniform(*_TABLE_XY), 0, rng.uniform(0.5, 1.0), wander, steps)


def _follow(hand: np.ndarray, puck: np.ndarray, stroke: Stroke) -> tuple[np.ndarray, Stroke]:
    """Return the stroke's action [4] without noise, and the stroke in its next phase."""
    if stroke.kind == "wander":
        return stroke.wander, stroke
    way = stroke.goal - puck[:2]
    way = way / max(float(np.linalg.norm(way)), 1e-6)
    start = puck[:2] - way * (_BESIDE_M if stroke.kind == "push" else 0.0)
    if stroke.phase == 0 and np.linalg.norm(hand[:2] - start) < 0.02:
        stroke = replace(stroke, phase=1)
    if stroke.phase == 1 and hand[2] < _LOW_M + 0.02:
        stroke = replace(stroke, phase=2)
    if stroke.phase == 2 and np.linalg.norm(hand[:2] - stroke.goal) < 0.04:
        stroke = replace(stroke, steps_left=1)
    place = {0: (*start, _ABOVE_M), 1: (*start, _LOW_M), 2: (*stroke.goal, _LOW_M)}[stroke.phase]
    move = 10 * (np.array(place) - hand)
    longest = max(float(np.abs(move).max()), 1e-6)
    grip = 1.0 if stroke.kind == "push" or stroke.phase == 2 else -1.0
    return np.append(move * min(1.0, stroke.speed / longest), grip), stroke


for _name, _make, _kwargs in (
    ("Fetch", make_fetch, {}),
    ("FetchMoving", make_fetch, {"moving": True}),
    ("Push", make_push, {}),
    ("Maze", make_maze, {}),
):
    gymnasium.register(f"untuned/{_name}-v0", entry_point=_make, kwargs=_kwargs)


def push_world(**settings: Any) -> PushWorld:
    """Make the world of Meta-World's push."""
    return PushWorld("untuned/Push-v0", **settings)


# name: world, episodes, steps of each
RECORDINGS: dict[str, tuple[Any, int, int]] = {
    "fetch": ("gym:untuned/Fetch-v0", 300, 50),
    "fetch_moving": ("gym:untuned/FetchMoving-v0", 300, 50),
    "metaworld": (push_world, 200, 60),
    "pointmaze": ("gym:untuned/Maze-v0", 300, 50),
}


def draw_sheet(dataset: Path, out: Path, episodes: int = 8, steps: int = 10) -> None:
    """Write pictures of some episodes, one row each, every picture three times as large."""
    opened, rows = open_dataset(dataset), []
    for episode in range(min(episodes, len(opened))):
        frames = opened.read(episode).streams["rgb"].values
        chosen = np.linspace(0, len(frames) - 1, steps).round().astype(int)
        rows.append(np.hstack([frames[step] for step in chosen]))
    sheet = np.vstack(rows)
    large = cv2.resize(sheet, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(out), large[..., ::-1])


def main() -> None:
    """Record what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the datasets")
    parser.add_argument("--only", choices=RECORDINGS, nargs="+", default=list(RECORDINGS))
    parser.add_argument("--episodes", type=int, help="of each dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with what was begun")
    asked = parser.parse_args()
    for name in asked.only:
        world, episodes, steps = RECORDINGS[name]
        done = record(
            world,
            asked.out / name,
            asked.episodes or episodes,
            steps,
            workers=1,
            seed=asked.seed,
            resume=asked.resume,
            settings={"image_size": _SIZE_PX},
        )
        draw_sheet(done.out, asked.out / f"{name}.png")
        text = f"{name}: {done.episodes} episodes, {done.frames} frames in {done.seconds:.0f} s"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
