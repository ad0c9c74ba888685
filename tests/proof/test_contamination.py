"""Copies are found, exact and near; honest data of the same generator pass, as often as claimed."""

import json
import shutil
import sys
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import recordings as made

from armillary.cli.main import main
from armillary.core.errors import ConfigError
from armillary.core.files import read_json, write_json
from armillary.core.values import Episode, Stream
from armillary.data import open_dataset
from armillary.evaluation import Record, load_manifest, make_manifest, write_records
from armillary.proof.contamination import Thoroughness, check_contamination
from armillary.proof.contamination_rules import behaviour_rule, domain, replay_rule
from armillary.proof.evaluations import (
    dataset_evaluation,
    manifest_evaluation,
    quadruplet_evaluation,
)
from armillary.proof.footage import evaluation_footage
from armillary.proof.neighbours import NearestPair, judge, tasks
from armillary.understanding.suites.quadruplets import SEEDS, make_quadruplet
from armillary.worlds import record

HOW = Thoroughness(chance=77, independent=100, pictures=6, replayed=4)
SMALL = {"image_size": 32}
RULES = make_manifest("two_rooms", "reach", 16, 5, settings={"split": "held_out", **SMALL})


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    path = tmp_path_factory.mktemp("honest") / "d"
    record("two_rooms", path, 16, 16, workers=1, seed=1, settings=SMALL)
    return path


@pytest.fixture(scope="module")
def own(honest):
    """The honest recording's episodes, to hide copies among."""
    dataset = open_dataset(honest)
    return [dataset.read(index) for index in range(len(dataset))]


def check(path, manifest=RULES, how=HOW):
    evaluation = manifest_evaluation(manifest, how.chance, steps=9)
    return check_contamination(open_dataset(path), evaluation, how)


def broken(found):
    return {rule.name for rule in found.rules if rule.severity == "error" and rule.ok is False}


def video_only(episode):
    streams = {"rgb": episode.streams["rgb"]}
    return replace(episode, streams=streams, actions=None, source="")


def test_an_honest_recording_is_accepted(honest):
    found = check(honest)
    assert (found.verdict, found.exit_code) == ("accepted", 0)
    assert all(rule.ok for rule in found.rules), [r for r in found.rules if not r.ok]
    assert found.counts["training_pictures"] == 16 * 16
    assert found.for_scorecard()["exact"] == 0


def test_exact_copies_are_refuted_even_without_their_seeds_and_shortened(own, tmp_path):
    stolen = [made.copied(one) for one in made.walks(RULES)[:2]]
    stolen = [replace_length(one, 10) for one in stolen]
    found = check(made.written(tmp_path / "d", [*own, *stolen]))
    assert found.verdict == "refuted"
    assert "exact.trajectories" in broken(found) and "exact.seeds" not in broken(found)


def replace_length(episode, steps):
    streams = {n: replace(s, values=s.values[:steps]) for n, s in episode.streams.items()}
    actions = episode.actions[: steps - 1]
    return replace(episode, streams=streams, actions=actions, time_ns=episode.time_ns[:steps])


def test_one_named_test_seed_is_enough(own, tmp_path):
    source = f"two_rooms seed={RULES.episodes[3].seed}"
    found = check(made.written(tmp_path / "d", [*own[:-1], replace(own[-1], source=source)]))
    assert {"exact.seeds", "seeds.domains", "groups.apart"} <= broken(found)
    said = next(rule.detail for rule in found.rules if rule.name == "exact.seeds")
    assert RULES.episodes[3].id in said and "episode 15" in said


def test_seeds_that_do_not_lead_to_the_data_are_refuted(own, tmp_path):
    about = {"world": "two_rooms", "settings": SMALL, "policy": "explore", "steps": 16, "seed": 1}
    lies = [replace(one, source=f"two_rooms seed={n}") for n, one in enumerate(own)]
    assert broken(check(made.written(tmp_path / "lies", lies, about))) == {"seeds.replayed"}
    assert broken(check(made.written(tmp_path / "truth", own, about))) == set()


