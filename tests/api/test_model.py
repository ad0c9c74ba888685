"""Models through the API: trained, asked and acting; each function says what its parts say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import armillary as arm
from armillary.api.results import Run
from armillary.core.errors import ArmillaryError, CheckpointError, ConfigError, ShapeError
from armillary.core.values import Observation
from armillary.data import Dataset
from armillary.evaluation import RandomPolicy
from armillary.models import JEPA
from armillary.services.asking import probe_model, surprise_clip

SMALL = {"planning": arm.Planning("icem", {"length": 3, "samples": 16, "iterations": 1})}


@pytest.fixture(scope="module")
def model(run: Run) -> JEPA:
    return arm.load_model(run)


def test_a_run_has_its_model_and_log(run: Run, model: JEPA) -> None:
    [*_, last] = [entry for entry in run.log if "train/loss" in entry]
    assert last["step"] == 3
    assert repr(run) == f"Run({str(run.path)!r}: 3 steps, loss {last['train/loss']:.3f})"
    again = Run(run.path)
    assert again.summary is None and len(again.log) == len(run.log)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_a_model_is_found_wherever_it_is(run: Run, model: JEPA) -> None:
    for found in (run.path, str(run.path), run.path / "model", model):
        assert torch.equal(arm.load_model(found).grid, model.grid)
    with pytest.raises(CheckpointError, match="a model folder"):
        arm.load_model(run.path / "nothing")


def test_a_model_says_what_it_is_in_one_line(model: JEPA) -> None:
    count = sum(weights.numel() for weights in model.parameters())
    assert repr(model) == (
        f"JEPA(rgb + points at 64 px -> 8 tokens of 32; actions of 2; {count:,} parameters)"
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"step": 3}, "no setting called 'step'. Did you mean 'steps'"),
        ({"optimizer": {"lrr": 1.0}}, "no setting called 'lrr'"),
        ({"steps": "many"}, "'steps' takes a whole number; got 'many'"),
        ({"optimizer": {"lr": -1.0}}, "lr and clip_norm must be above 0"),
    ],
)
def test_wrong_changes_are_refused_before_anything_is_written(
    data: Dataset, tmp_path: Path, changes: dict, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        arm.train("world", data, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_is_named(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recipe called 'tabletop'; use world"):
        arm.train("tabletop", data, tmp_path / "run")


def test_changes_reach_the_run(run: Run) -> None:
    settings = json.loads((run.path / "run.json").read_text())
    assert (settings["train"]["steps"], settings["train"]["batch_size"]) == (3, 4)


def test_weights_take_gradients_only_when_asked(run: Run, data: Dataset, model: JEPA) -> None:
    assert not any(weights.requires_grad for weights in model.parameters())
    assert not arm.rollout(model, data[0]).predicted.requires_grad
    actions = torch.zeros(3, 2, requires_grad=True)
    asked = arm.rollout(model, data[0], actions=actions, gradients=True)
    asked.predicted.sum().backward()
    assert actions.grad is not None and actions.grad.abs().sum() > 0
    trainable = arm.load_model(run, trainable=True)
    assert all(weights.requires_grad for weights in trainable.parameters())


def test_probe_says_what_the_recipe_says(run: Run, model: JEPA, data: Dataset) -> None:
    found = arm.probe(model, data, targets="pusher_xy")
    assert found["pusher_xy"] == probe_model(run.path, data.path, ["pusher_xy"])["pusher_xy"]
    assert list(found) == ["pusher_xy"] and len(found) == 1
    lines = str(found).splitlines()
    assert lines[0].split()[0] == "target" and lines[1].startswith("pusher_xy")
    assert "R2 untrained" in found._repr_html_()
    assert repr(found) == f"Probe(pusher_xy: R2 {found['pusher_xy']['r2']:.2f})"


def test_surprise_says_what_the_recipe_says(run: Run, data: Dataset, tmp_path: Path) -> None:
    clip = f"{data.path}:1"
    found, told = arm.surprise(run, clip, tmp_path), surprise_clip(run.path, clip)
    assert found.values.tolist() == told.surprise and found.peak_step == told.peak_step
    assert len(found) == 13 and found.peak == max(told.surprise)
    assert json.loads((tmp_path / "surprise.json").read_text())["model"] == str(run.path)
    own = arm.surprise(run, data[1], tmp_path / "own", normal=data)
    assert (tmp_path / "own" / "surprise.html").is_file()
    assert own.pixel_difference == pytest.approx(found.pixel_difference)
    assert "<svg" in found._repr_html_()


def test_a_rollout_is_the_models_own(model: JEPA, data: Dataset) -> None:
    found = arm.rollout(model, f"{data.path}:2", start=4)
    assert found.predicted.shape == (9, 8, 32) and found.recorded is not None
    expected = (found.predicted - found.recorded).square().mean((1, 2)).sqrt()
    assert found.error == pytest.approx(expected.numpy())
    assert found.copy_error is not None and found.copy_error[0] > 0
    assert found.pictures is not None and np.array_equal(
        found.pictures, data[2].streams["rgb"].values
    )
    shown = found._repr_html_()
    assert shown.count("<img") == 16 and "<svg" in shown


def test_a_perfect_prediction_is_nearest_to_its_own_step(model: JEPA, data: Dataset) -> None:
    """Where the model is asked to predict what it was shown, the strip shows the same step."""
    with torch.no_grad():
        found = arm.rollout(_Recalls(model), data[0])  # pyrefly: ignore
    assert found.nearest.tolist() == list(range(1, 14))
    assert found.error == pytest.approx(np.zeros(13))


class _Recalls(JEPA):
    """A model whose rollout returns the latents that it last encoded."""

    def __init__(self, model: JEPA) -> None:
        super().__init__(model.config)
        self.load_state_dict(model.state_dict())
        self.eval()

    def encode(self, batch, kept=None):
        self.seen = super().encode(batch, kept)
        return self.seen

    def rollout(self, latent, plans):
        return self.seen.tokens[:, None, 1:]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"start": 14}, "start must be a model step of the clip, 0 to 13; got 14"),
        ({"start": 13}, "needs a length of 1 to 0"),
        ({"length": 0}, "needs a length of 1 to 13"),
        (
            {"actions": np.zeros((3, 5))},
            r"takes actions \[L 2\], one row a model step; got \[3, 5\]",
        ),
    ],
)
def test_a_rollout_that_cannot_be(model: JEPA, data: Dataset, options: dict, sentence: str) -> None:
    with pytest.raises(ArmillaryError, match=sentence):
        arm.rollout(model, data[0], **options)


def test_a_plan_lies_in_its_bounds_and_counts_its_distance(model: JEPA, data: Dataset) -> None:
    episode = data[0]
    small = {"length": 4, "samples": 16, "iterations": 2}
    now, goal = episode.observation(0), episode.observation(-1)
    found = arm.plan(model, now, goal, bounds=(-0.02, 0.02), **small)
    assert found.actions.shape == (4, 2) and np.abs(found.actions).max() <= 0.02
    assert found.distances.shape == (5,) and len(found) == 4
    assert not found.predicted.requires_grad
    # the cost is the sum of the squared distances after each step
    assert found.cost == pytest.approx((found.distances[1:] ** 2).sum(), rel=1e-3)
    same = arm.plan(model, dict(now.streams), goal, bounds=(-0.02, 0.02), **small)
    assert np.array_equal(found.actions, same.actions)
    assert "<img" in found._repr_html_() and repr(found).startswith("Plan(4 actions of 2;")


def test_a_plan_keeps_to_what_the_model_was_trained_on(model: JEPA, data: Dataset) -> None:
    episode, scales = data[0], model.normalizer
    reach = 3**0.5 * scales.action_std
    found = arm.plan(
        model, episode.observation(0), episode.observation(5), length=3, samples=64, iterations=1
    )
    low, high = (scales.action_mean - reach).numpy(), (scales.action_mean + reach).numpy()
    assert (found.actions >= low - 1e-6).all() and (found.actions <= high + 1e-6).all()


def test_a_gradient_planner_gets_its_gradient(model: JEPA, data: Dataset) -> None:
    episode = data[0]
    found = arm.plan(
        model,
        episode.observation(0),
        episode.observation(3),
        planner="gradient",
        length=3,
        iterations=2,
        starts=3,
        kept=1,
    )
    assert np.isfinite(found.actions).all()
    assert all(weights.grad is None for weights in model.parameters())


def test_a_plan_remembers_several_observations(model: JEPA, data: Dataset) -> None:
    episode = data[0]
    assert episode.actions is not None
    looks = [episode.observation(step) for step in (0, 1, 2)]
    small = {"length": 2, "samples": 16, "iterations": 1}
    found = arm.plan(model, looks, looks[0], actions=episode.actions[:2], **small)
    assert found.observation is looks[-1]
    with pytest.raises(ShapeError, match=r"3 observations need actions \[2 2\] between them"):
        arm.plan(model, looks, looks[0], **small)


@pytest.mark.parametrize(
    ("observation", "bounds", "sentence"),
    [
        (np.zeros((4, 4), np.uint8), None, r"a picture uint8 \[H W 3\]; got uint8 \[4, 4\]"),
        (np.zeros((8, 8, 3), np.uint8), None, "the data lack"),
        (
            Observation({}),
            ([0, 0, 0], [1, 1, 1]),
            "bounds must be a lowest and a highest action of 2",
        ),
        (Observation({}), (1.0, -1.0), "bounds must rise from lowest to highest"),
    ],
)
def test_a_plan_that_cannot_be(model: JEPA, observation, bounds, sentence: str) -> None:
    with pytest.raises(ArmillaryError, match=sentence):
        arm.plan(model, observation, observation, bounds=bounds)


def test_act_writes_rows_and_takes_a_model_as_it_is(run: Run, model: JEPA, tmp_path: Path) -> None:
    told = arm.act(run, "tabletop", episodes=2, out=tmp_path / "a", budget=4, **SMALL)
    assert list(told.rows) == ["model", "random", "noop", "oracle"]
    assert (told.n, told.success) == (2, told.rows["model"].success)
    rows = json.loads((tmp_path / "a" / "rows.json").read_text())["rows"]
    assert rows["model"]["n"] == 2
    own = arm.act(model, "tabletop", episodes=2, budget=4, **SMALL)
    assert own.path is None
    # the same weights, saved again, are the same policy on the same episodes
    assert [r.policy for r in own.records["model"]] == [r.policy for r in told.records["model"]]
    assert [r.actions for r in own.records["model"]] == [r.actions for r in told.records["model"]]
    assert str(told).splitlines()[1].startswith("model")
    assert "oracle" in told._repr_html_()
    assert arm.view(told) == tmp_path / "a" / "view.html"
    with pytest.raises(TypeError, match="kept in no folder"):
        arm.view(own)


def test_act_refuses_an_unknown_option(run: Run) -> None:
    with pytest.raises(ConfigError, match="no option of act called 'horizon'"):
        arm.act(run, "tabletop", horizon=3)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_model_object_replaces_nothing_that_is_there(
    run: Run, model: JEPA, tmp_path: Path
) -> None:
    trained = tmp_path / "run"
    shutil.copytree(run.path, trained)
    (trained / "model" / "notes.md").write_bytes(b"a note")
    before = tree(trained)
    with pytest.raises(ConfigError, match="holds a training run"):
        arm.act(model, "tabletop", episodes=1, out=trained, budget=2, **SMALL)
    assert tree(trained) == before

    out = tmp_path / "act"
    arm.act(model, "tabletop", episodes=1, out=out, budget=2, **SMALL)
    before = tree(out)
    assert "model/config.json" in before
    other = arm.load_model(run)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(ConfigError, match="is another model than the one to be evaluated"):
        arm.act(other, "tabletop", episodes=1, out=out, budget=2, **SMALL)
    with pytest.raises(ConfigError, match="contains an evaluation with another world"):
        arm.act(model, "tabletop", episodes=2, out=out, budget=2, **SMALL)
    assert tree(out) == before
    # the same model goes on, and what was added to its folder stays
    (out / "model" / "notes.md").write_bytes(b"a note")
    arm.act(model, "tabletop", episodes=1, out=out, budget=2, **SMALL)
    assert tree(out) == before | {"model/notes.md": b"a note"}


def test_records_of_another_model_keep_a_model_object_away(
    run: Run, model: JEPA, tmp_path: Path
) -> None:
    other = arm.load_model(run)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    arm.act(run, "tabletop", episodes=1, out=tmp_path, budget=2, **SMALL)
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match="holds records of another manifest or policy"):
        arm.act(other, "tabletop", episodes=1, out=tmp_path, budget=2, **SMALL)
    assert tree(tmp_path) == before and not (tmp_path / "model").exists()


def test_a_model_object_that_cannot_act_leaves_nothing(model: JEPA, tmp_path: Path) -> None:
    out = tmp_path / "act"
    with pytest.raises(ArmillaryError, match="tabeltop"):
        arm.act(model, "tabeltop", out=out)
    with pytest.raises(ConfigError, match="The planner direct needs the goal policy in a model's"):
        arm.act(model, "tabletop", out=out, planning="direct")
    assert list(tmp_path.iterdir()) == []


class Still:
    """A policy of one's own: it does nothing."""

    observes = ("rgb",)

    def init(self, goal: Observation, seed: int) -> None:
        assert goal.streams["rgb"].shape == (32, 32, 3)

    def act(self, observation: Observation, state: None) -> tuple[np.ndarray, None]:
        assert observation.streams["rgb"].shape == (32, 32, 3)
        return np.zeros(2), None


