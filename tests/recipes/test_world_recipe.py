"""Recipe ``world``: what it leaves to the data follows from them by stated rules."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.cli.train import adapted_recipe
from armillary.core.changing import changed
from armillary.core.errors import ConfigError, DatasetError
from armillary.core.values import Episode, Stream
from armillary.data import Dataset, DatasetWriter, open_dataset
from armillary.recipes.recipe import fewer_steps, train_recipe
from armillary.recipes.world import adapted, adapted_to, sensors_of, world
from armillary.worlds import record

SOURCE = Path(__file__).parents[2] / "src" / "armillary"
SIDE = 16
RGBD = {"rgb", "depth", "world_from_camera", "intrinsics"}
SMALL = {
    "steps": 2,
    "batch_size": 2,
    "threads": 1,
    "finetune.steps": 2,
    "finetune.batch_size": 2,
    "augment.shift_px": 1,
    "model.encoder.image_size": SIDE,
    "model.encoder.hidden": 16,
    "model.predictor.memory": 8,
    "model.predictor.hidden": 8,
}


def episode(number: int, steps: int, fps: float, streams: set[str], acts: bool) -> Episode:
    """Return a square that wanders over a plane, and a laser that sees a wall."""
    rng = np.random.default_rng(number)
    rgb = np.full((steps, SIDE, SIDE, 3), 90, np.uint8)
    depth = np.full((steps, SIDE, SIDE), 2.0, np.float32)
    for step, (row, column) in enumerate(rng.integers(0, SIDE - 4, (steps, 2))):
        rgb[step, row : row + 4, column : column + 4] = rng.integers(0, 256, 3)
        depth[step, row : row + 4, column : column + 4] = 1.4
    lens = np.array([[12.0, 0, 7.5], [0, 12.0, 7.5], [0, 0, 1]])
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 2.0
    ranges = rng.uniform(1, 5, (steps, 32)).astype(np.float32)
    beams = np.stack([np.linspace(-1, 1, 32), np.zeros(32)], 1)
    made = {
        "rgb": Stream("rgb", rgb, intrinsics=lens if "intrinsics" in streams else None),
        "depth": Stream("depth", depth, "m", "camera", lens if "intrinsics" in streams else None),
        "world_from_camera": Stream("pose", np.tile(pose, (steps, 1, 1)), "m"),
        "lidar": Stream("lidar", ranges, "m", "lidar", beams_rad=beams),
    }
    return Episode(
        streams={name: stream for name, stream in made.items() if name in streams},
        time_ns=(np.arange(steps) * 1e9 / fps).astype(np.int64),
        actions=rng.normal(size=(steps - 1, 2)).astype(np.float32) if acts else None,
    )


def dataset(
    path: Path, streams: set[str], acts: bool = True, fps: float = 10, steps: int = 10
) -> Dataset:
    writer = DatasetWriter(path, fps)
    for number in range(4):
        writer.write(number, episode(number, steps, fps, streams, acts))
    writer.finalize()
    return open_dataset(path)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("streams", "sensors"),
    [
        (RGBD, ("rgb", "points")),
        (RGBD - {"world_from_camera"}, ("rgb", "points_camera")),
        (RGBD - {"intrinsics"}, ("rgb", "depth")),
        ({"rgb"}, ("rgb",)),
        ({"rgb", "intrinsics", "world_from_camera"}, ("rgb",)),
        (RGBD - {"rgb"}, ("points",)),
        ({"lidar"}, ("scan",)),
    ],
)
def test_the_sensors_are_those_that_were_recorded(
    tmp_path: Path, streams: set[str], sensors: tuple[str, ...]
) -> None:
    found = adapted(world(), dataset(tmp_path / "data", streams))
    assert found.model.sensors == sensors
    assert found.objective.visual_words == (0 if sensors == ("scan",) else 8.0)
    above = {"points", "scan"} & {*sensors}
    assert found.objective.reconstruction == (0 if above else 8.0)
    assert found.objective.inverse_dynamics == 4.0


def test_clouds_and_lasers_join_what_else_there_is() -> None:
    assert sensors_of({"points"}) == ("cloud",)
    assert sensors_of({"rgb", "points", "lidar"}) == ("rgb", "cloud", "scan")
    assert sensors_of(RGBD | {"lidar", "object_xy"}) == ("rgb", "points", "scan")


@pytest.mark.parametrize(
    ("fps", "acts", "skip"),
    [(10, True, 1), (30, True, 3), (60, True, 6), (4, True, 1), (10, False, 1), (30, False, 3)],
)
def test_a_step_is_a_tenth_of_a_second_with_and_without_actions(
    tmp_path: Path, fps: float, acts: bool, skip: int
) -> None:
    found = adapted(world(), dataset(tmp_path / "data", {"rgb"}, acts, fps))
    assert found.model.frame_skip == skip
    assert found.objective.inverse_dynamics == (4.0 if acts else 0.0)


def test_what_is_set_is_kept() -> None:
    own = changed(
        world(),
        {"model.sensors": ("rgb",), "objective.visual_words": 2.0, "objective.variance": 1.0},
    )
    found = adapted_to(own, RGBD, 30, acts=True)
    assert (found.model.sensors, found.model.frame_skip) == (("rgb",), 3)
    assert found.objective == own.objective
    skipping = replace(world(), model=replace(world().model, frame_skip=7))
    found = adapted_to(skipping, RGBD, 30, acts=True)
    assert (found.model.sensors, found.model.frame_skip) == (("rgb", "points"), 7)
    whole = replace(own, model=replace(own.model, frame_skip=2), clip_length=9, batch_size=7)
    assert adapted_to(whole, RGBD, 30, acts=False, usual=50) == whole


@pytest.mark.parametrize(
    ("usual", "fps", "clip", "batch", "whole", "of_whole"),
    [
        (12, 10, 12, 42, 0, 0),  # 0: as in the first stage
        (32, 10, 12, 42, 32, 64),
        (3000, 30, 12, 42, 32, 64),
        (36, 30, 12, 42, 0, 0),
        (20, 10, 12, 42, 20, 100),
        (3, 10, 8, 64, 0, 0),
    ],
)
def test_clips_are_of_8_to_12_model_steps_and_then_of_up_to_32(
    usual: int, fps: float, clip: int, batch: int, whole: int, of_whole: int
) -> None:
    found = adapted_to(world(), {"rgb"}, fps, acts=True, usual=usual)
    assert (found.clip_length, found.batch_size) == (clip, batch)
    assert (found.settling.clip_length, found.settling.batch_size) == (whole, of_whole)
    own = changed(world(), {"clip_length": 6, "batch_size": 5})
    found = adapted_to(own, {"rgb"}, fps, acts=True, usual=usual)
    assert (found.clip_length, found.batch_size) == (6, 5)
    assert (found.settling.clip_length, found.settling.batch_size) == (0, 0)
    chosen = changed(world(), {"finetune.clip_length": 10})
    found = adapted_to(chosen, {"rgb"}, fps, acts=True, usual=usual)
    assert (found.settling.clip_length, found.settling.batch_size) == (10, 0)


def test_where_there_is_little_clips_are_shorter_and_a_batch_has_no_more_than_there_are(
    tmp_path: Path,
) -> None:
    little = dataset(tmp_path / "data", {"rgb"}, steps=12)
    found = adapted(world(), little)
    assert (found.clip_length, found.batch_size) == (8, 15)  # one of four episodes is held out
    found = adapted(changed(world(), {"batch_size": 6}), little)
    assert (found.clip_length, found.batch_size) == (11, 6)
    assert adapted(changed(world(), {"clip_length": 12}), little).batch_size == 3


def test_updates_see_each_recorded_step_so_often_within_bounds(tmp_path: Path) -> None:
    little = dataset(tmp_path / "data", {"rgb"}, steps=12)  # 48 steps, batches of 15 x 8
    found = adapted(world(), little)
    assert (found.steps, found.settling.steps) == (200, 100)  # the fewest
    assert adapted(found, little) == found
    longer = adapted(world(), dataset(tmp_path / "longer", {"rgb"}, steps=40))
    assert (longer.clip_length, longer.settling.clip_length) == (12, 32)
    assert adapted(longer, dataset(tmp_path / "longer again", {"rgb"}, steps=40)) == longer
    more = changed(world(), {"passes": 900.0, "finetune.passes": 2900.0})
    found = adapted(more, little)
    seen, fine_tuning = found.batch_size * found.clip_length, 0.25
    assert found.steps == round(900 * 48 / seen)
    assert found.settling.steps == round(2900 * 48 / seen * fine_tuning)
    found = adapted(changed(more, {"steps": 30, "finetune.steps": 20}), little)
    assert (found.steps, found.settling.steps) == (30, 20)  # never more than were asked for
    found = adapted(changed(world(), {"passes": 0.0, "finetune.passes": 0.0}), little)
    assert (found.steps, found.settling.steps) == (1400, 4000)  # no bound
    none = adapted(changed(world(), {"finetune.steps": 0}), little)
    assert none.settling.steps == 0


def test_clips_are_so_short_that_nine_tenths_of_the_episodes_hold_one(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path / "data", 10)
    for number, steps in enumerate([9, *[20] * 9, *[40] * 10]):
        writer.write(number, episode(number, steps, 10, {"rgb"}, True))
    writer.finalize()
    found = adapted(world(), open_dataset(tmp_path / "data"))
    assert (found.clip_length, found.settling.clip_length) == (12, 20)


def test_a_sensor_that_is_named_does_not_ask_video_for_actions() -> None:
    own = changed(world(), {"model.sensors": ("rgb",)})
    assert adapted_to(own, {"rgb"}, 10, acts=False).objective.inverse_dynamics == 0


def test_nothing_but_what_the_data_decide_is_changed() -> None:
    usual, found = world(), adapted_to(world(), {"rgb"}, 10, acts=True)
    model = replace(found.model, sensors=(), frame_skip=0)
    assert replace(found, model=model, clip_length=0, batch_size=0) == usual


def test_data_that_show_nothing_are_refused() -> None:
    with pytest.raises(
        DatasetError,
        match=r"needs rgb, depth, points or lidar, and the dataset has proprio\. Record one of",
    ):
        adapted_to(world(), {"proprio"}, 10, acts=True)


def test_a_loss_that_needs_actions_is_named_where_a_recipe_leaves_nothing_open(
    tmp_path: Path,
) -> None:
    data = dataset(tmp_path / "data", {"rgb"}, acts=False)
    own = changed(world(), SMALL | {"model.sensors": ("rgb",), "model.frame_skip": 1})
    with pytest.raises(
        ConfigError, match=r"needs them\. Record them, or pass --objective\.inverse-dynamics 0\."
    ):
        train_recipe(own, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("streams", [RGBD, {"rgb"}, {"lidar"}], ids=["rgbd", "rgb", "laser"])
@pytest.mark.parametrize("acts", [True, False], ids=["actions", "video"])
def test_it_trains_on_any_of_them(tmp_path: Path, streams: set[str], acts: bool) -> None:
    data = dataset(tmp_path / "data", streams, acts, steps=10 if acts else 40)
    summary = train_recipe(changed(world(), SMALL), data, tmp_path / "run", diagnosed=False)
    assert summary.steps == 2 and np.isfinite(summary.loss)


def test_the_benches_measure_what_training_on_the_tabletop_takes(tmp_path: Path) -> None:
    """They describe the recording that they make, so that they need none to begin."""
    record("tabletop", tmp_path / "data", 50, 12, workers=1)
    found = adapted_recipe("world", None)
    recorded = adapted_recipe("world", tmp_path / "data")
    # how long a training is depends on how much was recorded; how much a step does, does not
    long = {"steps": found.steps, "passes": found.passes, "settling": found.settling}
    assert replace(recorded, **long) == found
    assert found.model.sensors == ("rgb", "points")


@pytest.mark.parametrize(
    "path",
    [
        "recipes/world.py",
        "training/terms/visual_words.py",
        "training/terms/views.py",
        "training/terms/reconstruction.py",
        "objectives/visual_words.py",
        "objectives/local_contrast.py",
    ],
)
def test_no_colour_has_a_name_in_it(path: str) -> None:
    words = "hue|saturation|red|green|blue|grey|gray|yellow|warm|reddish|greenish|bluish|median pic"
    said = (SOURCE / path).read_text().lower()
    # the order of the channels of a picture, in words
    said = said.replace("colours: red, green, blue, 0..1", "")
    assert re.findall(rf"\b(?:{words})", said) == []


@pytest.mark.parametrize("folder", ["objectives", "training", "recipes", "experiments", "services"])
def test_no_loss_and_no_recipe_knows_a_hue(folder: str) -> None:
    """The search of issue 28, which finds parts of words, too."""
    hand_made = re.compile("hue|reddish|greenish|grey|median picture")
    files = sorted((SOURCE / folder).rglob("*.py"))
    said = {path.name: hand_made.findall(path.read_text().lower()) for path in files}
    assert files and {name: words for name, words in said.items() if words} == {}


def test_a_training_that_was_cut_says_so() -> None:
    usual = world()
    asked = changed(usual, {"steps": 2800, "finetune.steps": 2800})
    found = changed(usual, {"steps": 200, "finetune.steps": 100})
    assert "200 of 2,800 and 100 of 2,800 steps were taken" in fewer_steps(asked, found)
    assert "--passes 0 --finetune.passes 0 takes them all" in fewer_steps(asked, found)
    assert fewer_steps(usual, found) == ""
    assert fewer_steps(changed(usual, {"steps": 60}), changed(found, {"steps": 60})) == ""
