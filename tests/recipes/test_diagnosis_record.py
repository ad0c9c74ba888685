"""The record of a diagnosis: bars that hold for an oracle, advice for a model that collapsed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drifting_points import Constant, Copier, Oracle, toy

from armillary.recipes.diagnosis_record import diagnosis_record
from armillary.report.page import render_report
from armillary.services.diagnose.page import diagnosis_contents
from armillary.understanding.diagnosis import diagnose
from armillary.understanding.diagnosis_lines import distance_lines
from armillary.understanding.evidence import Limits
from armillary.understanding.stretches import cut


@pytest.fixture(scope="module")
def cache():
    return toy()


def recorded(model, cache):
    parts = (cut(cache, episodes, 1) for episodes in (np.arange(28), np.arange(28, 40)))
    found = diagnose(model, cache, *parts, limits=Limits(draws=200, ranked=60))
    return found, diagnosis_record(found, "12 episodes")


def line(record, start):
    return next(line for line in record["lines"] if line["name"].startswith(start))


def test_an_oracle_reaches_the_bars_of_prediction_and_gets_no_advice(cache):
    found, record = recorded(Oracle(), cache)
    for start in ("true actions", "point_xy read", "thing_xy read", "skill on moved", "false mot"):
        assert line(record, start)["held"] is True
        assert line(record, start)["advice"] == ""
    assert record["moved"]["stream"] == "thing_xy"  # of the two the one that mostly rests
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    record |= {"model": "m", "dataset": "d", "date": "now", "command": "", "warning": ""}
    page = render_report(diagnosis_contents(record, found.evidence, cache, 0.1))
    assert "+16 steps, 1.6 s" in page


def test_a_constant_encoder_is_told_as_collapsed(cache):
    _, record = recorded(Constant(), cache)
    scale = line(record, "effective rank")
    assert scale["held"] is False
    assert "The encoder has collapsed" in scale["advice"]
    own = line(record, "prediction error, 8 steps, own latent")
    assert (own["value"], own["held"]) == (None, None)
    assert "nothing is predicted" in own["advice"]
    assert line(record, "prediction error, 8 steps, frozen features")["held"] is False
    assert record["action_rank"]["top1"] == pytest.approx(1 / 32)


def test_what_a_copier_misses_has_advice(cache):
    _, record = recorded(Copier(), cache)
    missed = [one for one in record["lines"] if one["held"] is False]
    assert all(one["advice"].endswith(".") for one in missed)
    assert line(record, "skill on moved")["held"] is False
    assert "The encoder shows the motion" in line(record, "skill on moved")["advice"]
    assert line(record, "false motion")["held"] is True
    assert all(one["source"] for one in record["lines"])


def test_nothing_recorded_as_truth_is_said():
    episodes = toy()
    kinds = {name: kind for name, kind in episodes.kinds.items() if kind != "truth"}
    blind = type(episodes)(
        {name: episodes.arrays[name] for name in (*kinds, "actions", "time_ns")},
        kinds, episodes.starts, episodes.episodes, episodes.size, episodes.fps,
    )  # fmt: skip
    _, record = recorded(Oracle(), blind)
    assert record["read_out"] == {}
    assert record["moved"]["skill"] == {}
    assert "no place is recorded as truth" in record["moved"]["reason"]


def distance_row(gain, warp=None, steps=3):
    gains = {"copy_last": [gain, 1.0], "mean": [0.5, 1.0], "no_latent": [0.0, 0.0]}
    row = {"sensor": "depth", "steps": steps, "n": 9, "model": 0.2, "copy_last": 0.4, "mean": 0.9}
    row |= {"no_latent": 0.2, "intervals": {"model": [0.1, 0.3]}, "gain_intervals": gains}
    if warp is not None:
        row["rigid_warp"], gains["rigid_warp"] = 0.3, [warp, 0.4]
    return row


@pytest.mark.parametrize(
    ("row", "held", "advice"),
    [
        (distance_row(0.1, 0.05), True, ""),
        (distance_row(0.1), True, ""),
        (distance_row(0.1, -0.1, steps=1), True, ""),
        (distance_row(0.1, -0.1), False, "Rigid warp is as good: record more"),
        (distance_row(-0.1, 0.1), False, "Copy-last is as good"),
        (distance_row(-0.1), False, "No poses were recorded"),
    ],
)
def test_a_sensor_of_distance_must_beat_copying_and_later_the_warp(row, held, advice):
    (line,) = distance_lines([distance_row(-1, -1, steps=1), row])
    assert (line.held, line.value, line.n) == (held, 0.2, 9)
    assert line.advice.startswith(advice)
    assert bool(line.advice) != held
