"""Recipes: complete runs as Python functions."""

from collections.abc import Callable

from armillary.recipes.recipe import Recipe, train_recipe
from armillary.recipes.video import video
from armillary.recipes.world import world

RECIPES: dict[str, Callable[[], Recipe]] = {
    "video": video,
    "world": world,
}

__all__ = [
    "RECIPES",
    "Recipe",
    "train_recipe",
    "video",
    "world",
]
