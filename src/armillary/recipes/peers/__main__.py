"""One stage in a process of its own: ``python -m armillary.recipes.peers FOLDER STAGE``.

It answers on stdout in JSON lines: ``{"done", "total", "note"}`` as it goes on, and at the end
``{"finished": true}`` or ``{"error", "exit_code"}``. What the peers print goes to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from armillary.core.errors import ArmillaryError
from armillary.recipes.peers.stages import run_stage

_EVERY_S = 0.5


def main(arguments: list[str]) -> int:
    """Run a stage and return the exit code.

    Args:
        arguments: folder and stage.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    told_at = float("-inf")

    def say(**message: Any) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    def progress(done: int, total: int, note: str = "") -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _EVERY_S or done == total:
            told_at = time.monotonic()
            say(done=int(done), total=int(total), note=note)

    folder, stage = arguments
    try:
        run_stage(Path(folder), stage, progress)
    except ArmillaryError as error:
        say(error=str(error), exit_code=error.exit_code)
        return error.exit_code
    say(finished=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
