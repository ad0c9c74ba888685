"""Log: one JSON line per entry, always; TensorBoard and W&B beside it where asked for.

After a resume the lines past the checkpoint are dropped, so the file reads as one run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from armillary.core.files import replacing, storage_errors
from armillary.core.optional import require

Tracker = Literal["none", "tensorboard", "wandb"]


class Log:
    """Appends entries to ``log.jsonl`` and hands numbers to a tracker.

    Args:
        out: folder of the run.
        done: optimizer steps already taken; later lines of an older attempt are dropped.
        tracker: where else to send numbers.
    """

    def __init__(self, out: Path, done: int = 0, tracker: Tracker = "none") -> None:
        self.path = out / "log.jsonl"
        _keep_until(self.path, done)
        self._tracker = _open_tracker(tracker, out)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Append one line.

        Args:
            step: optimizer steps taken so far.
            values: numbers and texts by name, e.g. ``train/loss``.

        Raises:
            StorageError: the disk is full or not writable.
        """
        line = json.dumps({"step": step, **values})
        with storage_errors(self.path), self.path.open("a") as file:
            file.write(line + "\n")
        if self._tracker is not None:
            self._tracker(step, {k: v for k, v in values.items() if isinstance(v, float)})


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log; what is no JSON, as a half-written last line, is passed over."""
    entries = []
    for line in path.read_bytes().splitlines():  # a line that is no UTF-8 is no JSON either
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def _keep_until(path: Path, done: int) -> None:
    if not path.is_file():
        return
    kept = [entry for entry in read_log(path) if entry.get("step", 0) <= done and done > 0]
    with replacing(path) as beside:
        beside.write_text("".join(json.dumps(entry) + "\n" for entry in kept))


def _open_tracker(name: Tracker, out: Path) -> Any:
    if name == "tensorboard":
        board = require("torch.utils.tensorboard", "tensorboard", "write TensorBoard logs")
        writer = board.SummaryWriter(str(out / "tensorboard"))

        def add(step: int, values: dict[str, float]) -> None:
            for key, value in values.items():
                writer.add_scalar(key, value, step)

        return add
    if name == "wandb":
        wandb = require("wandb", "wandb", "send logs to Weights & Biases")
        run = wandb.init(project="armillary", dir=str(out))
        return lambda step, values: run.log(values, step=step)
    return None
