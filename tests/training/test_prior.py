"""The goal distance knows detours and joins recordings; with it search finds the door."""

import itertools
from dataclasses import replace

import maze
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from armillary.control import ModelPolicy
from armillary.core.errors import ConfigError, TrainingError
from armillary.core.rng import generator
from armillary.core.values import Batch, Latent
from armillary.models import JEPA, GoalPrior
from armillary.planning import make_planner
from armillary.training import prior as prior_module
from armillary.training.augment import AugmentConfig
from armillary.training.prior import PriorConfig, fit_prior, judge_prior, train_prior
from armillary.training.trails import GoalShares, Trails, draw, trails_of

QUICK = PriorConfig(steps=600, batch_size=256, lr=2e-3, hidden=64, farthest=40.0)


@pytest.fixture(scope="module")
def prior():
    return fit_prior(maze.wandering(), QUICK)


def distances(prior, here, goal):
    here, goal = (torch.as_tensor(x, dtype=torch.float32) for x in (here, goal))
    with torch.no_grad():
        return prior.distance(here[:, None, None], goal[:, None])[:, 0].numpy()


def test_it_orders_states_by_the_way_to_walk_not_by_how_near_they_lie(prior):
    rng = generator("maze-pairs")
    here, goal = rng.uniform(0.1, 1, (2, 500, 2)) * rng.choice([-1, 1], (2, 500, 2))
    walk = maze.steps_to_walk(here, goal)
    learned = spearmanr(distances(prior, here, goal), walk)[0]
    straight = spearmanr(np.linalg.norm(here - goal, axis=-1), walk)[0]
    assert learned > 0.9 and learned > straight + 0.15


def test_behind_the_wall_the_way_to_the_door_is_nearer(prior):
    goal = np.array([[0.3, -0.6]])
    at_the_wall, at_the_door = np.array([[-0.15, -0.6]]), np.array([[-0.15, 0.7]])
    assert np.linalg.norm(at_the_wall - goal) < np.linalg.norm(at_the_door - goal)
    assert distances(prior, at_the_door, goal) < distances(prior, at_the_wall, goal) - 3


def chain(first, last, episodes):
    """Episodes that go up a chain from one number to another."""
    steps = torch.arange(first, last + 1.0)[None, :, None].expand(episodes, -1, 1)
    return maze.trails(steps / 10, torch.ones_like(steps))


def joined(*parts):
    offsets = np.cumsum([0] + [len(part.latents) for part in parts])[:-1].tolist()
    moved = [(part.begin + by, part.end + by) for part, by in zip(parts, offsets, strict=True)]
    return Trails(
        torch.cat([part.latents for part in parts]),
        torch.cat([part.actions for part in parts]),
        torch.cat([begin for begin, _ in moved]),
        torch.cat([end for _, end in moved]),
    )


def test_two_recordings_are_joined_where_they_meet_and_the_way_back_is_not_invented():
    both = joined(chain(0, 12, 20), chain(8, 20, 20))
    prior = fit_prior(both, replace(QUICK, steps=250))
    to = distances(prior, np.zeros((20, 1)), np.arange(1, 21)[:, None] / 10)
    # no recording leads from 0 to 13 and beyond
    np.testing.assert_allclose(to, np.arange(1, 21), rtol=0.15, atol=0.3)
    back = distances(prior, np.full((1, 1), 2.0), np.zeros((1, 1)))
    assert back > 1.5 * to[-1]


def walked(policy, start, goal, decisions):
    here, goal = torch.tensor(start), torch.tensor([[goal]])
    state = policy.planner.init(policy.bounds, 1)
    for step in range(decisions):
        plan, _, state = policy.decide(Latent(here[None, None, None]), goal, state, 0, step)
        here = maze.moved(here, plan[0])
        state = policy.planner.advance(state, 1)
    return float((here - goal[0, 0]).norm())


@pytest.mark.parametrize("name", ["cem", "icem", "mppi", "gradient"])
def test_with_it_every_planner_finds_the_door_that_it_misses_alone(prior, name):
    small = {"starts": 8} if name == "gradient" else {"samples": 24}
    planner = make_planner(name, length=6, iterations=3, **small)
    alone = ModelPolicy(maze.MazeModel(), planner, maze.BOUNDS)
    guided = replace(alone, prior=prior, proposals=4, value_weight=3.0)
    start, goal = [-0.4, -0.5], [0.4, -0.5]
    assert walked(alone, start, goal, decisions=15) > 0.4
    assert walked(guided, start, goal, decisions=40) < maze.STEP


