"""A tiny judge of clips, and a run of it that was handed in: nobody trained it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from armillary.evaluation.records import read_records
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.proof.agent import Agent, pack_judge
from armillary.proof.attack.stage import OWNER, VALUE, VERIFIER, Stage
from armillary.proof.book import Book
from armillary.proof.builtin import builtin_suite
from armillary.proof.claim import commit_agent, reveal_commit
from armillary.proof.episodes import RunFolder
from armillary.proof.reveal import nonce_reveal
from armillary.proof.run import run_suite
from armillary.proof.scorecard import score_run
from armillary.proof.suite import Suite
from armillary.proof.verify.submission import find_submission
from armillary.proof.verify.submitting import make_submission
from armillary.understanding.suites.quadruplets.expectation import fit_normal

CONFIG = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(
        image_size=64, patch=16, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
    action_width=2,
)


def tiny_judge(folder: Path, seed: int = 0) -> Agent:
    model = untrained(CONFIG, seed)
    save_model(model, folder / f"model{seed}")
    return pack_judge(folder / f"model{seed}", folder / f"agent{seed}", fit_normal(model, 8))


def small_quadruplets(episodes: int) -> Suite:
    suite = builtin_suite("understand-1")
    task = replace(suite.tasks[0], episodes=episodes)
    return replace(suite, id="clips", headline=False, tasks=(task,), golden=suite.golden[:1])


def judged_stage(
    folder: Path, episodes: int = 12, boundary: bool = False, workers: int = 1
) -> Stage:
    """Commit, reveal, run, score and hand in for real."""
    suite = small_quadruplets(episodes)
    agent, other = (tiny_judge(folder, seed) for seed in (0, 1))
    run, book = RunFolder(folder / "claim" / "run"), Book(folder / "claim" / "ledger.jsonl", OWNER)
    commit = commit_agent(book.path, OWNER, suite, agent)
    reveal_commit(book.path, OWNER, commit.hash, nonce_reveal(commit.hash, VALUE, VERIFIER))
    run_suite(run, book, commit.hash, suite, agent, workers=workers, boundary=boundary)
    score_run(run, book, commit.hash, suite, agent)
    make_submission(find_submission(run.path, agent.folder, book.path), folder / "honest")
    rows = {
        task.name: {actor: read_records(run.records(task.name, actor)) for actor in suite.actors}
        for task in suite.tasks
    }
    return Stage(folder, suite, agent, other, find_submission(folder / "honest"), rows)
