"""The planning bench: the names that checks read, both ratios, an equal search on both sides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from armillary.benchmark import PlanBench, bench_plan
from armillary.benchmark.plan import own_decisions
from armillary.core.errors import CheckFailedError
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.planning import CEM, CEMConfig

MODEL = JEPAConfig(
    sensors=("rgb", "points", "proprio"),
    encoder=EncoderConfig(
        image_size=16, patch_hidden=8, patch_width=8, hidden=8, tokens=2, width=4
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
    frame_skip=2,
)
USUAL = CEM(CEMConfig(length=3, samples=8, elites=2, iterations=2))
SHORT = PlanBench(threads=1, repetitions=2, seconds=0.01, samples=6, iterations=2, elites=2)


def plan(peers: bool = True) -> dict[str, Any]:
    result = bench_plan(MODEL, USUAL, 3, SHORT, peers=peers)
    json.dumps(result, allow_nan=False)
    return result


def test_alone_it_counts_decisions_and_model_steps() -> None:
    threads = torch.get_num_threads()
    result = plan(peers=False)
    assert torch.get_num_threads() == threads
    assert result["decisions_per_s"].keys() == {"armillary"}
    assert result["ratio"] == {}
    assert result["model_steps_per_decision"] == {
        "armillary": 5 * (6 * 2 + 2),
        "armillary_default": USUAL.config.model_steps,
    }
    # two world steps per model step; by default three model steps are executed per decision
    assert result["world_steps_per_decision"] == {"armillary": 2, "armillary_default": 6}
    assert {"command", "commit", "machine", "date", "settings"} <= result.keys()
    assert {len(values) for values in result["repetitions"].values()} == {2}


def test_ratios_are_of_the_equal_and_of_the_default_search(
    as_python: Callable[[str], Path], tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    as_python(f"""
    while read -r line; do
      echo "$line" >> {asked}
      case "$line" in
        *'"op": "build"'*) echo '{{"world_steps_per_decision": 25}}' ;;
        *) echo '{{"seconds": 8.0, "model_steps": 60}}' ;;
      esac
    done
    """)
    result = plan()
    assert result["decisions_per_s"]["lewm"] == 0.125
    for kind, side in (("equal", "armillary"), ("default", "armillary_default")):
        speeds = result["repetitions"][side]
        assert result["ratio"][kind] == pytest.approx(sum(speeds) / 2 / 0.125, rel=0.01)
    assert result["model_steps_per_decision"]["lewm"] == 60
    assert result["ms_per_world_step"]["lewm"] == 320.0
    build = json.loads(asked.read_text().splitlines()[0])
    equal = result["search"]["armillary"]
    assert (build["samples"], build["iterations"], build["horizon"]) == (6, 2, 5)
    assert (equal["samples"], equal["iterations"], equal["length"]) == (6, 2, 5)


def test_a_peer_that_dies_is_one_sentence(as_python: Callable[[str], Path]) -> None:
    as_python("read -r line; echo 'no such module' >&2; exit 1")
    with pytest.raises(CheckFailedError, match="no such module"):
        plan()


def test_a_decision_is_repeated_and_not_remembered() -> None:
    model = untrained(JEPAConfig(encoder=MODEL.encoder, predictor=MODEL.predictor), 0).eval()
    seconds, steps = own_decisions(model, USUAL)(2)
    assert seconds > 0
    assert steps == USUAL.config.model_steps


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_beside_lewm() -> None:
    result = plan()
    # one candidate over five steps is five predictor calls, the present being the first input
    assert result["model_steps_per_decision"]["lewm"] == 5 * 6 * 2
    assert result["world_steps_per_decision"]["lewm"] == 25
    assert result["lewm"]["parameters"] > 17e6
    assert result["lewm"]["dtype"] == "float32"
