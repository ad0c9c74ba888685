"""Peers: train and evaluate LeWM, PLDM and armillary under the same conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tyro.conf import Positional, UseAppendAction

from armillary.cli.again import again
from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, settings_of
from armillary.cli.progress import bar
from armillary.core.errors import ConfigError, unknown_name

_FLAGS = {
    "recipe_changes",
    "seconds",
    "threads",
    "episodes",
    "act",
    "training",
    "planning",
    "own_episodes",
}
_ENVIRONMENT = {"name", "recipe", "world"}  # what the word for the environment decides
_SAID = (
    "{}: records in {}. end, touch: success at the last step, and at any step. ms: per decision."
)


@dataclass(frozen=True, kw_only=True)
class Peers(Command):
    """Compare armillary with LeWM and PLDM: same data, same training time, same goals.

    Takes hours, nearly all of them for the baselines. Their planner needs 10 s per decision on one
    core (30 s in push_t). --own TASK=N runs it on the first N episodes only. A baseline at its 224
    pixels takes 14 GB of memory to train. An interrupted run continues when it is started again.

    e.g. armillary bench peers two_room --out out/peers
    """

    environment: Positional[str]
    """two_room, push_t, push_t_weak, reacher, cube, or a world with goal tasks."""
    out: Path = Path("out/peers")
    """Folder for recordings, models and records."""
    results: Path | None = None
    """File to merge the results into. Default: peers.json in the folder."""
    seconds: float | None = None
    """Training time of each model, in seconds. Default: that of the published results."""
    threads: int = 1
    """Threads for training."""
    episodes: int = 200
    """Evaluation episodes per task."""
    change: UseAppendAction[tuple[str, ...]] = ()
    """A field of the recipe, e.g. --change model.frame_skip=5."""
    act: UseAppendAction[tuple[str, ...]] = ()
    """A setting of armillary's planning, e.g. --act replan=2."""
    peer_training: UseAppendAction[tuple[str, ...]] = ()
    """Change a training setting of the baselines, e.g. --peer-training batch_size=32."""
    peer_planning: UseAppendAction[tuple[str, ...]] = ()
    """Change a planner setting of the baselines, e.g. --peer-planning iterations=10."""
    own: UseAppendAction[tuple[str, ...]] = ()
    """Episodes of a task for the baselines' own planner, e.g. --own any=50. Default: all."""
    also: UseAppendAction[tuple[str, ...]] = ()
    """Any other setting, e.g. --also recorded=500."""

    def run(self) -> Outcome:
        """Train and evaluate."""
        from armillary.recipes.peers import PeersConfig, bench_peers, make_config

        also = settings_of(self.also, "--also")
        if own := sorted(also.keys() & _FLAGS):
            raise ConfigError(f"{own[0]} has its own flag; use that in place of --also.")
        if taken := sorted(also.keys() & _ENVIRONMENT):
            known = {field.name for field in fields(PeersConfig)} - _FLAGS - _ENVIRONMENT
            raise unknown_name("setting for --also", taken[0], known)
        if self.seconds is not None:
            also["seconds"] = self.seconds
        config = make_config(
            self.environment,
            threads=self.threads,
            episodes=self.episodes,
            act=settings_of(self.act, "--act"),
            own_episodes=settings_of(self.own, "--own"),
            training=settings_of(self.peer_training, "--peer-training"),
            planning=settings_of(self.peer_planning, "--peer-planning"),
            recipe_changes=settings_of(self.change, "--change"),
            **also,
        )
        said = again(self, "bench", "peers")
        with bar("comparing") as progress:
            value = bench_peers(config, self.out, self.results, progress, said)
        rows = [
            _reached(offset, name, row)
            for offset, found in value["offsets"].items()
            for name, row in found.items()
            if isinstance(row, dict) and "success_final" in row
        ]
        return Outcome(value, (_SAID.format(config.world, self.out / config.folder),), rows)


def _reached(offset: str, name: str, row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["wilson95"]
    ms = row["ms_per_decision"]
    return {
        "goal": offset,
        "policy": name,
        "n": str(row["n"]),
        "end": f"{100 * row['success_final']:.1f} %",
        "95 %": f"{100 * low:.0f}-{100 * high:.0f} %",
        "touch": f"{100 * row['success_touch']:.1f} %",
        "ms": "" if ms is None else f"{ms:,.1f}",
        "model steps": f"{row['model_steps_per_decision']:,.0f}",
    }
