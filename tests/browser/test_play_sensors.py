"""Depth and points on the play page: the legend is right, points turn, nothing dead is offered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playing import EACH_VIEW, READ, Shown, check_cloud_turns, check_look, served, until

from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.worlds import make_world

SIZE = 32
# Returns the metres of each pixel by the bar and the numbers of the legend; null for other colours.
_DEPTH = f"""side => {{
  const read = {READ}, canvas = document.getElementById(side);
  const bar = document.getElementById("ramp");
  const pixels = read(canvas), stops = read(bar), middle = 4 * bar.width * (bar.height >> 1);
  const written = id => parseFloat(document.getElementById(id).textContent.slice(2));
  const [near, far] = ["near", "far"].map(written), metres = [];
  for (let place = 0; place < {SIZE} ** 2; place++) {{
    const [x, y] = [place % {SIZE}, Math.floor(place / {SIZE})]
      .map(k => Math.floor((k + .5) * canvas.width / {SIZE}));
    let best = 0, least = Infinity;
    for (let k = 0; k < bar.width; k++) {{
      let off = 0;
      for (let c = 0; c < 3; c++)
        off += (pixels[4 * (y * canvas.width + x) + c] - stops[middle + 4 * k + c]) ** 2;
      if (off < least) {{ least = off; best = k; }}
    }}
    metres.push(least < 60 ? near + (far - near) * best / (bar.width - 1) : null);
  }}
  return metres;
}}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("played") / "model"
    encoder = EncoderConfig(image_size=SIZE, patch=4, width=32, tokens=8)
    save_model(untrained(JEPAConfig(encoder=encoder, action_width=2, sensors=("rgb",)), 0), out)
    return out


@pytest.fixture(scope="module")
def table(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from served(tmp_path_factory.mktemp("table"), folder, "tabletop")


@pytest.fixture
def holed(folder: Path, tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, folder, "tabletop", "--setting", "depth_holes=0.5")


@pytest.fixture
def yard(folder: Path, tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, folder, "yard")


@pytest.fixture
def rooms(folder: Path, tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, folder, "two_rooms")


def choose(page: Any, sensor: str) -> None:
    """Choose what is shown, and wait until it is."""
    page.locator(f"#show-{sensor}").click()
    until(page, f"frame.sensor === '{sensor}'")
    page.wait_for_timeout(100)


@pytest.mark.parametrize(("width", "scheme"), EACH_VIEW)
def test_every_sensor_fits_the_page_and_draws(
    opened: Any, table: str, width: int, scheme: str
) -> None:
    shown = opened(table, width, scheme)
    seen = {}
    for sensor in ("colour", "depth", "points"):
        choose(shown.page, sensor)
        check_look(shown, width, scheme)
        for side in ("imagined", "real"):
            assert shown.colours(shown.page.locator(f"#{side}")) > 4
            seen[sensor, side] = shown.pixels(shown.page.locator(f"#{side}"))
    assert len(set(seen.values())) == len(seen)


def test_the_legend_tells_the_metres_that_the_world_has(opened: Any, table: str) -> None:
    page = opened(table).page
    choose(page, "depth")
    page.evaluate("scene.places = []; drawAll()")  # nothing lies over the pictures
    found = np.array(page.evaluate(_DEPTH, "real"), np.float64)
    world = make_world("tabletop", image_size=SIZE)
    try:
        true = world.reset(0).streams["depth"].ravel()
    finally:
        world.close()
    near, far = page.evaluate("frame.range_m")
    # where the legend ends, and where a thing stands that has moved meanwhile, it tells no number
    inside = np.isfinite(found) & (true > near) & (true < far)
    off = np.abs(found[inside] - true[inside])
    assert inside.mean() > 0.6 and np.median(off) < 0.01 and np.quantile(off, 0.95) < 0.02


def test_pixels_without_depth_are_hatched(opened: Any, holed: str) -> None:
    page = opened(holed).page
    choose(page, "depth")
    assert page.locator("#invalid").is_visible()
    found = page.evaluate(_DEPTH, "real")
    share = sum(metres is None for metres in found) / len(found)
    assert 0.2 < share < 0.7  # hatching has no colour of the legend


def test_points_turn_together_and_set_no_goal(opened: Any, table: str) -> None:
    shown: Shown = opened(table)
    page = shown.page
    assert page.evaluate("scene.places.length") > 0
    choose(page, "points")
    page.keyboard.press("Space")  # so that only turning changes what is drawn
    until(page, "paused")
    page.wait_for_timeout(200)
    check_cloud_turns(shown, page.locator("#real"))
    yaws = [page.locator(f"#{side}").get_attribute("data-yaw") for side in ("imagined", "real")]
    assert yaws[0] == yaws[1]
    assert page.evaluate("goal") is None
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator("#real").get_attribute("data-yaw") != yaws[1]
    assert page.evaluate("keyNumber") == 0  # turning is no action
    page.mouse.dblclick(*_middle(page, "#imagined"))
    assert page.locator("#imagined").get_attribute("data-zoom") == "1.000"
    assert page.locator("#goal-says").text_content() == "Show colour to set a goal."
    page.keyboard.press("v")
    until(page, "frame.sensor === 'colour'")
    page.mouse.click(*_middle(page, "#real"))
    until(page, "goal !== null")


def test_a_yard_shows_its_scan(opened: Any, yard: str) -> None:
    page = opened(yard).page
    assert page.locator("#show-depth").is_hidden()
    choose(page, "points")
    assert page.locator("#scale-says").text_content() == "Distance"
    counts = page.evaluate("[clouds.imagined.xyz.length, clouds.real.rgb.length]")
    assert all(150 < count <= 3 * 128 for count in counts)
    page.keyboard.press("v")
    until(page, "frame.sensor === 'colour'")


def test_a_world_of_colour_alone_offers_no_choice(opened: Any, rooms: str) -> None:
    page = opened(rooms).page
    assert page.locator("#sensors").is_hidden()
    page.keyboard.press("v")
    page.wait_for_timeout(200)
    assert page.evaluate("frame.sensor") == "colour"


def _middle(page: Any, name: str) -> tuple[float, float]:
    box = page.locator(name).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
