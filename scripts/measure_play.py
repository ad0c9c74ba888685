"""Measure the play page in headless Chromium: frames a second, and key to frame.

    python scripts/measure_play.py "tabletop=out/demo/run tabletop" \
        "fetch=RUN gym:gymnasium_robotics:FetchReach-v4" --python fetch=GYM_PYTHON

Each case is a label and the words after ``armillary play``. ``--python LABEL=PATH`` runs a case by
the Python of another environment. The server has one core, Chromium the others. Keys are pressed as
a person does; the time to the frame that they moved is taken in the page, after it was drawn.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from armillary.benchmark.machine import provenance
from armillary.core.files import write_json
from armillary.play.frames import SIDE_PX

_KEYS = ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown")
_HELD_MS, _LET_GO_MS = 310, 230  # no multiple of the step's time
_USUAL_HZ, _MOST_HZ = 20, 60
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]


@contextmanager
def served(words: str, python: str) -> Iterator[str]:
    """Serve by the command on one core, and give the address."""
    command = [python, "-m", "armillary", "play", *shlex.split(words), "--port", "0"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MUJOCO_GL": "egl"}
    cores = sorted(os.sched_getaffinity(0))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as run:
        os.sched_setaffinity(run.pid, cores[:1])  # before it makes threads
        assert run.stderr is not None
        line = next(line for line in run.stderr if "open http" in line)
        try:
            yield line.split()[1]
        finally:
            run.terminate()
            assert run.wait(30) == 0, "the server ends cleanly on SIGTERM"


def drive(page: Page, seconds: float) -> dict[str, Any]:
    """Press keys for some seconds; return what the page counted meanwhile."""
    page.wait_for_timeout(1000)
    page.evaluate("playStats.keyMs.length = playStats.stepMs.length = playStats.drawnAt.length = 0")
    for turn in range(round(1000 * seconds / (_HELD_MS + _LET_GO_MS))):
        key = _KEYS[turn % len(_KEYS)]
        page.keyboard.down(key)
        page.wait_for_timeout(_HELD_MS)
        page.keyboard.up(key)
        page.wait_for_timeout(_LET_GO_MS)
    found = page.evaluate("playStats")
    drawn = np.array(found["drawnAt"])
    return {
        "frames_per_s": float((len(drawn) - 1) / (drawn[-1] - drawn[0]) * 1000),
        "frames": len(drawn),
        "key_to_frame_ms": _quantiles(found["keyMs"]),
        "keys": len(found["keyMs"]),
        "step_ms": _quantiles(found["stepMs"]),
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    return {str(q): float(np.quantile(values, q)) for q in (0.5, 0.95)} if values else {}


def measured(address: str, seconds: float, browser: Any) -> dict[str, Any]:
    """Return what one page does: driving, driving as fast as it goes, and with a goal."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#stage:not([hidden])", timeout=120_000)
    value: dict[str, Any] = {"usual": drive(page, seconds)}
    page.evaluate(f"send({{ type: 'rate', hz: {_MOST_HZ} }})")
    value["as_fast_as_it_goes"] = drive(page, seconds / 2)
    page.evaluate(f"send({{ type: 'rate', hz: {_USUAL_HZ} }})")
    if page.locator("#goal-on").is_visible():
        box = page.locator("#imagined").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        value["with_a_goal"] = drive(page, seconds / 2)
    value |= {"places": page.evaluate("scene.places.length"), "complaints": complaints}
    context.close()
    return value


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", metavar="LABEL=WORDS")
    parser.add_argument("--python", action="append", default=[], metavar="LABEL=PATH")
    parser.add_argument("--seconds", type=float, default=16.0)
    parser.add_argument("--record", type=Path, default=Path("results/play.json"))
    chosen = parser.parse_args()
    pythons = dict(one.split("=", 1) for one in chosen.python)
    about = provenance(shlex.join(["python", *sys.argv]), 1)
    value: dict[str, Any] = {"picture_px": SIDE_PX, "steps_per_s": _USUAL_HZ, "cases": {}}
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=_FLAGS, headless=True)
        for label, words in (case.split("=", 1) for case in chosen.cases):
            with served(words, pythons.get(label, sys.executable)) as address:
                value["cases"][label] = measured(address, chosen.seconds, browser)
            sys.stdout.write(f"{label}: {value['cases'][label]}\n")
            sys.stdout.flush()
        browser.close()
    write_json(chosen.record, value | about)


if __name__ == "__main__":
    main()
