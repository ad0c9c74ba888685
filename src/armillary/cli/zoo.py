"""Zoo: list the models that travel with the package."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tyro.conf import Positional

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command


@dataclass(frozen=True, kw_only=True)
class Zoo(Command):
    """List the models that travel with armillary, or print the card of one.

    Write zoo:NAME wherever a command takes a model. Nothing is downloaded. Every file is compared
    with its digest before it is used.

    e.g. armillary zoo tabletop
    """

    name: Positional[str] = ""
    """Model to print the card of. Default: all are listed."""

    def run(self) -> Outcome:
        """List, or print a card."""
        from armillary.zoo import zoo_folder, zoo_model, zoo_names

        if self.name:
            card = (zoo_folder(self.name) / "model" / "README.md").read_text(encoding="utf-8")
            return Outcome(asdict(zoo_model(self.name)), tuple(card.rstrip().splitlines()))
        models = {name: zoo_model(name) for name in zoo_names()}
        rows = [
            {"model": f"zoo:{name}", "world": model.world or "a recording", "what": model.about}
            for name, model in models.items()
        ]
        return Outcome({name: asdict(model) for name, model in models.items()}, (), rows)
