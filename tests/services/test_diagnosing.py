"""On what a diagnosis judges a model: what its run wrote down, and what it says without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drifting_points import Oracle, toy

from armillary.core.errors import DatasetError
from armillary.core.values import Episode, Stream
from armillary.data import Cache, DatasetWriter
from armillary.models import EncoderConfig, JEPAConfig, save_model, untrained
from armillary.recipes.splitting import known_split
from armillary.services.diagnose.diagnosing import diagnose_model, split_for
from armillary.understanding.diagnosis import diagnose


def recording(count: int, steps: int = 12) -> Cache:
    return replace(toy(count, steps), about={"identity": "abc", "dataset": "here"})


def model(run: Path, training: list[int], held_out: list[int]) -> Path:
    about = {"identity": "abc", "dataset": "here"}
    lists = {"training_episodes": training, "held_out_episodes": held_out}
    (run / "data.json").write_text(json.dumps(about | lists))
    return run / "model"


def starts(stretches) -> set[int]:
    return {stretch.first for stretch in stretches}


def test_episodes_in_neither_list_are_in_neither(tmp_path):
    cache = recording(10)
    agent = model(tmp_path, [0, 2, 4], [1, 3])
    training, held_out = known_split(agent, cache)
    assert (training.tolist(), held_out.tolist()) == ([0, 2, 4], [1, 3])
    split = split_for(agent, cache, 1, 0)
    assert starts(split.training) == {*cache.starts[[0, 2, 4]].tolist()}
    assert starts(split.held_out) == {*cache.starts[[1, 3]].tolist()}
    assert split.warning == ""
    assert split.judged_on == "2 episodes that were held out of the training"


def test_a_run_that_held_nothing_out_says_so(tmp_path):
    cache = recording(20)
    split = split_for(model(tmp_path, [*range(20)], []), cache, 1, 0)
    assert split.warning == "The run trained on all episodes, so nothing here is held out."
    assert split.judged_on == "2 episodes drawn here (seed 0, a share of 0.1)"
    split = split_for(model(tmp_path, [*range(18)], []), cache, 1, 0)
    assert split.warning == (
        "The run held out no episodes and trained on 18 of the 20 here, so some of those that "
        "judge may be known to it."
    )


def test_a_run_on_one_episode_and_the_command_say_compatible_things(tmp_path):
    cache = recording(1, 400)
    split = split_for(model(tmp_path, [0], []), cache, 1, 0)
    assert split.judged_on == "the last 30% of the only episode"
    assert split.warning == "The run trained on all episodes, so nothing here is held out."
    # the end of a training, which holds nothing out of one episode, names the command
    with pytest.raises(DatasetError, match=r"run armillary diagnose: .* splits the only one in ti"):
        diagnose(Oracle(), cache, split.training, [])


def test_without_a_record_nobody_knows(tmp_path):
    for agent in (tmp_path / "model", model(tmp_path, [20, 21], [22])):
        assert known_split(agent, recording(10)) is None
        assert "no record (data.json of its run)" in split_for(agent, recording(10), 1, 0).warning


def test_steps_are_as_long_as_those_that_the_model_learned(tmp_path):
    """Ten frames a second; a model of 0.2 s goes by every second frame, one of 0.25 s cannot."""
    writer = DatasetWriter(tmp_path / "film", 10)
    pictures = np.random.default_rng(0).integers(0, 255, (20, 41, 16, 16, 3), np.uint8)
    for index, frames in enumerate(pictures):
        time_ns = np.arange(41) * 100_000_000
        writer.write(index, Episode({"rgb": Stream("rgb", frames)}, time_ns, source="noise"))
    writer.finalize()
    network = untrained(
        JEPAConfig(("rgb",), EncoderConfig(16, 8, 8, 4, 8, 0, 2, 4), action_width=0), 0
    ).eval()
    network.step_s = 0.2
    save_model(network, tmp_path / "model")
    record = diagnose_model(tmp_path / "model", tmp_path / "film", tmp_path / "out")
    assert record["n"]["held_out_steps"] == 2 * 21  # two episodes of 41 frames
    assert "+4 steps, 0.8 s" in (tmp_path / "out" / "diagnose.html").read_text()
    network.step_s = 0.25
    save_model(network, tmp_path / "model")
    with pytest.raises(DatasetError, match="has 10 steps per second, the model learned from 4"):
        diagnose_model(tmp_path / "model", tmp_path / "film")
