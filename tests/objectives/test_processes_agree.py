"""Two processes with half the batch each see the value and the gradient of the whole batch.

Each process computes the gradient of shared weights and the gradients are then averaged, as
data-parallel training does.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numeric import normal

from armillary.core.rng import torch_generator
from armillary.objectives import (
    diagnose_collapse,
    motion_variance_covariance,
    sigreg,
    variance_covariance,
)
from armillary.objectives.moments import some_rows
from armillary.objectives.visual_words import (
    Vocabulary,
    standing_out,
    word_map,
    word_map_loss,
    word_target,
)

CLIPS, STEPS, WIDTH = 6, 4, 3
CELLS, SIDE = 3, 16
TERMS = (
    "sigreg",
    "variance",
    "covariance",
    "motion_variance",
    "motion_covariance",
    "visual_words",
)


def pictures() -> torch.Tensor:
    """Things of three colours that move [CLIPS STEPS SIDE SIDE 3], each clip in its own light."""
    rgb = np.ones((CLIPS, STEPS, SIDE, SIDE, 3)) * (
        0.2 + 0.1 * np.arange(CLIPS)[:, None, None, None, None]
    )
    for clip, step, thing in np.ndindex(CLIPS, STEPS, 3):
        row, column = (clip * 5 + step * 3) % 12, (clip + step * 2 + thing * 5) % 12
        rgb[clip, step, row : row + 4, column : column + 4] = np.eye(3)[thing]
    return torch.tensor(rgb, dtype=torch.float32)


def words_of(frames: torch.Tensor) -> torch.Tensor:
    """Maps of visual words [F C], of a vocabulary that is learned from the pictures."""
    places, features, weights = standing_out(frames)
    vocabulary = Vocabulary(features.shape[-1], 4)
    vocabulary.fit(features, weights)
    return word_map(places, vocabulary(features) * weights[..., None], CELLS)


def terms(latents: torch.Tensor, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    flat, words = latents.flatten(0, 1), words_of(rgb.flatten(0, 1))
    wanted = word_target(words, CELLS)
    head = torch.tensor(normal(WIDTH, wanted.shape[1], seed=2), dtype=torch.float32)
    values = [
        sigreg(flat, 8, torch_generator("test-processes")),
        *variance_covariance(flat, 2.0),
        *motion_variance_covariance(latents, 2.0),
        word_map_loss(flat @ head, words, CELLS),
    ]
    return dict(zip(TERMS, values, strict=True))


def measure(part: slice) -> dict[str, np.ndarray]:
    """Values, gradients of the shared weights, and diagnosis for a part of the clips."""
    seen = torch.tensor(normal(CLIPS, STEPS, WIDTH), dtype=torch.float32)[part]
    found = {}
    for name in TERMS:
        weights = torch.tensor(normal(WIDTH, WIDTH, seed=1), dtype=torch.float32).requires_grad_()
        value = terms(seen @ weights, pictures()[part])[name]
        value.backward()
        found[name] = value.detach().numpy()
        found[f"{name}.gradient"] = weights.grad.numpy()
    diagnosis = diagnose_collapse(seen)
    found["rank"] = np.float64(diagnosis.effective_rank)
    found["motion"] = np.float64(diagnosis.motion_share)
    for about in (3, 100):  # every eighth row, which the second half does not begin with; and all
        found[f"rows.{about}"] = some_rows(seen.flatten(0, 1), about).numpy()
    return found


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    where = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=2)
    half = CLIPS // 2
    found = measure(slice(rank * half, (rank + 1) * half))
    for name in TERMS:
        gradient = torch.from_numpy(found[f"{name}.gradient"])
        dist.all_reduce(gradient)
        found[f"{name}.gradient"] = gradient.numpy() / 2
    np.savez(folder / f"{rank}.npz", **found)
    dist.destroy_process_group()


def test_two_processes_are_one_batch(tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["armillary.training", "torch._dynamo"])
    workers = [context.Process(target=work, args=(rank, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    whole = measure(slice(None))
    assert all(np.abs(value).max() > 0 for value in whole.values()), "a term says nothing"
    for rank in range(2):
        with np.load(tmp_path / f"{rank}.npz") as part:
            for name, value in whole.items():
                np.testing.assert_allclose(part[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
