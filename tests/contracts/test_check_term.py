"""``check_term`` passes every shipped term, and names the promise that each unsound one breaks."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
from torch import nn

from armillary.core.errors import CheckFailedError, ConfigError, ShapeError
from armillary.core.rng import torch_generator
from armillary.core.values import Batch
from armillary.models import EncoderConfig, JEPAConfig, PredictorConfig, untrained
from armillary.models.config import STREAMS_OF, Sensor
from armillary.training import (
    TERMS,
    EncodedClips,
    ObjectiveConfig,
    Processes,
    Term,
    TermConfig,
    check_term,
)

SIDE, CLIPS, STEPS = 16, 3, 9
MODEL = JEPAConfig(
    sensors=("rgb", "points", "depth_cloud"),
    encoder=EncoderConfig(
        image_size=SIDE,
        patch=8,
        patch_hidden=16,
        patch_width=8,
        hidden=16,
        tokens=2,
        width=4,
        stem="convolutions",
    ),
    predictor=PredictorConfig(memory=8, hidden=8),
    optional_sensors=("rgb", "points", "depth_cloud"),
    cloud_points=16,
    cloud_tokens=4,
    cloud_near=4,
)
OBJECTIVE = ObjectiveConfig(**dict.fromkeys(TERMS, 1.0), rollout_steps=2)
# has no view from above
IN_PICTURE = replace(MODEL, sensors=("rgb", "depth"), optional_sensors=())
# what a recording of two cameras can hold
RECORDED = {name for streams in STREAMS_OF.values() for name in streams}
RECORDED |= {"rgb_1", "depth_1", "world_from_camera_1"}


def batch() -> Batch:
    """Clips of two cameras above a plane, with saturated squares that move."""
    rng = torch_generator("test-check-term", 0)
    down = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).repeat(CLIPS, STEPS, 1, 1)
    down[..., 2, 3] = 2.0
    streams: dict[str, torch.Tensor] = {}
    for camera in ("", "_1"):
        rgb = torch.full((CLIPS, STEPS, SIDE, SIDE, 3), 90, dtype=torch.uint8)
        depth = torch.full((CLIPS, STEPS, SIDE, SIDE), 2.0)
        for clip in range(CLIPS):
            for step in range(STEPS):
                row, column = torch.randint(0, SIDE - 6, (2,), generator=rng).tolist()
                colour = torch.eye(3)[(clip + step) % 3] * 255
                rgb[clip, step, row : row + 6, column : column + 6] = colour.to(torch.uint8)
                depth[clip, step, row : row + 6, column : column + 6] = 1.4
        pose = down.clone()
        pose[..., 0, 3] = 0.1 * torch.randn(CLIPS, STEPS, generator=rng)
        name = "depth_1" if camera else "depth_m"
        streams |= {f"rgb{camera}": rgb, name: depth, f"world_from_camera{camera}": pose}
    lens = torch.tensor([[12.0, 0, 7.5], [0, 12.0, 7.5], [0, 0, 1]])
    streams["intrinsics"] = lens.expand(CLIPS, STEPS, 3, 3)
    actions = torch.randn(CLIPS, STEPS - 1, 2, generator=rng)
    return Batch(streams, actions, torch.ones(CLIPS, STEPS, dtype=torch.bool))


def encoded(step: int = 5, model: JEPAConfig = MODEL) -> EncodedClips:
    model, clips = untrained(model, 0), batch()
    latents = model.encode(clips).tokens.flatten(2)
    assert clips.actions is not None
    alone = Processes(0, 1, torch.device("cpu"))
    return EncodedClips(model, clips, latents, clips.actions, step, 3, alone)


def model_of(name: str) -> JEPAConfig:
    return IN_PICTURE if name == "reconstruction" else MODEL


@pytest.mark.parametrize("name", TERMS)
def test_every_term_keeps_the_contract(name: str) -> None:
    model = model_of(name)
    check_term(lambda: (TERMS[name](model, OBJECTIVE), encoded(model=model)))


@pytest.mark.parametrize(
    "sensors", [("rgb",), ("rgb", "points"), ("points",), ("rgb", "depth"), ("points_camera",)]
)
def test_visual_words_keep_it_whatever_is_seen(sensors: tuple[Sensor, ...]) -> None:
    model = replace(MODEL, sensors=sensors, optional_sensors=())
    check_term(lambda: (TERMS["visual_words"](model, OBJECTIVE), encoded(model=model)))


@pytest.mark.parametrize("sensors", [("rgb",), ("rgb", "depth"), ("points_camera",)])
def test_a_reconstruction_keeps_it_in_colour_and_depth(sensors: tuple[Sensor, ...]) -> None:
    model = replace(MODEL, sensors=sensors, optional_sensors=())
    check_term(lambda: (TERMS["reconstruction"](model, OBJECTIVE), encoded(model=model)))


@pytest.mark.parametrize("name", TERMS)
def test_a_term_says_what_it_is_and_reads_what_can_be_recorded(name: str) -> None:
    term, model = TERMS[name], model_of(name)
    said = term.__doc__ or ""
    assert "Formula: " in said and "Source: " in said
    assert {*term.streams(model), *term.optional_streams(model)} <= RECORDED
    assert term.name == name


@pytest.mark.parametrize("name", [name for name in TERMS if TERMS[name].needs_actions])
def test_a_term_that_needs_actions_refuses_a_model_without(name: str) -> None:
    with pytest.raises(ConfigError, match=f"objective.{name} needs actions, and the model takes n"):
        TERMS[name](replace(MODEL, action_width=0), OBJECTIVE)


def test_random_directions_and_halves_change_with_the_step() -> None:
    for name in ("sigreg", "cross_modal"):
        term = TERMS[name](MODEL, OBJECTIVE)
        assert len({float(term(encoded(step)).detach()) for step in range(6)}) > 1


def test_the_settings_of_all_terms_are_one_config_in_their_order() -> None:
    """A term whose config is not among the bases of ``ObjectiveConfig`` has no weight."""
    names = [field.name for field in fields(ObjectiveConfig)]
    assert [name for name in names if name in TERMS] == [*TERMS]
    assert [*OBJECTIVE.weights] == [*TERMS]
    assert ObjectiveConfig().weights == {"rollout": 1.0}


class _Apart(nn.Module):
    """Guesses that the actions are how far apart the latents are, which it reads in their unit."""

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        return 0.005 * read.chunk(2, -1)[1][..., :2]


def test_inverse_dynamics_asks_for_the_sum_of_the_actions_between() -> None:
    term, clips = TERMS["inverse_dynamics"](MODEL, OBJECTIVE), encoded()
    position = torch.zeros_like(clips.latents)
    position[:, 1:, :2] = clips.actions.cumsum(1)
    term.heads = nn.ModuleList([_Apart(), _Apart()])
    # one step apart nothing is missed; four apart the sum is twice what is asked for
    four = clips.actions.unfold(1, 4, 1).sum(-1) / 2
    wanted = four.square().mean() / 2
    torch.testing.assert_close(term(replace(clips, latents=position)), wanted)
    short = replace(clips, latents=position[:, :4], actions=clips.actions[:, :3])  # 3 moves
    wanted = (clips.actions[:, :3].sum(1) * (1 - 3**-0.5)).square().mean() / 2
    torch.testing.assert_close(term(short), wanted)


def test_rollouts_may_start_from_a_share_of_the_steps() -> None:
    every = float(TERMS["rollout"](MODEL, OBJECTIVE)(encoded()).detach())
    some = TERMS["rollout"](MODEL, replace(OBJECTIVE, rollout_starts=0.3))
    found = [float(some(encoded(step)).detach()) for step in range(40)]
    assert len({*found}) > 1 and sum(found) / len(found) == pytest.approx(every, rel=0.1)
    check_term(lambda: (some, encoded()))
    with pytest.raises(ConfigError, match=r"objective\.rollout_starts must be above 0 and at most"):
        replace(OBJECTIVE, rollout_starts=0.0)


def test_what_several_terms_share_is_computed_once() -> None:
    clips = encoded()
    assert clips.predictions(2) is clips.predictions(2)
    assert clips.predictions(2).shape == (CLIPS, STEPS - 2, 2, MODEL.latent_width)
    assert clips.predictions(1).shape == (CLIPS, STEPS - 1, 1, MODEL.latent_width)


def test_a_stream_that_is_not_there_is_refused_by_one_sentence() -> None:
    with pytest.raises(ShapeError, match=r"reads the stream 'lidar', and the clips have depth_1, "):
        encoded().stream("lidar")


@dataclass(frozen=True)
class SoundConfig(TermConfig):
    """Weight of the example."""

    brightness: float = 0.0


class Sound(Term):
    """The brightness of the picture, and its depth where there is one, read from the latent."""

    name = "brightness"

    def __init__(self, model: JEPAConfig, config: SoundConfig) -> None:
        super().__init__(model, config)
        with torch.random.fork_rng(devices=[]):
            self.head = nn.Linear(model.latent_width, 1)

    @classmethod
    def streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return colour of the other camera."""
        return ("rgb_1",)

    @classmethod
    def optional_streams(cls, model: JEPAConfig) -> tuple[str, ...]:
        """Return its depth."""
        return ("depth_1",)

    def target(self, clips: EncodedClips) -> torch.Tensor:
        """Return what is to be read."""
        bright = clips.stream("rgb_1").float().mean((2, 3, 4)) / 255
        return bright + clips.stream("depth_1").mean((2, 3)) if clips.has("depth_1") else bright

    def forward(self, clips: EncodedClips) -> torch.Tensor:
        """Return the squared error."""
        return (self.head(clips.latents)[..., 0] - self.target(clips)).square().mean()


