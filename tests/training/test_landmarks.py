"""Landmarks know the ways that were recorded, and lead round a wall that a straight way ends at."""

import json
from dataclasses import replace
from pathlib import Path

import maze
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import spearmanr

from armillary.core.errors import CheckpointError, ConfigError, TrainingError
from armillary.evaluation.goal_conditioned_policy import GoalConditionedPolicy, GoalConditionedState
from armillary.evaluation.sub_goals import SubGoalPolicy, SubGoalState
from armillary.models.landmarks import (
    LANDMARKS_FILE,
    SHARE_OF_FAR,
    Landmarks,
    load_landmarks,
    save_landmarks,
)
from armillary.training.landmarks import fit_landmarks, known_share, recorded_ways

FARTHEST = 8


@pytest.fixture(scope="module")
def walked():
    return maze.wandering(400, 40)


@pytest.fixture(scope="module")
def found(walked):
    return fit_landmarks(walked, FARTHEST)


def a_line(count=10, far=2.0):
    """Landmarks at 0, 1, 2, ..., and a way of two steps from each to the next, none back."""
    places = torch.arange(float(count))[:, None]
    first = torch.arange(count - 1)
    return Landmarks(places, torch.stack([first, first + 1], 1), torch.full((count - 1,), 2.0), far)


def test_each_landmark_is_the_farthest_from_those_before(walked, found):
    places = found.latents
    gaps = [float((places[:n] - places[n]).norm(dim=1).min()) for n in range(1, len(places))]
    assert gaps == sorted(gaps, reverse=True)
    away = torch.cdist(walked.latents, places).min(1).values.max()
    assert away <= gaps[-1] + 1e-6  # nothing recorded is farther from all of them
    assert len(places) == 125  # a move is as long as 250 of them are apart


def test_a_way_is_the_median_of_those_that_were_recorded():
    places = torch.tensor([0.0, 0, 0, 1, 1, 5, 5, 0, 0, 0, 0, 0, 1, 1, 1, 5])[None, :, None]
    encoded = maze.encoded(places, torch.zeros_like(places))
    marks = Landmarks(torch.tensor([[0.0], [1.0], [5.0]]), torch.empty(0, 2).long(),
                      torch.empty(0), 1.0)  # fmt: skip
    pairs, steps = recorded_ways(marks, encoded)
    assert pairs.tolist() == [[0, 1], [1, 2], [2, 0], [0, 1], [1, 2]]
    assert steps.tolist() == [3, 2, 2, 5, 3]
    fitted = fit_landmarks(maze.encoded(places.repeat(2, 1, 1), torch.zeros(2, 16, 1)), 4)
    by_place = {
        (float(fitted.latents[a]), float(fitted.latents[b])): float(step)
        for (a, b), step in zip(fitted.pairs.tolist(), fitted.steps, strict=True)
    }
    assert by_place == {(0, 1): 4, (1, 5): 2.5, (5, 0): 2}


def test_ways_do_not_lead_from_one_episode_to_another():
    places = torch.tensor([[0.0, 0.0], [1.0, 1.0]])[..., None]
    with pytest.raises(TrainingError, match="No recorded episode leads from one landmark to an"):
        fit_landmarks(maze.encoded(places, torch.zeros_like(places)), 1)


def test_the_ways_go_round_the_wall(found):
    rng = np.random.default_rng(0)
    here, goal = rng.uniform(-1, 1, (2, 200, 2))
    keep = (np.abs(here[:, 0]) > 0.2) & (np.abs(goal[:, 0]) > 0.2)
    here, goal = here[keep], goal[keep]
    left = np.array([
        found.ways_to(torch.tensor(g, dtype=torch.float32)).left[
            int(found.nearest(torch.tensor(h, dtype=torch.float32)[None])[0])
        ]
        for h, g in zip(here, goal, strict=True)
    ])  # fmt: skip
    walk = maze.steps_to_walk(here, goal)
    assert np.isfinite(left).mean() > 0.99
    straight = np.abs(here - goal).max(1)
    across = np.sign(here[:, 0]) != np.sign(goal[:, 0])
    by_ways = spearmanr(left[across], walk[across]).statistic
    assert by_ways > 0.85 > spearmanr(straight[across], walk[across]).statistic


