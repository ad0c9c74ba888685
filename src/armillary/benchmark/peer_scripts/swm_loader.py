"""Random clips through ``stable-worldmodel``'s own writers and readers, timed where it lives.

Run by the peer's Python, never imported by armillary. It reads one JSON request per line from
stdin and answers each with one JSON line on stdout:

``write``  {folder, frames, actions} -> {bytes, versions}; frames and actions are .npy files, one
           of each per episode: uint8 [T H W 3], float32 [T A]
``read``   {reader, clips, batch, first} -> {seconds, clips}; clips is a .npy file [N 2] of
           (episode, first step) in shuffled order; the first batch is kept in the file ``first``

Clips go through torch's DataLoader without workers, as the package's training scripts read them:
4 frames at frameskip 5, pictures and actions. The warm state between requests is the readers' own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from stable_worldmodel.data import get_format  # pyrefly: ignore
from torch.utils.data import DataLoader

FRAMES, FRAMESKIP = 4, 5
FILES = {"lance": "clips.lance", "hdf5": "clips.h5"}

readers: dict[str, Any] = {}


def episodes(frames: list[str], actions: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the recording as the writers want it: a column name to one value per step."""
    for pictures, moves in zip(frames, actions, strict=True):
        yield {"pixels": list(np.load(pictures)), "action": list(np.load(moves))}


def write(folder: str, frames: list[str], actions: list[str]) -> dict[str, Any]:
    """Write the same episodes in each format with its own writer, then open its reader."""
    sizes = {}
    for name, file in FILES.items():
        path = Path(folder) / file
        with get_format(name).open_writer(path, mode="overwrite") as writer:
            writer.write_episodes(episodes(frames, actions))
        readers[name] = get_format(name).open_reader(
            path, frameskip=FRAMESKIP, num_steps=FRAMES, keys_to_load=["pixels", "action"]
        )
        inside = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        sizes[name] = sum(file.stat().st_size for file in inside)
    names = ("stable-worldmodel", "lancedb", "pylance", "h5py", "torch")
    return {"bytes": sizes, "versions": {name: version(name) for name in names}}


def read(reader: str, clips: str, batch: int, first: str = "") -> dict[str, Any]:
    """Time a pass over the clips in the order given."""
    dataset = readers[reader]
    pairs = np.load(clips)
    spans = np.maximum(np.asarray(dataset.lengths) - FRAMES * FRAMESKIP + 1, 0)
    starts = np.concatenate([[0], np.cumsum(spans)[:-1]])
    order = (starts[pairs[:, 0]] + pairs[:, 1]).tolist()
    begin, count = time.perf_counter(), 0
    for number, loaded in enumerate(DataLoader(dataset, batch_size=batch, sampler=order)):
        count += len(loaded["pixels"])
        if first and not number:
            np.save(first, loaded["pixels"].numpy())
    return {"seconds": time.perf_counter() - begin, "clips": count}


def main() -> None:
    """Answer requests until stdin closes; what the package itself prints goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    operations = {"write": write, "read": read}
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(operations[request.pop("op")](**request)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
