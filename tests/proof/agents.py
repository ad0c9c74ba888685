"""A tiny agent for the two-rooms world: a few hundred weights that nobody trained."""

from __future__ import annotations

from pathlib import Path

from armillary.evaluation import ModelSpec
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, save_model, untrained
from armillary.planning import Planning
from armillary.proof.agent import Agent, Overrides, pack_agent

SIDE = 16
CONFIG = JEPAConfig(
    sensors=("rgb",),
    encoder=EncoderConfig(
        image_size=SIDE, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
    action_width=2,
)
PLANNER = {"length": 3, "samples": 8, "iterations": 1, "elites": 2}


def tiny_folder(path: Path, seed: int = 0) -> Path:
    save_model(untrained(CONFIG, seed), path)
    return path


def tiny_agent(
    folder: Path, seed: int = 0, overrides: Overrides | None = None, **settings
) -> Agent:
    model = tiny_folder(folder / f"model{seed}", seed)
    spec = ModelSpec(model, Planning("cem", {**PLANNER, **settings}))
    return pack_agent(model, spec, folder / f"agent{seed}{len(settings)}", overrides)
