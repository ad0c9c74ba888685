"""The scene of a tabletop episode: what is drawn by chance, and how MuJoCo is told about it.

World frame: origin in the middle of the table top, x right, y away from the camera, z up, metres.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from armillary.worlds.tabletop.views import (
    FOVY_DEG,
    RIM_M,
    TABLE_HALF_M,
    Camera,
    View,
    draw_view,
)

Shape = Literal["box", "cylinder", "capsule"]
Rgb = tuple[float, float, float]

PUSHER_REACH_M = 0.205
PUSHER_RADIUS_M = 0.022
PUSHER_HALF_HEIGHT_M = 0.035
# Table slab, its four rims, four unseen walls, the floor: geoms before the pusher's.
_WALL_M = 0.02
SCREEN_HALF_M = (0.055, 0.05, 0.004)


@dataclass(frozen=True)
class Texture:
    """A square picture, repeated over the geom of the same name.

    Attributes:
        name: of the geom: table or floor.
        side_px: its width and height, pixels.
        repeats: how often it comes per metre.
    """

    name: str
    side_px: int
    repeats: float


# Textures of table and floor; ``tabletop_looks`` draws their pictures.
TEXTURES: dict[str, tuple[Texture, ...]] = {
    "none": (),
    "patterns": (Texture("table", 64, 4.0), Texture("floor", 64, 1.0)),
    "noise": (Texture("floor", 64, 0.5),),
}


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
class Screen:
    """A board that hangs above the table: its middle, right and up directions, world frame."""

    position_m: tuple[float, float, float]
    right: tuple[float, float, float]
    up: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """All that is drawn for one episode.

    Attributes:
        light_rgb: colour of the light; white by default.
        ambient: share of the light that comes from everywhere.
        orbit_rad_s: how fast the cameras go round the table.
        textures: of table and floor, a key of ``TEXTURES``: "none", still "patterns", or
            drifting "noise" on the floor.
        pattern_shade: least and largest share by which a pattern darkens.
        screen_rgb: colour of the screen, if there is one.
    """

    bodies: tuple[Body, ...]
    pusher_xy: tuple[float, float]
    pusher_rgb: Rgb
    table_rgb: Rgb
    floor_rgb: Rgb
    light_dir: tuple[float, float, float]
    brightness: float
    view: View
    cameras: tuple[Camera, ...] = ()
    screen: Screen | None = None
    orbit_rad_s: float = 0.0
    light_rgb: Rgb = (1.0, 1.0, 1.0)
    ambient: float = 0.46
    textures: str = "none"
    pattern_shade: tuple[float, float] = (0.25, 0.5)
    screen_rgb: Rgb = (0.3, 0.29, 0.27)


def draw_scene(
    rng: np.random.Generator,
    num_objects: tuple[int, int],
    azimuth_deg: tuple[float, float],
    elevation_deg: tuple[float, float],
) -> Scene:
    """Draw a scene without cameras (``tabletop_views`` puts them up).

    Args:
        rng: chance; what it draws does not depend on the ranges of the view.
        num_objects: smallest and largest number of objects.
        azimuth_deg: range of the view's turn away from the usual one.
        elevation_deg: range of its elevation.
    """
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
        view=draw_view(rng, azimuth_deg, elevation_deg),
    )


def scene_xml(scene: Scene, size: int, shadows: bool, samples: int) -> str:
    """Return MuJoCo's description of the scene, for pictures of ``size`` pixels a side."""
    ambient = scene.ambient * scene.brightness
    diffuse = tuple(0.56 * scene.brightness * c for c in scene.light_rgb)
    textures = TEXTURES[scene.textures]
    materials = {texture.name: f' material="{texture.name}"' for texture in textures}
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
  {_assets(textures)}
  <worldbody>
    <light directional="true" pos="0 0 2" dir="{_v(*scene.light_dir)}" diffuse="{_v(*diffuse)}"
      ambient="0 0 0" specular="{_v(0.12)}" castshadow="{str(shadows).lower()}"/>
    {"".join(_camera(i, camera) for i, camera in enumerate(scene.cameras))}
    <geom name="floor" type="plane" pos="0 0 -0.3" size="6 6 1"{materials.get("floor", "")}
      rgba="{_v(*scene.floor_rgb)} 1" contype="0" conaffinity="0"/>
    {_table(scene.table_rgb, materials.get("table", ""))}
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
    {"" if scene.screen is None else _screen(scene.screen, scene.screen_rgb)}
  </worldbody>
  <actuator>
    <velocity joint="pusher_x" kv="150" forcerange="-25 25"/>
    <velocity joint="pusher_y" kv="150" forcerange="-25 25"/>
  </actuator>
</mujoco>"""


def _assets(textures: tuple[Texture, ...]) -> str:
    """White textures, to be written over, and the materials that hold them."""
    if not textures:
        return ""
    parts = [
        f'<texture name="{t.name}" type="2d" builtin="flat" rgb1="1 1 1" width="{t.side_px}" '
        f'height="{t.side_px}"/><material name="{t.name}" texture="{t.name}" texuniform="true" '
        f'texrepeat="{t.repeats} {t.repeats}" specular="0" shininess="0"/>'
        for t in textures
    ]
    return f"<asset>{''.join(parts)}</asset>"


def _camera(index: int, camera: Camera) -> str:
    return f"""
    <camera name="camera{index}" pos="{_v(*camera.position_m)}" fovy="{FOVY_DEG}"
      xyaxes="{_v(*camera.right, *camera.up)}"/>"""


def _screen(screen: Screen, rgb: Rgb) -> str:
    """A body of its own, so that its geom comes after all others; nothing can touch it."""
    return f"""
    <body name="screen" pos="{_v(*screen.position_m)}" xyaxes="{_v(*screen.right, *screen.up)}">
      <geom name="screen" type="box" size="{_v(*SCREEN_HALF_M)}" rgba="{_v(*rgb)} 1"
        contype="0" conaffinity="0"/>
    </body>"""


def _table(rgb: Rgb, pattern: str) -> str:
    """Slab and visible rims; objects are kept by unseen walls that the pusher passes."""
    half, rim, wall = TABLE_HALF_M, RIM_M, _WALL_M
    seen = f'rgba="{_v(*(0.72 * c for c in rgb))} 1" contype="0" conaffinity="0"'
    unseen = 'rgba="0 0 0 0" friction="0.2 0.001 0.0001"'
    parts = [
        f'<geom name="table" type="box" pos="0 0 -0.02" size="{half} {half} 0.02"'
        f' rgba="{_v(*rgb)} 1"{pattern} friction="0.6 0.005 0.0001"/>'
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


def _hsv(hue: float, saturation: float, value: float) -> Rgb:
    return colorsys.hsv_to_rgb(float(hue), float(saturation), float(value))


def _v(*numbers: float) -> str:
    """Spell a vector; a single number is repeated three times (grey)."""
    values = numbers * 3 if len(numbers) == 1 else numbers
    return " ".join(repr(float(n)) for n in values)