def test_evaluate_puts_a_policy_beside_the_floors(tmp_path: Path) -> None:
    options = {"episodes": 2, "budget": 3, "image_size": 32}
    found = arm.evaluate(Still(), "tabletop", out=tmp_path / "e", **options)
    assert list(found.rows) == ["policy", "random", "noop", "oracle"]
    ends = {n: [r.distances[-1] for r in found.records[n]] for n in ("policy", "noop")}
    assert ends["policy"] == pytest.approx(ends["noop"])
    with pytest.raises(ConfigError, match="holds records already"):
        arm.evaluate(Still(), "tabletop", out=tmp_path / "e", **options)
    made = arm.evaluate(lambda world: RandomPolicy(world.bounds), "tabletop", **options)
    assert made.records["policy"][0].actions == made.records["random"][0].actions
    with pytest.raises(ConfigError, match="A policy has observes"):
        arm.evaluate("random", "tabletop")  # pyrefly: ignore


def test_evaluate_names_a_stream_that_the_world_lacks() -> None:
    policy = Still()
    policy.observes = ("smell",)
    with pytest.raises(ArmillaryError, match="smell"):
        arm.evaluate(policy, "tabletop", episodes=1, image_size=32)


def test_view_takes_what_was_returned(run: Run, data: Dataset, tmp_path: Path) -> None:
    assert arm.view(run, tmp_path / "run.html").read_text().startswith("<!")
    assert arm.view(data, str(tmp_path / "data.html")) == tmp_path / "data.html"


