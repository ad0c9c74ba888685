"""Comparisons on the same episodes, against enumeration, and honest about what cannot be paired."""

import json
from itertools import product

import numpy as np
import pytest

from armillary.cli.main import main
from armillary.core.errors import ConfigError
from armillary.evaluation import Record, write_records
from armillary.proof.compare import compare_all, compare_files, permutation_test, table


def record(number, won, distance=1.0, manifest="m", policy="p", outcome=None):
    outcome = outcome or ("success" if won else "failure")
    return Record(
        f"reach-{number:05d}", number, 0, manifest, policy, False, outcome, "", 0.5,
        (2.0, distance), ((0.0,),), (),
    )  # fmt: skip


def policy(name, solved, n=40, **more):
    return [
        record(i, i < solved, 0.1 if i < solved else 1.0, policy=name, **more) for i in range(n)
    ]


def test_the_permutation_test_is_enumeration_for_few_and_close_to_it_for_many():
    rng = np.random.default_rng(0)
    few = rng.normal(0.3, 1.0, 10)
    tried = [abs((few * signs).sum()) for signs in product((1, -1), repeat=10)]
    exact = np.mean([one >= abs(few.sum()) - 1e-12 for one in tried])
    assert permutation_test(few, rng) == pytest.approx(exact)
    assert permutation_test(np.zeros(5), rng) == 1.0
    many = np.concatenate([few, rng.normal(0, 1e-9, 10)])
    assert permutation_test(many, rng) == pytest.approx(exact, abs=0.03)


def test_under_the_null_p_values_are_uniform_at_least():
    rng = np.random.default_rng(1)
    p = [permutation_test(rng.normal(size=25), rng, draws=199) for _ in range(300)]
    assert np.mean(np.array(p) <= 0.05) <= 0.09 and min(p) >= 1 / 200


def test_pairs_are_adjusted_for_all_that_were_asked():
    pairs = compare_all({"a": policy("a", 40), "b": policy("b", 20), "c": policy("c", 20)})
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert (pairs[0].only_first, pairs[0].only_second, pairs[0].n) == (20, 0, 40)
    assert pairs[0].p_success == pytest.approx(2 / 2**20)
    assert pairs[0].p_success_holm == pytest.approx(3 * pairs[0].p_success)
    assert pairs[0].nearer == pytest.approx(0.45) and pairs[0].difference == 0.5
    assert pairs[2].p_success_holm == pairs[2].p_distance_holm == 1.0
    rows = table(pairs)
    assert rows[0]["difference"] == "+50.0 points" and rows[0]["only one"] == "20 : 0"


def test_a_crash_has_no_distance_and_counts_as_failure():
    crashed = [record(0, False, outcome="crash", policy="b"), *policy("b", 20)[1:]]
    [pair] = compare_all({"a": policy("a", 20), "b": crashed})
    assert (pair.only_first, pair.only_second) == (1, 0)
    assert pair.nearer == 0.0 and pair.p_distance == 1.0


def test_files_are_compared_by_name(tmp_path):
    write_records(tmp_path / "a.jsonl", policy("a", 30))
    write_records(tmp_path / "b.jsonl", policy("b", 10))
    [pair] = compare_files([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    assert (pair.first, pair.second, pair.difference) == ("a", "b", 0.5)
    assert compare_files([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) == (pair,)
    with pytest.raises(ConfigError, match="at least two different record files; got 1"):
        compare_files([tmp_path / "a.jsonl"])
    with pytest.raises(ConfigError, match="at least two different record files; got 2"):
        compare_files([tmp_path / "a.jsonl"] * 2)


def test_other_manifests_or_episodes_cannot_be_paired():
    with pytest.raises(ConfigError, match="records of the same manifest on both sides"):
        compare_all({"a": policy("a", 3), "b": policy("b", 3, manifest="other")})
    with pytest.raises(ConfigError, match="records of the same manifest on both sides"):
        compare_all({"a": policy("a", 3), "b": policy("b", 3, n=39)})


def test_the_command_prints_the_pairs(tmp_path, capsys):
    for name, solved in (("a", 30), ("b", 10)):
        write_records(tmp_path / f"{name}.jsonl", policy(name, solved))
    words = ["proof", "compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "--json"]
    assert main(words) == 0
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["only_first"], pair["only_second"]) == (20, 0)
    assert main([*words[:3], "--json"]) == 2
    assert "at least two different record files" in json.loads(capsys.readouterr().out)["error"]
