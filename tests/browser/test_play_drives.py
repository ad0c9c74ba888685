"""The play page in a real browser: keys move, goals are dragged, nothing is complained about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import EACH_VIEW, check_look, served, until

from armillary.models import JEPAConfig, save_model, untrained
from armillary.models.config import EncoderConfig
from armillary.worlds import record

SETTINGS = {"image_size": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("played") / "model"
    encoder = EncoderConfig(image_size=32, patch=4, width=32, tokens=8)
    config = JEPAConfig(encoder=encoder, action_width=2, sensors=("rgb",))
    save_model(untrained(config, 0), out)
    return out


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("recorded") / "rooms"
    record("two_rooms", out, 4, 30, workers=1, settings=SETTINGS)
    return out


@pytest.fixture
def world(folder: Path, tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, folder, "two_rooms")


@pytest.fixture
def replay(folder: Path, recording: Path, tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, folder, "--data", recording, "--hz", 5)


@pytest.mark.parametrize(("width", "scheme"), EACH_VIEW)
def test_the_page_fits_and_draws(opened, world: str, width: int, scheme: str) -> None:
    shown = opened(world, width, scheme)
    check_look(shown, width, scheme)
    for name in ("imagined", "real", "trace"):
        assert shown.colours(shown.page.locator(f"#{name}")) > 4
    assert (
        "read-out fitted on 640 pictures of this scene" in shown.page.locator("#about").inner_text()
    )


def test_a_key_moves_what_is_real(opened, world: str) -> None:
    shown = opened(world)
    page, real = shown.page, shown.page.locator("#real")
    before = shown.pixels(real)
    page.keyboard.down("ArrowRight")
    until(page, "playStats.keyMs.length > 0")
    page.wait_for_timeout(400)
    page.keyboard.up("ArrowRight")
    assert shown.pixels(real) != before
    assert float(page.locator("#gap").text_content()) > 0
    page.keyboard.press("Space")
    until(page, "paused")
    page.wait_for_timeout(300)  # a frame may still be on its way
    step = page.evaluate("frame.step")
    page.keyboard.press(".")
    until(page, f"frame.step === {step + 1}")
    page.keyboard.press("n")
    until(page, "scene.seed === 1 && frame.step === 0")


def test_a_goal_is_dragged_and_the_plan_followed(opened, world: str) -> None:
    shown = opened(world)
    page, box = shown.page, shown.page.locator("#imagined").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    until(page, "frame.plan !== null && Math.abs(frame.plan.goal[0] - 0.5) < 0.02")
    assert "agent_xy is" in page.locator("#goal-says").text_content()
    page.locator("#follow").click()
    until(page, "frame.action.some(value => value !== 0)")
    page.locator("#mode-real").click()
    until(page, "frame.mode === 'real' && frame.blind === 0")
    page.locator("#clear").click()
    until(page, "frame.plan === null")


# What a browser gives of gamepads; nobody can plug one in here.
PADS = "window.pads = [null, null, null, null]; navigator.getGamepads = () => window.pads;"


def test_the_sticks_of_a_gamepad_are_actions(opened, world: str) -> None:
    page = opened(world, script=PADS).page
    before = page.evaluate("keyNumber")
    page.evaluate("pads[1] = { axes: [0.05, -0.1, 0, 0] }")
    page.wait_for_timeout(200)
    assert page.evaluate("keyNumber") == before  # a stick at rest is never quite in the middle
    page.evaluate("pads[1] = { axes: [0.8, 0.5, 1, 0] }")
    until(page, "frame.key > 0 && frame.action.some(Boolean)")
    # the lowest and highest of both actions are -0.025 and 0.025; a stick's second axis points down
    assert page.evaluate("frame.action") == pytest.approx([0.02, -0.0125])
    page.evaluate("pads[1].axes[0] = -1")
    until(page, "frame.action[0] < 0")
    assert page.evaluate("frame.action") == pytest.approx([-0.025, -0.0125])
    page.evaluate("pads[1] = null; dispatchEvent(new Event('gamepaddisconnected'))")
    until(page, "frame.action.every(value => value === 0)")


def test_slow_motion_and_fast(opened, world: str) -> None:
    page = opened(world).page
    speed, says = page.locator("#rate"), page.locator("#rate-says")
    assert says.text_content() == "20 steps a second, 2.00 times the world's own time"

    def steps_in_two_seconds() -> int:
        page.wait_for_timeout(400)  # frames of before are still on their way
        first = page.evaluate("frame.step")
        page.wait_for_timeout(2000)
        return page.evaluate("frame.step") - first

    speed.fill("0")
    assert says.text_content() == "1 step a second, 0.10 times the world's own time"
    assert 1 <= steps_in_two_seconds() <= 3
    speed.fill("2")
    assert says.text_content() == "5 steps a second, 0.50 times the world's own time"
    assert 7 <= steps_in_two_seconds() <= 12
    speed.fill("5")
    assert says.text_content().startswith("20 steps a second")
    assert steps_in_two_seconds() > 15


def test_one_departs_from_a_recording(opened, replay: str) -> None:
    page = opened(replay).page
    assert page.locator("#real-name").text_content() == "Recorded"
    page.keyboard.down("ArrowUp")
    until(page, "frame.departed !== null")
    page.keyboard.up("ArrowUp")
    assert page.locator("#note").text_content().startswith("You have left the recording.")
    page.locator("#rejoin").click()
    until(page, "frame.departed === null")
