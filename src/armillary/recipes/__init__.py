"""Recipes: complete runs as Python functions."""

from collections.abc import Callable

from armillary.recipes.recipe import Recipe, train_recipe
from armillary.recipes.tabletop import tabletop
from armillary.recipes.two_rooms import two_rooms
from armillary.recipes.two_rooms_eb import two_rooms_eb
from armillary.recipes.video import video

RECIPES: dict[str, Callable[[], Recipe]] = {
    "tabletop": tabletop,
    "two_rooms": two_rooms,
    "two_rooms_eb": two_rooms_eb,
    "video": video,
}

__all__ = ["RECIPES", "Recipe", "tabletop", "train_recipe", "two_rooms", "two_rooms_eb", "video"]
