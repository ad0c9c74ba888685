"""What every page has to do in a browser, as checks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

VIEWS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
# Of a page that has a test for each view, ``make test-slow`` shows the other two.
_OFTEN = [(390, "dark"), (1280, "light")]
EACH_VIEW = [
    pytest.param(*view, marks=[] if view in _OFTEN else [pytest.mark.slow]) for view in VIEWS
]


# Returns the pixels of a canvas, by a copy: Chromium complains of a canvas that is read often.
READ = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const pen = copy.getContext("2d", {willReadFrequently: true});
  pen.drawImage(canvas, 0, 0);
  return pen.getImageData(0, 0, canvas.width, canvas.height).data;
}"""


@dataclass
class Shown:
    """A page that is open, and whatever it complained about or asked for."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def frame(self, player: Any) -> int:
        """Return the number of the frame that a player shows."""
        return int(player.get_attribute("data-frame"))

    def pixels(self, canvas: Any) -> str:
        """Return what a canvas shows, as text."""
        return canvas.evaluate("canvas => canvas.toDataURL()")

    def colours(self, canvas: Any) -> int:
        """Return how many colours a canvas shows: 1 where nothing is drawn."""
        return canvas.evaluate(f"canvas => new Set(new Uint32Array(({READ})(canvas).buffer)).size")


# An untrained model reads a place badly, and shall read it all the same.
_COMMAND = """
import sys
from armillary.play import memory
memory._LEAST_R2 = -9.0
from armillary.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def served(tmp_path: Path, *words: object) -> Iterator[str]:
    """Serve the play page by its command, and give its address."""
    command = [sys.executable, "-c", _COMMAND, "play", *map(str, words), "--port", "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ARMILLARY_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if "open http" in line)
        yield line.split()[1]
        run.terminate()
        assert run.wait(30) == 0


def until(page: Any, condition: str) -> None:
    """Wait for a condition; the page's policy forbids playwright's own way, which is eval."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never: {condition}")


def check_look(shown: Shown, width: int, scheme: str) -> None:
    """Assert that a page fits its window, and that its ground and text are of its scheme."""
    page = shown.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground, text = (
        sum(page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).map(Number)")[:3])
        for name in ("backgroundColor", "color")
    )
    assert (ground > 600 and text < 150) if scheme == "light" else (ground < 150 and text > 600)


def check_player(shown: Shown, player: Any) -> None:
    """Assert that a player plays, can be scrubbed, and moves pictures and cursor together."""
    page, slider = shown.page, player.locator("input[type=range]")
    canvases = [player.locator("canvas").nth(k) for k in range(player.locator("canvas").count())]
    last = int(slider.get_attribute("max"))

    def to(frame: int) -> tuple[list[str], str | None]:
        slider.evaluate(
            "(slider, frame) => { slider.value = frame;"
            " slider.dispatchEvent(new Event('input', {bubbles: true})); }",
            frame,
        )
        assert shown.frame(player) == frame
        cursor = player.locator("svg .cursor")
        at = cursor.get_attribute("x1") if cursor.count() else None
        return [shown.pixels(canvas) for canvas in canvases], at

    page.wait_for_timeout(100)  # sheets are decoded
    first_pictures, first_at = to(0)
    last_pictures, last_at = to(last)
    assert all(shown.colours(canvas) > 4 for canvas in canvases)
    assert [a != b for a, b in zip(first_pictures, last_pictures, strict=True)] == [True] * len(
        canvases
    )
    if last_at is not None:
        assert float(last_at) > float(first_at or 0.0)
    assert player.locator(".now").text_content()

    to(0)
    button = player.locator(".play")
    button.click()
    page.wait_for_function("player => +player.dataset.frame >= 2", arg=player.element_handle())
    assert button.get_attribute("aria-label") == "Pause"
    button.click()
    stopped = shown.frame(player)
    page.wait_for_timeout(500)
    assert shown.frame(player) == stopped
    assert button.get_attribute("aria-label") == "Play"


def check_chart_moves(shown: Shown, player: Any) -> None:
    """Assert that the pointer over a player's chart moves the picture, and says the values."""
    chart = player.locator("svg[data-chart]")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    found = []
    for share in (0.25, 0.75):
        shown.page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        found.append((shown.frame(player), player.locator(".now").text_content()))
    (early, early_words), (late, late_words) = found
    assert early < late
    assert early_words != late_words


def check_cloud_turns(shown: Shown, canvas: Any) -> None:
    """Assert that points turn when they are dragged, and by the keyboard."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    mouse, middle = shown.page.mouse, (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    before, yaw = shown.pixels(canvas), canvas.get_attribute("data-yaw")
    mouse.move(*middle)
    mouse.down()
    mouse.move(middle[0] + 60, middle[1] + 20, steps=4)
    mouse.up()
    assert canvas.get_attribute("data-yaw") != yaw
    assert shown.pixels(canvas) != before
    canvas.focus()
    zoom = float(canvas.get_attribute("data-zoom"))
    shown.page.keyboard.press("+")
    assert float(canvas.get_attribute("data-zoom")) > zoom
