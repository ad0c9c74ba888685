"""The entry: find the command, run it, print, leave with a code.

Exit codes: 0 done, 1 a check did not hold, 2 wrong usage or bad input, 3 a missing extra, 4
undecided, 130 stopped by the user. Nothing heavy is imported here: ``--help`` must answer at once.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, get_args

import tyro

from armillary import __version__
from armillary.cli import (
    act,
    bench,
    compare_words,
    data,
    demo,
    diagnose,
    export,
    guard,
    launch,
    learn,
    mcp,
    plan,
    play,
    proof,
    ros,
    serve,
    sweep,
    understand,
    view,
    zoo,
)
from armillary.cli.outcome import end_stdout, show, show_error, stdout_kept
from armillary.cli.parse import Command, parse
from armillary.cli.renamed import moved
from armillary.cli.train import Train, train_command
from armillary.core.errors import ArmillaryError, unknown_name

COMMANDS: dict[str, tuple[Any, str]] = {
    "demo": (demo.Demo, "run a whole example in minutes: record, train, question, act"),
    "record": (learn.Record, "record episodes of a simulated world"),
    "ingest": (learn.Ingest, "turn videos, depth, point clouds or robot logs into a dataset"),
    "data": (data.Data, "describe a dataset, or check that it is intact"),
    "train": (Train, "train a world model on a dataset"),
    "sweep": (sweep.Sweep, "train with several settings, choose the best, and judge it once"),
    "launch": (launch.Launch, "train on a Slurm cluster, through preemptions and time limits"),
    "policy": (learn.Policy, "train a goal-conditioned policy for a model that has none"),
    "landmarks": (learn.Landmarks, "let a model act towards goals that are far, by sub-goals"),
    "diagnose": (diagnose.Diagnose, "measure a model's predictions beside simple baselines"),
    "probe": (understand.Probe, "test which quantities can be read from a model's latents"),
    "surprise": (understand.Surprise, "measure a model's prediction error at every step"),
    "understand": (understand.Understand, "test whether a model tells possible from impossible"),
    "act": (act.Act, "evaluate a model in a world: how often does it reach its goals?"),
    "plan": (plan.Plan, "plan actions from a recorded moment to a picture or a value"),
    "play": (play.Play, "steer inside a model, in a browser"),
    "serve": (serve.Serve, "serve a model to robots, over openpi's websocket protocol"),
    "ros": (ros.Ros, "drive a robot of ROS 2 through rosbridge"),
    "mcp": (mcp.MCP, "let a language model ask world models, over the Model Context Protocol"),
    "zoo": (zoo.Zoo, "list the trained models that travel with the package"),
    "export": (export.Export, "write a model as ONNX files that run without torch"),
    "guard": (guard.Guard, "stop a policy when the model's predictions fail"),
    "view": (view.View, "write a page about a dataset, a run or an evaluation"),
    "compare": (compare_words.Compare, "compare world models with other kinds of models"),
    "bench": (bench.Bench, "measure speed and success, beside other projects"),
    "proof": (proof.Proof, "commit, run, sign and verify results that others can check"),
}
DESCRIPTION = """Train world models on video and spatial data, question them, and act with them.

e.g. armillary demo

armillary COMMAND --help explains a command. armillary --version prints the version."""
INTERRUPTED = 130
_SAME_INTERRUPT_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: the words after ``armillary``; None takes those of the process.

    Returns:
        The exit code.
    """
    # Threads of torch that wait for each other by spinning take four times as long where another
    # program needs a core. It is read once, when torch is imported, which is after this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    command: Command | None = None
    try:
        command = read(words)
        command.prepare()
        with stdout_kept(as_json):
            outcome = command.run()
    except SystemExit as leave:
        return int(leave.code or 0)
    except ArmillaryError as error:
        with _whoever_reads():
            show_error(str(error), error.exit_code, as_json)
        return error.exit_code
    except KeyboardInterrupt:
        goes_on = command is None or command.goes_on
        print(f"stopped; {_left(words, goes_on)}", file=sys.stderr)
        return INTERRUPTED
    with _whoever_reads():
        show(outcome, as_json)
    return outcome.exit_code


