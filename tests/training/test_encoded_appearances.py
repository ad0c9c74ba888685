"""Episodes in other appearances: the same scenes, in other colours and with worse depth."""

import pytest
import torch

from armillary.data import Windows, open_dataset, prepare
from armillary.experiments.spatial.run import VariantsConfig
from armillary.models import JEPA, EncoderConfig, JEPAConfig
from armillary.recipes.goal_policy import policy_appearances
from armillary.recipes.world import world
from armillary.training import AugmentConfig
from armillary.training.colour_changes import ColourChanges
from armillary.training.encoded_episodes import Appearances, encode_episodes
from armillary.worlds import record

COLOURS = AugmentConfig(colour=ColourChanges(brightness=0.4, tint=0.3))
BRIGHT = AugmentConfig(colour=ColourChanges(brightness=0.9))


@pytest.fixture(scope="module")
def windows(tmp_path_factory) -> Windows:
    out = tmp_path_factory.mktemp("appearances") / "data"
    record("tabletop", out, 3, 5, seed=1, settings={"image_size": 16})
    return Windows(prepare(open_dataset(out), 16), None, 1, 1, ("rgb",))


@pytest.fixture(scope="module")
def model() -> JEPA:
    torch.manual_seed(0)
    shape = EncoderConfig(image_size=16, patch=8, patch_hidden=16, patch_width=8)
    return JEPA(JEPAConfig(sensors=("rgb",), encoder=shape, action_width=2)).eval()


def test_each_appearance_follows_as_episodes_of_its_own_with_the_same_actions(model, windows):
    once = encode_episodes(model, windows)
    both = encode_episodes(model, windows, Appearances(COLOURS, 2))
    frames = len(once.latents)
    assert len(both.latents) == 3 * frames and both.skip == once.skip
    assert torch.equal(both.latents[:frames], once.latents)
    for place in range(3):
        rows = slice(place * frames, (place + 1) * frames)
        assert torch.equal(both.actions[rows], once.actions)
        assert torch.equal(both.begin[rows], once.begin + place * frames)
        assert torch.equal(both.end[rows], once.end + place * frames)
    first, second = both.latents[frames : 2 * frames], both.latents[2 * frames :]
    assert not torch.allclose(first, once.latents) and not torch.allclose(first, second)
    again = encode_episodes(model, windows, Appearances(COLOURS, 2))
    assert torch.equal(again.latents, both.latents)
    other = encode_episodes(model, windows, Appearances(COLOURS, 2, seed=1))
    assert not torch.equal(other.latents, both.latents)


def test_an_episode_keeps_its_appearance(model, windows, monkeypatch):
    """Else a goal would look unlike the frames that led to it."""
    seen = []

    def counted(self, batch):
        seen.append(batch.streams["rgb"].float().mean((2, 3, 4)))
        return encode(self, batch)

    encode = JEPA.encode
    monkeypatch.setattr(JEPA, "encode", counted)
    encode_episodes(model, windows, Appearances(BRIGHT, 1))
    plain, *varied = seen
    gains = [clip[0] / plain.flatten()[5 * k : 5 * k + 5] for k, clip in enumerate(varied)]
    assert [len(gain) for gain in gains] == [5, 5, 5]
    assert max(float(gain.std()) for gain in gains) < 0.05
    assert float(torch.stack([gain.mean() for gain in gains]).std()) > 0.1


def test_appearances_change_no_place(monkeypatch):
    """What is mirrored, shifted or turned would need other actions."""
    assert policy_appearances(world()) is None
    recipe = VariantsConfig().base
    found = policy_appearances(recipe)
    assert found is not None and recipe.augment.shift_px > 0 and found.shift_px == 0
    assert found.mirror == 0 and not found.world.moves
    assert found.colour == recipe.augment.colour
    assert found.world.depth_holes == recipe.augment.world.depth_holes
