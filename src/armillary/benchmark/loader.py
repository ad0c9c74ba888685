"""Loader bench: shuffled random clips per second, the same clips of the same recording for all.

armillary gathers from its memory map; beside it are the Lance and the HDF5 reader of
``stable-worldmodel`` (files by its own writers, read through its own dataset classes) and random
access into the video files themselves. One process, warm caches, turns, medians.

Axes: B clips of a batch, T steps of a clip, H W image.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from armillary.benchmark.clips import VideoClips, check_same_pictures, draw_clips, window_numbers
from armillary.benchmark.machine import provenance
from armillary.benchmark.peers import PeerProcess
from armillary.benchmark.recording import open_or_record
from armillary.benchmark.timing import medians, ratios, rounded, take_turns
from armillary.core.progress import Progress, silent
from armillary.data import Cache, Dataset, Windows, prepare

PEER_READERS = ("lance", "hdf5")


@dataclass(frozen=True)
class LoaderBench:
    """Settings of the loader bench.

    Attributes:
        clip_length: T, pictures of a clip.
        frame_skip: recorded steps from one picture to the next.
        batch_size: B.
        size: side of the pictures in pixels.
        batches: batches of armillary's per turn.
        peer_batches: batches of every other reader's per turn; fewer, since they take longer.
        repetitions: counted turns of each.
        episodes: of the recording that is made when none is given.
        steps: of each of its episodes.
        seed: names the order of the clips.
    """

    clip_length: int = 4
    frame_skip: int = 5
    batch_size: int = 64
    size: int = 64
    batches: int = 200
    peer_batches: int = 10
    repetitions: int = 7
    episodes: int = 40
    steps: int = 150
    seed: int = 0


def bench_loader(
    out: Path,
    data: Path | None = None,
    settings: LoaderBench = LoaderBench(),
    peers: bool = True,
    progress: Progress = silent,
    command: str = "",
) -> dict[str, Any]:
    """Measure random clips per second, side by side.

    Args:
        out: folder for the recording and its cache.
        data: a dataset with a colour camera ``rgb``; a tabletop recording is made if None.
        settings: what is read, and how often.
        peers: whether to measure ``stable-worldmodel``'s readers too.
        progress: called after each measurement.
        command: that does the same again, for the result.

    Returns:
        ``clips_per_s.{armillary,lance,hdf5,video}``, ``ratio.{lance,hdf5,video}`` (how many times
        as fast armillary is), ``command``, ``commit``, ``date``, ``machine``, settings,
        every repetition, bytes on disk, and how far each reader's pictures are from armillary's,
        in levels of 255 on average.

    Raises:
        MissingExtraError: the peer could not be installed.
        CheckFailedError: a reader returned other pictures.
    """
    origin = provenance(command, 1)
    dataset = open_or_record(data, out, settings.episodes, settings.steps, progress)
    cache = prepare(dataset, settings.size, cache_root=out / "cache")
    with tempfile.TemporaryDirectory(dir=out) as folder:
        bench = _Bench(settings, dataset, cache, Path(folder))
        if not peers:
            return _result(bench, bench.own_readers(), origin, progress)
        with PeerProcess("stable-worldmodel", "swm_loader.py", threads=1) as peer:
            readers = bench.own_readers() | bench.peer_readers(peer)
            return _result(bench, readers, origin, progress)


class _Bench:
    """The clips, and one function for each reader that reads some and returns clips/s."""

    def __init__(self, settings: LoaderBench, data: Dataset, cache: Cache, folder: Path) -> None:
        self.settings, self.cache, self.folder = settings, cache, folder
        span = settings.clip_length * settings.frame_skip
        self.clips = draw_clips(cache.lengths, span, settings.seed)
        self.windows = Windows(
            cache, None, settings.clip_length, settings.frame_skip, streams=("rgb",)
        )
        self.video = VideoClips(data, cache, settings.clip_length, settings.frame_skip)
        self.about_peer: dict[str, Any] = {}
        self.off_by = {"video": self._off_by("video", self.video.read(self.first_clips))}
        self._turn = 0

    @property
    def first_clips(self) -> Int64[np.ndarray, "B 2"]:
        """The batch whose pictures are compared between readers."""
        return self.clips[: self.settings.batch_size]

    def own_readers(self) -> dict[str, Callable[[], float]]:
        """Return what measures armillary's two ways."""
        numbers = window_numbers(self.clips, self.windows)

        def gather() -> float:
            return self._time(self.windows.gather, numbers, self.settings.batches)

        def decode() -> float:
            return self._time(self.video.read, self.clips, self.settings.peer_batches)

        return {"armillary": gather, "video": decode}

    def peer_readers(self, peer: PeerProcess) -> dict[str, Callable[[], float]]:
        """Write the recording with the peer's writers and return what measures its readers."""
        self.about_peer = peer.ask("write", **self._export())
        orders = self._order_files()
        for name in PEER_READERS:
            first = self.folder / f"{name}-first.npy"
            asked = {"reader": name, "batch": self.settings.batch_size, "first": str(first)}
            peer.ask("read", clips=str(orders[0]), **asked)
            pictures = np.load(first).transpose(0, 1, 3, 4, 2)
            self.off_by[name] = self._off_by(name, pictures)
        return {name: self._peer_reader(peer, name, orders) for name in PEER_READERS}

    def _peer_reader(self, peer: PeerProcess, name: str, orders: list[Path]) -> Callable[[], float]:
        turns = iter(orders)

        def read() -> float:
            clips, batch = str(next(turns)), self.settings.batch_size
            answer = peer.ask("read", reader=name, clips=clips, batch=batch)
            return answer["clips"] / answer["seconds"]

        return read

    def _time(self, read: Callable[[Any], Any], items: np.ndarray, batches: int) -> float:
        """Return clips/s of reading the next ``batches`` batches, going round the items."""
        size, self._turn = self.settings.batch_size, self._turn + 1
        places = (np.arange(batches * size) + self._turn * batches * size) % len(items)
        chosen = items[places]
        begin = time.perf_counter()
        for start in range(0, len(chosen), size):
            read(chosen[start : start + size])
        return len(chosen) / (time.perf_counter() - begin)

    def _order_files(self) -> list[Path]:
        """Write which clips the peer reads in each turn, other ones each time."""
        count = self.settings.peer_batches * self.settings.batch_size
        paths = []
        for turn in range(self.settings.repetitions + 1):
            paths.append(self.folder / f"clips-{turn}.npy")
            places = (np.arange(count) + turn * count) % len(self.clips)
            np.save(paths[-1], self.clips[places])
        return paths

    def _export(self) -> dict[str, Any]:
        """Write frames and actions of every episode where the peer finds them."""
        frames, actions = [], []
        for episode, rows in enumerate(self._episode_rows()):
            frames.append(str(self.folder / f"frames-{episode}.npy"))
            actions.append(str(self.folder / f"actions-{episode}.npy"))
            np.save(frames[-1], self.cache.arrays["rgb"][rows])
            moves = self.cache.actions
            blank = np.zeros((rows.stop - rows.start, 1), np.float32)
            np.save(actions[-1], blank if moves is None else moves[rows])
        return {"folder": str(self.folder), "frames": frames, "actions": actions}

    def _episode_rows(self) -> Iterator[slice]:
        starts = self.cache.starts.tolist()
        return (slice(*pair) for pair in pairwise(starts))

    def _off_by(self, name: str, pictures: UInt8[np.ndarray, "B T H W 3"]) -> float:
        ours = self.windows.gather(window_numbers(self.first_clips, self.windows)).streams["rgb"]
        return check_same_pictures(name, pictures, ours.numpy())


def _result(
    bench: _Bench,
    readers: dict[str, Callable[[], float]],
    origin: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    speeds = take_turns(readers, bench.settings.repetitions, progress)
    middle = medians(speeds)
    array = bench.cache.arrays["rgb"]
    return {
        "clips_per_s": rounded(middle),
        "ratio": rounded(ratios(middle, "armillary")),
        **origin,
        "settings": asdict(bench.settings),
        "frames": len(array),
        "bytes": {
            "armillary": int(array.nbytes),
            "video": bench.video.bytes,
            **bench.about_peer.get("bytes", {}),
        },
        "mean_level_difference": rounded(bench.off_by),
        "versions": bench.about_peer.get("versions", {}),
        "repetitions": {name: [round(v, 2) for v in values] for name, values in speeds.items()},
    }
