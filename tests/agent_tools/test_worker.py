"""A process answers one question at a time, and one that takes too long is stopped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from armillary.agent_tools.catalogue import Catalogue
from armillary.agent_tools.worker import Worker
from armillary.core.errors import ArmillaryError, ConfigError

ASKED = {"model": "small", "dataset": "rooms", "episode": 2}


def test_questions_that_come_together_are_answered_one_after_another(catalogue):
    worker = Worker(catalogue, 60.0)
    worker.start()
    try:
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(worker.ask, "encode", {**ASKED, "step": n}) for n in range(6)]
            found = [one.result().facts["norm"] for one in asked]
        assert worker.answered == 6 and len(set(found)) > 1
        with pytest.raises(ConfigError, match="There is no step 99"):
            worker.ask("encode", {**ASKED, "step": 99})
    finally:
        worker.stop()


def test_what_takes_too_long_is_stopped_and_the_next_question_is_answered(catalogue):
    worker = Worker(catalogue, 0.001)
    try:
        with pytest.raises(ConfigError, match=r"longer than 0\.001 s and was stopped"):
            worker.ask("encode", {**ASKED, "step": 0})
        worker.limit_s = 60.0
        assert worker.ask("encode", {**ASKED, "step": 0}).facts["time_limit_s"] == 60.0
    finally:
        worker.stop()


def test_a_process_that_died_costs_one_question(catalogue):
    worker = Worker(catalogue, 60.0)
    worker.start()
    try:
        worker._process.kill()
        worker._process.join()
        with pytest.raises(ArmillaryError, match="The next call starts another"):
            worker.ask("listing", {})
        assert worker.ask("listing", {}).facts["models"]
    finally:
        worker.stop()


def test_a_model_that_cannot_be_read_is_said_at_the_start(tmp_path, data):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    worker = Worker(Catalogue.of([str(tmp_path / "broken")], [str(data.path)]), 60.0)
    with pytest.raises(ArmillaryError, match="broken"):
        worker.start()
    worker.stop()
