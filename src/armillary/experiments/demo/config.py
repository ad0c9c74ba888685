"""How much of everything a demo does.

The recipe is ``world`` with clips of 12 model steps in both stages. Its own rule fine-tunes the
predictor on whole episodes, of 24. Nobody has measured here whether that helps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from armillary.recipes.recipe import Recipe
from armillary.recipes.world import world
from armillary.services.acting import ActConfig

_CLIP = 12  # model steps


@dataclass(frozen=True)
class DemoConfig:
    """How much of everything.

    Attributes:
        episodes: recorded episodes.
        steps: steps of each.
        recipe: what is trained.
        act: how it is evaluated on reaching a goal picture.
        push_episodes: episodes of pushing an object to its place in the goal picture.
        teleports: clips with an impossible step.
        seed: names everything.
    """

    episodes: int = 2000
    steps: int = 24
    recipe: Recipe = field(default_factory=lambda: replace(world(), clip_length=_CLIP))
    act: ActConfig = field(default_factory=lambda: ActConfig(episodes=100))
    push_episodes: int = 100
    teleports: int = 100
    seed: int = 0


def quick(config: DemoConfig) -> DemoConfig:
    """Return the same story with too little of everything: its numbers mean nothing."""
    return replace(
        config,
        episodes=210,
        recipe=replace(
            config.recipe,
            steps=150,
            checkpoint_every=150,
            eval_every=50,
            settling=replace(config.recipe.settling, steps=50),
        ),
        act=replace(config.act, episodes=6),
        push_episodes=4,
        teleports=10,
    )
