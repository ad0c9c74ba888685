"""Under torchrun every process runs the same command; one of them speaks and writes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from armillary.cli.main import main
from armillary.recipes.recipe import RUN_DATA, train_recipe
from armillary.recipes.world import world
from armillary.worlds import record

pytestmark = pytest.mark.runs  # trainings in several processes: 8 to 19 s each

SMALL = ["--steps", "2", "--batch-size", "4", "--threads", "1", "--finetune.steps", "0"]


def one_of_two(rank: int, port: int, words: list[str], said: Path) -> None:
    """Run a command as one of the processes that ``torchrun`` would start."""
    os.environ["ARMILLARY_CACHE"] = str(said.with_name("cache"))
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    with said.open("w") as file, contextlib.redirect_stdout(file):
        code = main(words)
    raise SystemExit(code)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_of_two_processes_one_says_what_came_of_it(tmp_path: Path, parallel: str) -> None:
    record("two_rooms", tmp_path / "data", 2, 15, workers=1)
    words = ["train", "world", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    words += ["--compute.parallel", parallel]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("forkserver")
    context.set_forkserver_preload(["armillary.training", "torch._dynamo"])
    processes = [
        context.Process(target=one_of_two, args=(rank, port, [*words, *SMALL, "--json"], said))
        for rank, said in enumerate((tmp_path / "first", tmp_path / "second"))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(110)
        process.kill()
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert json.loads((tmp_path / "first").read_text())["steps"] == 2
    assert (tmp_path / "second").read_text() == ""
    assert json.loads((tmp_path / "run" / RUN_DATA).read_text())["held_out_episodes"]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_leading_process_alone_writes_what_was_held_out(tmp_path, monkeypatch, rank) -> None:
    monkeypatch.setenv("ARMILLARY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("armillary.recipes.recipe.train", lambda *_: None)
    record("two_rooms", tmp_path / "data", 2, 15, workers=1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    few = replace(world(), batch_size=2)
    train_recipe(few, tmp_path / "data", tmp_path / "run")
    assert (tmp_path / "run" / RUN_DATA).is_file() == (rank == 0)