def read(words: Sequence[str]) -> Command:
    """Return the command that the words spell.

    Raises:
        ConfigError: an unknown command, or arguments that the command cannot read.
        SystemExit: with code 0, after help or the version was printed.
    """
    if list(words[:1]) == ["--version"]:
        print(f"armillary {__version__}")
        raise SystemExit(0)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise unknown_name("command", words[0], COMMANDS)
    if words and words[0] == "train":
        return train_command(words[1:])
    if words and words[0] == "launch":
        return launch.launch_command(words[1:])
    if words and words[0] in COMMANDS:
        kind, summary = COMMANDS[words[0]]
        if isinstance(kind, type):
            return parse(kind, words[1:], f"armillary {words[0]}")
        below = subcommands(kind)
        if words[0] == "bench" and words[1:2] and words[1] in subcommands(proof.Proof):
            return read(moved(words, "proof"))
        if len(words) == 1 or words[1].startswith("-"):
            listed = _union({name: (one, _first_line(one)) for name, one in below.items()})
            return parse(listed, words[1:], f"armillary {words[0]}", _sentence(summary))
        if words[1] not in below:
            raise unknown_name(f"{words[0]} command", words[1], below)
        return parse(below[words[1]], words[2:], f"armillary {words[0]} {words[1]}")
    return parse(_union(COMMANDS), words, "armillary", DESCRIPTION)


def subcommands(kind: Any) -> dict[str, type[Command]]:
    """Return the subcommands of a command by name; empty for one that has none."""
    return {one.__metadata__[0].name: get_args(one)[0] for one in get_args(kind)}


def entry() -> None:
    """Run the command line of this process and leave with its code."""
    signal.signal(signal.SIGINT, interrupts())
    code = 0  # of help and version, which are printed before there is an outcome
    with _whoever_reads():
        code = main()
        sys.stdout.flush()
    if "--json" in sys.argv:
        end_stdout()
    if code == INTERRUPTED:
        # Without the exit handlers: a second Ctrl-C while processes are being ended can make these
        # wait for ever. Nothing is lost, for whatever is finished is on disk, and workers end
        # when their parent does.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def _whoever_reads() -> Iterator[None]:
    """Go on without a reader (head, grep -q) who went away: the exit code stays what it is."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def interrupts() -> Callable[[int, Any], None]:
    """Return an answer to Ctrl-C that takes several at once for one.

    ``timeout -s INT`` sends two, as do impatient fingers. A second one while the first is being
    answered leaves Python's locks in disorder, and the user with a traceback.
    """
    last_s = -math.inf

    def answer(number: int, frame: Any) -> None:
        nonlocal last_s
        before_s, last_s = last_s, time.monotonic()
        if last_s - before_s > _SAME_INTERRUPT_S:
            raise KeyboardInterrupt

    return answer


def _union(commands: Mapping[str, tuple[Any, str]]) -> Any:
    union: Any = None
    for name, (kind, summary) in commands.items():
        one = Annotated[kind, tyro.conf.subcommand(name, description=summary)]
        union = one if union is None else union | one
    return union


def _first_line(kind: type[Command]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _left(words: Sequence[str], goes_on: bool) -> str:
    """Say what is there after an interruption; some commands write all at once or nothing."""
    anew = "" if goes_on else " until the next run, which begins anew"
    if "--out" not in words[:-1]:
        return f"what was finished is kept{anew}"
    out = words[words.index("--out") + 1]
    if not os.path.exists(out):  # noqa: PTH110 - pathlib is not imported yet, and need not be
        return f"nothing was written to {out}"
    return f"what was finished is kept in {out}{anew}"
