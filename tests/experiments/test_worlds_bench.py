"""Many environments: one folder each, the same settings in all, and paired tests of the search."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from armillary.core.errors import ConfigError
from armillary.core.hashing import json_sha256
from armillary.evaluation import Record
from armillary.experiments.worlds.run import (
    ENVIRONMENTS,
    WAYS,
    Environment,
    WorldsConfig,
    planning_sha256,
    rows_of,
    run_worlds,
)
from armillary.models.config import config_values
from armillary.recipes.world import world

RECORD = Path(__file__).parents[2] / "results" / "worlds.json"
RESULTS = Path(__file__).parents[2] / "docs" / "results.md"


def test_the_record_has_one_recipe_and_one_planning_for_all_and_an_earlier_one_is_said():
    record = json.loads(RECORD.read_text())
    told = RESULTS.read_text()
    earlier = record["recipe_sha256"] != json_sha256(config_values(world()))
    assert earlier == ("All rows are of an earlier recipe." in told)
    earlier = record["planning_sha256"] != planning_sha256()
    assert earlier == ("All rows are of an earlier search." in told)
    assert {*record["environments"]} <= {*ENVIRONMENTS}
    for name, row in record["environments"].items():
        assert row["settings"] == dict(ENVIRONMENTS[name].settings)


def records(solved: list[bool]) -> list[Record]:
    return [
        Record(
            id=f"reach-{place:05}",
            seed=place,
            goal_seed=place,
            manifest="m",
            policy="p",
            privileged=False,
            outcome="success" if good else "failure",
            error="",
            success_distance=0.5,
            distances=(1.0, 0.2, 0.0 if good else 1.0),
            actions=((0.0,), (0.0,)),
            decisions=(),
        )
        for place, good in enumerate(solved)
    ]


def test_a_row_counts_the_end_and_the_search_is_tested_on_the_same_episodes():
    direct = records([True] * 3 + [False] * 7)
    search = records([False] + [True] * 8 + [False])
    rows = rows_of({"direct": direct, "direct_search": search, "noop": records([False] * 10)})
    assert rows["direct"]["n"] == 10
    assert rows["direct"]["success_final"] == 0.3 and rows["direct"]["success_first_hit"] == 1
    test = rows["paired"]["search_over_direct"]
    assert (test["only_search"], test["only_direct"]) == (6, 1)
    assert test["p"] == pytest.approx(2 * 8 / 2**7)  # exact binomial, two-sided
    hits = rows["paired"]["search_over_direct_first_hit"]  # all pass the goal on their way
    assert (hits["only_search"], hits["only_direct"], hits["p"]) == (0, 0, 1)


def test_every_environment_has_tasks_and_shares_only_what_is_there():
    for name, one in ENVIRONMENTS.items():
        assert one.tasks and one.episodes > 1 and one.steps > 1
        if one.shares:
            other = ENVIRONMENTS[one.shares]
            assert (one.world, one.settings) == (other.world, other.settings), name


def test_what_cannot_be_gets_a_sentence():
    with pytest.raises(ConfigError, match=r"no environment called 'tabletop_rech'.*tabletop_reach"):
        WorldsConfig(("tabletop_rech",))
    with pytest.raises(ConfigError, match="needs an environment, and episodes"):
        WorldsConfig(episodes=0)
    with pytest.raises(ConfigError, match="no offset called"):
        WorldsConfig(offsets=("24",))
    with pytest.raises(ConfigError, match="no way to act called 'serch_only'"):
        WorldsConfig(ways=("direct", "direct_search", "serch_only"))
    with pytest.raises(ConfigError, match="direct and direct_search; name both"):
        WorldsConfig(ways=("direct",))


def test_a_missing_package_shows_before_anything_is_written(tmp_path, monkeypatch):
    missing = Environment("gym:no_such_package:Env-v0", {"25": "ahead_25"})
    monkeypatch.setitem(ENVIRONMENTS, "missing", missing)
    with pytest.raises(ConfigError, match="no_such_package"):
        run_worlds(tmp_path / "out", WorldsConfig(("tabletop_reach", "missing")))
    assert not (tmp_path / "out").exists()


CONFIG = WorldsConfig(
    ("tabletop_reach", "tabletop_push"), episodes=2, steps=10, recorded=60, workers=1
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, worker_id) -> Path:
    """Return the folder of a bench that ended; processes that share the tests share it, too."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "worlds_bench"
    root.mkdir(exist_ok=True)
    with FileLock(root / "lock"):
        if not (root / "out" / "result.json").is_file():
            run_worlds(root / "out", CONFIG, command="again")
    return root / "out"


@pytest.fixture
def own(finished, tmp_path) -> Path:
    """Return a copy of the finished bench."""
    return Path(shutil.copytree(finished, tmp_path / "own"))


@pytest.mark.runs
def test_environments_from_nothing_to_rows_and_a_second_run_repeats_nothing(own):
    found = json.loads((own / "result.json").read_text())
    for name in CONFIG.names:
        row = found["environments"][name]["offsets"]["any"]
        assert {*WAYS, "random", "noop", "oracle", "paired"} == {*row}
        assert row["oracle"]["success_final"] > row["noop"]["success_final"] == 0
        assert row["direct"]["n"] == 2 and row["direct"]["model_steps_per_decision"] == 0
        assert 0 < row["direct_search"]["model_steps_per_decision"] <= 600
        assert 0 <= row["paired"]["search_over_direct"]["p_holm"] <= 1
    assert (own / "tabletop_reach" / "run" / "model" / "policy" / "policy.safetensors").is_file()
    assert not (own / "tabletop_push" / "run").exists()  # it shares that of reaching
    written = {path: path.read_bytes() for path in own.rglob("*.jsonl")}  # with timings
    again = run_worlds(own, CONFIG, command="again")
    assert again["environments"] == found["environments"]
    assert again["planning_sha256"] == found["planning_sha256"]
    assert {path: path.read_bytes() for path in own.rglob("*.jsonl")} == written
    with pytest.raises(ConfigError):
        run_worlds(own, replace(CONFIG, steps=11))


@pytest.mark.runs
def test_what_is_finished_needs_no_package(own, monkeypatch):
    found = json.loads((own / "result.json").read_text())

    def gone(*arguments):
        raise ConfigError("the package is gone")

    monkeypatch.setattr("armillary.experiments.worlds.run.WorldFactory", gone)
    assert run_worlds(own, CONFIG)["environments"] == found["environments"]
    fewer = replace(CONFIG, ways=("direct", "direct_search"))  # a way that is finished is told, too
    assert run_worlds(own, fewer)["environments"] == found["environments"]
    with pytest.raises(ConfigError, match="the package is gone"):
        run_worlds(own, replace(CONFIG, episodes=3))


@pytest.mark.runs
def test_what_was_acted_by_another_rule_is_not_joined(own, monkeypatch):
    other = replace(ENVIRONMENTS["tabletop_reach"], judged={"budget": 7})
    monkeypatch.setitem(ENVIRONMENTS, "tabletop_reach", other)
    with pytest.raises(ConfigError, match="another world, task, number of episodes or seed"):
        run_worlds(own, CONFIG)
