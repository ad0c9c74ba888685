"""A run killed with SIGKILL, wherever it was, and resumed ends in the same weights to the bit."""

from __future__ import annotations

import signal
import time
from multiprocessing import get_context

import pytest
from tiny_run import in_processes, killed_at_file_event, run, slow_run, weights

from armillary.core.rng import generator
from armillary.training import read_log


def kill_somewhere(out, steps: int, delay_s: float) -> None:
    """Kill a run some time after it has logged so many steps."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["armillary.training", "torch._dynamo"])
    process = context.Process(target=slow_run, args=(out, True))
    process.start()
    log = out / "log.jsonl"
    until = time.monotonic() + 60
    while not log.is_file() or len(log.read_text().splitlines()) < steps:
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.001)
    time.sleep(delay_s)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def check_kill(number: int, out, whole) -> None:
    rng = generator("test-kills", number)
    kill_somewhere(out, int(rng.integers(1, 10)), float(rng.uniform(0, 0.02)))
    run(out, resume=True, checkpoint_every=2)
    assert weights(out) == weights(whole)
    steps = [e["step"] for e in read_log(out / "log.jsonl") if "train/loss" in e]
    assert steps == list(range(1, 13))
    leftovers = list(out.rglob(".*"))
    assert not leftovers


@pytest.mark.parametrize("number", range(2))
def test_killed_at_a_random_moment(tmp_path, whole, number):
    check_kill(number, tmp_path / "run", whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2, 12))
def test_killed_at_ten_more_random_moments(tmp_path, whole, number):
    check_kill(number, tmp_path / "run", whole)


def check_file_event(tmp_path, whole, at: int) -> bool:
    """Return whether there was an event to be killed at."""
    out = tmp_path / f"run{at}"
    codes = in_processes(killed_at_file_event, (out, at, False))
    assert codes in ([0], [-signal.SIGKILL])
    run(out, resume=True)
    assert weights(out) == weights(whole), f"killed at file event {at}"
    assert not list(out.rglob(".*")), f"killed at file event {at}"
    return codes == [-signal.SIGKILL]


@pytest.mark.parametrize("at", [2, 23, 44])
def test_killed_before_a_file_is_touched(tmp_path, whole, at):
    assert check_file_event(tmp_path, whole, at)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_before_each_time_that_a_file_is_touched(tmp_path, whole):
    at = 1
    while check_file_event(tmp_path, whole, at):
        at += 1
    assert at > 40
