"""A command that is kept with a result reads back as the command that made it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from armillary.cli.again import again
from armillary.cli.bench import Latency
from armillary.cli.guard import Guard
from armillary.cli.learn import Ingest
from armillary.cli.lidar import Lidar
from armillary.cli.main import read
from armillary.cli.understand import Understand

COMMANDS = [
    (Guard(model="out/a run", world="tabletop"), "guard"),
    (Guard(model="m", world="w", out=Path("x"), task="push", seed=3, within=2), "guard"),
    (Latency(model="m", world="w", plan=("a=1", "b=2"), samples=(8,)), "bench latency"),
    (Latency(model="m", world="w", others=("n", "o"), replan=(1, 2), task="it's"), "bench latency"),
    (Lidar(data=Path("a b.rawlog"), seeds=(4,), steps=3, record=Path("r.json")), "bench lidar"),
    (Understand(models=("a", "b"), count=9, concepts="shape"), "understand"),
    (Understand(models=("a",), suite="grasp", data=Path("d")), "understand"),
    (Understand(self_test=True), "understand"),
    (Ingest(source=Path("s"), out=Path("o"), topics=("/a", "/b"), replace=True), "ingest"),
]


@pytest.mark.parametrize(("command", "called"), COMMANDS)
def test_it_reads_back_as_the_command(command, called):
    assert read(shlex.split(again(command, *called.split()))[1:]) == command


def test_what_is_usual_is_not_spelled():
    said = again(Guard(model="out/a run", world="tabletop", seed=3), "guard")
    assert said == "armillary guard 'out/a run' tabletop --seed 3"
