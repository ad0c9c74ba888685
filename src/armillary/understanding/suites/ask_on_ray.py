"""Asking by actors of Ray: the answers that ``ask`` writes, given on other machines.

It is a file of its own because the files of ``quadruplets`` decide which clips are FRESH.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from armillary.core.files import storage_errors, write_json
from armillary.core.on_ray import run_on_ray
from armillary.core.progress import Progress, silent
from armillary.understanding.suites.quadruplets.asking import PanelFactory, _file, _lines
from armillary.understanding.suites.quadruplets.judges import Frames
from armillary.understanding.suites.quadruplets.suite import Clip, Label, Suite


def ask_on_ray(
    suites: Mapping[str, Suite],
    factory: PanelFactory,
    folder: Path,
    address: str | None = None,
    workers: int = 2,
    progress: Progress = silent,
) -> dict[str, dict[str, Label]]:
    """Show all clips of some suites to panels in actors of Ray, and write what they answer.

    The answers are those of ``ask``, in the same order. An actor gets whole blocks, because a judge
    may use the other clips of a block. It gets no labels. A block whose actor died is judged again.

    Args:
        suites: what is asked, by name.
        factory: makes the panel, in each actor. If it names a folder, the machines must share it.
        folder: as in ``ask``; only this process writes there.
        address: HOST:PORT of a cluster's head; None for this machine.
        workers: actors.
        progress: called after each block of clips.

    Returns:
        The labels by suite and id, which the actors never had.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot be reached.
        ArmillaryError: what the panel raised.
        WorldError: the panel raised something else, or an actor died too often.
        StorageError: ``folder`` cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in suites:
            _file(folder, name).unlink(missing_ok=True)
    plan = [(name, block) for name, suite in suites.items() for block in suite.plan()]
    labels: dict[str, dict[str, Label]] = {name: {} for name in suites}
    salt = secrets.token_hex(16)  # ids that nobody can guess from concept, number and cell

    def blocks() -> Iterator[_Block]:
        for place, (name, quadruplets) in enumerate(plan):
            clips, known = suites[name].block(quadruplets, salt)
            labels[name] |= {clip.id: label for clip, label in zip(clips, known, strict=True)}
            yield _Block.of(place, clips)

    done, total = 0, sum(map(len, suites.values()))
    early: dict[int, list[str]] = {}  # answers to blocks that others are still missing before
    following = 0
    for place, lines in run_on_ray(address, _Opener(factory), blocks(), workers):
        early[place] = lines
        while following in early:
            with storage_errors(folder), _file(folder, plan[following][0]).open("a") as file:
                file.writelines(early.pop(following))
            following += 1
        done += len(lines)
        progress(done, total, f"clips, {plan[place][0]}")
    for name, known_ids in labels.items():  # only now: the actors have answered
        by_clip = {clip: asdict(label) for clip, label in known_ids.items()}
        write_json(folder / f"{name}.labels.json", by_clip)
    return labels


@dataclass(frozen=True)
class _Block:
    """Clips as they travel: 25 MB of drawn pictures are half a megabyte when compressed."""

    place: int
    ids: tuple[str, ...]
    shape: tuple[int, ...]
    packed: bytes
    pans: Float32[np.ndarray, "B _ 2"]

    @classmethod
    def of(cls, place: int, clips: Sequence[Clip]) -> _Block:
        """Pack some clips."""
        frames = np.stack([clip.frames for clip in clips])
        pans = np.stack([clip.pans for clip in clips])
        packed = zlib.compress(frames.tobytes(), 1)
        return cls(place, tuple(clip.id for clip in clips), frames.shape, packed, pans)

    @property
    def frames(self) -> Frames:
        """The pictures of all clips."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.shape)


_Answer = tuple[int, list[str]]


@dataclass(frozen=True)
class _Opener:
    """Makes the panel in an actor."""

    factory: PanelFactory

    def __call__(self) -> Callable[[_Block], _Answer]:
        panel = self.factory()

        def judge(block: _Block) -> _Answer:
            clips = list(zip(block.ids, block.frames, block.pans, strict=True))
            return block.place, _lines(panel, clips)

        return judge