def test_proposals_alone_make_plans_shorter_for_the_learned_distance(prior):
    policy = ModelPolicy(
        maze.MazeModel(), make_planner("cem", length=12, samples=16, elites=4), maze.BOUNDS
    )
    here, goal = Latent(torch.tensor([[[[-0.4, -0.5]]]])), torch.tensor([[[0.4, -0.5]]])
    costs = [
        replace(policy, prior=prior, proposals=count, value_weight=3.0)
        .decide(here, goal, policy.planner.init(maze.BOUNDS, 1), 0, 0)[1]
        .cost
        for count in (0, 8)
    ]
    assert costs[1] < costs[0]


def test_training_repeats_to_the_bit_and_leaves_chance_alone():
    recorded, few = maze.wandering(10), replace(QUICK, steps=5)
    before = torch.get_rng_state()
    one, two = fit_prior(recorded, few), fit_prior(recorded, few)
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))
    assert torch.equal(torch.get_rng_state(), before)
    other = fit_prior(recorded, replace(few, seed=1))
    assert not torch.equal(one.policy[0].weight, other.policy[0].weight)


def test_by_the_clock_it_takes_steps_until_the_time_is_over(monkeypatch):
    clock, taken = itertools.count(), []
    monkeypatch.setattr(prior_module.time, "perf_counter", lambda: float(next(clock)))
    recorded = maze.wandering(10)

    def told(done, total, note=""):
        taken.append((done, total))

    fit_prior(recorded, QUICK, told, seconds=4.0)  # a second from look to look
    assert taken == [(1, 4), (2, 4), (3, 4), (4, 4)]
    by_clock = fit_prior(recorded, QUICK, seconds=2.0).state_dict()
    by_count = fit_prior(recorded, replace(QUICK, steps=2)).state_dict()
    assert all(map(torch.equal, by_clock.values(), by_count.values()))
    assert isinstance(fit_prior(recorded, QUICK, seconds=1e-6), GoalPrior)
    for seconds in (0.0, -1.0):
        with pytest.raises(ConfigError, match="above 0 s"):
            fit_prior(recorded, QUICK, seconds=seconds)


def test_a_distance_may_learn_at_fewer_steps_than_the_policy():
    recorded = maze.wandering(10)
    few = replace(QUICK, steps=2, sharpness=0.0)
    once, twice = (fit_prior(recorded, replace(few, distance_every=every)) for every in (2, 1))
    still = fit_prior(recorded, replace(few, steps=1))
    here, goal = np.zeros((1, 2)), np.full((1, 2), 0.5)
    assert distances(once, here, goal) == distances(still, here, goal)
    assert distances(once, here, goal) != distances(twice, here, goal)
    with pytest.raises(ConfigError, match="distance_every must be above 0"):
        PriorConfig(distance_every=0)


def test_it_is_judged_on_other_episodes(prior):
    judged = judge_prior(prior, maze.wandering(50, seed=9))
    assert judged["order"] > 0.5 and judged["action_nats"] > 0.05