def test_a_sub_goal_is_on_the_shortest_way_and_not_where_the_goal_is_near():
    marks = a_line(far=6.0)  # 3 landmarks away
    ways = marks.ways_to(torch.tensor([9.2]))
    assert ways.left.tolist() == [18, 16, 14, 12, 10, 8, 6, 4, 2, 0]
    place, steps = marks.sub_goal(torch.tensor([1.1]), ways)
    assert SHARE_OF_FAR == 0.5 and (float(place), steps) == (3.0, 4.0)  # the first beyond 3 steps
    assert float(marks.sub_goal(torch.tensor([7.0]), ways)[0]) == 9.0  # the landmark at the goal
    assert marks.sub_goal(torch.tensor([8.0]), ways) is None  # 2 steps are near
    assert marks.sub_goal(torch.tensor([5.0]), marks.ways_to(torch.tensor([2.0]))) is None  # no way


def test_far_is_where_nine_in_ten_goals_of_the_training_are_nearer(walked, found):
    near = fit_landmarks(walked, 2)
    assert 0 < near.far < found.far < 2 * FARTHEST


def test_held_out_episodes_tell_whether_the_scene_is_the_same(found):
    other = maze.wandering(50, 40, seed=1)
    assert known_share(found, other) > 0.9
    mixed = replace(other, latents=other.latents[torch.randperm(len(other.latents))])
    assert known_share(found, mixed) < 0.1
    still = maze.encoded(torch.zeros(2, 5, 2), torch.zeros(2, 5, 2))
    assert np.isnan(known_share(found, still))


class Greedy:
    """Goes straight to where it shall go, not quite surely: so it slips past a corner."""

    def __init__(self, noise=0.0):
        self.noise, self.rng = noise, torch.Generator().manual_seed(0)

    def act(self, latents, goals, steps_left):
        return goals - latents + self.noise * torch.randn(latents.shape, generator=self.rng)


def walks(policy, starts, goals):
    """How many arrive in 60 moves."""
    arrived = 0
    for start, goal in zip(starts, goals, strict=True):
        begun = GoalConditionedState(0, 0, goal)
        if isinstance(policy, SubGoalPolicy):
            begun = SubGoalState(0, 0, goal, ways=policy.landmarks.ways_to(goal))
        here, state = start, begun
        for step in range(60):
            state = replace(state, step=step, seen=(here[None, None, None],))
            action, _, _ = policy.decide(state)
            here = maze.moved(here, torch.from_numpy(action).float())
        arrived += bool((here - goal).norm() < 0.3)
    return arrived


def test_a_policy_that_goes_straight_passes_the_door_with_sub_goals(found):
    rng = torch.Generator().manual_seed(0)
    starts = torch.rand(40, 2, generator=rng) * 0.6 + torch.tensor([-0.9, -0.9])
    goals = torch.rand(40, 2, generator=rng) * 0.6 + torch.tensor([0.3, -0.9])
    flat = GoalConditionedPolicy(maze.MazeModel(), Greedy(0.1), maze.BOUNDS, deadline=60)
    led = SubGoalPolicy(maze.MazeModel(), Greedy(0.1), maze.BOUNDS, deadline=60, landmarks=found)
    assert walks(flat, starts, goals) == 0
    assert walks(led, starts, goals) > 20  # others stand at a corner of the door


