"""Recipes: complete runs as Python functions."""

from collections.abc import Callable

from armillary.recipes.intuition import intuition
from armillary.recipes.recipe import Recipe, train_recipe
from armillary.recipes.video import video
from armillary.recipes.world import world

RECIPES: dict[str, Callable[[], Recipe]] = {
    "intuition": intuition,
    "video": video,
    "world": world,
}

__all__ = [
    "RECIPES",
    "Recipe",
    "intuition",
    "train_recipe",
    "video",
    "world",
]
