"""One name for the same bytes, one text for the same JSON."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from armillary.core.hashing import canonical_json, file_sha256, json_sha256


@dataclass(frozen=True)
class Settings:
    rate: float
    folder: Path


def test_a_file_hashes_as_its_bytes(tmp_path: Path) -> None:
    content = b"armillary" * 300_000
    (tmp_path / "a").write_bytes(content)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_order_of_keys_does_not_matter() -> None:
    assert canonical_json({"b": 1, "a": [1, 2]}) == '{"a":[1,2],"b":1}'
    assert json_sha256({"b": 1, "a": 2}) == json_sha256({"a": 2, "b": 1})
    assert json_sha256([1, 2]) != json_sha256([2, 1])


def test_dataclasses_paths_and_arrays_have_one_text() -> None:
    assert canonical_json(Settings(0.1, Path("x"))) == '{"folder":"x","rate":0.1}'
    assert canonical_json({"a": np.arange(3)}) == '{"a":[0,1,2]}'


def test_nan_and_strangers_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
    with pytest.raises(TypeError, match="has no canonical JSON"):
        canonical_json(object())
