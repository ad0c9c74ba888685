"""Slurm: submit a training that requeues itself and goes on after every interruption.

``job.sh`` is the job. Its options and words are handed to ``sbatch`` as arguments, so no script is
written, nothing is quoted, and nothing is pickled.

One run folder has one job at a time. Slurm keeps that, not a lock file, which a shared file system
may not honour: the job's name stands for the folder, ``squeue`` tells whether there is one, and
``--dependency=singleton`` lets the second of two that were submitted at the same moment wait.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from armillary.core.errors import ConfigError
from armillary.core.files import claimed_folder

LOGS = "slurm"  # folder of a run
_JOB = Path(__file__).with_name("job.sh")
# Slurm sends the signal up to a minute early, so a shorter limit would leave no time to train.
_LEAD_S, _LEAST_S = 60, 180
_ANSWER_S = 60  # a busy controller takes its time
_TIME = re.compile(
    r"(?P<m>\d+)(:(?P<s>\d\d?))?|(?P<H>\d+):(?P<M>\d\d?):(?P<S>\d\d?)|"
    r"(?P<d>\d+)-(?P<dH>\d\d?)(:(?P<dM>\d\d?)(:(?P<dS>\d\d?))?)?"
)
_UNIT_S = {"m": 60, "s": 1, "H": 3600, "M": 60, "S": 1, "d": 86400, "dH": 3600, "dM": 60, "dS": 1}
_OWN = (
    *("array", "chdir", "cpus-per-task", "dependency", "error", "gpus-per-node", "job-name"),
    *("nodes", "no-requeue", "ntasks", "ntasks-per-node", "open-mode", "output", "parsable"),
    *("partition", "requeue", "signal", "test-only", "time", "wait", "wrap"),
)
# Those that stand alone. Any other without a value would take the next word for its value.
_FLAGS = (
    *("contiguous", "exclusive", "hold", "overcommit", "oversubscribe", "reboot"),
    *("spread-job", "use-min-nodes"),
)


@dataclass(frozen=True)
class SlurmJob:
    """What to ask Slurm for.

    Attributes:
        time: limit of one attempt, as Slurm writes it: minutes, HH:MM:SS or D-HH:MM:SS. After it
            the job is requeued.
        nodes: how many nodes.
        processes: that train on each node; None for one per GPU, or one where there are none.
        gpus: on each node.
        cores: on each node; None leaves it to the cluster.
        partition: empty for the cluster's default.
        options: more options of sbatch, each ``name=value``, or the name of a flag.

    Raises:
        ConfigError: a value that cannot be, or an option that is set here already.
    """

    time: str
    nodes: int = 1
    processes: int | None = None
    gpus: int = 0
    cores: int | None = None
    partition: str = ""
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seconds = _seconds(self.time)
        if seconds < _LEAST_S:
            raise ConfigError(
                f"--time must be at least {_LEAST_S // 60} minutes, for the job is asked to stop "
                f"up to two minutes before; got {self.time!r}."
            )
        for name, least in {"nodes": 1, "processes": 1, "gpus": 0, "cores": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"--{name} must be at least {least}, got {value}.")
        for option in self.options:
            _check_option(option)

    @property
    def processes_per_node(self) -> int:
        """Processes that train on each node."""
        return self.processes or self.gpus or 1

    @property
    def all_processes(self) -> int:
        """Processes that train together."""
        return self.nodes * self.processes_per_node

    def words(self) -> list[str]:
        """Return the options of sbatch that these are."""
        found = [f"--time={self.time}", f"--nodes={self.nodes}", "--ntasks-per-node=1"]
        if self.gpus:
            found.append(f"--gpus-per-node={self.gpus}")
        if self.cores:
            found.append(f"--cpus-per-task={self.cores}")
        if self.partition:
            found.append(f"--partition={self.partition}")
        return [*found, *(f"--{option}" for option in self.options)]


@dataclass(frozen=True)
class Submitted:
    """A job that Slurm took.

    Attributes:
        job: its number.
        name: its name, which stands for the run folder.
        log: what it says, of all attempts.
    """

    job: int
    name: str
    log: Path


def need_slurm() -> None:
    """Refuse a machine without Slurm.

    Raises:
        ConfigError: ``sbatch`` is not on the PATH.
    """
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "There is no Slurm here: sbatch is not on the PATH. Launch from a login node of the "
            "cluster, or train on this machine with armillary train."
        )


def refuse_if_in_use(run: Path) -> None:
    """Refuse a run folder for which a job waits or runs, of whichever user.

    Args:
        run: folder of the run.

    Raises:
        ConfigError: there is one, or Slurm does not answer.
    """
    said = _asked(["squeue", "--noheader", f"--name={_name(run)}", "--format=%i %T"])
    for line in said.splitlines():
        job, _, state = line.strip().partition(" ")
        raise ConfigError(
            f"{run}: job {job} trains there already ({state.lower()}; log: {_log(run, job)}). Wait "
            f"for it, stop it with scancel {job}, or choose a new --out."
        )


def submit(words: Sequence[str], run: Path, asked: SlurmJob) -> Submitted:
    """Submit a command of armillary as a job that goes on after every interruption.

    Args:
        words: the command, such as ``["train", "world", ...]``; the same words must go on where an
            interrupted run has stopped.
        run: folder of the run. Its newest checkpoint is ``run / "checkpoints/last"``. The log is
            written to ``run / "slurm"``.
        asked: what to ask Slurm for.

    Raises:
        ConfigError: Slurm refuses the job, or does not answer.
        StorageError: the folder is not writable, or the disk is full.
    """
    run = run.absolute()
    name, logs = _name(run), run / LOGS
    pattern = str(logs).replace("%", "%%")  # else Slurm puts something in place of what follows it
    own = [
        *("--parsable", "--requeue", "--open-mode=append", "--dependency=singleton"),
        f"--signal=B:USR1@{_LEAD_S}",
        f"--job-name={name}",
        f"--output={pattern}/%j.log",
    ]
    job = [str(_JOB), str(_LEAD_S), str(run), str(asked.processes_per_node), sys.executable]
    with claimed_folder(logs):
        said = _asked(["sbatch", *own, *asked.words(), *job, *words])
    number = said.strip().partition(";")[0]
    if not number.isdecimal():
        raise ConfigError(f"sbatch was to answer with a job's number, and gave {said.strip()!r}.")
    return Submitted(int(number), name, _log(run, number))


def _name(run: Path) -> str:
    """Return the name of the job that trains in a folder, the same from wherever it is asked."""
    digest = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:12]
    return f"armillary-{re.sub(r'[^A-Za-z0-9._-]', '_', run.resolve().name)}-{digest}"


def _log(run: Path, job: str) -> Path:
    return run.absolute() / LOGS / f"{job}.log"


def _asked(words: list[str]) -> str:
    """Return what a command of Slurm says.

    Raises:
        ConfigError: it fails, with its last words.
    """
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=_ANSWER_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"Slurm does not answer: {words[0]} failed ({error}).") from error
    if found.returncode:
        why = (found.stderr.strip() or f"exit code {found.returncode}").splitlines()[-1]
        why = re.sub(rf"^{words[0]}: (error: )?", "", why).rstrip(".")
        raise ConfigError(f"Slurm refuses, and {words[0]} says why: {why}.")
    return found.stdout


def _seconds(time: str) -> int:
    """Return a limit in seconds.

    Raises:
        ConfigError: it is not written as Slurm writes times.
    """
    found = _TIME.fullmatch(time)
    if found is None:
        raise ConfigError(
            f"--time takes minutes, HH:MM:SS or D-HH:MM:SS, such as 4:00:00; got {time!r}."
        )
    parts = found.groupdict()
    return sum(int(parts[name] or 0) * unit for name, unit in _UNIT_S.items())


def _check_option(option: str) -> None:
    name, _, value = option.partition("=")
    if not re.fullmatch(r"[a-z][a-z-]*", name) or not (value or option in _FLAGS):
        raise ConfigError(
            "--option takes an option of sbatch as name=value without dashes, such as "
            f"account=robots, or one of {', '.join(_FLAGS)}; got {option!r}."
        )
    if name in _OWN:
        raise ConfigError(
            f"--option {name} is set by armillary launch; leave it out (see: armillary launch "
            "--help)."
        )
