"""The play page in a real browser: keys move, goals are dragged, nothing is complained about."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playing import VIEWS, Shown, check_look

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


def _served(tmp_path: Path, *words: object) -> Iterator[str]:
    command = [sys.executable, "-c", _COMMAND, "play", *map(str, words), "--port", "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ARMILLARY_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if "open http" in line)
        yield line.split()[1]
        run.terminate()
        assert run.wait(30) == 0


# An untrained model reads a place badly, and shall read it all the same.
_COMMAND = """
import sys
from armillary.play import memory
memory._LEAST_R2 = -9.0
from armillary.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def world(folder: Path, tmp_path: Path) -> Iterator[str]:
    yield from _served(tmp_path, folder, "two_rooms")


@pytest.fixture
def replay(folder: Path, recording: Path, tmp_path: Path) -> Iterator[str]:
    yield from _served(tmp_path, folder, "--data", recording, "--hz", 5)


@pytest.fixture
def opened(chromium: Any) -> Iterator[Any]:
    """Open a page; at the end nothing may have been complained about, nor asked of others."""
    contexts = []

    def start(address: str, width: int = 1280, scheme: str = "light") -> Shown:
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        shown = Shown(context.new_page())
        shown.page.on("console", lambda message: shown.complaints.append(message.text))
        shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.goto(address)
        shown.page.wait_for_selector("#stage:not([hidden])")
        until(shown.page, "playStats.frames > 2")
        contexts.append((context, shown, address))
        return shown

    yield start
    for context, shown, address in contexts:
        assert shown.complaints == []
        ours = (address, address.replace("http", "ws"), "blob:")
        assert [url for url in shown.requests if not url.startswith(ours)] == []
        context.close()


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids playwright's own way, which is eval."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never: {condition}")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
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


def test_one_departs_from_a_recording(opened, replay: str) -> None:
    page = opened(replay).page
    assert page.locator("#real-name").text_content() == "Recorded"
    page.keyboard.down("ArrowUp")
    until(page, "frame.departed !== null")
    page.keyboard.up("ArrowUp")
    assert page.locator("#note").text_content().startswith("You have left the recording.")
    page.locator("#rejoin").click()
    until(page, "frame.departed === null")
