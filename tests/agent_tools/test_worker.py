"""A process answers one question at a time; one that takes too long or dies costs that question."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from armillary.agent_tools.catalogue import Catalogue
from armillary.agent_tools.worker import Worker
from armillary.core.errors import ArmillaryError, ConfigError

ASKED = {"model": "small", "dataset": "rooms", "episode": 2}


@pytest.mark.slow  # 20 s, processes start
def test_a_question_is_answered_or_costs_no_more_than_itself(catalogue):
    worker = Worker(catalogue, 60.0)
    worker.start()
    try:
        _ask_together(worker)
        _die(worker)
        _take_too_long(worker)
    finally:
        worker.stop()


def _ask_together(worker):
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(worker.ask, "encode", {**ASKED, "step": n}) for n in range(6)]
        found = [one.result().facts["norm"] for one in asked]
    assert worker.answered == 6 and len(set(found)) > 1
    with pytest.raises(ConfigError, match="There is no step 99"):
        worker.ask("encode", {**ASKED, "step": 99})


def _die(worker):
    worker._process.kill()
    worker._process.join()
    with pytest.raises(ArmillaryError, match="The next call starts another"):
        worker.ask("listing", {})
    assert worker.ask("listing", {}).facts["models"]


def _take_too_long(worker):
    worker.limit_s = 0.001
    with pytest.raises(ConfigError, match=r"longer than 0\.001 s and was stopped"):
        worker.ask("surprise", ASKED)
    worker.limit_s = 60.0
    assert worker.ask("encode", {**ASKED, "step": 0}).facts["time_limit_s"] == 60.0


@pytest.mark.runs  # a process starts: 7 s
def test_a_model_that_cannot_be_read_is_said_without_its_path(tmp_path, data):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    worker = Worker(Catalogue.of([str(tmp_path / "broken")], [str(data.path)]), 60.0)
    with pytest.raises(ArmillaryError, match="broken") as caught:
        worker.ask("listing", {})
    assert str(tmp_path) not in str(caught.value)
