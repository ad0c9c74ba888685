"""Profiles: set before torch, once, in a process of its own; and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from armillary.core.errors import ConfigError
from armillary.proof import profiles
from armillary.proof.profiles import (
    PROFILES,
    TOLERANCES,
    ensure,
    facts,
    profile_in_force,
    profile_of_suite,
    tolerance_between,
)

SCRIPT = """
import json, os, sys
from armillary.proof.profiles import ensure, facts, profile_in_force
assert "torch" not in sys.modules
ensure("portable")
print(json.dumps([profile_in_force(), facts()["profile"], os.environ["MKL_CBWR"], sys.argv[1:]]))
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*profiles._SETTINGS, "ARMILLARY_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_program_starts_again_once_under_its_profile(bare) -> None:
    command = [sys.executable, "-c", SCRIPT, "one", "two words"]
    result = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert result.stderr == ""
    assert json.loads(result.stdout) == ["portable", "portable", "COMPATIBLE", ["one", "two words"]]


def test_it_is_too_late_once_torch_is_loaded(bare) -> None:
    import torch  # noqa: F401

    with pytest.raises(ConfigError, match=r"before torch is loaded; start with: env .*MKL_CBWR="):
        ensure("portable")
    with pytest.raises(ConfigError, match="no numeric profile called 'portabel'"):
        ensure("portabel")


def test_a_profile_is_in_force_if_its_settings_are_there_and_no_others(bare) -> None:
    assert profile_in_force() == "none"
    for name in PROFILES:
        for setting in profiles._SETTINGS:
            bare.delenv(setting, raising=False)
        for setting, value in PROFILES[name].items():
            bare.setenv(setting, value)
        assert profile_in_force() == name == facts()["profile"]
        ensure(name)
    bare.setenv("MKL_CBWR", "AVX2")
    assert profile_in_force() == "none"


def test_facts_are_text_and_say_what_is_known() -> None:
    found = facts()
    assert all(isinstance(value, str) for value in found.values())
    assert found["torch"] and found["numpy"] and found["python"]


def test_how_near_a_decision_must_be_depends_on_the_machines() -> None:
    one = {"profile": "portable", "machine": "x86_64", "torch": "2.9", "flags": "avx2 avx512f"}
    assert tolerance_between(one, one) == "same"
    assert tolerance_between(one, {**one, "flags": "avx2"}) == "same"
    assert tolerance_between(one, {**one, "machine": "aarch64"}) == "other-isa"
    assert tolerance_between(one, {**one, "torch": "2.10"}) == "other-isa"
    fast = {**one, "profile": "fast"}
    assert tolerance_between(fast, {**fast, "flags": "avx2"}) == "other-isa"
    limits = [TOLERANCES[name].limit for name in ("same", "other-isa", "bfloat16")]
    assert limits == [1e-6, 1e-4, 1e-3]


def test_a_suite_s_profile_is_known_without_loading_it(tmp_path) -> None:
    assert profile_of_suite("tiny") == "portable"
    path = tmp_path / "suite.json"
    for text, profile in (
        ('{"profile":"fast"}', "fast"),
        ('{"profile":"evil"}', "portable"),
        ("[]", "portable"),
        ("{", "portable"),
    ):
        path.write_text(text)
        assert profile_of_suite(str(path)) == profile
