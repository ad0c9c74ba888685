"""Stage: a real run of a real, tiny agent, made with the same functions as any claim.

Nobody trained the agent: what is attacked and defended is the claim, not the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from armillary.evaluation.records import Record, read_records
from armillary.evaluation.specs import ModelSpec
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.models.jepa import JEPA
from armillary.planning import Planning
from armillary.proof.agent import Agent, pack_agent
from armillary.proof.book import Book
from armillary.proof.builtin import builtin_suite
from armillary.proof.claim import commit_agent, reveal_commit
from armillary.proof.episodes import RunFolder
from armillary.proof.keys import SigningKey
from armillary.proof.reveal import nonce_reveal
from armillary.proof.run import run_suite
from armillary.proof.scorecard import score_run
from armillary.proof.suite import Suite
from armillary.proof.verify.submission import Submission, find_submission
from armillary.proof.verify.submitting import make_submission

CONFIG = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(
        image_size=16, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
    action_width=2,
)
PLANNER = {"length": 3, "samples": 8, "iterations": 1, "elites": 2}
VALUE = "6" * 64


def fixed_key(byte: int) -> SigningKey:
    """Return a key that is the same every time; for attacks and tests only."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32))


OWNER, STRANGER, VERIFIER = fixed_key(1), fixed_key(2), fixed_key(3)


def attack_suite() -> Suite:
    """Return the suite that is attacked: ``tiny``, shorter, nearer, and with a second row."""
    tiny = builtin_suite("tiny")
    reach = replace(tiny.tasks[0], budget=8, success_distance="0.35")
    cross = replace(reach, name="two_rooms-cross", task="cross")
    return replace(tiny, id="attack", tasks=(reach, cross))


@dataclass(frozen=True)
class Stage:
    """What attacks start from.

    Attributes:
        folder: for everything.
        suite: that was run.
        agent: that was run.
        other: another agent, of other weights.
        honest: the submission as its honest owner hands it in.
        rows: its records, by task and actor.
    """

    folder: Path
    suite: Suite
    agent: Agent
    other: Agent
    honest: Submission
    rows: Mapping[str, Mapping[str, tuple[Record, ...]]]


def set_stage(folder: Path, suite: Suite | None = None, boundary: bool = True) -> Stage:
    """Train nothing, but commit, reveal, run, score and hand in for real.

    Args:
        folder: an empty one.
        suite: None for ``attack_suite()``.
        boundary: as in ``run_suite``.

    Raises:
        ConfigError: this process is not under the suite's numeric profile.
    """
    suite = suite or attack_suite()
    agent, other = (make_agent(folder / f"agent{seed}", untrained(CONFIG, seed)) for seed in (0, 1))
    run = RunFolder(folder / "claim" / "run")
    book = Book(folder / "claim" / "ledger.jsonl", OWNER)
    commit = commit_agent(book.path, OWNER, suite, agent)
    reveal_commit(book.path, OWNER, commit.hash, nonce_reveal(commit.hash, VALUE, VERIFIER))
    run_suite(run, book, commit.hash, suite, agent, boundary=boundary)
    score_run(run, book, commit.hash, suite, agent)
    made = find_submission(run.path, agent.folder, book.path)
    make_submission(made, folder / "honest")
    rows = {
        task.name: {actor: read_records(run.records(task.name, actor)) for actor in suite.actors}
        for task in suite.tasks
    }
    return Stage(folder, suite, agent, other, find_submission(folder / "honest"), rows)


def make_agent(folder: Path, model: JEPA, replan: int = 1, **settings: object) -> Agent:
    """Return a packed agent of a model, which remembers one look; settings are the planner's."""
    save_model(model, folder / "model")
    planner = {**PLANNER, **settings}
    spec = ModelSpec(folder / "model", Planning("cem", planner, history=1, replan=replan))
    return pack_agent(folder / "model", spec, folder / "agent")
