"""The scene of a tabletop episode: what is drawn by chance, and how MuJoCo is told about it.

World frame: origin in the middle of the table top, x right, y away from the camera, z up, metres.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Shape = Literal["box", "cylinder", "capsule"]
Rgb = tuple[float, float, float]

TABLE_HALF_M = 0.235
PUSHER_REACH_M = 0.205
PUSHER_RADIUS_M = 0.022
PUSHER_HALF_HEIGHT_M = 0.035
FOVY_DEG = 40.0
# Table slab, its four rims, four unseen walls, the floor: geoms before the pusher's.
_RIM_M = 0.012
_WALL_M = 0.02
_BASE_AZIMUTH_DEG = 10.0


@dataclass(frozen=True)
class Body:
    """An object on the table.

    Attributes:
        shape: box, upright cylinder, or lying capsule.
        size_m: half sizes: (x, y, z) of a box; (radius, radius, half height) of a cylinder;
            (radius, half length, radius) of a capsule.
        rgb: colour.
        xy: start in the world, metres.
        yaw_rad: start orientation about z.
    """

    shape: Shape
    size_m: tuple[float, float, float]
    rgb: Rgb
    xy: tuple[float, float]
    yaw_rad: float

    @property
    def radius_m(self) -> float:
        """Radius of the circle around the footprint."""
        x, y, _ = self.size_m
        return {"box": float(np.hypot(x, y)), "cylinder": x, "capsule": x + y}[self.shape]

    @property
    def height_m(self) -> float:
        """Height of the centre above the table."""
        return self.size_m[2]


@dataclass(frozen=True)
class Camera:
    """Where the camera stands: position and the image's right and up directions, world frame."""

    position_m: tuple[float, float, float]
    right: tuple[float, float, float]
    up: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """All that is drawn for one episode."""

    bodies: tuple[Body, ...]
    pusher_xy: tuple[float, float]
    pusher_rgb: Rgb
    table_rgb: Rgb
    floor_rgb: Rgb
    light_dir: tuple[float, float, float]
    brightness: float
    camera: Camera


def draw_scene(rng: np.random.Generator, num_objects: tuple[int, int]) -> Scene:
    """Draw a scene: ``num_objects`` is the smallest and largest number of objects."""
    count = int(rng.integers(num_objects[0], num_objects[1] + 1))
    bodies, pusher_xy = _draw_bodies(rng, count)
    table_value = rng.uniform(0.4, 0.92)
    pusher = rng.uniform(0.05, 0.14) if table_value > 0.55 else rng.uniform(0.95, 1.0)
    tilt, turn = rng.uniform(0.3, 0.9), rng.uniform(0, 2 * np.pi)
    return Scene(
        bodies=bodies,
        pusher_xy=pusher_xy,
        pusher_rgb=(pusher, pusher, pusher),
        table_rgb=_hsv(rng.uniform(0.08, 0.62), rng.uniform(0.04, 0.16), table_value),
        floor_rgb=_hsv(rng.uniform(0.5, 0.75), rng.uniform(0.1, 0.4), rng.uniform(0.12, 0.4)),
        light_dir=(tilt * np.cos(turn), tilt * np.sin(turn), -1.0),
        brightness=rng.uniform(0.75, 1.1),
        camera=_draw_camera(rng),
    )


def scene_xml(scene: Scene, size: int, shadows: bool, samples: int) -> str:
    """Return MuJoCo's description of the scene, for pictures of ``size`` pixels a side."""
    ambient, diffuse = 0.46 * scene.brightness, 0.56 * scene.brightness
    camera = scene.camera
    return f"""
<mujoco model="tabletop">
  <compiler angle="radian"/>
  <option timestep="0.005" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <size memory="2M"/>
  <statistic extent="1" center="0 0 0"/>
  <visual>
    <global offwidth="{size}" offheight="{size}" fovy="{FOVY_DEG}"/>
    <quality offsamples="{samples}" shadowsize="{1024 if shadows else 0}"/>
    <map znear="0.05" zfar="6"/>
    <headlight ambient="{_v(ambient)}" diffuse="{_v(0.12)}" specular="0 0 0"/>
  </visual>
  <worldbody>
    <light directional="true" pos="0 0 2" dir="{_v(*scene.light_dir)}" diffuse="{_v(diffuse)}"
      ambient="0 0 0" specular="{_v(0.12)}" castshadow="{str(shadows).lower()}"/>
    <camera name="main" pos="{_v(*camera.position_m)}" fovy="{FOVY_DEG}"
      xyaxes="{_v(*camera.right, *camera.up)}"/>
    <geom name="floor" type="plane" pos="0 0 -0.3" size="6 6 1" rgba="{_v(*scene.floor_rgb)} 1"
      contype="0" conaffinity="0"/>
    {_table(scene.table_rgb)}
    <body name="pusher" pos="0 0 {PUSHER_HALF_HEIGHT_M + 0.001}">
      <joint name="pusher_x" type="slide" axis="1 0 0" damping="1"
        range="-{PUSHER_REACH_M} {PUSHER_REACH_M}" limited="true"/>
      <joint name="pusher_y" type="slide" axis="0 1 0" damping="1"
        range="-{PUSHER_REACH_M} {PUSHER_REACH_M}" limited="true"/>
      <geom name="pusher" type="cylinder" size="{PUSHER_RADIUS_M} {PUSHER_HALF_HEIGHT_M}"
        mass="1" rgba="{_v(*scene.pusher_rgb)} 1" contype="2" conaffinity="2"
        friction="0.25 0.001 0.0001" priority="1"/>
    </body>
    {"".join(_body(i, body) for i, body in enumerate(scene.bodies))}
  </worldbody>
  <actuator>
    <velocity joint="pusher_x" kv="150" forcerange="-25 25"/>
    <velocity joint="pusher_y" kv="150" forcerange="-25 25"/>
  </actuator>
</mujoco>"""


