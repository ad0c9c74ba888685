"""Fixtures of the data layer's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from counting_world import Counting, write_counted


@pytest.fixture(scope="session")
def counting() -> type[Counting]:
    return Counting


@pytest.fixture(scope="session")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset of four counting episodes of different lengths; do not change it."""
    return write_counted(tmp_path_factory.mktemp("counted") / "set")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The same dataset, to be damaged."""
    return write_counted(tmp_path / "set")
