"""Paper: attacks on what is written down: cards, ledgers, suites, the list of episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from armillary.evaluation.evaluate import evaluate
from armillary.evaluation.records import Record
from armillary.evaluation.specs import NoOpSpec, OracleSpec, RandomSpec
from armillary.proof.attack.forge import TIME, Forge, other_public_key
from armillary.proof.attack.plan import AUDIT, REPLAY, Attack, Plant, Planted
from armillary.proof.attack.stage import OWNER, STRANGER, VALUE, Stage
from armillary.proof.entry import Entry, make_entry
from armillary.proof.ledger import read_entries
from armillary.proof.reveal import nonce_reveal
from armillary.proof.scorecard import read_card_file
from armillary.proof.seeds import draw_manifest
from armillary.proof.verify.submission import Submission

Change = Callable[[Forge], None]
OTHER = "d" * 64


def forged(change: Change, **how: Any) -> Plant:
    """Return what plants an honest submission after a change, told everywhere."""

    def plant(stage: Stage, folder: Path) -> Planted:
        forge = Forge.of(stage)
        change(forge)
        return Planted(forge.write(folder), how)

    return plant


def first_failed(forge: Forge, task: str) -> int:
    """Return the place of the first record of the agent that is no success."""
    records = forge.rows[task]["agent"]
    return next(place for place, record in enumerate(records) if not record.success)


def flipped(record: Record) -> Record:
    """Return a failure as a success, its distances bent to fit."""
    nearer = record.success_distance / 2
    return replace(record, outcome="success", distances=(*record.distances[:-1], nearer))


def task_names(forge: Forge) -> list[str]:
    """Return the names of the suite's tasks."""
    return [task.name for task in forge.suite.tasks]


def _flip_bit(forge: Forge) -> None:
    task = task_names(forge)[0]
    place = first_failed(forge, task)

    def late(where: Submission) -> None:
        path = where.run.records(task, "agent")
        lines = path.read_text().splitlines(keepends=True)
        lines[place] = lines[place].replace('"outcome":"failure"', '"outcome":"success"')
        path.write_text("".join(lines))

    forge.late = late


def _flip_and_sign_as_other(forge: Forge) -> None:
    one_more(forge)
    forge.signer = STRANGER


def one_more(forge: Forge) -> None:
    """Claim one success more than there is, in the card alone."""
    rows = [dict(row) for row in honest_card(forge.stage)["rows"]]
    rows[0]["succ"] += 1
    forge.card["rows"] = rows


def _flip_and_rebuild(forge: Forge) -> None:
    task = task_names(forge)[0]
    place = first_failed(forge, task)
    forge.rows[task]["agent"][place] = flipped(forge.rows[task]["agent"][place])


def honest_card(stage: Stage) -> Mapping[str, Any]:
    """Return the fields of the honest card."""
    return read_card_file(stage.honest.run.card).value


def _easier(forge: Forge) -> None:
    """Move the threshold and judge everything again by it."""
    tasks = [replace(task, success_distance="0.4") for task in forge.suite.tasks]
    forge.suite = replace(forge.suite, tasks=tuple(tasks))
    rerun(forge)


def rerun(forge: Forge) -> None:
    """Run agent and controls on what the forge's suite draws."""
    agents: dict[str, Any] = {"agent": forge.agent, "random": RandomSpec(), "noop": NoOpSpec()}
    agents |= {"oracle": OracleSpec()}
    for name, manifest in forge.drawn.items():
        forge.rows[name] = {
            actor: list(evaluate(manifest, agents[actor])) for actor in forge.suite.actors
        }


def _threshold_after(forge: Forge) -> None:
    honest = forge.suite
    _easier(forge)
    forge.commit["suite"] = {"id": honest.id, "digest": honest.digest}


def _drop_failed(forge: Forge) -> None:
    """Put further, better episodes in the place of failed ones, under their names."""
    task = forge.suite.tasks[0]
    manifest = forge.drawn[task.name]
    # the agent solves one in three, and which depends on the suite's hash: of 88, some are good
    more = draw_manifest(forge.suite, task, forge.value, 12 * task.episodes)
    spare = replace(more, episodes=more.episodes[task.episodes :])
    good = [record for record in evaluate(spare, forge.agent) if record.success]
    records = forge.rows[task.name]["agent"]
    for place, record in enumerate(records):
        if not record.success and good:
            records[place] = replace(good.pop(), id=record.id, manifest=manifest.sha256)


def _duplicate_good(forge: Forge) -> None:
    task = task_names(forge)[0]
    records = forge.rows[task]["agent"]
    # seeds are drawn anew for every stage, and by chance the agent may have solved none of them
    good = next((record for record in records if record.success), flipped(records[-1]))
    records[first_failed(forge, task)] = good