def test_a_world_with_things_that_are_absent_begins_again_as_it_was(tmp_path):
    record("tabletop", tmp_path / "d", 3, 4, workers=1, settings={**SMALL, "samples": 0})
    dataset = open_dataset(tmp_path / "d")
    assert any(np.isnan(one.states["objects_xyz"]).any() for one in dataset_of(dataset.path))
    seeds = {index: one.seed for index, one in enumerate(dataset_of(dataset.path))}
    assert replay_rule(dataset, seeds, 3, 0).ok is True


def test_near_copies_by_jitter_and_jpeg_are_refuted_from_pictures_alone(own, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [made.disguised(one, RULES, rng) for one in made.walks(RULES)[:4]]
    disguised = [made.copied(None, "holiday.mp4", states=False, pictures=some) for some in pictures]
    clean = [video_only(one) for one in own]
    found = check(made.written(tmp_path / "d", [*clean, *disguised]))
    assert broken(found) == {"frames.likeness"}
    said = next(rule for rule in found.rules if rule.name == "frames.likeness").detail
    assert said.startswith("4 episodes have a near copy in the training data")
    assert check(made.written(tmp_path / "clean", clean)).verdict == "accepted"


def test_an_episode_too_short_for_a_run_of_pictures_hides_no_other(own, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [made.disguised(one, RULES, rng) for one in made.walks(RULES)[:4]]
    disguised = [made.copied(None, "x.mp4", states=False, pictures=some) for some in pictures]
    data = open_dataset(made.written(tmp_path / "d", [*map(video_only, own), *disguised]))
    whole = manifest_evaluation(RULES, HOW.chance, steps=9)

    def with_a_short_one():
        *others, last = whole.episodes()
        return [*others, replace(last, pictures=lambda: islice(last.pictures(), 3))]

    found = check_contamination(data, replace(whole, episodes=with_a_short_one), HOW)
    assert broken(found) == {"frames.likeness"}
    said = next(rule for rule in found.rules if rule.name == "frames.likeness").detail
    assert said.endswith("Too short for such a run, and not judged: 1.")


def test_pictures_of_a_copy_scattered_over_other_episodes_are_still_found(own, tmp_path):
    rng = np.random.default_rng(1)
    pictures = made.disguised(made.walks(RULES)[0], RULES, rng)
    scattered = []
    for one, picture in zip(own, pictures, strict=False):
        values = one.streams["rgb"].values.copy()
        values[int(rng.integers(len(values)))] = picture
        scattered.append(replace(video_only(one), streams={"rgb": made.Stream("rgb", values)}))
    assert "frames.likeness" in broken(check(made.written(tmp_path / "d", scattered)))


def test_one_jittered_trajectory_is_refuted_from_states_alone(own, tmp_path):
    stolen = made.jittered(made.copied(made.walks(RULES, 60)[7]), np.random.default_rng(2))
    found = check(made.written(tmp_path / "d", [*own, stolen]))
    assert "states.neighbours" in broken(found) and "exact.trajectories" not in broken(found)
    detail = next(rule for rule in found.rules if rule.name == "states.neighbours").detail
    assert RULES.episodes[7].id in detail


def test_false_positives_are_as_rare_as_claimed(honest):
    """Forty honest evaluations: none is refuted, and of their tasks one in a hundred is flagged."""
    tiny = {"image_size": 16}
    others = made.walks(make_manifest("two_rooms", "reach", 600, 3, tiny), 0)
    lists = made.walks(make_manifest("two_rooms", "reach", 1200, 4, tiny), 0)
    pairs = NearestPair(tasks([*lists, *others], ["agent_xy", "door_y", "wall_x"]))
    for footage in dataset_of(honest):
        assert pairs.see(footage)
    flags, p_values = [], []
    for found in np.split(pairs.distances[:1200], 40):
        judged = judge(found, pairs.distances[1200:])
        flags.append(len(judged.flagged))
        p_values.append(judged.p_value)
        assert found.min() > 0.25 * pairs.distances[1200:].min()
    assert 0.002 < sum(flags) / 1200 < 0.03
    assert min(p_values) > 0.001 and sum(p <= 0.05 for p in p_values) <= 6


def dataset_of(path):
    from armillary.proof.footage import dataset_footage

    return dataset_footage(open_dataset(path))


def test_honest_evaluations_are_accepted_whatever_is_drawn(honest):
    for chance in range(2):
        manifest = make_manifest("two_rooms", "cross", 12, 50 + chance, RULES.settings)
        assert broken(check(honest, manifest, replace(HOW, chance=chance))) == set()


def test_an_evaluation_recorded_from_the_same_seed_is_the_same_to_the_bit(honest, tmp_path):
    record("two_rooms", tmp_path / "e", 3, 16, workers=1, seed=1, settings=SMALL)
    others = [
        made.copied(one)
        for one in made.walks(make_manifest("two_rooms", None, 100, 9, {"image_size": 16}), 4)
    ]
    made.written(tmp_path / "fresh", others)
    evaluation = dataset_evaluation(tmp_path / "e", tmp_path / "fresh")
    found = check_contamination(open_dataset(honest), evaluation, HOW)
    assert {"exact.frames", "exact.trajectories", "exact.seeds"} <= broken(found)
    assert found.counts["shared_seeds"] == 3 and found.counts["shared_frames"] == 48


def test_without_independent_episodes_nothing_is_accepted(honest, tmp_path):
    record("two_rooms", tmp_path / "e", 3, 8, workers=1, seed=2, settings=SMALL)
    found = check_contamination(open_dataset(honest), dataset_evaluation(tmp_path / "e"), HOW)
    assert (found.verdict, found.exit_code) == ("undecided", 4)
    with pytest.raises(ConfigError, match="is the evaluation itself; record others"):
        dataset_evaluation(tmp_path / "e", tmp_path / "e")


def test_a_world_that_a_file_names_is_not_imported(honest):
    manifest = replace(RULES, world="gym:this_module_is_a_trap:Trap-v0", settings={})
    found = check(honest, manifest)
    assert found.verdict == "undecided" and "this_module_is_a_trap" not in sys.modules
    hidden = replace(RULES, world="perturbed", settings={"base": "gym:this_module_is_a_trap:T-v0"})
    assert check(honest, hidden).verdict == "undecided"


def test_a_picture_that_evaluation_episodes_share_is_no_evidence():
    from armillary.proof.exact import ExactIndex
    from armillary.proof.footage import Footage, frame_digest

    blank, own_picture = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 7, np.uint8)
    index = ExactIndex()
    index.hold(Footage("a", pictures=lambda: iter([blank, own_picture, own_picture])))
    index.hold(Footage("b", pictures=lambda: iter([blank])))
    for picture in (blank, own_picture):
        index.see_frame(frame_digest(picture), Footage("training"))
    assert index.hits.counts["frames"] == 1 and index.held["frames"] == 1


def test_a_source_on_both_sides_of_the_split_is_told(own, tmp_path):
    clips = [replace(video_only(one), source="one_long_video.mp4") for one in own]
    found = check(made.written(tmp_path / "d", clips))
    rule = next(rule for rule in found.rules if rule.name == "groups.split")
    assert rule.ok is False and "one_long_video.mp4" in rule.detail
    assert found.verdict == "accepted"  # a warning: validation suffers, the evaluation does not


def test_seeds_of_recordings_manifests_and_suites_never_meet():
    assert domain(0) == domain((1 << 48) - 1) == "recordings"
    assert {domain(e.seed) for e in RULES.episodes} == {"manifests"}
    assert domain(1 << 200) == "suites"


def outcome(number, seed, won):
    return Record(
        f"e{number}", seed, 0, "m", "p", False, "success" if won else "failure", "", 0.1,
        (1.0,), (), (),
    )  # fmt: skip


def test_better_on_seen_seeds_than_on_fresh_ones_is_told():
    seen = [outcome(i, i, i < 45) for i in range(50)]
    fresh = [outcome(i, 100 + i, i < 25) for i in range(50)]
    assert behaviour_rule(seen, fresh).ok is False
    assert behaviour_rule(fresh, seen).ok is True
    with pytest.raises(ConfigError, match="no seed may be in both"):
        behaviour_rule(seen, seen)


def run(capsys, *words):
    code = main(["proof", "contam", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_says_so_with_its_exit_code(honest, own, tmp_path, capsys):
    RULES.save(tmp_path / "m.json")
    assert load_manifest(tmp_path / "m.json") == RULES
    words = ("--manifest", tmp_path / "m.json", "--draws", 100, "--seed", 3)
    code, value = run(capsys, honest, *words)
    assert code == 0 and value["verdict"] == "accepted" and value["seed"] == 3
    assert {frozenset(rule) for rule in value["rules"]} == {
        frozenset({"name", "severity", "ok", "detail"})
    }
    stolen = made.written(tmp_path / "d", [*own, *map(made.copied, made.walks(RULES)[:1])])
    assert run(capsys, stolen, *words)[0] == 1
    trap = read_json(tmp_path / "m.json") | {"world": "gym:nowhere:Nothing-v0"}
    write_json(tmp_path / "trap.json", trap)
    assert run(capsys, honest, "--manifest", tmp_path / "trap.json")[0] == 4


def test_what_cannot_be_read_is_malformed_and_one_sentence(honest, tmp_path, capsys):
    (tmp_path / "m.json").write_text("[1]")
    code, value = run(capsys, honest, "--manifest", tmp_path / "m.json")
    assert code == 2 and "not a manifest" in value["error"]
    code, value = run(capsys, honest)
    assert (
        code == 2 and "--manifest FILE, --evaluation DATASET and --quadruplets N" in value["error"]
    )
    few = run(capsys, honest, "--quadruplets", 1, "--independent", tmp_path)
    assert few[0] == 2 and "--independent needs --evaluation" in few[1]["error"]
    code, value = run(capsys, tmp_path / "none", "--manifest", tmp_path / "m.json")
    assert code == 2 and "no such folder" in value["error"]
    broken_data = shutil.copytree(honest, tmp_path / "broken")
    video = next(broken_data.rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:500])
    RULES.save(tmp_path / "good.json")
    code, value = run(capsys, broken_data, "--manifest", tmp_path / "good.json", "--draws", 100)
    assert code == 2 and "episode" in value["error"]


def test_records_are_walked_for_their_trajectories(own, tmp_path):
    from armillary.evaluation import RandomSpec, evaluate

    manifest = replace(RULES, episodes=RULES.episodes[:4], budget=12)
    records = evaluate(manifest, RandomSpec())
    acted = list(evaluation_footage(manifest, {r.id: r for r in records}, 12))
    stolen = made.written(tmp_path / "d", [*own, made.copied(acted[2])])
    evaluation = manifest_evaluation(manifest, HOW.chance, records)
    found = check_contamination(open_dataset(stolen), evaluation, HOW)
    assert "exact.trajectories" in broken(found)
    write_records(tmp_path / "r.jsonl", records)
    with pytest.raises(ConfigError, match="belong to another manifest"):
        manifest_evaluation(RULES, 0, records)


def test_a_clip_of_the_comprehension_suite_in_training_is_refuted(tmp_path):
    concepts = ("gravity", "number")
    evaluation = quadruplet_evaluation(1, 3, concepts=concepts)
    record("stage", tmp_path / "honest", 12, 40, workers=1)
    how = Thoroughness(3, 100)
    assert check_contamination(open_dataset(tmp_path / "honest"), evaluation, how).exit_code == 0
    frames = make_quadruplet("number", 0, SEEDS["test"]).frames[1, 1]
    smuggled = Episode(
        streams={"rgb": Stream("rgb", frames)},
        time_ns=np.arange(len(frames), dtype=np.int64) * 10**8,
    )
    made.written(tmp_path / "cheat", [smuggled])
    found = check_contamination(open_dataset(tmp_path / "cheat"), evaluation, how)
    assert found.exit_code == 1  # video is lossy: alike, not equal
    assert "frames.likeness" in broken(found)
    with pytest.raises(ConfigError, match="at least 1 quadruplet"):
        quadruplet_evaluation(0, 3)
