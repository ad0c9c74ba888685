"""Pages in a real browser: no complaint, clips play, cursors move, phones and dark rooms too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from playing import (
    EACH_VIEW,
    check_chart_moves,
    check_cloud_turns,
    check_look,
    check_player,
)

from armillary.cli.main import main
from armillary.core.files import read_json
from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter, IngestOptions, ingest
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig
from armillary.recipes.recipe import Recipe, train_recipe
from armillary.services.view.folder import view
from armillary.training import ObjectiveConfig

SMALLEST = Recipe(
    steps=2,
    batch_size=4,
    clip_length=3,
    threads=1,
    precision="float32",
    objective=ObjectiveConfig(rollout_steps=1),
    model=JEPAConfig(
        sensors=("rgb",),
        encoder=EncoderConfig(16, 8, 8, 4, 8, 0, 2, 4),
        predictor=PredictorConfig(memory=4, hidden=4),
    ),
)


def moving_episode(index: int, steps: int = 16, side: int = 48) -> Episode:
    """Return waves that wander over colour and depth; the lens is known."""
    rows, columns = np.mgrid[:side, :side]
    waves = [np.sin((columns + 2 * t + 9 * index) / 5) + np.cos(rows / 7) for t in range(steps)]
    shade = (np.stack(waves) + 2) / 4
    rgb = np.stack([shade, 1 - shade, shade**2], axis=-1)
    lens = np.array([[side, 0, side / 2], [0, side, side / 2], [0, 0, 1]], np.float64)
    return Episode(
        streams={
            "rgb": Stream("rgb", (255 * rgb).astype(np.uint8), "", "camera", intrinsics=lens),
            "depth": Stream("depth", (1 + shade).astype(np.float32), "m", "camera", lens),
        },
        time_ns=np.arange(steps) * 50_000_000,
        actions=np.zeros((steps - 1, 1), np.float32),
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARMILLARY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "moving"
    writer = DatasetWriter(path, 20)
    for index in range(3):
        writer.write(index, moving_episode(index))
    writer.finalize()
    return path


@pytest.fixture(scope="module")
def surprise_page(dataset: Path) -> Path:
    run, out = dataset.parent / "run", dataset.parent / "surprise"
    train_recipe(SMALLEST, dataset, run)
    assert main(["surprise", str(run), f"{dataset}:1", "--out", str(out)]) == 0
    return out / "surprise.html"


@pytest.fixture(scope="module")
def cloud_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clouds")
    (folder / "in").mkdir()
    rng = np.random.default_rng(0)
    for step in range(4):
        points = rng.uniform(-2, 2, (400, 3)) + np.array([step, 0, 0])
        rows = "".join(f"{x:.3f} {y:.3f} {z:.3f}\n" for x, y, z in points)
        head = "ply\nformat ascii 1.0\nelement vertex 400\n"
        head += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
        (folder / f"in/{step}.ply").write_text(head + rows)
    ingest(folder / "in", folder / "set", options=IngestOptions(fps=10.0))
    return view(folder / "set").page


@pytest.mark.parametrize(("width", "scheme"), EACH_VIEW)
def test_a_dataset_plays_with_its_points(show, dataset: Path, width: int, scheme: str) -> None:
    shown = show(view(dataset).page, width, scheme)
    check_look(shown, width, scheme)
    players = shown.page.locator(".player")
    assert players.count() == 3
    check_player(shown, players.nth(1))
    assert players.nth(1).locator("canvas").count() == 3  # colour, depth and its points
    check_cloud_turns(shown, players.nth(1).locator("canvas.cloud"))


@pytest.mark.parametrize(("width", "scheme"), EACH_VIEW)
def test_clouds_are_drawn_and_turn(show, cloud_page: Path, width: int, scheme: str) -> None:
    shown = show(cloud_page, width, scheme)
    check_look(shown, width, scheme)
    check_player(shown, shown.page.locator(".player"))
    check_cloud_turns(shown, shown.page.locator("canvas.cloud"))


@pytest.mark.parametrize(("width", "scheme"), EACH_VIEW)
def test_a_surprise_page_plays(show, surprise_page: Path, width: int, scheme: str) -> None:
    found = read_json(surprise_page.with_name("surprise.json"))
    shown = show(surprise_page, width, scheme)
    check_look(shown, width, scheme)
    player = shown.page.locator(".player")
    assert shown.frame(player) == found["peak_step"]  # it opens where the model is most surprised
    legend = player.locator(".key").text_content()
    assert "model" in legend and "copy-last" in legend and "pixel change" in legend
    check_player(shown, player)
    check_chart_moves(shown, player)
    stills = player.locator(".still")
    assert stills.count() == min(5, len(found["surprise"]) // 2)
    stills.nth(0).click()
    assert shown.frame(player) == found["peak_step"]
    assert f"{found['surprise'][found['peak_step'] - 1]:.2f}" in stills.nth(0).text_content()


def test_a_chart_says_its_values_under_the_pointer(show, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"train": {"steps": 300}}))
    lines = [json.dumps({"step": step, "train/loss": 5000 / step}) for step in (100, 200, 300)]
    (run / "log.jsonl").write_text("\n".join(lines) + "\n")
    shown = show(view(run).page, 1280, "light")
    chart, tip = shown.page.locator("svg[data-chart]").first, shown.page.locator(".tip")
    assert not tip.is_visible()
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    shown.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert tip.text_content() == "200\nloss 25"
    shown.page.mouse.move(1, 1)
    assert not tip.is_visible()
