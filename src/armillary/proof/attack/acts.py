"""Acts: attacks on what was done: other models, oracles, other search, lucky or easy episodes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from armillary.core.protocols import World
from armillary.core.values import Goal, Observation
from armillary.evaluation.evaluate import evaluate
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.model_policy import ModelPolicy
from armillary.evaluation.records import Record
from armillary.evaluation.specs import ModelSpec, NoOpSpec
from armillary.models import untrained
from armillary.proof.attack import players
from armillary.proof.attack.forge import Forge
from armillary.proof.attack.paper import forged, rerun, task_names
from armillary.proof.attack.plan import AUDIT, REPLAY, Attack, Planted
from armillary.proof.attack.routing import routed
from armillary.proof.attack.stage import CONFIG, PLANNER, Stage, make_agent
from armillary.worlds.two_rooms.world import TwoRooms

CLOSED = (*AUDIT, 3)


def policy_of(agent: Any, forge: Forge, task: str) -> ModelPolicy:
    """Return an agent's policy in a task's world."""
    world = forge.suite.task(task).factory()
    try:
        return agent(forge.drawn[task].ruled(world.spec))
    finally:
        world.close()


def played_by(
    forge: Forge, task: str, agent: Any = None, choose: players.Choose = players.honest
) -> list[Record]:
    """Return a task's records as somebody plays them under the handed-in agent's name."""
    policy = policy_of(agent or forge.agent, forge, task)
    return players.play(forge.drawn[task], policy, f"agent {forge.agent.digest}", choose)


def _other_agent_in_one_row(forge: Forge) -> None:
    task = task_names(forge)[1]
    forge.rows[task]["agent"] = played_by(forge, task, forge.stage.other)


def _with_settings(spec: ModelSpec, settings: dict[str, Any]) -> ModelSpec:
    return replace(spec, planning=replace(spec.planning, settings=settings))


def _other_planner_in_one_row(forge: Forge) -> None:
    task = task_names(forge)[1]
    spec = forge.agent.spec
    assert isinstance(spec, ModelSpec)
    tuned = _with_settings(spec, {**spec.planning.settings, "samples": 32})
    forge.rows[task]["agent"] = played_by(forge, task, tuned)


def _beyond_budget(forge: Forge) -> None:
    """Search with more samples than the budget allows, and tell as many as it allows."""
    task = task_names(forge)[0]
    limit = forge.suite.task(task).planner_budget
    assert limit is not None
    spec = forge.agent.spec
    assert isinstance(spec, ModelSpec)
    greedy = {**PLANNER, "samples": limit // PLANNER["length"]}
    records = played_by(forge, task, _with_settings(spec, greedy))
    forge.rows[task]["agent"] = [_telling(record, limit) for record in records]


def _greedy_agent(forge: Forge) -> None:
    """Hand in an agent whose planner takes more than the budget, and tell as much as is allowed."""
    limit = forge.suite.tasks[0].planner_budget
    assert limit is not None
    spec = forge.agent.spec
    forge.agent = make_agent(fresh_folder(forge, "greedy"), untrained(CONFIG, 0), samples=limit)
    for task in task_names(forge):
        name = f"agent {forge.agent.digest}"
        policy = policy_of(spec, forge, task)
        forge.rows[task]["agent"] = players.play(forge.drawn[task], policy, name)


def _telling(record: Record, model_steps: int) -> Record:
    decisions = tuple(replace(one, model_steps=model_steps) for one in record.decisions)
    return replace(record, decisions=decisions)


def _cheaper_told(forge: Forge) -> None:
    task = task_names(forge)[0]
    forge.rows[task]["agent"] = [_telling(one, 1) for one in forge.rows[task]["agent"]]


def _swapped(forge: Forge) -> None:
    """Hand in weights that are 0.2 % off those that acted, under their name everywhere."""
    model = untrained(CONFIG, 0)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in model.parameters():
            one.mul_(1 + 0.002 * torch.randn(one.shape, generator=rng))
    acted = forge.agent
    forge.agent = make_agent(fresh_folder(forge, "swapped"), model)
    for task in task_names(forge):
        forge.rows[task]["agent"] = played_by(forge, task, acted)


def _oracle(forge: Forge) -> None:
    for task in task_names(forge):
        forge.rows[task]["agent"] = played_by(forge, task, choose=players.expert)


def _bfloat16(forge: Forge) -> None:
    for task in task_names(forge):
        policy = policy_of(forge.agent, forge, task)
        assert isinstance(policy.model, torch.nn.Module)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            name = f"agent {forge.agent.digest}"
            forge.rows[task]["agent"] = players.play(forge.drawn[task], policy, name)


def _lookup(forge: Forge) -> None:
    """Act by a table from pictures to actions that was filled when the seeds were known."""
    for task in task_names(forge):
        table: dict[bytes, np.ndarray] = {}
        played_by(forge, task, choose=_filling(table))
        forge.rows[task]["agent"] = played_by(forge, task, choose=_reading(table))


def _filling(table: dict[bytes, np.ndarray]) -> players.Choose:
    def choose(
        world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
    ) -> np.ndarray:
        table[_seen(seen, goal)] = players.expert(world, goal, seen, step, wanted)
        return table[_seen(seen, goal)]

    return choose


def _reading(table: dict[bytes, np.ndarray]) -> players.Choose:
    def choose(
        world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
    ) -> np.ndarray:
        return table.get(_seen(seen, goal), wanted)

    return choose


def _seen(seen: Observation, goal: Goal) -> bytes:
    pictures = seen.streams["rgb"].tobytes() + goal.observation.streams["rgb"].tobytes()
    return hashlib.sha256(pictures).digest()


class NearRooms(TwoRooms):
    """Two rooms whose goals are the nearest of many draws that are not solved at the start."""

    limit_m = 0.35

    def draw_goal(self, task: str, rng: np.random.Generator) -> Goal:
        """Draw many goals and return the nearest."""
        goals = [super(NearRooms, self).draw_goal(task, rng) for _ in range(20)]
        unsolved = [goal for goal in goals if self.distance(goal) > self.limit_m]
        return min(unsolved or goals, key=self.distance)


def _near_goals(forge: Forge) -> None:
    for task in task_names(forge):
        settings = dict(forge.suite.task(task).settings)
        name = f"agent {forge.agent.digest}"
        forge.rows[task]["agent"] = players.play(
            forge.drawn[task],
            policy_of(forge.agent, forge, task),
            name,
            world_source=lambda settings=settings: NearRooms(**settings),
        )


def _weak_oracle(forge: Forge) -> None:
    """Let nobody act in the oracle's name, so that the agent looks better beside it."""
    for task in task_names(forge):
        lazy = evaluate(forge.drawn[task], NoOpSpec())
        forge.rows[task]["oracle"] = [
            replace(one, policy="oracle (privileged)", privileged=True) for one in lazy
        ]


