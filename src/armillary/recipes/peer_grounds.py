"""Recipes ``push_t``, ``reacher`` and ``cube``: the environments of the peers, from pictures alone.

Five world steps make a model step, as the peers have it.
"""

from __future__ import annotations

from dataclasses import replace

from armillary.recipes.fine_view import fine_view
from armillary.recipes.recipe import Recipe

_FRAME_SKIP = 5


def push_t() -> Recipe:
    """Return the recipe for a disc that pushes a T on a table.

    A map of where the T stands holds its middle and hardly its turn; how it looks from there
    (``glimpse``) is its turn. The T is grey, and 15 px of the picture wide and high.
    """
    base = fine_view(_FRAME_SKIP)
    objective = replace(base.objective, glimpse=8.0, glimpse_pixels=22, glimpse_grey=True)
    return replace(base, objective=objective)


def reacher() -> Recipe:
    """Return the recipe for an arm of two links; its momentum is for the predictor's memory."""
    return fine_view(_FRAME_SKIP)


def cube() -> Recipe:
    """Return the recipe for an arm and a cube; the cube seldom moves, so the view weighs more."""
    return fine_view(_FRAME_SKIP, picture_view=16.0)
