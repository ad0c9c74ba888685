"""The demo's report in a real browser, and what it says about itself: a whole, very small demo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from playing import VIEWS, check_chart_moves, check_cloud_turns, check_look, check_player

from armillary.core.files import read_json
from armillary.experiments.demo.config import DemoConfig, quick
from armillary.experiments.demo.page import result_groups
from armillary.experiments.demo.run import run_demo
from armillary.planning import Planning

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a demo is made and shown: a minute

QUICK = Planning("guided", {"samples": 4, "longest": 3})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = quick(DemoConfig())
    small = replace(
        config,
        episodes=20,
        recipe=replace(
            config.recipe,
            steps=3,
            checkpoint_every=3,
            eval_every=3,
            batch_size=8,
            settling=replace(config.recipe.settling, steps=2),
        ),
        act=replace(config.act, episodes=1, planning=QUICK),
        push_episodes=1,
        teleports=4,
    )
    return run_demo(tmp_path_factory.mktemp("demo") / "out", small).page


def test_the_report_of_the_demo_plays(show, demo: Path) -> None:
    for width, scheme in VIEWS:
        shown = show(demo, width, scheme)
        check_look(shown, width, scheme)
        for section, count in (("episodes", 1), ("predicted", 2), ("surprised", 1), ("planned", 4)):
            players = shown.page.locator(f"#{section} .player")
            assert players.count() == count
            check_player(shown, players.nth(0))
            if section != "episodes":
                check_chart_moves(shown, players.nth(0))
        check_cloud_turns(shown, shown.page.locator("#episodes canvas.cloud"))


def test_the_peak_stands_at_the_mark_where_any_does(show, demo: Path) -> None:
    found = read_json(demo.with_name("results.json"))["surprise"]["teleport"]["localisation"]
    shown = show(demo, 1280, "light")
    player = shown.page.locator("#surprised .player")
    mark = float(player.locator("svg .event").get_attribute("x1"))
    at = float(player.locator("svg .cursor").get_attribute("x1"))  # it opens at the peak
    assert (abs(mark - at) < 0.5) == (found["accuracy"] > 0)
    words = player.locator("figcaption").text_content()
    assert ("In none of 4" in words) == (found["accuracy"] == 0)


def test_pushing_is_called_not_yet_only_while_it_is_true(demo: Path) -> None:
    numbers = read_json(demo.with_name("results.json"))

    def verdict(success: float, low: float) -> bool | None:
        row = {"success": success, "wilson95": [low, 1.0], "n": 16}
        floor = {"success": 0.25, "wilson95": [0.0, 0.5], "n": 16}
        push = {"model": row, "random": floor, "noop": floor, "oracle": row}
        groups = result_groups(numbers | {"act": numbers["act"] | {"push": push}})
        found = [row for group in groups for row in group.rows if row.name.startswith("pushes")]
        return found[0].held

    assert verdict(0.0, 0.0) is False
    assert verdict(0.5, 0.2) is False
    assert verdict(0.8, 0.6) is True
