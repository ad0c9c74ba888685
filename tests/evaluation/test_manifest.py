"""A manifest is fixed by its seed, never solved at the start, and survives its file."""

import json
from dataclasses import replace

import point_world as toy
import pytest

from armillary.core.errors import ConfigError, FormatError, WorldError
from armillary.evaluation import load_manifest, make_manifest
from armillary.evaluation.manifest import draw_goal


def make(episodes=20, seed=0, **changes):
    return make_manifest("point", None, episodes, seed, world_factory=toy.PointWorld, **changes)


def test_the_seed_names_the_list_and_a_longer_list_begins_like_a_shorter_one():
    assert make() == make() and make().sha256 == make().sha256
    assert make().sha256 != make(seed=1).sha256
    assert make(30).episodes[:20] == make().episodes


def test_seeds_are_exact_in_json_and_beyond_those_of_recordings():
    for episode in make().episodes:
        assert 2**52 <= episode.seed < 2**53 and 2**52 <= episode.goal_seed < 2**53


def test_no_episode_is_solved_at_its_start():
    rules, world = make(success_distance=0.4), toy.PointWorld()
    for episode in rules.episodes:
        world.reset(episode.seed)
        assert world.distance(draw_goal(world, "reach", episode)) > 0.4
    assert len(rules.episodes) == 20
    assert [e.id for e in rules.episodes] != [e.id for e in make().episodes]


def test_it_survives_its_file(tmp_path):
    rules = make(settings={"size": (1, 2)}, budget=7, planner_budget=99)
    rules.save(tmp_path / "m.json")
    again = load_manifest(tmp_path / "m.json")
    assert again == rules and again.sha256 == rules.sha256
    assert (again.budget, again.success_distance, again.task) == (7, 0.05, "reach")


def test_goals_of_unknown_reachability_are_labelled_and_others_keep_their_hash(tmp_path):
    class Unsure(toy.PointWorld):
        @property
        def spec(self):
            return replace(super().spec, extra={"reachable": {"reach": None}})

    known = make()
    unsure = make_manifest("point", None, 20, 0, world_factory=Unsure)
    assert known.reachable and "reachable" not in known.to_dict()
    assert unsure.reachable is None and unsure.sha256 != known.sha256
    unsure.save(tmp_path / "m.json")
    assert load_manifest(tmp_path / "m.json") == unsure


def test_what_is_not_a_manifest_is_refused(tmp_path):
    path = tmp_path / "m.json"
    for text in ('{"format": "other"}', "[]", '{"format": "armillary.manifest/1"}'):
        path.write_text(text)
        with pytest.raises(FormatError, match=r"not a manifest of format armillary\.manifest/1"):
            load_manifest(path)


@pytest.mark.parametrize(
    ("field", "value"), [("success_distance", float("nan")), ("settings", []), ("settings", None)]
)
def test_a_manifest_with_damaged_values_is_refused(tmp_path, field, value):
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**make().to_dict(), field: value}))
    with pytest.raises(FormatError, match=r"not a manifest of format armillary\.manifest/1"):
        load_manifest(path)


def test_impossible_wishes_get_a_sentence():
    with pytest.raises(ConfigError, match=r"no task of point called 'rech'. Did you mean 'reach'"):
        make_manifest("point", "rech", 3, 0, world_factory=toy.PointWorld)
    with pytest.raises(WorldError, match="of 60 reach episodes only 0 were not solved at the sta"):
        make(3, success_distance=9.0)
    with pytest.raises(ConfigError, match="has 1 to 1000000 episodes; got 0"):
        make(0)
