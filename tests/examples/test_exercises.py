"""The six exercises of the reading order: each solution keeps its contract, and works."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from armillary.core.errors import ConfigError, FormatError, ShapeError
from armillary.core.rng import generator, torch_generator
from armillary.core.values import Batch, Latent
from armillary.data import open_dataset
from armillary.data.ingest import FORMATS, ingest
from armillary.data.sources.source import IngestOptions
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.planning import check_planner, make_planner
from armillary.planning.registry import PLANNERS
from armillary.training import EncodedClips, Processes, check_term
from armillary.worlds import check_world, record
from armillary.worlds.registry import WORLDS

FOLDER = Path(__file__).parents[2] / "examples" / "exercises"
DOCS = Path(__file__).parents[2] / "docs" / "reading-order.md"


def solution(name: str) -> ModuleType:
    """Return the module of a solution; dataclasses look for it among those that are loaded."""
    spec = importlib.util.spec_from_file_location(f"exercise_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_exercise_has_its_solution_and_is_tried_here() -> None:
    names = {path.stem for path in FOLDER.glob("*.py")}
    text, here = DOCS.read_text(), Path(__file__).read_text()
    assert names == {"world", "sensor", "loss", "planner", "format", "suite"}
    assert all(f"examples/exercises/{name}.py" in text for name in names)
    assert all(f'solution("{name}")' in here for name in names)


def test_a_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    puck = solution("world").Puck
    check_world(puck)
    monkeypatch.setitem(WORLDS, "puck", puck)
    record("puck", tmp_path / "data", 2, 12, workers=1)
    episode = open_dataset(tmp_path / "data")[0]
    assert np.abs(np.diff(episode.streams["puck_xy"].values, axis=0)).max() > 0.01


def test_the_expert_of_the_world_reaches_its_goals() -> None:
    world = solution("world").Puck()
    reached = 0
    for seed in range(20):
        world.reset(seed)
        rng = generator("exercise", seed)
        goal = world.draw_goal("reach", rng)
        for _ in range(world.spec.budget):
            world.step(world.expert(goal, rng))
        reached += world.distance(goal) <= world.spec.success_distance
    assert reached == 20


def test_a_sensor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    puck = solution("sensor").PuckWithSpeed
    check_world(puck)
    monkeypatch.setitem(WORLDS, "puck_with_speed", puck)
    record("puck_with_speed", tmp_path / "data", 2, 12, workers=1)
    streams = open_dataset(tmp_path / "data")[0].streams
    speed, place = streams["proprio"].values, streams["puck_xy"].values
    inside = np.abs(place - 0.5).max(1) < 0.4  # no wall was hit
    moved = np.diff(place, axis=0) / 0.1
    kept = inside[1:] & inside[:-1]
    np.testing.assert_allclose(moved[kept], speed[1:][kept], atol=1e-5)


def clips() -> EncodedClips:
    encoder = EncoderConfig(
        image_size=16, patch=8, patch_hidden=16, patch_width=8, hidden=16, tokens=2, width=4
    )
    config = JEPAConfig(sensors=("rgb",), encoder=encoder, predictor=PredictorConfig(8, 8))
    model, rng = untrained(config, 0), torch_generator("exercise", 0)
    rgb = torch.randint(0, 256, (3, 5, 16, 16, 3), generator=rng, dtype=torch.uint8)
    actions = torch.randn(3, 4, 2, generator=rng)
    batch = Batch({"rgb": rgb}, actions, torch.ones(3, 5, dtype=torch.bool))
    latents = model.encode(batch).tokens.flatten(2)
    return EncodedClips(model, batch, latents, actions, 0, 0, Processes(0, 1, torch.device("cpu")))


def test_a_loss() -> None:
    module = solution("loss")

    def made() -> tuple[Any, EncodedClips]:
        example = clips()
        return module.Contrast(example.model.config, module.ContrastConfig(1.0)), example

    check_term(made)
    term, example = made()
    weight, bias = (values.detach().numpy() for values in term.head.parameters())
    read = example.latents.detach().numpy() @ weight[0] + bias
    target = (example.batch.streams["rgb"].numpy() / 255).std((2, 3, 4))
    assert float(term(example).detach()) == pytest.approx(((read - target) ** 2).mean(), rel=1e-5)


def test_a_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored = solution("planner").Mirrored
    check_planner(mirrored)
    monkeypatch.setitem(PLANNERS, "mirrored", mirrored)
    planner = make_planner("mirrored", pairs=4, rounds=2)
    assert planner.config.model_steps == 8 * 2 * 4 * 2


def test_a_format(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(FORMATS, "npz", solution("format"))
    logs, rng = tmp_path / "logs", np.random.default_rng(0)
    logs.mkdir()
    rgb = np.zeros((5, 32, 32, 3), np.uint8)
    action = rng.normal(size=(4, 2)).astype(np.float32)
    np.savez(logs / "a.npz", rgb=rgb, action=action)
    np.savez(logs / "b.npz", rgb=rgb)
    np.savez(logs / "c.npz", rgb=rgb, action=np.array([{}] * 4, object))
    np.savez(logs / "d.npz", rgb=rgb[:, :16], action=action)
    (logs / "e.npz").write_bytes((logs / "a.npz").read_bytes()[:300])
    (logs / "f.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match="pass --fps"):
        ingest(logs, tmp_path / "out")
    found = ingest(logs, tmp_path / "out", options=IngestOptions(fps=10))
    assert (found.written, found.frames) == (1, 5)
    said = {path.name: sentence for path, sentence in found.skipped}
    assert set(said) == {"b.npz", "c.npz", "d.npz", "e.npz", "f.npz"}
    assert "has no array action; it has rgb" in said["b.npz"]
    assert "another size" in said["d.npz"]
    episode = open_dataset(tmp_path / "out")[0]
    np.testing.assert_array_equal(episode.actions, action)
    monkeypatch.setattr(FORMATS["npz"], "MAX_BYTES", 100)
    with pytest.raises(FormatError, match="unpacks to"):
        ingest(logs / "a.npz", tmp_path / "no", options=IngestOptions(fps=10))


@dataclass
class Adder:
    """Its latent is a number in the picture; it adds the actions up, or ignores them."""

    share: float

    def encode(self, batch: Batch) -> Latent:
        return Latent(batch.streams["rgb"][:, :, 0, 0, :1].float()[..., None], None)

    def rollout(self, latent: Latent, plans: torch.Tensor) -> torch.Tensor:
        added = self.share * plans[..., :1].cumsum(2)
        return (latent.tokens[:, None, -1:, 0] + added)[..., None]


def test_a_question_of_understanding() -> None:
    asked = solution("suite").which_actions_led_here
    rng = torch_generator("exercise", 1)
    actions = torch.randint(1, 20, (8, 4, 1), generator=rng).float()
    number = torch.cat([torch.zeros(8, 1, 1), actions.cumsum(1)], 1)
    rgb = number[..., None, None].expand(8, 5, 16, 16, 3).to(torch.uint8)
    told = Batch({"rgb": rgb}, actions, torch.ones(8, 5, dtype=torch.bool))
    assert asked(Adder(1.0), told).right == 1  # an oracle
    assert asked(Adder(0.0), told).right == 0.5  # a coin
    with pytest.raises(ShapeError, match="with actions"):
        asked(Adder(1.0), Batch({"rgb": rgb}, None, told.valid))