def test_the_time_that_is_left_is_that_of_the_sub_goal_and_never_after_the_deadline():
    told = []

    class Told(Greedy):
        def act(self, latents, goals, steps_left):
            told.append((float(goals[0, 0]), steps_left))
            return super().act(latents, goals, steps_left)

    bounds, marks = maze.BOUNDS, a_line(far=6.0)
    policy = SubGoalPolicy(maze.MazeModel(), Told(), bounds, deadline=100, landmarks=marks)
    goal = torch.tensor([9.0])
    state = SubGoalState(0, 0, goal, ways=marks.ways_to(goal))
    for place, step in ((1.0, 10), (8.0, 10), (1.0, 97)):
        seen = torch.tensor([[[[place]]]])
        policy.decide(replace(state, step=step, seen=(seen,)))
    # a goal policy means to arrive in half of the time that it is told
    assert told == [(3.0, 8.0), (9.0, 90.0), (3.0, 3.0)]


def test_what_is_not_complete_is_refused():
    bounds = maze.BOUNDS
    with pytest.raises(ConfigError, match="with sub-goals needs landmarks"):
        SubGoalPolicy(maze.MazeModel(), Greedy(), bounds)
    policy = SubGoalPolicy(maze.MazeModel(), Greedy(), bounds, landmarks=a_line())
    with pytest.raises(ConfigError, match="knows no ways to its goal"):
        policy.decide(GoalConditionedState(0, 0, torch.zeros(1)))
    with pytest.raises(TrainingError, match="latents of 1 of 4"):
        fit_landmarks(maze.encoded(torch.tensor([[0.0, 1, 2, torch.nan]])[..., None],
                                   torch.zeros(1, 4, 1)), 1)  # fmt: skip


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


def test_what_was_saved_is_read(folder, found):
    assert load_landmarks(folder, 2) is None
    assert save_landmarks(found, folder) == folder / LANDMARKS_FILE
    read = load_landmarks(folder, 2)
    for name in ("latents", "pairs", "steps"):
        assert torch.equal(getattr(read, name), getattr(found, name))
    assert read.far == found.far


def written(folder, change=None, **about):
    """Landmarks as a file whose header or tensors are changed."""
    save_landmarks(a_line(), folder)
    said = {"architecture": "landmarks", "landmarks": 10, "ways": 9, "far": 2.0}
    said["model_sha256"] = json.loads(_header(folder))["model_sha256"]
    tensors = {"latents": a_line().latents, "pairs": a_line().pairs.double(),
               "steps": a_line().steps} | (change or {})  # fmt: skip
    save_file(tensors, folder / LANDMARKS_FILE, {"armillary": json.dumps(said | about)})


def _header(folder):
    from safetensors import safe_open

    with safe_open(folder / LANDMARKS_FILE, framework="pt") as file:
        return file.metadata()["armillary"]


@pytest.mark.parametrize(
    ("change", "about", "said"),
    [
        ({}, {"architecture": "goal_policy"}, "does not say that it holds landmarks"),
        ({}, {"landmarks": 10**12}, "does not say how many"),
        ({}, {"ways": -1}, "does not say how many"),
        ({}, {"far": "2"}, "does not say how many"),
        ({}, {"far": -1.0}, "takes no time"),
        ({}, {"model_sha256": "0"}, "belongs to another model"),
        ({}, {"landmarks": 11}, "latents"),
        ({"pairs": a_line().pairs.double() + 0.5}, {}, "no whole number"),
        ({"pairs": a_line().pairs.double() + 1}, {}, "do not go together"),
        ({"pairs": a_line().pairs.double() - 1}, {}, "do not go together"),
        ({"steps": a_line().steps * 0}, {}, "takes no time"),
        ({"steps": a_line().steps * torch.nan}, {}, "NaN"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name(folder, change, about, said):
    written(folder, change, **about)
    with pytest.raises(CheckpointError, match=said) as error:
        load_landmarks(folder, 1)
    assert LANDMARKS_FILE in str(error.value)


def test_what_is_no_safetensors_file_is_refused(folder):
    save_landmarks(a_line(), folder)
    (folder / LANDMARKS_FILE).write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_landmarks(folder, 1)
    with pytest.raises(CheckpointError, match=r"contains no model\.safetensors"):
        save_landmarks(a_line(), folder / "elsewhere")