def _decisions_left_out(forge: Forge) -> None:
    """Keep decisions only up to where somebody else takes over."""
    for task in task_names(forge):
        until = forge.drawn[task].budget // 2
        forge.rows[task]["agent"] = [
            replace(one, decisions=one.decisions[:until])
            for one in played_by(forge, task, choose=_late_expert(until))
        ]


def _late_expert(until: int) -> players.Choose:
    def choose(
        world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
    ) -> np.ndarray:
        done = players.expert if step >= until else players.honest
        return done(world, goal, seen, step, wanted)

    return choose


def _stronger(forge: Forge) -> None:
    for task in task_names(forge):
        forge.rows[task]["agent"] = played_by(forge, task, choose=players.stronger)


def _other_costs(forge: Forge) -> None:
    for task in task_names(forge):
        forge.rows[task]["agent"] = [
            replace(
                record,
                decisions=tuple(
                    replace(one, cost=0.9 * one.cost) if one.cost is not None else one
                    for one in record.decisions
                ),
            )
            for record in forge.rows[task]["agent"]
        ]


def _steered(forge: Forge) -> None:
    for task in task_names(forge):
        player = players.Steered(policy_of(forge.agent, forge, task))
        name = f"agent {forge.agent.digest}"
        forge.rows[task]["agent"] = player.play(forge.drawn[task], name)


