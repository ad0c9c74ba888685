"""Trial for "One recipe": a predictor fine-tuned under slow features, beside plain squared error.

The encoder stands still. A new predictor learns four-step rollouts on its latents under three
losses, with the same steps and seed:

    plain       squared error
    slow        0.3 plain + error under G = sum_i lambda_i b_i b_i^T
    slow_drawn  the same, half of the clips drawn from the quarter whose slow features change most

b_i are generalised eigenvectors of the covariance of latents against that of their one-step change,
with ratio lambda_i: what varies much between scenes and changes little from step to step comes
first. No label is used. Each predictor is then judged by ``comprehension.diagnose`` on held-out
episodes. The record also holds the rank correlation of the distance to the last latent with steps
to go, under squared distance and under G.

    .venv/bin/armillary record tabletop --episodes 2000 --steps 12 --out out/table
    .venv/bin/python scripts/slow_features.py results/proof/tabletop/agent out/table out/slow.json

How sure: one recording, one encoder, the weights (0.3; shrinkage 0.05; drawing 0.5) taken from
short trials on the same kind of recording. The encoder learned with the recipe ``tabletop``, whose
target depends on colour: this is about the predictor and the metric alone.

Axes: E episodes, T steps, Z flattened latent, R starts, K steps ahead.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from armillary.benchmark.machine import provenance
from armillary.comprehension.diagnosis import diagnose
from armillary.comprehension.stretches import cut
from armillary.core.files import write_json
from armillary.core.rng import generator
from armillary.data import Cache, Windows, open_dataset, split_episodes
from armillary.models import JEPA, load_model
from armillary.models.predictor import Predictor
from armillary.models.seeding import seeded
from armillary.objectives.rollout import decaying_weights
from armillary.recipes.diagnosis_record import diagnosis_record
from armillary.recipes.recipe import prepared
from armillary.training.foresight import came_after_each, foreseen_from_each

AHEAD, BATCH, SHRINKAGE, PLAIN, SLOWEST = 4, 32, 0.05, 0.3, 8


def slow_features(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return b_i as columns [Z Z], unit change each, and lambda_i [Z], descending; from [E T Z]."""
    flat = latents.flatten(0, 1).double()
    change = (latents[:, 1:] - latents[:, :-1]).flatten(0, 1).double()
    whole, step = torch.cov(flat.T, correction=0), change.T @ change / len(change)
    step += SHRINKAGE * step.trace() / len(step) * torch.eye(len(step), dtype=step.dtype)
    lower = torch.linalg.inv(torch.linalg.cholesky(step))
    ratios, vectors = torch.linalg.eigh(lower @ whole @ lower.T)
    return (lower.T @ vectors).flip(1).float(), ratios.flip(0).float()


def fine_tune(
    model: JEPA, latents: Tensor, actions: Tensor, steps: int, seed: int, slow: bool, drawn: bool
) -> None:
    """Give the model a new predictor, trained on frozen latents [E T Z] and actions [E T-1 A]."""
    features, ratios = slow_features(latents)
    change = latents[:, 1:] - latents[:, :-1]
    metric = features * (ratios / ratios.mean()).sqrt()
    scales = change.square().mean(), (change @ metric).square().mean()
    slowest = latents @ features[:, :SLOWEST]
    moved = (slowest[:, AHEAD:] - slowest[:, :-AHEAD]).square().sum(-1).amax(1)
    lively = moved.argsort(descending=True)[: len(moved) // 4].numpy()
    with seeded(seed):
        model.predictor = Predictor(model.config.predictor, latents.shape[-1], actions.shape[-1])
    optimizer = torch.optim.AdamW(model.predictor.parameters(), lr=1e-3, weight_decay=1e-3)
    weights = decaying_weights(AHEAD, 0.8)
    for step in range(steps):
        rate = min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * rate
        rng = generator("slow_features", seed, step)
        rows = rng.integers(0, len(latents), BATCH)
        if drawn:
            rows[: BATCH // 2] = rng.choice(lively, BATCH // 2)
        clip, act = latents[rows], actions[rows]
        error = foreseen_from_each(model, clip, act, AHEAD) - came_after_each(clip, AHEAD)
        plain, own = (
            (one.square().mean((0, 1, 3)) * weights).sum() / scale
            for one, scale in zip((error, error @ metric), scales, strict=True)
        )
        loss = PLAIN * plain + own if slow else plain
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.predictor.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def encoded(model: JEPA, cache: Cache, episodes: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return latents [E T Z] and normalised actions [E T-1 A] of episodes of one length."""
    windows = Windows(cache, episodes, int(cache.lengths[episodes].min()), 1)
    picked = np.flatnonzero(np.r_[True, np.diff(windows.locate(np.arange(len(windows)))[0]) > 0])
    parts = [model.encode(windows.gather(picked[at : at + 50])) for at in range(0, len(picked), 50)]
    actions = torch.cat([part.actions for part in parts if part.actions is not None])
    return torch.cat([part.tokens.flatten(2) for part in parts]), model.normalizer.actions(actions)


def progress_of(latents: Tensor, metric: Tensor) -> float:
    """Return the mean rank correlation of the distance to the last latent with steps to go."""
    seen = latents @ metric
    to_go = np.arange(seen.shape[1] - 1, 0, -1)
    apart = (seen[:, :-1] - seen[:, -1:]).square().sum(-1).numpy()
    return float(np.nanmean([spearmanr(row, to_go).statistic for row in apart]))


def main() -> None:
    """Run the three trainings with each seed, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(given.model).requires_grad_(False)
    cache = prepared(open_dataset(given.data), model.config)
    training, held_out = split_episodes(cache.num_episodes)
    latents, actions = encoded(model, cache, training)
    judged, _ = encoded(model, cache, held_out)
    features, ratios = slow_features(latents)
    found: dict[str, list[dict]] = {}
    for name, slow, drawn in (("plain", 0, 0), ("slow", 1, 0), ("slow_drawn", 1, 1)):
        for seed in range(given.seeds):
            began = time.perf_counter()
            fine_tune(model, latents, actions, given.steps, seed, bool(slow), bool(drawn))
            seconds = time.perf_counter() - began
            sides = (cut(cache, training, 1), cut(cache, held_out, 1))
            record = diagnosis_record(diagnose(model, cache, *sides), "held-out episodes")
            kept = {key: record[key] for key in ("moved", "action_rank")}
            kept["latent"] = [row for row in record["prediction"] if row["space"] == "latent"]
            found.setdefault(name, []).append({"seed": seed, "seconds": round(seconds, 1), **kept})
            told = f"{name} {seed} {seconds:.0f} s {kept['moved']['skill']}"
            sys.stderr.write(f"{told} {kept['moved']['false_motion']:.4f}\n")
    command = f"python scripts/slow_features.py {given.model} {given.data} {given.out}"
    distance = {
        "squared": progress_of(judged, torch.eye(judged.shape[-1])),
        "slow": progress_of(judged, features * ratios.sqrt()),
    }
    settings = {"steps": given.steps, "batch": BATCH, "shrinkage": SHRINKAGE, "plain": PLAIN}
    write_json(
        given.out,
        {"trained": found, "progress": distance, "settings": settings, **provenance(command, 1)},
    )


if __name__ == "__main__":
    main()
