"""Recipes: complete runs as Python functions."""

from collections.abc import Callable

from armillary.recipes.intuition import intuition
from armillary.recipes.peer_grounds import cube, push_t, reacher
from armillary.recipes.pushing import pushing
from armillary.recipes.recipe import Recipe, train_recipe
from armillary.recipes.two_rooms import two_rooms
from armillary.recipes.two_rooms_eb import two_rooms_eb
from armillary.recipes.world import world

RECIPES: dict[str, Callable[[], Recipe]] = {
    "cube": cube,
    "intuition": intuition,
    "push_t": push_t,
    "pushing": pushing,
    "reacher": reacher,
    "two_rooms": two_rooms,
    "two_rooms_eb": two_rooms_eb,
    "world": world,
}

__all__ = [
    "RECIPES",
    "Recipe",
    "cube",
    "intuition",
    "push_t",
    "pushing",
    "reacher",
    "train_recipe",
    "two_rooms",
    "two_rooms_eb",
    "world",
]
