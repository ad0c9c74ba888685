"""How a step is computed changes its memory, not what is learned."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from tiny_run import BLOCKS, CONFIG, MODEL, in_processes, interrupted, run, tiny_windows, weights

from armillary.core.errors import ConfigError
from armillary.data import Windows
from armillary.models import untrained
from armillary.training import ComputeConfig, Processes, Stepper, fit_scales
from armillary.training.compute import blocks_of

ALONE = Processes(0, 1, torch.device("cpu"))


def stepper(model, compute: ComputeConfig | None = None, clips: Windows | None = None) -> Stepper:
    clips = clips or tiny_windows()
    learns = untrained(model, 0)
    fit_scales(learns, clips, 0)
    return Stepper(learns, CONFIG, clips, ALONE, compute)


def kept_bytes(takes: Stepper) -> int:
    """Return the size of what is kept from the forward pass of one step for the backward pass."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        kept[value.data_ptr()] = value.untyped_storage().nbytes()
        return value

    alive = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda v: alive.append(v) or keep(v), lambda v: v
    ):
        takes.learner(takes.batch(0), 0)
    return sum(kept.values())


@pytest.mark.parametrize("model", [MODEL, BLOCKS], ids=["tiny", "blocks"])
def test_accumulated_gradients_are_those_of_the_whole_batch(model):
    whole, parts = stepper(model), stepper(model, ComputeConfig(gradient_accumulation=3))
    numbers = [takes.step(0)[0] for takes in (whole, parts)]
    for name, value in numbers[0].items():
        torch.testing.assert_close(numbers[1][name], value, rtol=1e-5, atol=1e-5)
    # gradients, and not weights: the first step of AdamW is their sign alone
    for (name, one), (_, other) in zip(
        whole.learner.named_parameters(), parts.learner.named_parameters(), strict=True
    ):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            scale = float(one.grad.abs().max()) + 1e-6
            torch.testing.assert_close(other.grad / scale, one.grad / scale, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("model", [MODEL, BLOCKS], ids=["tiny", "blocks"])
def test_checkpointed_activations_give_the_same_bits(model):
    plain = stepper(model)
    again = stepper(model, ComputeConfig(activation_checkpointing=True))
    for step in range(3):
        plain.step(step)
        again.step(step)
    for one, other in zip(plain.learner.parameters(), again.learner.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [*plain.learner.state_dict()] == [*again.learner.state_dict()]


def test_both_keep_less_for_the_backward_pass():
    plain = kept_bytes(stepper(BLOCKS))
    for compute in (
        ComputeConfig(activation_checkpointing=True),
        ComputeConfig(gradient_accumulation=4),
    ):
        assert kept_bytes(stepper(BLOCKS, compute)) < plain


def test_a_run_may_go_on_with_another_way_to_compute(tmp_path, whole):
    interrupted(tmp_path / "run", 7, compute=ComputeConfig(activation_checkpointing=True))
    assert run(tmp_path / "run", resume=True).resumed_at == 5
    assert weights(tmp_path / "run") == weights(whole)


def test_one_process_has_nothing_to_share(tmp_path, whole):
    run(tmp_path / "run", compute=ComputeConfig(parallel="fsdp"))
    assert weights(tmp_path / "run") == weights(whole)


def test_more_parts_than_clips_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"gradient_accumulation \(9\) must be at most the clips"):
        run(tmp_path / "run", compute=ComputeConfig(gradient_accumulation=9))
    with pytest.raises(ConfigError, match="gradient_accumulation must be at least 1, got 0"):
        ComputeConfig(gradient_accumulation=0)
    assert not (tmp_path / "run" / "run.json").exists()


def compiled_and_not() -> None:
    """Compare two steps; in a process of its own, since checked shapes cannot be compiled.

    The back end would only need a compiler; what can break is the graph and its gradient.
    """
    torch.compile = functools.partial(torch.compile, backend="aot_eager")
    plain, compiled = stepper(BLOCKS), stepper(BLOCKS, ComputeConfig(compile=True))
    assert len(blocks_of(compiled.model.encoder)) == 2
    for step in range(2):
        losses = [float(takes.step(step)[0]["loss"]) for takes in (plain, compiled)]
        assert np.isclose(*losses, rtol=1e-4), losses
    from torch._dynamo.utils import counters

    assert counters["stats"]["unique_graphs"] > 0


@pytest.mark.slow
@pytest.mark.compile
def test_compiled_blocks_learn_the_same():
    assert in_processes(compiled_and_not, (), timeout_s=280) == [0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_copies_from_pinned_memory_and_clips_are_gathered_ahead():
    clips, device = tiny_windows(), torch.device("cuda", 0)
    learns = untrained(MODEL, 0)
    fit_scales(learns, clips, 0)
    takes = Stepper(learns, CONFIG, clips, Processes(0, 1, device))
    first = takes.batch(0)
    assert first.valid.device == device
    assert takes._ahead is not None
    assert takes._ahead[1].result().streams["rgb"].is_pinned()
    takes.step(1)