def unsound(**methods: Any) -> type[Sound]:
    return type("Unsound", (Sound,), {"__doc__": "A fault.", **methods})


def plus(extra: Any) -> Any:
    """Return a ``forward`` that adds a number that is made of the clips."""
    return lambda self, clips: Sound.forward(self, clips) + extra(clips)


def writing(self: Sound, clips: EncodedClips) -> torch.Tensor:
    loss = Sound.forward(self, clips)
    clips.batch.streams["rgb_1"][0] = 0
    return loss


FAULTS = {
    "docstring": {"__doc__": None},
    "scalar": {"forward": lambda self, clips: self.head(clips.latents).square().mean((0, 2))},
    "finite": {"forward": plus(lambda clips: torch.tensor(float("nan")))},
    "gradient: the loss has one": {
        "forward": lambda self, clips: Sound.forward(self, clips).detach()
    },
    "or says why not": {
        "forward": lambda self, clips: self.head(clips.latents.detach()).square().mean()
    },
    "has one into the model": {
        "without_latents": "it does not",
        "forward": lambda self, clips: self.head(clips.latents.detach()).square().mean(),
    },
    "head: every parameter": {"forward": lambda self, clips: clips.latents.square().mean()},
    "repeat": {"forward": plus(lambda clips: torch.rand(()))},
    "chance": {"forward": plus(lambda clips: 0 * torch.rand(()))},
    "none that it does not declare": {
        "forward": plus(lambda clips: clips.has("world_from_camera_1") * 1.0)
    },
    "needs none that it does not declare": {
        "streams": classmethod(lambda cls, model: ()),
        "optional_streams": classmethod(lambda cls, model: ()),
    },
    "missing: clips without 'rgb_1'": {
        "target": lambda self, clips: 0.0 if not clips.has("rgb_1") else Sound.target(self, clips)
    },
    r"missing: .* \(got KeyError\)": {
        "target": lambda self, clips: clips.batch.streams["rgb_1"].float().mean((2, 3, 4))
    },
    "arguments": {"forward": writing},
}


def test_a_sound_term_of_ones_own_passes() -> None:
    check_term(lambda: (Sound(MODEL, SoundConfig()), encoded()))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_promise_is_named(fault: str) -> None:
    term = unsound(**FAULTS[fault])
    with pytest.raises(CheckFailedError, match=f"does not hold: .*{fault}"):
        check_term(lambda: (term(MODEL, SoundConfig()), encoded()))


def test_an_example_that_shows_nothing_is_refused() -> None:
    clips, term = encoded(), Sound(MODEL, SoundConfig())
    bare = {name: values for name, values in clips.batch.streams.items() if name != "rgb_1"}
    lacking = replace(clips, batch=Batch(bare, clips.batch.actions, clips.batch.valid))
    with pytest.raises(ConfigError, match="needs clips with rgb_1, which the term declares"):
        check_term(lambda: (term, lacking))
    with pytest.raises(ConfigError, match="at least 2 clips of 2 steps, encoded with gradients"):
        check_term(lambda: (term, replace(clips, latents=clips.latents.detach())))
