"""LeRobot's own evaluation gives the records of armillary's: outcomes, distances and actions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("lerobot", reason="needs lerobot 0.4.4; make test-lerobot installs it")

from gymnasium.utils.env_checker import check_env
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.factory import make_env
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.processor import PolicyProcessorPipeline
from lerobot.scripts.lerobot_eval import eval_policy

from armillary.core.errors import ConfigError, ShapeError
from armillary.evaluation import ModelSpec, WorldFactory, evaluate, load_manifest, read_records
from armillary.planning import Planning
from conftest import ROOMS, SIDE, TABLE
from lerobot_policy_armillary import ArmillaryConfig, ArmillaryEnv, ArmillaryPolicy, GoalEpisodes


def evaluated(config: PreTrainedConfig, env: ArmillaryEnv, batch: int, episodes: int) -> list[bool]:
    """Evaluate as ``lerobot-eval`` does, by the functions that it calls."""
    vector = make_env(env, n_envs=batch)["armillary"][0]
    policy = make_policy(cfg=config, env_cfg=env)
    overrides = {
        "device_processor": {"device": "cpu"},
        "rename_observations_processor": {"rename_map": {}},
    }
    before, after = make_pre_post_processors(
        policy_cfg=config,
        pretrained_path=config.pretrained_path,
        preprocessor_overrides=overrides,
    )
    same = PolicyProcessorPipeline(steps=[])
    found = eval_policy(vector, policy, same, same, before, after, episodes, start_seed=0)
    vector.close()
    return [one["success"] for one in found["per_episode"]]


def same_records(path: Path, expected: Any) -> None:
    """Check that what happened in each episode is equal to the bit."""
    found = {record.id: record for record in read_records(path)}
    assert len(found) == len(expected)
    for record in expected:
        one = found[record.id]
        for name in ("seed", "goal_seed", "manifest", "outcome", "actions", "distances"):
            assert getattr(one, name) == getattr(record, name), name


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("planner", ["", "direct", "icem", "gradient"])
def test_the_records_are_those_of_evaluate(rooms_model, manifests, tmp_path, planner, batch):
    manifest = load_manifest(manifests[ROOMS])
    expected = evaluate(manifest, ModelSpec(rooms_model, Planning(planner)))
    env = ArmillaryEnv(manifest=str(manifests[ROOMS]), records=str(tmp_path / "records.jsonl"))
    config = ArmillaryConfig(model=str(rooms_model), world=ROOMS, planner=planner)
    successes = evaluated(config, env, batch, len(manifest.episodes))
    assert successes == [record.success for record in expected]
    same_records(tmp_path / "records.jsonl", expected)


def test_depth_and_poses_arrive_to_the_bit(table_model, manifests, tmp_path):
    manifest = load_manifest(manifests[TABLE])
    expected = evaluate(manifest, ModelSpec(table_model))
    env = ArmillaryEnv(manifest=str(manifests[TABLE]), records=str(tmp_path / "records.jsonl"))
    config = ArmillaryConfig(model=str(table_model), world=TABLE)
    evaluated(config, env, 2, len(manifest.episodes))
    same_records(tmp_path / "records.jsonl", expected)


def test_a_saved_policy_needs_nothing_but_its_folder(rooms_model, manifests, tmp_path):
    manifest = load_manifest(manifests[ROOMS])
    policy = ArmillaryPolicy.from_pretrained(rooms_model, world=ROOMS, planner="direct")
    policy.save_pretrained(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "policy")
    config = PreTrainedConfig.from_pretrained(tmp_path / "policy")
    assert config.model == ""
    config.pretrained_path = tmp_path / "policy"
    env = ArmillaryEnv(manifest=str(manifests[ROOMS]), records=str(tmp_path / "records.jsonl"))
    evaluated(config, env, 1, len(manifest.episodes))
    expected = evaluate(manifest, ModelSpec(rooms_model, Planning("direct")))
    same_records(tmp_path / "records.jsonl", expected)


def test_a_seed_is_a_place_in_the_manifest(manifests):
    manifest = load_manifest(manifests[ROOMS])
    env = gymnasium.make("armillary/GoalEpisodes-v0", manifest=str(manifests[ROOMS]))
    for seed, place in ((0, 0), (3, 3), (5, 1)):
        _, info = env.reset(seed=seed)
        assert info["episode"] == manifest.episodes[place].id
    assert env.reset()[1]["episode"] == manifest.episodes[2].id
    env.close()


def test_it_is_an_environment_of_gymnasium(manifests):
    env = GoalEpisodes(str(manifests[TABLE]))
    check_env(env, skip_render_check=True)
    seen, _ = env.reset(seed=0)
    assert seen["pixels"].keys() == {"rgb", "goal"}
    hidden = {"pusher_xy", "object_xy", "segmentation"}
    assert not hidden & (seen["robot_state"].keys() | seen["robot_state"]["goal"].keys())
    assert env.render().shape == (SIDE, SIDE, 3)
    env.close()


def test_the_goal_is_that_of_the_manifest(manifests):
    env = GoalEpisodes(str(manifests[TABLE]))
    seen, _ = env.reset(seed=1)
    world = WorldFactory(TABLE, env.manifest.settings)()
    episode = env.manifest.episodes[1]
    now = world.reset(episode.seed)
    from armillary.evaluation.manifest import draw_goal

    goal = draw_goal(world, "reach", episode).observation
    np.testing.assert_array_equal(seen["pixels"]["rgb"], now.streams["rgb"])
    np.testing.assert_array_equal(seen["pixels"]["goal"], goal.streams["rgb"])
    for name in ("depth", "world_from_camera", "intrinsics"):
        np.testing.assert_array_equal(seen["robot_state"][name], now.streams[name])
        np.testing.assert_array_equal(seen["robot_state"]["goal"][name], goal.streams[name])
    world.close()
    env.close()


def test_only_chosen_episodes_are_recorded_and_none_is_overwritten(manifests, tmp_path):
    path = tmp_path / "records.jsonl"
    env = GoalEpisodes(str(manifests[ROOMS]), str(path))
    for seed in (2, None):
        env.reset(seed=seed)
        ended = False
        while not ended:
            _, reward, terminated, ended, info = env.step(np.zeros(2, np.float32))
            assert not terminated and (ended or not info["is_success"])
            assert reward == float(info["is_success"])
    assert [record.id for record in read_records(path)] == [env.manifest.episodes[2].id]
    env.close()
    with pytest.raises(ConfigError, match=r"there are records already; name another file"):
        GoalEpisodes(str(manifests[ROOMS]), str(path))


def test_an_episode_that_stops_at_the_goal_ends_there(manifests, tmp_path):
    manifest = replace(load_manifest(manifests[ROOMS]), stop_at_hit=True, success_distance=1e6)
    manifest.save(tmp_path / "manifest.json")
    env = GoalEpisodes(str(tmp_path / "manifest.json"))
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(np.zeros(2))
    assert terminated and not truncated and info["is_success"] and reward == 1.0
    env.close()


def test_actions_are_brought_into_the_bounds_and_nan_is_refused(manifests):
    env = GoalEpisodes(str(manifests[TABLE]))
    env.reset(seed=0)
    env.step(np.array([np.float32(0.4), -9.0], np.float32))
    assert env._actions == [(0.4, -0.4)]
    with pytest.raises(ShapeError, match="not finite"):
        env.step(np.array([np.nan, 0.0]))
    with pytest.raises(ShapeError, match=r"has shape \(3,\)"):
        env.step(np.zeros(3))
    env.close()


def test_an_environment_without_episodes_is_refused():
    with pytest.raises(ConfigError, match=r"with --env\.manifest"):
        ArmillaryEnv()
