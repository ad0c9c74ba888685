"""Asking: a judge in a process of its own is shown clips, and writes down what it says.

It gets opaque ids, pictures and camera moves, in blocks; concepts, numbers and cells stay with
the process that asks, and the scorer joins them again (``scoring.py``). Its answer is one JSON
line per clip; when it has answered for all, the labels are written beside, so that anybody can
score it again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from pickle import PicklingError
from typing import Any

import numpy as np

from armillary.core.errors import ConfigError, FormatError, WorldError
from armillary.core.files import read_json, storage_errors, write_json
from armillary.core.progress import Progress, silent
from armillary.understanding.suites.quadruplets.judges import Panel
from armillary.understanding.suites.quadruplets.suite import Clip, Label, Suite

PanelFactory = Callable[[], Panel]
Said = dict[str, dict[str, np.ndarray]]


def ask(
    suites: Mapping[str, Suite], factory: PanelFactory, folder: Path, progress: Progress = silent
) -> dict[str, dict[str, Label]]:
    """Show all clips of some suites to a panel in another process, which writes ``NAME.jsonl``.

    Args:
        suites: what is asked, by name.
        factory: makes the panel, in that process; it can be pickled.
        folder: for JSON lines: id, and surprise per step by judge; and ``NAME.labels.json``.
        progress: called after each block of clips.

    Returns:
        The labels by suite and id, which that process never had.

    Raises:
        ConfigError: the factory cannot be pickled.
        WorldError: the panel's process broke; its own sentence is in this one.
        StorageError: ``folder`` cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in suites:
            _file(folder, name).unlink(missing_ok=True)
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_judge, args=(theirs, factory, folder), daemon=True)
    try:
        process.start()
    except (AttributeError, TypeError, PicklingError) as error:
        raise ConfigError(
            f"The judge cannot be handed to its own process ({error}); make its factory a function "
            "of a module, not a lambda."
        ) from error
    theirs.close()
    plan = [(name, block) for name, suite in suites.items() for block in suite.plan()]
    labels: dict[str, dict[str, Label]] = {name: {} for name in suites}
    done, total = 0, sum(map(len, suites.values()))
    salt = secrets.token_hex(16)  # ids that nobody can guess from concept, number and cell
    try:
        _answer(ours)  # the panel is made, or says why not, before any clip goes out
        # one block is painted while the one before it is judged
        with ThreadPoolExecutor(1) as painter:
            ahead = painter.submit(suites[plan[0][0]].block, plan[0][1], salt)
            for place, (name, _) in enumerate(plan):
                clips, known = ahead.result()
                if place + 1 < len(plan):
                    following, block = plan[place + 1]
                    ahead = painter.submit(suites[following].block, block, salt)
                _hear(ours, name, clips)
                labels[name] |= {clip.id: label for clip, label in zip(clips, known, strict=True)}
                done += len(clips)
                progress(done, total, f"clips, {name}")
        ours.send(None)
    finally:
        ours.close()
        process.join(timeout=30)
    for name, known_ids in labels.items():  # only now: the judge's process is over
        by_clip = {clip: asdict(label) for clip, label in known_ids.items()}
        write_json(folder / f"{name}.labels.json", by_clip)
    return labels


def read_labels(path: Path) -> dict[str, Label]:
    """Return the labels by id that ``ask`` wrote.

    Raises:
        FormatError: not such a file.
    """
    try:
        return {name: Label(**value) for name, value in read_json(path).items()}
    except (AttributeError, TypeError) as error:
        raise FormatError(f"{path}: holds no labels of clips.") from error


def read_said(path: Path) -> Said:
    """Return surprise of steps 1 to T-1 by judge and clip, float32.

    Raises:
        FormatError: a line is not what ``ask`` writes.
    """
    said: Said = {}
    with path.open() as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
                for judge, numbers in value["surprise"].items():
                    said.setdefault(judge, {})[value["id"]] = np.array(numbers, np.float32)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise FormatError(f"{path}: line {number} is not a judged clip.") from error
    return said


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.jsonl"


def _hear(ours: Connection, name: str, clips: Sequence[Clip]) -> None:
    try:
        ours.send((name, [(clip.id, clip.frames, clip.pans) for clip in clips]))
    except OSError as error:
        if not ours.poll():  # else it gave the reason before it ended
            raise WorldError("The judge's process died (killed, or out of memory).") from error
    _answer(ours)


def _answer(ours: Connection) -> None:
    try:
        answer = ours.recv()
    except (EOFError, OSError) as error:
        raise WorldError("The judge's process died (killed, or out of memory).") from error
    if answer is not None:
        raise WorldError(f"The judge broke: {answer}")


def _judge(theirs: Connection, factory: PanelFactory, folder: Path) -> None:
    """Run in the other process until there is nothing more to judge."""
    import torch

    torch.set_num_threads(1)
    try:
        panel = factory()
        theirs.send(None)
        while (asked := theirs.recv()) is not None:
            name, clips = asked
            with _file(folder, name).open("a") as file:
                file.writelines(_lines(panel, clips))
            theirs.send(None)
    except EOFError:
        return
    except Exception as error:
        theirs.send(f"{type(error).__name__}: {error}")


def _lines(panel: Panel, clips: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> list[str]:
    frames, pans = (np.stack([clip[part] for clip in clips]) for part in (1, 2))
    said: dict[str, Any] = panel(frames, pans)
    for name, values in said.items():
        if values.shape != pans.shape[:2]:
            raise ValueError(f"{name} gave {values.shape} numbers where {pans.shape[:2]} are due")
    return [
        json.dumps(
            {
                "id": clip[0],
                # nine digits give a float32 back to the bit
                "surprise": {
                    name: [float(f"{v:.9g}") for v in values[row].tolist()]
                    for name, values in said.items()
                },
            }
        )
        + "\n"
        for row, clip in enumerate(clips)
    ]
