"""Suites and seeds: one digest for the question, and episodes nobody knew before the reveal."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.core.errors import CheckFailedError, ConfigError, FormatError
from armillary.evaluation.manifest import draw_goal, make_manifest
from armillary.proof import code, golden
from armillary.proof.builtin import BUILTIN, builtin_suite, draft, find_suite
from armillary.proof.code import code_digest, code_files, definitions
from armillary.proof.seeds import draw_manifest, episode_seeds
from armillary.proof.suite import Suite, load_suite, suite_from
from armillary.worlds.recording import episode_seed

V = "7" * 64
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@pytest.fixture(scope="module")
def tiny() -> Suite:
    return builtin_suite("tiny")


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_suites_are_as_this_installation_draws_them(name: str) -> None:
    suite = builtin_suite(name)
    suite.check_installation()
    assert draft(name) == suite
    assert len(suite.golden) == 4 * len(suite.tasks)
    assert suite.headline == (name != "tiny")


def test_a_suite_comes_back_with_its_digest(tiny: Suite, tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    tiny.save(path)
    assert load_suite(path) == tiny
    assert tiny.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert find_suite(str(path)).digest == tiny.digest
    with pytest.raises(ConfigError, match=r"no suite called 'tinyy'\. Did you mean 'tiny'"):
        find_suite("tinyy")


def test_every_rule_is_in_the_digest(tiny: Suite) -> None:
    task = tiny.tasks[0]
    tasks = [
        replace(task, success_distance="0.031"),
        replace(task, budget=61),
        replace(task, episodes=9),
        replace(task, planner_budget=None),
        replace(task, settings={**task.settings, "split": "train"}),
        replace(task, stop_at_hit=True),
    ]
    suites = [replace(tiny, tasks=(one,)) for one in tasks]
    suites += [replace(tiny, code=V), replace(tiny, profile="fast"), replace(tiny, controls=())]
    assert len({tiny.digest, *(suite.digest for suite in suites)}) == len(suites) + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"world": "gym:os:system"}, "world: one of"),
        ({"settings": {"base": "gym:evil:Env-v0"}}, "base world that suites do not have"),
        ({"settings": {"base": []}}, "base world that suites do not have"),
        ({"settings": {"max_step_m": 0.02}}, "is a float"),
        ({"success_distance": "0"}, "success distance of 0"),
        ({"success_distance": "1e5"}, "success_distance: text like"),
        ({"episodes": 10**9}, "episodes: an integer"),
        ({"name": "../x"}, "name: text like"),
    ],
)
def test_a_damaged_suite_is_one_sentence(tiny: Suite, change, said: str) -> None:
    value = json.loads(json.dumps(tiny.to_dict()))
    value["tasks"][0] |= change
    with pytest.raises(FormatError, match=said):
        suite_from(value, "suite.json")


def test_settings_that_make_no_world_are_one_sentence(tiny: Suite) -> None:
    for settings in ({"image_size": "x"}, {"sensors": 3}):
        suite = replace(tiny, tasks=(replace(tiny.tasks[0], settings=settings),))
        with pytest.raises(ConfigError, match=r"two_rooms: \w+ takes .*, got"):
            suite.check_installation()


def test_headlines_need_episodes(tiny: Suite) -> None:
    with pytest.raises(ConfigError, match="a headline needs at least 200 episodes a task"):
        replace(tiny, headline=True)
    with pytest.raises(ConfigError, match="used twice"):
        replace(tiny, tasks=tiny.tasks * 2)


def test_a_drifting_world_is_noticed(tiny: Suite, monkeypatch) -> None:
    real = golden.draw_goal

    def near(world, task, episode):
        goal = real(world, task, episode)
        goal.truth["agent_xy"][0] += np.float32(1e-6)
        return goal

    monkeypatch.setattr(golden, "draw_goal", near)
    with pytest.raises(CheckFailedError, match="draws another start or goal here"):
        tiny.check_installation()


def test_other_code_is_noticed(tiny: Suite) -> None:
    with pytest.raises(ConfigError, match="was made with other code"):
        replace(tiny, code=V).check_installation()


def test_the_code_that_decides_is_closed_under_imports() -> None:
    names = {str(path.relative_to(code._ROOT)) for path in code_files(["two_rooms"])}
    decides = {
        *("evaluation/evaluate.py", "evaluation/episode.py", "evaluation/manifest.py"),
        *("worlds/two_rooms/world.py", "worlds/two_rooms/layout.py", "worlds/registry.py"),
        *("core/rng.py", "models/jepa.py", "planning/cem.py", "data/resize.py"),
        *("proof/seeds.py", "proof/rows.py", "core/statistics.py"),
    }
    assert decides <= names
    assert not {"worlds/tabletop/world.py", "worlds/recorder.py", "training/loop.py"} & names
    assert not any(name.endswith("__init__.py") for name in names)
    assert "worlds/tabletop/world.py" in {
        str(path.relative_to(code._ROOT)) for path in code_files(["tabletop"])
    }
    assert code_digest(["two_rooms"]) != code_digest(["tabletop"])
    with pytest.raises(ConfigError, match="no world for suites called 'gym:x'"):
        code_files(["gym:x"])


FILE = '''"""A file."""

from x.y import z


@z
def twice(n):
    """Return twice n."""
    import x.y

    return 2 * n


ONE = 1
'''


def test_a_definition_may_move_and_may_not_change() -> None:
    twice, one = definitions(FILE)
    assert twice.startswith("@z\ndef twice(n):") and one == "ONE = 1"
    moved = definitions(FILE.replace("ONE = 1\n", "")) + definitions("import q\n\nONE = 1\n")
    assert sorted(moved) == sorted([twice, one])
    assert definitions(FILE.replace("x.y", "x.other").replace("A file", "A book")) == [twice, one]
    assert definitions(FILE.replace("2 * n", "3 * n"))[0] != twice
    assert definitions(FILE.replace("@z\n", ""))[0] != twice


def test_seeds_are_as_the_page_says(tiny: Suite) -> None:
    text = f"wm-test/1|{tiny.digest}|{V}|two_rooms-reach|3"
    first = hashlib.sha256(text.encode()).hexdigest()
    wanted = int("1" + first[:13], 16), int("1" + first[13:26], 16)
    assert episode_seeds(tiny.digest, V, "two_rooms-reach", 3) == wanted


@given(HEX, HEX, st.integers(0, 10**6), st.integers(0, 2**63 - 1), st.integers(0, 10**6))
def test_test_seeds_are_never_training_seeds(suite, value, index, seed, episode) -> None:
    for one in episode_seeds(suite, value, "two_rooms-reach", index):
        assert 2**52 <= one < 2**53  # exact in JSON
    assert 0 <= episode_seed(seed, episode) < 2**48


@given(HEX, HEX, st.integers(0, 1000))
def test_every_part_decides(suite: str, value: str, index: int) -> None:
    other = "f" * 64 if value != "f" * 64 else "e" * 64
    found = {
        episode_seeds(suite, value, "a", index),
        episode_seeds(suite, other, "a", index),
        episode_seeds(suite, value, "b", index),
        episode_seeds(suite, value, "a", index + 1),
    }
    assert len(found) == 4


def test_a_value_is_hexadecimal(tiny: Suite) -> None:
    for value in ("7" * 63, "G" * 64, "A" * 64, ""):
        with pytest.raises(ConfigError, match="value must be 64 lower-case"):
            episode_seeds(tiny.digest, value, "x", 0)


def test_everybody_draws_the_same_manifest(tiny: Suite) -> None:
    task = tiny.tasks[0]
    manifest = draw_manifest(tiny, task, V)
    assert manifest == draw_manifest(tiny, task, V)
    assert len(manifest.episodes) == task.episodes
    assert (manifest.success_distance, manifest.budget) == (0.03, 60)
    assert manifest.sha256 != draw_manifest(tiny, task, "8" * 64).sha256
    # a challenge of more episodes begins with the same ones
    more = draw_manifest(tiny, task, V, 20)
    assert more.episodes[: task.episodes] == manifest.episodes


def test_solved_starts_are_passed_over_in_order(tiny: Suite) -> None:
    far = replace(tiny.tasks[0], success_distance="0.3", episodes=20)
    suite = replace(tiny, tasks=(far,))
    found = draw_manifest(suite, far, V)
    world = far.factory()
    kept = []
    for index in range(int(found.episodes[-1].id[-5:]) + 1):
        seeds = episode_seeds(suite.digest, V, far.name, index)
        episode = replace(found.episodes[0], id="", seed=seeds[0], goal_seed=seeds[1])
        world.reset(episode.seed)
        if world.distance(draw_goal(world, far.task, episode)) > 0.3:
            kept.append((f"{far.name}-{index:05d}", *seeds))
    assert kept == [(e.id, e.seed, e.goal_seed) for e in found.episodes]
    assert len(kept) < index + 1  # some were passed over


def test_manifests_of_before_are_what_they_were() -> None:
    manifest = make_manifest("two_rooms", "reach", 3, 0, {"split": "held_out"})
    assert [episode.id for episode in manifest.episodes] == [f"reach-{i:05d}" for i in range(3)]
    assert manifest.sha256 == "adedcdd661d7ae9ae98d74356fb836dc11c39a9b14acf4e5e89ebdc56b6988ec"