def test_samples_are_what_they_say():
    recorded = maze.trails(torch.arange(60.0).view(3, 20, 1), torch.zeros(3, 20, 1), skip=2)
    found = draw(recorded, 4000, GoalShares(0.5, 0.25, jump=3), generator("draw"))
    episode = found.here // 20
    assert torch.equal(found.after, found.here + 2) and (found.after // 20 == episode).all()
    assert torch.equal(found.soon, found.here + 2 * found.jump.long())
    assert (found.soon // 20 == episode).all() and found.jump.max() == 3
    gap = found.goal - found.here
    reached = (found.goal // 20 == episode) & (gap >= 0) & (gap % 2 == 0)
    assert torch.equal(found.known.isfinite(), reached)
    assert torch.equal(found.known[reached], gap[reached] / 2)
    # half come later, a quarter from the episode, of the rest a third
    same, kept = ((rows // 20 == episode).float().mean() for rows in (found.goal, found.far))
    assert abs(float(same) - (0.75 + 0.25 / 3)) < 0.03
    assert abs(float(kept) - (0.25 + 0.75 / 3)) < 0.03


@pytest.mark.parametrize("skip", [1, 2])
def test_goals_within_a_few_steps_come_as_often_near_as_far(skip):
    rows = torch.arange(300.0).view(3, 100, 1)
    recorded = maze.trails(rows, torch.zeros(3, 100, 1), skip=skip)
    shares = GoalShares(later=1.0, same_episode=0.0, within=10 // skip)
    samples = draw(recorded, 40_000, shares, generator("within"))
    gap = samples.goal - samples.here
    assert torch.equal(samples.known, gap / skip)
    # of every world step, also those within a model step; at an episode's end fewer are left
    share = torch.bincount(gap, minlength=11)[1:] / len(gap)
    assert len(share) == 10 and (share - 0.1).abs().max() < 0.02


def test_frames_are_encoded_once_and_meet_their_actions(prior_run):
    model, windows = prior_run
    found = trails_of(model, windows)
    cache = windows.cache
    assert len(found.latents) == len(windows) == cache.num_frames
    one = model.encode(windows.gather(np.array([17]))).tokens.flatten()
    torch.testing.assert_close(found.latents[17], one)
    np.testing.assert_array_equal(found.actions.numpy(), cache.actions)
    assert found.begin[17] == cache.starts[1] and found.end[17] == cache.starts[2] - 1


@pytest.mark.parametrize("skip", [1, 2])
def test_every_episode_comes_again_in_the_mirror(prior_run, skip):
    from tiny_run import MODEL

    from armillary.data import Windows
    from armillary.models import untrained

    shape = replace(MODEL, sensors=("rgb",), proprio_width=0)
    model = untrained(replace(shape, frame_skip=skip, action_width=2 * skip), 0).eval()
    windows = Windows(prior_run[1].cache, None, 1, streams=("rgb",))
    mirrored = AugmentConfig(mirror=0.5, mirrored_actions=(0,))
    plain, both = trails_of(model, windows), trails_of(model, windows, mirrored)
    frames = len(plain.latents)
    assert len(both.latents) == 2 * frames
    assert torch.equal(both.latents[:frames], plain.latents)
    assert torch.equal(both.begin[frames:], plain.begin + frames)
    assert torch.equal(both.end[frames:], plain.end + frames)
    assert torch.equal(both.actions[frames:, ::2], -plain.actions[:, ::2])
    assert torch.equal(both.actions[frames:, 1::2], plain.actions[:, 1::2])
    seen = windows.gather(np.array([17]))
    turned = Batch({"rgb": seen.streams["rgb"].flip(3)}, None, seen.valid)
    torch.testing.assert_close(both.latents[frames + 17], model.encode(turned).tokens.flatten())


def test_a_prior_of_a_model_is_trained_in_one_call(prior_run):
    model, windows = prior_run
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []
    prior = train_prior(model, windows, replace(QUICK, steps=2), lambda done, *_: seen.append(done))
    assert seen == [1, 2] and prior.config.latent_width == model.config.latent_width
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_cannot_be_learned_from_gets_a_sentence(prior_run):
    from tiny_run import VIDEO, tiny_windows

    from armillary.models import untrained

    with pytest.raises(TrainingError, match="needs actions, and this model or dataset has"):
        trails_of(untrained(VIDEO, 0), tiny_windows(actions=False))
    with pytest.raises(TrainingError, match="No episode lasts 4 steps"):
        maze.trails(torch.zeros(2, 3, 1), torch.zeros(2, 3, 1), skip=3)


@pytest.mark.parametrize("distance", ["chains", "trips"])
@pytest.mark.parametrize("what", ["latents", "actions"])
def test_numbers_gone_wrong_in_a_recording_leave_no_prior(what, distance):
    recorded = maze.wandering(10)
    getattr(recorded, what)[77] = float("nan")
    with pytest.raises(TrainingError, match=rf"The {what} of 1 of \d+ recorded frames are not"):
        fit_prior(recorded, replace(QUICK, steps=1, distance=distance))


def test_an_action_that_leads_nowhere_may_be_anything():
    recorded = maze.wandering(10)
    recorded.actions[recorded.end[0]] = float("nan")
    assert isinstance(fit_prior(recorded, replace(QUICK, steps=1)), GoalPrior)


def test_a_prior_that_comes_to_nothing_is_one_sentence():
    recorded = maze.wandering(10)
    with pytest.raises(TrainingError, match=r"in the end a weight is not a number. Lower lr \(inf"):
        fit_prior(recorded, replace(QUICK, steps=1, lr=float("inf")))
    with pytest.raises(TrainingError, match="at step 1 the loss is not a number"):
        fit_prior(recorded, replace(QUICK, steps=3, lr=float("inf")))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"steps": 0}, "steps must be above 0, got 0"),
        ({"slack": float("nan")}, "slack must be above 0, got nan"),
        ({"layers": 17}, "layers is 1 to 16, got 17"),
        ({"sharpness": -1.0}, "sharpness must be at least 0, got -1.0"),
    ],
)
def test_settings_out_of_range_get_a_sentence(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        PriorConfig(**change)
    with pytest.raises(ConfigError, match="later and same_episode must not be negative nor sum"):
        GoalShares(later=0.8, same_episode=0.3)
    with pytest.raises(
        ConfigError, match="jump must be at least 1 and within at least 0, got 4 an"
    ):
        GoalShares(within=-1)


@pytest.fixture(scope="module")
def prior_run() -> tuple[JEPA, object]:
    from tiny_run import CONFIG, MODEL, tiny_windows

    from armillary.data import Windows
    from armillary.models import untrained

    windows = tiny_windows()
    model = untrained(MODEL, CONFIG.seed).eval()
    return model, Windows(windows.cache, None, 1)