def test_a_run_shows_its_curves(run: Run, tmp_path: Path) -> None:
    assert run._repr_html_().count("<svg") == 2
    assert "has not logged anything yet" in Run(_begun(tmp_path))._repr_html_()
    assert "nothing logged yet" in repr(Run(tmp_path))


def _begun(folder: Path) -> Path:
    (folder / "run.json").write_text("{}")
    return folder


def test_a_read_out_is_a_function_of_latents_that_a_plan_can_want(
    model: JEPA, data: Dataset
) -> None:
    where = arm.read_out(model, data, "pusher_xy", episodes=3)
    assert where.episodes == 3 and np.isfinite(where.error)
    episode = data[0]
    latents = arm.rollout(model, episode, length=3).predicted
    assert where(latents).shape == (*latents.shape[:-2], 2)
    small = {"length": 3, "samples": 16, "iterations": 1}
    target = torch.tensor([0.1, 0.0])
    found = arm.plan(
        model,
        episode.observation(0),
        cost=lambda seen: (where(seen) - target).square().sum(-1),
        **small,
    )
    assert found.goal is None and "cost of a step" in repr(found)
    read = (where(found.predicted) - target).square().sum(-1)
    assert np.allclose(found.distances[1:], read.numpy(), rtol=1e-3)
    assert found.cost == pytest.approx(float(read.sum()), rel=1e-3)
    assert "Predicted cost" in found._repr_html_()
    with pytest.raises(ConfigError, match="needs a goal or a cost"):
        arm.plan(model, episode.observation(0), **small)
    with pytest.raises(ConfigError, match="at least 2 episodes; got 1"):
        arm.read_out(model, data, "pusher_xy", episodes=1)


def test_of_a_set_of_goals_the_nearest_counts(model: JEPA, data: Dataset) -> None:
    episode = data[0]
    now, goals = episode.observation(0), [episode.observation(step) for step in (3, 6)]
    small = {"length": 3, "samples": 16, "iterations": 1}
    both = arm.plan(model, now, goals, **small)
    alone = [arm.plan(model, now, goal, **small) for goal in goals]
    assert both.distances[0] == pytest.approx(min(one.distances[0] for one in alone))
    assert both.goal is goals[0]