def crash(forge: Forge) -> None:
    """Let one episode of the agent break after two steps."""
    task = task_names(forge)[0]
    place = first_failed(forge, task)
    one = forge.rows[task]["agent"][place]
    forge.rows[task]["agent"][place] = replace(
        one,
        outcome="crash",
        error="The policy raised RuntimeError: planted",
        actions=one.actions[:2],
        distances=one.distances[:3],
        decisions=one.decisions[:2],
    )


def _leave_crash_out(forge: Forge) -> None:
    crash(forge)
    task = task_names(forge)[0]
    del forge.rows[task]["agent"][first_failed(forge, task)]


def _draw_again(forge: Forge) -> None:
    """Reveal five values for one commit and run the last."""

    def reveals(commit: Entry) -> list[Mapping[str, Any]]:
        tried = [nonce_reveal(commit.hash, f"{n}" * 64) for n in range(4)]
        return [*tried, nonce_reveal(commit.hash, VALUE, STRANGER)]

    forge.reveals = reveals


def checkpoints(forge: Forge) -> None:
    """Commit four other checkpoints before this one."""
    named = {"id": forge.suite.id, "digest": forge.suite.digest}
    other = {"suite": named, "parameters": forge.agent.parameters, "rule": "none"}
    forge.earlier = [
        ("suite", named),
        *[("commit", {**other, "agent": f"{n}" * 64}) for n in range(4)],
    ]


def _hide_checkpoints(forge: Forge) -> None:
    checkpoints(forge)
    forge.card["attempts"] = {"k": 1, "failed": 0, "unopened": 0, "earlier": []}


def _cut_ledger(forge: Forge) -> None:
    checkpoints(forge)
    hidden = {"commit"}

    def entries(every: list[Entry]) -> list[Entry]:
        kept = [entry for entry in every if entry.type not in hidden]
        own = [entry for entry in every if entry.type == "commit"][-1:]
        return sorted([*kept, *own], key=lambda entry: entry.seq)

    forge.entries = entries


def _other_hand(forge: Forge) -> None:
    def entries(every: list[Entry]) -> list[Entry]:
        note = make_entry(every[-1], "note", {"text": "all is well"}, STRANGER, every[-1].t)
        return [*every, note]

    forge.entries = entries


def _other_suite_committed(forge: Forge) -> None:
    """Run a suite that is known, but not the one that was committed to."""
    forge.commit["suite"] = {"id": forge.suite.id, "digest": OTHER}


def _other_agent_committed(forge: Forge) -> None:
    forge.commit |= {"agent": forge.stage.other.digest, "parameters": forge.stage.other.parameters}


def _train(forge: Forge, weights: str) -> None:
    """Enter a training that ended with these weights, and commit to an agent that comes from it."""
    start = {"run": "long", "config": OTHER, "seed": "0", "data": [], "rule": "last"}
    end = {"run": "long", "step": 1000, "digest": weights}
    named = {"id": forge.suite.id, "digest": forge.suite.digest}
    forge.earlier = [("suite", named), ("train_start", start), ("train_end", end)]
    forge.commit |= {"train": "long", "rule": "last"}


def _own_training(forge: Forge) -> None:
    _train(forge, forge.agent.weights)


def _other_training(forge: Forge) -> None:
    _train(forge, forge.stage.other.weights)


def _other_code(forge: Forge) -> None:
    forge.suite = replace(forge.suite, code=OTHER)
    rerun(forge)


def _plant_false_golden(stage: Stage, folder: Path) -> Planted:
    """Publish a suite whose golden vectors another world drew."""
    forge = Forge.of(stage)
    golden = (replace(forge.suite.golden[0], goal=OTHER), *forge.suite.golden[1:])
    forge.suite = replace(forge.suite, golden=golden)
    rerun(forge)
    return Planted(forge.write(folder), {"suites": (forge.suite,)})


def _chosen_episodes(forge: Forge) -> None:
    names = {name: one.sha256 for name, one in forge.drawn.items()}
    forge.start["manifests"] = {**names, task_names(forge)[0]: OTHER}


def _actor_left_out(forge: Forge) -> None:
    forge.start["actors"] = [*forge.suite.actors, "tuned"]


def _environment_after(forge: Forge) -> None:
    forge.start["env"] = OTHER


def _profile(forge: Forge) -> None:
    forge.env = {**forge.env, "profile": "fast"}


def _other_end(forge: Forge) -> None:
    forge.end["root"] = OTHER


def _other_chunk(forge: Forge) -> None:
    forge.chunk = lambda body: {**body, "root": OTHER} if body["actor"] == "agent" else body


