"""Recipes: complete runs as Python functions."""

from collections.abc import Callable

from armillary.recipes.recipe import Recipe, train_recipe
from armillary.recipes.world import world

RECIPES: dict[str, Callable[[], Recipe]] = {
    "world": world,
}

__all__ = [
    "RECIPES",
    "Recipe",
    "train_recipe",
    "world",
]
