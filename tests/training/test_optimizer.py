"""Muon's steps are orthogonal and as long as AdamW's; heads and vectors move as by AdamW."""

from __future__ import annotations

import pytest
import torch
from tiny_run import MODEL, interrupted, run, weights
from torch import nn

from armillary.training import OptimizerConfig
from armillary.training.optimizer import Optimizer

RATE = 0.01


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Linear(24, 16)
        self.head = nn.Linear(16, 32)


def moved(method: str) -> dict[str, torch.Tensor]:
    toy = Toy()
    before = {name: p.detach().clone() for name, p in toy.named_parameters()}
    optimizer = Optimizer(toy, OptimizerConfig(method=method, lr=1.0, weight_decay=0.0))
    optimizer.set_rate(RATE)
    assert optimizer.rate == RATE
    torch.manual_seed(1)
    toy.head(toy.model(torch.randn(64, 24))).square().mean().backward()
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in toy.named_parameters()}


def test_a_step_of_a_hidden_matrix_goes_equally_far_in_all_its_directions():
    step = moved("muon")["model.weight"]
    # 0.2 sqrt(longer side): the usual root mean square of AdamW's updates (2502.16982, eq. 4)
    spread = torch.linalg.svdvals(step) / (RATE * 0.2 * 24**0.5)
    assert spread.min() > 0.5 and spread.max() < 1.3
    plain = torch.linalg.svdvals(moved("adamw")["model.weight"])
    assert plain.min() < 0.2 * plain.max()


def test_heads_and_vectors_move_as_by_adamw():
    muon, adamw = moved("muon"), moved("adamw")
    for name in ("model.bias", "head.weight", "head.bias"):
        assert torch.equal(muon[name], adamw[name])


@pytest.mark.parametrize("at", [1, 7])
def test_interrupted_is_uninterrupted(tmp_path, at):
    muon = OptimizerConfig(method="muon", lr=3e-3)
    run(tmp_path / "whole", optimizer=muon)
    interrupted(tmp_path / "cut", at, optimizer=muon)
    run(tmp_path / "cut", resume=True, optimizer=muon)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert MODEL.encoder.hidden > 1  # matrices that Muon moves do exist