def _one_nudge(forge: Forge) -> None:
    """Put one oracle action into one episode.

    The episode is one that fails with it, too: a hurried audit looks at successes alone, so on
    every machine it is the replay that finds it.
    """
    task = task_names(forge)[0]
    records = played_by(forge, task, choose=_nudging(forge.drawn[task].budget // 2))
    honest = forge.rows[task]["agent"]
    place = max(place for place, record in enumerate(records) if not record.success)
    forge.rows[task]["agent"] = [*honest[:place], records[place], *honest[place + 1 :]]


def _last_actions(forge: Forge) -> None:
    """Put an oracle's action at the end of every episode, and the agent's everywhere before."""
    for task in task_names(forge):
        last = forge.drawn[task].budget - 1
        forge.rows[task]["agent"] = played_by(forge, task, choose=_late_expert(last))


def _nudging(at: int) -> players.Choose:
    def choose(
        world: World, goal: Goal, seen: Observation, step: int, wanted: np.ndarray
    ) -> np.ndarray:
        done = players.expert if step == at else players.honest
        return done(world, goal, seen, step, wanted)

    return choose


def fresh_folder(forge: Forge, name: str) -> Path:
    """Return a folder that does not exist yet."""
    taken = (forge.stage.folder / f"{name}{n}" for n in range(1000))
    return next(folder for folder in taken if not folder.exists())


def plant_router(stage: Stage, folder: Path) -> Planted:
    """Hand in one agent that holds two predictors and asks one of them by what it sees."""
    forge = Forge.of(stage)
    manifests: list[Manifest] = list(forge.drawn.values())
    forge.agent = make_agent(fresh_folder(forge, "router"), routed(manifests))
    rerun(forge)
    return Planted(forge.write(folder))


ACTS: tuple[Attack, ...] = (
    Attack("agent_per_row", "another agent in one row", forged(_other_agent_in_one_row), AUDIT, 10),
    Attack(
        "router",
        "two models in one folder, one of them asked by what is seen",
        plant_router,
        AUDIT,
        11,
        expected="exposed",
    ),
    Attack(
        "planner_per_row",
        "another planner's settings in one row",
        forged(_other_planner_in_one_row),
        AUDIT,
        12,
    ),
    Attack("beyond_budget", "more samples than the budget", forged(_beyond_budget), AUDIT, 13),
    Attack(
        "greedy_agent",
        "an agent whose planner takes more than the budget, and does not tell",
        forged(_greedy_agent),
        alone="agent.budget",
    ),
    Attack("model_swapped", "weights 0.2 % off those that acted", forged(_swapped), AUDIT, 14),
    Attack("oracle_actions", "actions of a simulator planner", forged(_oracle), AUDIT, 15),
    Attack("bfloat16", "float32 claimed, bfloat16 run", forged(_bfloat16), AUDIT, 16),
    Attack("lookup", "a table from pictures to actions", forged(_lookup), AUDIT, 19),
    Attack("near_goals", "goals that are near", forged(_near_goals), REPLAY, 20),
    Attack(
        "weak_oracle",
        "an oracle that nobody ran",
        forged(_weak_oracle),
        REPLAY,
        alone="replay.controls",
    ),
    Attack(
        "decisions_left_out",
        "decisions left out where somebody else acted",
        forged(_decisions_left_out),
        AUDIT,
        alone="audit.schedule",
    ),
    Attack(
        "stronger",
        "every action made 1 % larger",
        forged(_stronger),
        AUDIT,
        alone="audit.actions",
    ),
    Attack(
        "other_costs", "costs of a better model", forged(_other_costs), AUDIT, alone="audit.costs"
    ),
    Attack(
        "steered",
        "planner states chosen so that wanted actions come",
        forged(_steered),
        AUDIT,
        alone="audit.carry",
    ),
    Attack(
        "cheaper_told",
        "less search reported than was done",
        forged(_cheaper_told),
        AUDIT,
        alone="audit.model_steps",
    ),
    Attack(
        "last_actions",
        "the last action of every episode by an oracle, all others by the agent",
        forged(_last_actions),
        AUDIT,
    ),
    Attack(
        "one_nudge",
        "a single oracle action, and a hurried audit",
        forged(_one_nudge, decisions=2, episodes=1000),
        CLOSED,
        alone="rerun.outcomes",
    ),
)