def _table(rgb: Rgb) -> str:
    """Slab and visible rims; objects are kept by unseen walls that the pusher passes."""
    half, rim, wall = TABLE_HALF_M, _RIM_M, _WALL_M
    seen = f'rgba="{_v(*(0.72 * c for c in rgb))} 1" contype="0" conaffinity="0"'
    unseen = 'rgba="0 0 0 0" friction="0.2 0.001 0.0001"'
    parts = [
        f'<geom name="table" type="box" pos="0 0 -0.02" size="{half} {half} 0.02"'
        f' rgba="{_v(*rgb)} 1" friction="0.6 0.005 0.0001"/>'
    ]
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        long = half + 2 * rim
        for thick, z, tall, look in ((rim, -0.014, 0.018, seen), (wall, 0.1, 0.1, unseen)):
            size = (thick if x else long, thick if y else long, tall)
            place = (x * (half + thick), y * (half + thick), z)
            parts.append(f'<geom type="box" pos="{_v(*place)}" size="{_v(*size)}" {look}/>')
    return "\n    ".join(parts)


def _body(index: int, body: Body) -> str:
    x, y, z = body.size_m
    size = {"box": (x, y, z), "cylinder": (x, z), "capsule": (x, y)}[body.shape]
    # A capsule lies along its body's y axis; rolling friction (0.02 m, near its radius) makes it
    # slide rather than roll.
    turn = ' euler="1.5707963 0 0"' if body.shape == "capsule" else ""
    half_yaw = body.yaw_rad / 2
    quat = (float(np.cos(half_yaw)), 0.0, 0.0, float(np.sin(half_yaw)))
    return f"""
    <body name="object{index}" pos="{_v(*body.xy, body.height_m)}" quat="{_v(*quat)}">
      <freejoint/>
      <geom name="object{index}" type="{body.shape}" size="{_v(*size)}"{turn} mass="0.12"
        rgba="{_v(*body.rgb)} 1" contype="3" conaffinity="3" condim="6"
        friction="0.6 0.02 0.02"/>
    </body>"""


def _draw_bodies(
    rng: np.random.Generator, count: int
) -> tuple[tuple[Body, ...], tuple[float, float]]:
    """Draw bodies that touch neither each other nor the pusher."""
    while True:
        bodies = tuple(_draw_body(rng, index) for index in range(count))
        pusher = tuple(rng.uniform(-0.19, 0.19, 2).tolist())
        circles = [(body.xy, body.radius_m) for body in bodies] + [(pusher, PUSHER_RADIUS_M)]
        if _apart(circles):
            return bodies, (pusher[0], pusher[1])


def _draw_body(rng: np.random.Generator, index: int) -> Body:
    shape: Shape = ("box", "cylinder", "capsule")[int(rng.integers(3))]
    a, b, c = rng.uniform(0.024, 0.031, 3).tolist()
    size = {"box": (a, b, 0.8 * c), "cylinder": (a, a, 0.8 * c), "capsule": (0.8 * a, b, 0.8 * a)}
    hue = rng.uniform(0.0, 0.15) if index == 0 else rng.uniform(0.3, 0.8)
    reach = 0.165
    x, y = rng.uniform(-reach, reach, 2).tolist()
    return Body(
        shape=shape,
        size_m=size[shape],
        rgb=_hsv(hue, rng.uniform(0.8, 1.0), rng.uniform(0.8, 1.0)),
        xy=(x, y),
        yaw_rad=rng.uniform(-np.pi, np.pi),
    )


def _apart(circles: list[tuple[tuple[float, float], float]], gap_m: float = 0.008) -> bool:
    return all(
        np.hypot(a[0] - b[0], a[1] - b[1]) > ra + rb + gap_m
        for i, (a, ra) in enumerate(circles)
        for b, rb in circles[:i]
    )


def _draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a view that just holds the whole table.

    The distance and the point looked at are found by a few fixed-point steps: centre the picture
    of the table's corners, then move until the widest of them touches the margin.
    """
    azimuth = np.radians(_BASE_AZIMUTH_DEG + rng.uniform(-15, 15))
    elevation = np.radians(rng.uniform(45, 65))
    margin = rng.uniform(0.9, 0.98)
    back = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            -np.cos(elevation) * np.cos(azimuth),
            np.sin(elevation),
        ]
    )
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    up = np.cross(back, right)
    edge = TABLE_HALF_M + 2 * _RIM_M
    corners = np.array(list(product((-edge, edge), (-edge, edge), (-0.02, 0.02))))
    half = np.tan(np.radians(FOVY_DEG) / 2)
    position = back
    for _ in range(12):
        seen = corners - position
        deep = -seen @ back
        u, v = seen @ right / deep / half, seen @ up / deep / half
        shift = (u.max() + u.min()) / 2 * right + (v.max() + v.min()) / 2 * up
        reach = max(np.ptp(u), np.ptp(v)) / 2
        distance = float(position @ back)
        position = position + shift * distance * half + back * distance * (reach / margin - 1)
    return Camera(_xyz(position), _xyz(right), _xyz(up))


def _xyz(vector: np.ndarray) -> tuple[float, float, float]:
    return float(vector[0]), float(vector[1]), float(vector[2])


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    return colorsys.hsv_to_rgb(float(hue), float(saturation), float(value))


def _v(*numbers: float) -> str:
    """Spell a vector; a single number is repeated three times (grey)."""
    values = numbers * 3 if len(numbers) == 1 else numbers
    return " ".join(repr(float(n)) for n in values)
