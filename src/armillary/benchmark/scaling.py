"""Scaling on paper: seconds, traffic and memory of a training step on several processes.

    step = compute of a process's clips + exchange
    exchange = messages x latency + bytes that a process sends / bandwidth

Exchange and compute are taken one after the other. On a GPU they overlap in part, so there it is an
upper bound. Of X bytes over n processes a gather or a scatter sends X (n-1)/n, and an all-reduce
both; no algorithm sends less (Patarasuk and Yuan 2009). Messages go along trees, so a collective
waits for log2(n) of them in turn (Sanders, Speck and Traeff 2009, as in NCCL).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Parallel = Literal["ddp", "fsdp"]
_BYTES = 4  # of a parameter, of its gradient and of each number that AdamW keeps for it


@dataclass(frozen=True)
class Link:
    """What carries data from each process to the next.

    Attributes:
        latency_s: of one message.
        bytes_per_s: that a process sends.
    """

    latency_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Exchanged:
    """What the processes exchange in one step, in numbers of the model.

    Attributes:
        parameters: of model and loss heads that get a gradient.
        in_blocks: those of them that FSDP2 frees after the forward pass and gathers again.
        blocks: groups in which these are gathered.
        reduced_bytes: of all that loss terms sum over processes, forward and backward.
        reductions: how many such sums.
    """

    parameters: int
    in_blocks: int
    blocks: int
    reduced_bytes: int
    reductions: int


def sent_bytes(work: Exchanged, processes: int, parallel: Parallel) -> float:
    """Return how many bytes each process sends in a step.

    Args:
        work: what is exchanged.
        processes: n.
        parallel: how the model is spread over them.
    """
    share = (processes - 1) / processes
    passes = 2 * work.parameters  # DDP: one all-reduce. FSDP2: a gather and a scatter
    if parallel == "fsdp":
        passes += work.in_blocks
    return share * (_BYTES * passes + 2 * work.reduced_bytes)


def exchange_seconds(work: Exchanged, processes: int, parallel: Parallel, link: Link) -> float:
    """Return the seconds of a step in which data are exchanged; 0 for one process."""
    hops = 2 * work.reductions + 2
    if parallel == "fsdp":
        hops += 3 * work.blocks
    messages = hops * math.ceil(math.log2(processes))
    sent = sent_bytes(work, processes, parallel)
    return messages * link.latency_s + sent / link.bytes_per_s


def step_seconds(
    compute_s: float, work: Exchanged, processes: int, parallel: Parallel, link: Link
) -> float:
    """Return the seconds of a step: what a process computes, and then what it exchanges.

    Args:
        compute_s: seconds in which a process computes its own clips, alone.
        work: what is exchanged.
        processes: n.
        parallel: how the model is spread over them.
        link: from each process to the next.
    """
    return compute_s + exchange_seconds(work, processes, parallel, link)


def run_hours(step_s: float, frames_per_step: int, frames: float, alone_s: float) -> float:
    """Return the hours of a whole training; times n they are the hours of all n processes.

    Args:
        step_s: seconds of a step (``step_seconds``).
        frames_per_step: that all processes together take in a step.
        frames: of the whole training, each counted as often as it is seen.
        alone_s: seconds after the last step in which every process does the same work, as in the
            fine-tuning of the predictor.
    """
    return (frames / frames_per_step * step_s + alone_s) / 3600


def state_bytes(parameters: int, processes: int, parallel: Parallel, average: bool) -> float:
    """Return the memory of a process for what training keeps between steps, and for gradients.

    Args:
        parameters: of model and loss heads.
        processes: n.
        parallel: how the model is spread over them.
        average: whether a moving average is kept.
    """
    kept = 5 if average else 4  # weights, gradients, two moments
    return kept * _BYTES * parameters / (processes if parallel == "fsdp" else 1)
