"""Train: the fields of the recipe become the flags of the command.

The recipe is named first, so that its own dataclass can be handed to tyro. Only here are recipes
imported, which bring torch along.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, parse
from armillary.cli.progress import bar
from armillary.core.errors import unknown_name
from armillary.core.progress import silent

_EXAMPLE = "e.g. armillary train tabletop --data out/tabletop --out out/run --optimizer.lr 3e-4"


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a model on a dataset.

    Every field of the recipe is a flag: armillary train RECIPE --help lists them.

    e.g. armillary train tabletop --data out/tabletop --out out/run --optimizer.lr 3e-4
    """

    recipe: Positional[str]
    """Name of the recipe."""
    data: Path
    """Dataset folder to learn from."""
    out: Path
    """Run folder to write: model, checkpoints, log."""
    resume: bool = False
    """Go on where an interrupted run stopped; the weights end up the same to the bit."""

    def run(self) -> Outcome:
        """Train.

        Raises:
            SystemExit: with code 0, of several processes in all but the one that speaks.
        """
        from armillary.cli.diagnose import of_run
        from armillary.recipes import train_recipe
        from armillary.training.processes import leads

        config = getattr(self, "config", None) or find_recipe(self.recipe)
        with bar("training") if leads() else nullcontext(silent) as progress:
            found = train_recipe(config, self.data, self.out, self.resume, progress)
        if not leads():
            raise SystemExit(0)
        said = (
            f"trained {found.steps} steps in {found.seconds:.0f} s ({found.frames_per_s:,.0f} "
            f"frames/s), loss {found.loss:.3f}: {self.out / 'model'}"
        )
        diagnosis, lines, rows = of_run(self.out)
        return Outcome(vars(found) | diagnosis, (*found.warnings, said, *lines), rows)


def find_recipe(name: str) -> Any:
    """Return the recipe with this name.

    Raises:
        ConfigError: there is none.
    """
    from armillary.recipes import RECIPES

    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]()


def train_command(words: Sequence[str]) -> Train:
    """Return the command to train, with the flags of the recipe that is named first.

    Raises:
        ConfigError: unknown recipe, or a flag that the recipe does not have.
        SystemExit: with code 0, after the help was printed.
    """
    if not words or words[0].startswith("-"):
        return parse(Train, words, "armillary train")
    name = words[0]
    return parse(_with_flags_of(name, find_recipe(name)), words[1:], f"armillary train {name}")


def _with_flags_of(name: str, config: Any) -> type[Train]:
    # The type is known only now: that is the point of it.
    flags = Annotated[type(config), tyro.conf.arg(name="")]  # pyrefly: ignore
    named = ("recipe", tyro.conf.Suppress[str], field(default=name))
    new = ("config", flags, field(default=config))
    made = make_dataclass("Train", [named, new], bases=(Train,), frozen=True, kw_only=True)
    made.__doc__ = f"Train the recipe {name} on a dataset.\n\n{_EXAMPLE}"
    return made
