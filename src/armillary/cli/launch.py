"""Launch: the same command on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tyro.conf import Positional, Suppress, UseAppendAction

from armillary.cli.outcome import Outcome
from armillary.cli.parse import Command, existing, parse
from armillary.cli.train import train_command
from armillary.core.addresses import is_address
from armillary.core.errors import ConfigError

_PROG = "armillary launch"
_EXAMPLE = "armillary launch slurm --time 4:00:00 -- train world --data out/data --out out/run"


@dataclass(frozen=True, kw_only=True)
class Launch(Command):
    """Train on a Slurm cluster: the same command, after two dashes.

    The job requeues itself before its time limit, and Slurm requeues it when it is preempted. It
    resumes from the newest checkpoint and ends with the same result. Dataset, run folder and this
    installation must be on a disk that the nodes share.

    e.g. armillary launch slurm --time 4:00:00 -- train world --data out/data --out out/run
    """

    cluster: Positional[Literal["slurm"]]
    """What manages the cluster: slurm."""
    time: str
    """Limit of one attempt: minutes, HH:MM:SS or D-HH:MM:SS."""
    nodes: int = 1
    """Number of nodes."""
    processes: int | None = None
    """Training processes per node. Default: one per GPU, or one."""
    gpus: int = 0
    """GPUs per node."""
    cores: int | None = None
    """Processor cores per node. Default: the cluster's, which is often one."""
    partition: str = ""
    """Partition. Default: the cluster's."""
    option: UseAppendAction[tuple[str, ...]] = ()
    """Another option of sbatch, e.g. --option account=robots."""
    command: Suppress[tuple[str, ...]] = ()

    def run(self) -> Outcome:
        """Submit the command."""
        from armillary.launch import SlurmJob, need_slurm

        asked = SlurmJob(
            time=self.time,
            nodes=self.nodes,
            processes=self.processes,
            gpus=self.gpus,
            cores=self.cores,
            partition=self.partition,
            options=self.option,
        )
        need_slurm()
        train = train_command(self.command[1:])
        if not is_address(train.data):
            existing(Path(train.data), "a dataset folder")
        from armillary.services.launching import launch_training

        found = launch_training(train.chosen(), train.data, train.out, self.command, asked)
        value = vars(found) | {"out": train.out}
        lines = (
            f"job {found.job} trains {train.out}; stop it with: scancel {found.job}",
            f"log: {found.log}",
        )
        return Outcome(value, lines)


def launch_command(words: Sequence[str]) -> Launch:
    """Return the command to launch, with the words after the two dashes.

    Raises:
        ConfigError: an unknown argument, no dashes, or a command that cannot be launched.
        SystemExit: with code 0, after the help was printed.
    """
    cut = words.index("--") if "--" in words else len(words)
    own, command = words[:cut], tuple(words[cut + 1 :])
    asked = not own or not {"-h", "--help"}.isdisjoint(own)
    if not command and not asked:
        raise ConfigError(f"{_PROG} needs two dashes and the command after them, e.g. {_EXAMPLE}")
    found = parse(Launch, own, _PROG)
    if command[0] != "train":
        raise ConfigError(
            f"{_PROG} takes train alone, which goes on after an interruption with the same "
            f"result; got {command[0]!r}."
        )
    return replace(found, command=command)
