"""Train: the fields of the recipe become the flags of the command.

The recipe is named first, so that its own dataclass can be handed to tyro. Only here are recipes
imported, which bring torch along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from armillary.cli.learn import policy_said
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing, parse
from armillary.cli.progress import bar
from armillary.core.addresses import is_address
from armillary.core.errors import unknown_recipe
from armillary.core.progress import no_bars

# The names of ``armillary.recipes.RECIPES``, without importing torch; a test compares them.
RECIPES = {
    "world": "any recording; sensors, steps and losses follow from it",
}
_EXAMPLE = "e.g. armillary train world --data out/tabletop --out out/run --optimizer.lr 3e-4"
# What the tabletop records by default, which the benches measure with; a test compares them.
_TABLETOP_STREAMS = ("rgb", "depth", "world_from_camera", "intrinsics")
_TABLETOP_FPS = 10.0
_TABLETOP_STEPS = 12
_LISTED = "\n".join(f"  {name:<13} {summary}" for name, summary in RECIPES.items())
_DESCRIPTION = f"""Train a model on a dataset.

Recipes:
{_LISTED}

Every field of the recipe is a flag. armillary train RECIPE --help lists them.

{_EXAMPLE}"""


@dataclass(frozen=True, kw_only=True)
class Train(Command):
    """Train a model on a dataset. The fields of the recipe are flags."""

    recipe: Positional[str]
    """Name of the recipe."""
    data: str
    """Dataset folder to train on, or an fsspec address, such as s3://... or hf://datasets/NAME."""
    out: Path
    """Run folder to write. It holds the model, checkpoints and the log."""
    resume: bool = False
    """Continue an interrupted run. The final weights are bit-identical."""
    pool_gb: float = 4.0
    """Gigabytes on disk at most for what is streamed from an address."""

    def run(self) -> Outcome:
        """Train.

        Raises:
            SystemExit: with code 0, of several processes in all but the one that speaks.
        """
        streamed = is_address(self.data)
        if not streamed:
            existing(Path(self.data), "a dataset folder")
        from armillary.cli.diagnose import of_run
        from armillary.recipes import train_recipe
        from armillary.training.processes import leads

        config, compute = self.chosen(), getattr(self, "compute", None)
        bars = bar if leads() else no_bars
        if streamed:
            from armillary.recipes.streaming import stream_recipe

            found = stream_recipe(
                config, self.data, self.out, self.resume, bars, self.pool_gb, compute=compute
            )
        else:
            found = train_recipe(config, self.data, self.out, self.resume, bars, compute=compute)
        if not leads():
            raise SystemExit(0)
        said = (
            f"trained {found.steps} steps in {found.seconds:.0f} s ({found.frames_per_s:,.0f} "
            f"frames/s), loss {found.loss:.3f}: {self.out / 'model'}"
        )
        policy = _policy_of(self.out)
        diagnosis, lines, rows = of_run(self.out)
        value = vars(found) | {"goal_policy": policy} | diagnosis
        policy_lines = policy_said(policy) if policy else ()
        return Outcome(value, (*found.warnings, said, *policy_lines, *lines), rows)

    def chosen(self) -> Any:
        """Return the recipe with the flags that were given.

        Raises:
            ConfigError: there is no such recipe.
        """
        return getattr(self, "config", None) or find_recipe(self.recipe)


def _policy_of(run: Path) -> dict[str, Any] | None:
    """Return the summary of the goal policy of a run; None where there is none."""
    from armillary.core.files import read_json
    from armillary.recipes.goal_policy import SUMMARY

    file = run / SUMMARY
    return read_json(file) if file.is_file() else None


def find_recipe(name: str) -> Any:
    """Return the recipe with this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in RECIPES:
        raise unknown_recipe(name)
    from armillary.recipes import RECIPES as MADE

    return MADE[name]()


def adapted_recipe(name: str, data: Path | None) -> Any:
    """Return the recipe with this name, adapted to a dataset.

    Args:
        name: of the recipe.
        data: a dataset; None for a recording of the tabletop with its usual sensors.

    Raises:
        ConfigError: there is no such recipe.
        DatasetError: the dataset cannot be read, or has nothing that a model can see.
    """
    recipe = find_recipe(name)
    from armillary.data import open_dataset
    from armillary.recipes.world import adapted, adapted_to

    if data is not None:
        return adapted(recipe, open_dataset(data))
    return adapted_to(
        recipe, set(_TABLETOP_STREAMS), _TABLETOP_FPS, acts=True, usual=_TABLETOP_STEPS
    )


def train_command(words: Sequence[str]) -> Train:
    """Return the command to train, with the flags of the recipe that is named first.

    Raises:
        ConfigError: unknown recipe, or a flag that the recipe does not have.
        SystemExit: with code 0, after the help was printed.
    """
    if not words or words[0].startswith("-"):
        return parse(Train, words, "armillary train", _DESCRIPTION)
    name = words[0]
    return parse(_with_flags_of(name, find_recipe(name)), words[1:], f"armillary train {name}")


def _with_flags_of(name: str, config: Any) -> type[Train]:
    # The type is known only now: that is the point of it.
    flags = Annotated[type(config), tyro.conf.arg(name="")]  # pyrefly: ignore
    named = ("recipe", tyro.conf.Suppress[str], field(default=name))
    new = ("config", flags, field(default=config))
    from armillary.training import ComputeConfig

    how = ("compute", ComputeConfig, field(default=ComputeConfig()))
    made = make_dataclass("Train", [named, how, new], bases=(Train,), frozen=True, kw_only=True)
    made.__doc__ = f"Train the recipe {name} on a dataset.\n\n{_EXAMPLE}"
    return made