def _over_budget_told(forge: Forge) -> None:
    """Tell openly that one decision took more than the budget."""
    task = forge.suite.tasks[0]
    assert task.planner_budget is not None
    record = forge.rows[task.name]["agent"][0]
    more = replace(record.decisions[0], model_steps=task.planner_budget + 1)
    decisions = (more, *record.decisions[1:])
    forge.rows[task.name]["agent"][0] = replace(record, decisions=decisions)


def _set(name: str, value: Any) -> Change:
    def change(forge: Forge) -> None:
        setattr(forge, name, value)

    return change


def _other_key_file(forge: Forge) -> None:
    forge.late = lambda where: other_public_key(where.key)


def _retracted(forge: Forge) -> None:
    """Take the run back, and hand in its card all the same."""

    def late(where: Submission) -> None:
        entries = read_entries(where.ledger)
        start = next(entry for entry in entries if entry.type == "run_start")
        body = {"entry": start.hash, "reason": "the simulator was set up wrongly"}
        taken_back = make_entry(entries[-1], "retract", body, OWNER, TIME)
        where.ledger.write_bytes(where.ledger.read_bytes() + taken_back.line)

    forge.late = late


# Name, the one rule that catches it, the change, and what it is.
_ALONE: tuple[tuple[str, str, Change, str], ...] = (
    ("card_signed_by_other", "card.signature", _set("signer", STRANGER),
     "a true card that somebody else signed"),
    ("card_about_other", "card.subject", _set("subject", OTHER),
     "a true card whose statement is about another agent"),
    ("card_not_entered", "card.entered", _set("enter", False), "a card the ledger never saw"),
    ("other_key_file", "key.same", _other_key_file, "somebody else's key"),
    ("retracted", "ledger.retracted", _retracted, "a result that its owner took back"),
    ("other_hand", "ledger.signatures", _other_hand, "an entry by another hand"),
    ("other_suite_committed", "commit.suite", _other_suite_committed,
     "run on another suite than was committed to"),
    ("other_agent_committed", "commit.agent", _other_agent_committed,
     "run by another agent than was committed"),
    ("easier_suite", "suite.known", _easier, "easier rules under a known name"),
    ("chosen_episodes", "run.manifests", _chosen_episodes, "begun with other episodes"),
    ("actor_left_out", "run.actors", _actor_left_out, "an actor not shown"),
    ("environment_after", "run.environment", _environment_after,
     "an environment stated afterwards"),
    ("other_profile", "run.profile", _profile, "run under other arithmetic"),
    ("other_end", "run.root", _other_end, "a run that ended otherwise"),
    ("other_chunk", "run.chunks", _other_chunk, "a chunk entered otherwise"),
    ("over_budget_told", "records.counts", _over_budget_told,
     "a decision that took more than the budget, reported openly"),
)  # fmt: skip
PAPER: tuple[Attack, ...] = (
    Attack("flip_bit", "one success bit flipped in a record", forged(_flip_bit), number=1),
    Attack(
        "flip_bit_other_key",
        "one success more, the card signed with another key",
        forged(_flip_and_sign_as_other),
        number=2,
    ),
    Attack(
        "flip_bit_rebuilt",
        "one success bit flipped, tree rebuilt, all signed again with the own key",
        forged(_flip_and_rebuild),
        REPLAY,
        number=3,
        alone="replay.distances",
    ),
    Attack("threshold_after", "threshold moved after the run", forged(_threshold_after), number=4),
    Attack(
        "failed_dropped",
        "failed episodes dropped, better ones renumbered into their place",
        forged(_drop_failed),
        AUDIT,
        number=5,
        alone="records.rows",
    ),
    Attack("good_doubled", "a good episode doubled", forged(_duplicate_good), number=6),
    Attack(
        "crash_left_out",
        "an episode that crashed left out",
        forged(_leave_crash_out),
        number=7,
        twin=forged(crash),
    ),
    Attack(
        "seeds_drawn_again",
        "five reveals for one commit, the best one published",
        forged(_draw_again),
        number=8,
        alone="ledger.order",
    ),
    Attack(
        "best_checkpoint",
        "best of five checkpoints on the test, reported as the only one",
        forged(_hide_checkpoints),
        number=9,
        alone="card.attempts",
        twin=forged(checkpoints),
    ),
    Attack(
        "ledger_cut",
        "earlier attempts cut out of the ledger",
        forged(_cut_ledger),
        alone="ledger.chain",
        twin=forged(checkpoints),
    ),
    Attack(
        "other_training",
        "a stated training that the agent does not come from",
        forged(_other_training),
        alone="commit.training",
        twin=forged(_own_training),
    ),
    Attack(
        "other_code",
        "run by other code",
        forged(_other_code),
        alone="suite.code",
        expected="undecided",
    ),
    Attack("false_golden", "another world's vectors", _plant_false_golden, alone="suite.golden"),
    *(Attack(name, about, forged(change), alone=rule) for name, rule, change, about in _ALONE),
)
