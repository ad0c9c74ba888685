"""Peers: the command that lets LeWM, PLDM and armillary learn and act alike."""

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
    "recipe",
    "recipe_changes",
    "seconds",
    "threads",
    "episodes",
    "act",
    "training",
    "planning",
    "own_episodes",
}
_ENVIRONMENT = {"name", "world"}  # what the word for the environment decides
_SAID = (
    "{}: records in {}. Per policy: success at the end and at any step; per decision: ms, steps."
)


@dataclass(frozen=True, kw_only=True)
class Peers(Command):
    """Train LeWM, PLDM and armillary alike, and let them reach the same goals in one environment.

    All learn from one recording for the same seconds. Can be killed: given again, it goes on.
    Takes hours, nearly all of them the peers': their own planner needs 10 s (30 s in push_t) a
    decision on one core. --own TASK=N asks it of the first N episodes only. Training a peer at
    its 224 px takes 14 GB of memory.

    e.g. armillary bench peers two_room --out out/peers
    """

    environment: Positional[str]
    """two_room, push_t, push_t_weak, reacher, cube, or any world with goal tasks."""
    out: Path = Path("out/peers")
    """Folder for recording, models and records, one folder in it per environment."""
    results: Path | None = None
    """File that the environment's results are merged into; else peers.json in the folder."""
    seconds: float | None = None
    """Training time of each, by the clock; else as long as the results were made with."""
    threads: int = 1
    """Threads of training."""
    episodes: int = 200
    """Evaluation episodes per task."""
    recipe: str = ""
    """Recipe of armillary; else the environment's own, or two_rooms."""
    change: UseAppendAction[tuple[str, ...]] = ()
    """A field of the recipe, e.g. --change model.frame_skip=5; may be given several times."""
    act: UseAppendAction[tuple[str, ...]] = ()
    """How armillary plans, e.g. --act replan=2 or --act 'planner_settings={"length": 8}'."""
    peer_training: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the peers' training that is not theirs, e.g. --peer-training batch_size=32."""
    peer_planning: UseAppendAction[tuple[str, ...]] = ()
    """A setting of the peers' planner that is not theirs, e.g. --peer-planning iterations=10."""
    own: UseAppendAction[tuple[str, ...]] = ()
    """Episodes of a task that peers run with their own planner, e.g. --own any=50; else all."""
    also: UseAppendAction[tuple[str, ...]] = ()
    """Anything else, e.g. --also recorded=500 --also 'peer_sizes=[224, 64]' --also seed=1."""

    def run(self) -> Outcome:
        """Train and evaluate."""
        from armillary.recipes.peers import PeersConfig, bench_peers, make_config

        also = settings_of(self.also, "--also")
        if own := sorted(also.keys() & _FLAGS):
            raise ConfigError(f"{own[0]} has a flag of its own; use that in place of --also.")
        if taken := sorted(also.keys() & _ENVIRONMENT):
            known = {field.name for field in fields(PeersConfig)} - _FLAGS - _ENVIRONMENT
            raise unknown_name("setting for --also", taken[0], known)
        if self.seconds is not None:
            also["seconds"] = self.seconds
        config = make_config(
            self.environment,
            self.recipe,
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
