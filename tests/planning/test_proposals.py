"""Proposals stay in bounds, know no neighbours, repeat, are counted, and are tried first."""

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError
from armillary.core.rng import torch_generator
from armillary.core.values import ActionBounds, Latent
from armillary.planning import PLANNERS, make_planner, proposal_steps, propose

BOX = ActionBounds(np.array([-0.1, -1.0]), np.array([0.3, 0.7]))
FAR_OUT = torch.tensor([[0.29, -0.99], [-0.09, 0.69], [0.29, 0.69], [0.0, -0.99]])


class Adds:
    """Its latent is a place [2] that actions are added to. Counts its steps."""

    def __init__(self):
        self.steps = 0

    def encode(self, batch):
        raise NotImplementedError

    def rollout(self, latent, plans):
        return latent.tokens[:, None, None, -1] + plans.cumsum(dim=2)[..., None, :]

    def start(self, latent, candidates):
        here = latent.tokens[:, -1, 0].repeat_interleave(candidates, 0)
        return here, torch.zeros(len(here), 1)

    def step(self, state, memory, actions):
        self.steps += len(state)
        return state + actions, memory


class Towards:
    """Goes for the goal at any speed, with noise."""

    def sample(self, latents, goal_tokens, steps_left, rng):
        noise = torch.randn(latents.shape, generator=rng)
        return 10 * (goal_tokens[0] - latents) + 0.1 * noise


def proposed(batch, seed=0, count=5, length=4):
    tokens = torch.arange(8.0).view(4, 1, 1, 2)[batch] / 10
    state = make_planner("cem", length=length).init(BOX, len(batch))
    rngs = [torch_generator("propose", seed, element) for element in batch]
    goals = torch.tensor([[[1.0, -1.0]], [[0.0, 2.0]], [[-1.0, 0.0]], [[3.0, 3.0]]])[batch]
    model = Adds()
    plans = propose(model, Towards(), Latent(tokens), goals, state, count, rngs)
    return plans, model.steps


def test_they_never_leave_the_bounds():
    plans, _ = proposed([0, 1, 2, 3])
    values = plans.double().numpy()
    assert plans.shape == (4, 5, 4, 2)
    assert (values >= BOX.low).all() and (values <= BOX.high).all()
    assert (values[0, :, 0, 0] > 0.29).all(), "the policy asked for more than the box has"


def test_an_element_alone_gets_the_same_to_the_bit():
    together, _ = proposed([0, 1, 2, 3])
    for element in range(4):
        assert torch.equal(proposed([element])[0][0], together[element])


def test_they_repeat_and_depend_on_their_generator():
    assert torch.equal(proposed([0])[0], proposed([0])[0])
    assert not torch.equal(proposed([0])[0], proposed([0], seed=1)[0])


def test_the_steps_they_take_are_counted():
    for count, length in ((5, 4), (1, 1), (3, 7)):
        assert proposed([2], count=count, length=length)[1] == proposal_steps(count, length)


def test_a_model_that_cannot_step_gets_a_sentence():
    class Rolls:
        def encode(self, batch):
            raise NotImplementedError

        def rollout(self, latent, plans):
            raise NotImplementedError

    state = make_planner("cem").init(BOX, 1)
    latent, goal = Latent(torch.zeros(1, 1, 1, 2)), torch.zeros(1, 1, 2)
    with pytest.raises(ConfigError, match="need a model with start and step, which Rolls lacks"):
        propose(Rolls(), Towards(), latent, goal, state, 1, [torch_generator("x")])


def needle(plans):
    """Cheap at one plan that a search around the middle does not come near; else it misleads."""
    at = (plans - FAR_OUT).abs()
    away = plans.square().flatten(2).sum(-1)
    return torch.where(at.amax((-2, -1)) < 0.02, away * 0 - 1, away)


@pytest.mark.parametrize("name", PLANNERS)
def test_every_planner_tries_them(name):
    planner = make_planner(name, length=4)
    fresh, rngs = planner.init(BOX, 1), [torch_generator("needle")]
    alone, _ = planner.plan(needle, fresh, rngs)
    told, _ = planner.plan(needle, fresh.with_proposals(FAR_OUT[None, None]), rngs)
    assert float(alone.costs) > -0.5 and float(told.costs) == -1.0
    assert told.model_steps == alone.model_steps
    torch.testing.assert_close(told.actions[0], FAR_OUT, atol=0.02, rtol=0)


def test_proposals_from_anywhere_are_brought_into_the_box_and_leave_the_state_alone():
    fresh = make_planner("cem", length=4).init(BOX, 1)
    state = fresh.with_proposals(100 * FAR_OUT[None, None])
    assert state.kept.shape == (1, 1, 4, 2) and fresh.kept.shape[1] == 0
    assert (state.kept >= state.low).all() and (state.kept <= state.high).all()
