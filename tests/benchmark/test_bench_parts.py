"""The parts of a measurement: turns, ratios, operations counted, what the machine is."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch import nn

from armillary.benchmark.flops import count_flops, matmul_flops_per_s
from armillary.benchmark.machine import commit, date, describe_machine, provenance
from armillary.benchmark.timing import medians, ratios, rounded, take_turns
from armillary.core.cores import core_count


def test_competitors_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def competitor(name: str):
        def measure() -> float:
            order.append(name)
            return float(len(order))

        return measure

    speeds = take_turns({"a": competitor("a"), "b": competitor("b")}, repetitions=2)
    assert order == ["a", "b"] * 3
    assert speeds == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_ratios_say_how_many_times_as_fast() -> None:
    middle = medians({"armillary": [1.0, 900.0, 100.0], "peer": [5.0, 4.0, 3.0]})
    assert middle == {"armillary": 100.0, "peer": 4.0}
    assert ratios(middle, "armillary") == {"peer": 25.0}
    assert rounded({"a": 1 / 3}) == {"a": 0.33}


def test_a_linear_layer_is_counted_as_by_hand() -> None:
    layer, x = nn.Linear(30, 20, bias=False), torch.randn(10, 30)
    product = 2 * 10 * 30 * 20
    assert count_flops(lambda: layer(x)) == product
    # backward: the weight's gradient; the input needs none
    assert count_flops(lambda: layer(x).sum().backward()) == 2 * product
    x.requires_grad_()
    assert count_flops(lambda: layer(x).sum().backward()) == 3 * product


def test_the_peak_is_that_of_a_processor() -> None:
    assert matmul_flops_per_s(torch.float32, seconds=0.05) > 1e9


def test_the_machine_is_described_in_json() -> None:
    about = describe_machine(threads=2)
    assert json.loads(json.dumps(about)) == about
    assert about["threads"] == 2
    assert about["cores"] == core_count() >= 1
    assert about["cpu"] and about["torch"] == torch.__version__
    now = datetime.now().astimezone()
    assert abs(datetime.fromisoformat(date()) - now) < timedelta(seconds=5)


def test_provenance_has_the_four_fields_of_a_record() -> None:
    about = provenance("armillary bench loader", threads=1)
    assert list(about) == ["command", "commit", "date", "machine"]
    assert about["command"] == "armillary bench loader" and about["machine"]["threads"] == 1
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|armillary \d+\.\d+\.\d+", about["commit"])


def test_the_commit_is_that_of_a_checkout_and_says_whether_files_were_changed(
    tmp_path: Path,
) -> None:
    package = tmp_path / "src" / "armillary"
    package.mkdir(parents=True)
    (package / "code.py").write_text("a = 1\n")

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    git("tag", "v1", "--annotate", "--message", "a tag is no commit")
    head = git("rev-parse", "HEAD")
    assert commit(package) == head
    (package / "code.py").write_text("a = 2\n")
    assert commit(package) == f"{head}-dirty"


def test_without_a_checkout_the_version_stands_for_the_commit(tmp_path: Path) -> None:
    # an environment's folder inside somebody else's repository
    package = tmp_path / "lib" / "armillary"
    package.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert re.fullmatch(r"armillary \d+\.\d+\.\d+", commit(package))


def test_counting_leaves_the_result_alone() -> None:
    x = torch.arange(4.0)
    seen: list[torch.Tensor] = []
    assert count_flops(lambda: seen.append(x * 2)) == 0
    assert torch.equal(seen[0], x * 2)
