"""One at a time writes in a folder, and a kill lets go of it."""

import signal
import subprocess
import sys

import pytest

from armillary.core.alone import alone_in
from armillary.core.errors import ConfigError
from armillary.evaluation import RandomSpec
from armillary.services.acting import ActConfig, evaluate_policies

HOLD = """
import sys, time
from pathlib import Path
from armillary.core.alone import alone_in
with alone_in(Path(sys.argv[1]), "training", "lock"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_is_refused_until_the_first_is_gone(tmp_path):
    words = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with (
            pytest.raises(ConfigError, match="out: another training is writing there"),
            alone_in(tmp_path / "out", "training", "lock"),
        ):
            pass
        first.send_signal(signal.SIGKILL)
    with alone_in(tmp_path / "out", "training", "lock"):
        pass


def test_two_evaluations_do_not_share_a_folder(tmp_path):
    config = ActConfig(episodes=1, budget=2, workers=1)
    with (
        alone_in(tmp_path, "evaluation", "act.lock"),
        pytest.raises(ConfigError, match="another evaluation is writing there"),
    ):
        evaluate_policies({"some": RandomSpec()}, "two_rooms", tmp_path, config)
    _, records = evaluate_policies({"some": RandomSpec()}, "two_rooms", tmp_path, config)
    assert records.keys() == {"some", "random", "noop", "oracle"}
