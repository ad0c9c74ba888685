"""Fixtures of the benches' tests: a small recording of drifting gradients, with actions."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from armillary.core.values import Episode, Stream
from armillary.data import DatasetWriter

SIDE, STEPS, EPISODES = 32, 30, 3


def drifting(episode: int) -> Episode:
    """A ramp that moves by one pixel a step, so that neighbouring frames differ everywhere."""
    ramp = np.arange(SIDE) * 4
    steps = np.arange(STEPS)[:, None, None] * 6 + episode * 30
    grey = (ramp[:, None] + ramp[None, :] + steps) % 256
    actions = np.random.default_rng(episode).uniform(-1, 1, (STEPS - 1, 2))
    return Episode(
        streams={"rgb": Stream("rgb", np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8))},
        time_ns=np.arange(STEPS, dtype=np.int64) * 100_000_000,
        actions=actions.astype(np.float32),
    )


@pytest.fixture
def fake_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that counts as installed, whose python is ``bin/python`` to be written."""
    venv = tmp_path / "peers" / "stable-worldmodel"
    (venv / "bin").mkdir(parents=True)
    wanted = files("armillary.benchmark") / "peer_requirements" / "stable-worldmodel.txt"
    (venv / "armillary-requirements.txt").write_text(wanted.read_text())
    monkeypatch.setenv("ARMILLARY_PEERS", str(tmp_path / "peers"))
    return venv


@pytest.fixture
def as_python(fake_peer: Path) -> Callable[[str], Path]:
    """Let a shell script stand for the environment's python; returns the environment."""

    def write(shell: str) -> Path:
        python = fake_peer / "bin" / "python"
        python.write_text(f"#!/bin/sh\n{shell}\n")
        python.chmod(0o755)
        return fake_peer

    return write


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset; do not change it."""
    path = tmp_path_factory.mktemp("recording") / "set"
    writer = DatasetWriter(path, fps=10)
    for episode in range(EPISODES):
        writer.write(episode, drifting(episode))
    writer.finalize()
    return path
