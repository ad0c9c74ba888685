"""Export: a model as ONNX files that run without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tyro.conf import Positional, UseAppendAction

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
from armillary.core.errors import ConfigError

_MODULES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Export a model as ONNX files that decide and predict without torch.

    Writes encoder.onnx, predictor.onnx and policy.onnx, the direct decision without a search.
    export.json says what they take and give. runner.py runs them with numpy and onnxruntime.
    Every graph is compared with torch first.

    A world, or --low and --high, gives the limits that actions are clipped to.

    e.g. armillary export out/demo/run tabletop --out out/export
    """

    goes_on: ClassVar[bool] = False

    model: Positional[str]
    """Model folder, run folder, zoo:NAME, or Hub id."""
    world: Positional[str] = ""
    """World whose actions these are. Without one, give --low and --high."""
    out: Path
    """New folder for the files."""
    setting: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the world, e.g. --setting split=train."""
    low: tuple[float, ...] = ()
    """Lowest value of each action of a robot."""
    high: tuple[float, ...] = ()
    """Highest value of each action."""
    steps: int = 0
    """Steps in which a goal is to be reached, for the manifest. Default: the world's."""

    def run(self) -> Outcome:
        """Export."""
        from armillary.core.optional import require

        for module in _MODULES:
            require(module, "export", "export a model")
        from armillary.export.exporter import export_model
        from armillary.zoo.finding import find_model

        manifest = export_model(find_model(self.model), self.out, self._robot())
        return Outcome({"out": str(self.out), **manifest}, tuple(_lines(self, manifest)))

    def _robot(self) -> Any:
        """Return what the flags say about limits, rate and time."""
        from armillary.evaluation import WorldFactory
        from armillary.export.exporter import Robot, limits

        if self.steps < 0:
            raise ConfigError(f"--steps takes a whole number, 1 or more; got {self.steps}.")
        if not self.world:
            bounds = limits(self.low, self.high) if self.low or self.high else None
            return Robot(bounds, steps=self.steps or None)
        if self.low or self.high:
            raise ConfigError("Give a world, or --low and --high of a robot; not both.")
        world = WorldFactory(self.world, settings_of(self.setting, "--setting"))()
        try:
            spec = world.spec
        finally:
            world.close()
        return Robot(spec.bounds, spec.step_s, self.steps or spec.budget, spec.name)


def _lines(command: Export, manifest: dict[str, Any]) -> list[str]:
    names = ", ".join(manifest["graphs"])
    worst = manifest["largest_difference"]
    lines = [f"{command.out}: {names}. They differ from torch by {worst:.1g} at most."]
    if "policy" not in manifest["graphs"]:
        lines.append(
            "The model has no goal policy, so only encoder and predictor were exported. Train one "
            f"with: armillary policy {command.model} DATASET"
        )
    elif manifest["action"]["low"] is None:
        lines.append(
            "The actions have no limits, so the runner does not clip them. Name a world, or give "
            "--low and --high."
        )
    return lines
