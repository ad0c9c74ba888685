"""Minutes to knowledge: lengths are trainings of their own, and a finished one is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter
from armillary.experiments.minutes_to.run import MinutesTo, minutes_to_knowledge
from armillary.models import EncoderConfig, PredictorConfig
from armillary.recipes.world import world

EPISODES, STEPS, SIDE = 30, 24, 16
SETTINGS = MinutesTo(steps=(2, 4), threads=1, object_r2=-99.0, skill=99.0)


def things(path: Path) -> Path:
    """Noise, and two things: one always moves, one only in the second half of an episode."""
    writer, rng = DatasetWriter(path, 10), np.random.default_rng(0)
    for index in range(EPISODES):
        moves = {"pusher": np.ones((STEPS, 1)), "object": np.arange(STEPS)[:, None] >= STEPS // 2}
        places = {
            f"{name}_xy": np.cumsum(rng.normal(0, 1, (STEPS, 2)) * where, 0).astype(np.float32)
            for name, where in moves.items()
        }
        streams = {"rgb": rng.integers(0, 255, (STEPS, SIDE, SIDE, 3), np.uint8), **places}
        kinds = {
            name: Stream("rgb" if name == "rgb" else "truth", v) for name, v in streams.items()
        }
        actions = rng.normal(0, 1, (STEPS - 1, 2)).astype(np.float32)
        time_ns = np.arange(STEPS) * 100_000_000
        writer.write(index, Episode(kinds, time_ns, actions, source="noise"))
    writer.finalize()
    return path


@pytest.mark.slow  # 20 s, three trainings
def test_the_first_length_that_knows_enough_tells_the_minutes(tmp_path: Path) -> None:
    usual, data, out = world(), things(tmp_path / "data"), tmp_path / "out"
    encoder = EncoderConfig(SIDE, 8, 8, 4, 16, keypoints=0, tokens=2, width=8)
    recipe = replace(
        usual,
        steps=4,
        batch_size=8,
        model=replace(usual.model, encoder=encoder, predictor=PredictorConfig(16, 16)),
        settling=replace(usual.settling, steps=2, batch_size=8),
    )
    known = minutes_to_knowledge(out, recipe, data, SETTINGS)
    assert json.loads(json.dumps(known, allow_nan=False)) == known
    short, long = known["curve"]
    assert [(row["steps"], row["settling_steps"]) for row in (short, long)] == [(2, 1), (4, 2)]
    assert short["object"] == "object_xy"
    assert known["object_r2_-99"] == short["minutes"] > 0
    assert known["skill_99"] is None
    assert known["reasons"].keys() == {"skill_99"}

    (out / "4_steps" / "knowledge.json").unlink()  # as if it had been stopped there
    again = minutes_to_knowledge(out, recipe, data, SETTINGS)
    assert again["curve"][0] == short
    assert again["curve"][1]["minutes"] != long["minutes"]
    assert again["curve"][1]["skill"] == long["skill"]

    enough = minutes_to_knowledge(out, recipe, data, replace(SETTINGS, skill=-99.0))
    assert enough["curve"] == [short] and not enough["reasons"]

    other = replace(recipe, seed=1)
    other = minutes_to_knowledge(out, other, data, replace(SETTINGS, steps=(2,)))
    assert other["curve"][0]["minutes"] != short["minutes"]
