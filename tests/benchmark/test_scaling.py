"""The model of step time and traffic, against sums done by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armillary.benchmark.scaling import (
    Exchanged,
    Link,
    exchange_seconds,
    run_hours,
    sent_bytes,
    state_bytes,
    step_seconds,
)

WORK = Exchanged(parameters=1000, in_blocks=600, blocks=3, reduced_bytes=80, reductions=2)


def test_two_processes_send_their_gradients_once_and_parameters_of_blocks_twice():
    # of 4000 bytes each sends half to the other, and half of the sums back
    assert sent_bytes(WORK, 2, "ddp") == 4000 + 80
    assert sent_bytes(WORK, 2, "fsdp") == 4000 + 2400 / 2 + 80


@given(st.integers(2, 4096), st.sampled_from(["ddp", "fsdp"]))
def test_more_processes_send_more_each_and_never_twice_as_much_as_two(processes, parallel):
    least = sent_bytes(WORK, 2, parallel)
    assert least <= sent_bytes(WORK, processes, parallel) < 2 * least


def test_one_process_exchanges_nothing():
    for parallel in ("ddp", "fsdp"):
        assert sent_bytes(WORK, 1, parallel) == 0
        assert exchange_seconds(WORK, 1, parallel, Link(1.0, 1.0)) == 0


def test_an_exchange_takes_its_messages_and_its_bytes():
    link = Link(latency_s=0.5, bytes_per_s=100.0)
    assert exchange_seconds(WORK, 2, "ddp", link) == pytest.approx(6 * 0.5 + 4080 / 100)
    sent = sent_bytes(WORK, 8, "ddp")
    assert exchange_seconds(WORK, 8, "ddp", link) == pytest.approx(3 * 6 * 0.5 + sent / 100)
    assert exchange_seconds(WORK, 2, "fsdp", link) == pytest.approx(15 * 0.5 + 5280 / 100)


def test_shares_of_the_state_add_up_to_one_whole():
    whole = state_bytes(1000, 8, "ddp", average=True)
    assert whole == 5 * 4 * 1000  # weights, gradients, two moments, average
    assert 8 * state_bytes(1000, 8, "fsdp", average=True) == whole
    assert state_bytes(1000, 8, "ddp", average=False) == 16_000


def test_a_step_computes_and_then_exchanges():
    link = Link(latency_s=0.5, bytes_per_s=100.0)
    # one message of each of two sums and their gradients, and two of the parameters'
    assert step_seconds(2.0, WORK, 2, "ddp", link) == pytest.approx(2 + 6 * 0.5 + 4080 / 100)
    assert step_seconds(2.0, WORK, 1, "ddp", link) == 2


def test_a_run_is_its_steps_and_what_every_process_does_alone():
    # 7,200 steps of 10 frames take two hours, and 1,800 s are half an hour
    assert run_hours(1.0, 10, 72_000, 1800) == pytest.approx(2.5)
    # twice the processes halve the steps, and not what each does alone
    assert run_hours(1.0, 20, 72_000, 1800) == pytest.approx(1.5)
