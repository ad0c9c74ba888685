"""LeWM's training step, timed inside the environment where ``stable-worldmodel`` is installed.

Run by the peer's Python, never imported by armillary. It reads one JSON request per line from
stdin and answers each with one JSON line on stdout:

``build``  {name, size, patch, batch, threads, bfloat16} -> {parameters, versions}
``steps``  {name, count}                                 -> {seconds, frames, loss}

Model, predictor, action encoder, heads and SIGReg are the installed package's own classes, with the
values of its ``lewm.yaml``: ViT-tiny (transformers), 192 wide, predictor of 6 blocks with 16 heads
of 64 and MLP 2048, dropout 0.1, history 3, windows of 4 frames at frameskip 5, SIGReg weight 0.09
with 1,024 directions and 17 knots, AdamW 5e-5 with weight decay 1e-3, clip 1.0, bfloat16 autocast.
Without ``bfloat16`` it is float32: a processor that lacks these products emulates them, slowly.
Every tensor is made once, before the clock starts: no loading, resizing or logging is counted.

Source: Maes et al. 2026 (LeWorldModel); stable-worldmodel, configuration ``lewm``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch
from stable_worldmodel.wm.lewm import LeWM  # pyrefly: ignore
from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor  # pyrefly: ignore
from stable_worldmodel.wm.loss import SIGReg  # pyrefly: ignore
from transformers import ViTConfig, ViTModel  # pyrefly: ignore

WIDTH, HISTORY, FRAMES, FRAMESKIP, ACTION_WIDTH = 192, 3, 4, 5, 2
SIGREG_WEIGHT = 0.09

steps: dict[str, Any] = {}


def make_model(size: int, patch: int) -> LeWM:
    """Return LeWM from the package's parts, for square images of ``size`` pixels."""
    vit = ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=12,
        num_attention_heads=3,
        intermediate_size=4 * WIDTH,
        image_size=size,
        patch_size=patch,
    )
    predictor = Predictor(
        num_frames=HISTORY,
        input_dim=WIDTH,
        hidden_dim=WIDTH,
        output_dim=WIDTH,
        depth=6,
        heads=16,
        mlp_dim=2048,
        dim_head=64,
        dropout=0.1,
        emb_dropout=0.0,
    )
    return LeWM(
        encoder=ViTModel(vit, add_pooling_layer=False, use_mask_token=False),
        predictor=predictor,
        action_encoder=Embedder(input_dim=FRAMESKIP * ACTION_WIDTH, emb_dim=WIDTH),
        projector=_head(),
        pred_proj=_head(),
    )


def _head() -> MLP:
    return MLP(input_dim=WIDTH, output_dim=WIDTH, hidden_dim=2048, norm_fn=torch.nn.BatchNorm1d)


def make_step(model: LeWM, size: int, batch: int, bfloat16: bool) -> Callable[[], float]:
    """Return a function that does one whole optimizer step and returns the loss."""
    sigreg = SIGReg(knots=17, num_proj=1024)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=1e-3)
    pixels = torch.randn(batch, FRAMES, 3, size, size)
    actions = torch.randn(batch, FRAMES, FRAMESKIP * ACTION_WIDTH)
    model.train()

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            seen = model.encode({"pixels": pixels, "action": actions})
            latents, moves = seen["emb"], seen["act_emb"]
            predicted = model.predict(latents[:, :HISTORY], moves[:, :HISTORY])
            error = (predicted - latents[:, 1:]).pow(2).mean()
            loss = error + SIGREG_WEIGHT * sigreg(latents.transpose(0, 1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def build(
    name: str, size: int, patch: int, batch: int, threads: int, bfloat16: bool
) -> dict[str, Any]:
    """Make a model and its step and keep it under a name, in place of one that had it before."""
    torch.set_num_threads(threads)
    torch.manual_seed(3072)
    model = make_model(size, patch)
    steps[name] = (make_step(model, size, batch, bfloat16), batch * FRAMES)
    packages = ("stable-worldmodel", "torch", "transformers")
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "versions": {package: version(package) for package in packages},
    }


def run_steps(name: str, count: int) -> dict[str, Any]:
    """Time ``count`` optimizer steps; frames are those that went through the encoder."""
    step, frames = steps[name]
    loss = float("nan")
    begin = time.perf_counter()
    for _ in range(count):
        loss = step()
    return {"seconds": time.perf_counter() - begin, "frames": frames * count, "loss": loss}


def main() -> None:
    """Answer requests until stdin closes; what the package itself prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    operations = {"build": build, "steps": run_steps}
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(operations[request.pop("op")](**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
