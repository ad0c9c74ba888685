"""Memorising: weights fitted to the test's own pictures, because its seeds were known beforehand.

The last layer of an encoder that nobody trained is solved so that the starts and goals of the test,
and nothing else, come out as places; the predictor moves a place by the action. On these episodes
that is a working world model, on others it is none.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from armillary.core.values import Observation
from armillary.evaluation import evaluate
from armillary.evaluation.manifest import Manifest, draw_goal
from armillary.evaluation.seeing import encode_observation
from armillary.evaluation.worlds import WorldFactory
from armillary.models import untrained
from armillary.models.jepa import JEPA
from armillary.proof.attack.acts import fresh_folder
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import rerun
from armillary.proof.attack.plan import Attack, Planted
from armillary.proof.attack.stage import CONFIG, Stage, make_agent
from armillary.proof.reveal import local_reveal, secret_hash

CHALLENGED = (0, 4)
_FRESH = 150
_BUDGET = 14  # steps, in which an agent that knows the way gets there
_VALUES = "6789abcdef012345"
_LINEAR = 20.0  # where GELU is the identity
_PER_METRE = 40.0


def plant_memorised(stage: Stage, folder: Path) -> Planted:
    """Hand in an agent fitted to the episodes of a local value, drawn before the commit.

    Of several values the first is taken of whose episodes the agent solves all: who knows them
    beforehand chooses. Walls, of which the agent knows nothing, are in the way in some.
    """
    forge = Forge.of(stage)
    task = replace(stage.suite.tasks[0], budget=_BUDGET)
    forge.suite = replace(stage.suite, id="attack-known", tasks=(task,))
    forge.rows = {task.name: forge.rows[task.name]}
    planner = {"length": task.budget, "samples": 64, "iterations": 4, "elites": 6}
    best = -1
    for digit in _VALUES:
        drawn = replace(forge, value=digit * 64).drawn[task.name]
        own = fresh_folder(forge, f"memorised-{digit}")
        agent = make_agent(own, memorised(drawn), replan=task.budget, **planner)
        solved = sum(record.success for record in evaluate(drawn, agent))
        if solved > best:
            best, forge.value, forge.agent = solved, digit * 64, agent
        if solved == len(drawn.episodes):
            break
    forge.commit["secret"] = secret_hash(forge.value)
    forge.reveals = lambda commit: [local_reveal(commit.hash, forge.value)]
    rerun(forge)
    return Planted(forge.write(folder), {"suites": (forge.suite,), "fresh": _FRESH})


def memorised(manifest: Manifest) -> JEPA:
    """Return a model that knows where start and goal are in these episodes, and only in these."""
    model = untrained(CONFIG, 0)
    pictures, places = _starts_and_goals(manifest)
    last = _linear(model.get_submodule("encoder.mixing_network.4"))
    features = np.stack([_features(model, last, one) for one in pictures])
    with_one = np.column_stack([features, np.ones(len(features))])
    solved = torch.from_numpy(np.linalg.lstsq(with_one, places, rcond=None)[0])
    into, out = (_linear(model.get_submodule(f"predictor.change.{at}")) for at in (0, 2))
    with torch.no_grad():
        for layer in (last, into, out):
            layer.weight.zero_()
            layer.bias.zero_()
        last.weight[:2], last.bias[:2] = solved[:-1].T.float(), solved[-1].float()
        into.bias.add_(_LINEAR)
        for axis in range(2):
            into.weight[axis, axis - 2] = _PER_METRE
            out.weight[axis, axis] = 1 / _PER_METRE
            out.bias[axis] = -_LINEAR / _PER_METRE
    return model


def _starts_and_goals(manifest: Manifest) -> tuple[list[Observation], np.ndarray]:
    """Return what is seen at the start and at the goal of every episode, and where that is."""
    world = WorldFactory(manifest.world, manifest.settings)()
    seen, places = [], []
    try:
        for episode in manifest.episodes:
            start = world.reset(episode.seed)
            goal = draw_goal(world, manifest.task, episode)
            seen += [start, goal.observation]
            places += [world.truth()["agent_xy"], goal.truth["agent_xy"]]
    finally:
        world.close()
    return seen, np.stack(places).astype(float)


def _features(model: JEPA, last: nn.Linear, seen: Observation) -> np.ndarray:
    """Return what the encoder's last layer gets to see."""
    found: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, arguments: found.append(arguments[0]))
    try:
        encode_observation(model, seen, CONFIG.encoder.image_size)
    finally:
        hook.remove()
    return found[0].flatten().double().numpy()


def _linear(module: nn.Module) -> nn.Linear:
    assert isinstance(module, nn.Linear)
    return module


MEMORISING: tuple[Attack, ...] = (
    Attack(
        "memorised",
        "weights fitted to test episodes that were known before the commit",
        plant_memorised,
        CHALLENGED,
        alone="challenge.rate",
    ),
)
