r"""Put events into real videos at known times, and count which of them ``surprise`` finds.

    python scripts/planted_events.py out/planted --result results/unusual.json

Three recordings: two flies, a mouse and pedestrians (Debian's ``opencv-doc``). The first half is
normal: the recipe ``world`` is trained on it, and thresholds come from it. In the second half ten
events begin at known times, each in a tenth of it: jump cuts, mirrored stretches, frozen stretches
and pasted rectangles. This is done five times for each recording, with other events. Everything
goes through video files, as a user would do it.

An event is found if one begins or lasts between 0.2 s before it begins and 0.5 s after it ends. A
false alarm is an event that touches none of them, 0.3 s before to 0.8 s after; the second half
without events is judged, too. Beside it stand the model's surprise and the mean change of the
pictures. They get the threshold that gives them one false alarm a minute in the very half that is
judged, without events, which is more than a user could know.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from armillary.benchmark.machine import provenance
from armillary.core.errors import ArmillaryError
from armillary.core.files import write_json
from armillary.core.statistics import wilson_interval
from armillary.data import IngestOptions, ingest
from armillary.recipes.recipe import train_recipe
from armillary.recipes.world import world
from armillary.services.asking import SurpriseOfClip, surprise_clip

VTEST = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
KINDS = ("cut", "mirror", "freeze", "paste")
_EVENTS, _FPS = 10, 10
_LASTS_S, _JUMP_S = 1.5, (5.0, 10.0)
_EARLY_S, _LATE_S = 0.2, 0.5
_AROUND_S = (0.3, 0.8)


@dataclass(frozen=True)
class Planted:
    """An event that was put in, in seconds of the clip."""

    kind: str
    begin_s: float
    end_s: float


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=["flies", "mouse", "vtest"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, default=200, help="of the first set of events")
    parser.add_argument("--sets", type=int, default=5, help="sets of ten events for a recording")
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    videos = {
        "flies": given.data / "flies_120s.mp4",
        "mouse": given.data / "mouse_open_field.mp4",
        "vtest": VTEST,
    }
    try:
        rows = {name: study(videos[name], given.out / name, given) for name in given.only}
    except ArmillaryError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.result:
        command = "python " + shlex.join(sys.argv)
        write_json(given.result, {"recordings": rows, **provenance(command, 1)})
    return 0


def study(video: Path, out: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Return what was found in one recording."""
    out.mkdir(parents=True, exist_ok=True)
    pictures, fps = read(video)
    half = len(pictures) // 2
    write(out / "normal.mp4", pictures[:half], fps)
    if not (out / "normal").is_dir():
        ingest(out / "normal.mp4", out / "normal", options=IngestOptions(fps=_FPS))
    if not (out / "run" / "model").is_dir():
        resume = (out / "run" / "run.json").is_file()
        train_recipe(world(), out / "normal", out / "run", resume, diagnosed=False)
    calm = asked(out, "unplanted", pictures[half:], fps)
    minutes = (len(pictures) - half) / fps / 60
    limits = {
        name: one_alarm_a_minute(np.array(getattr(calm, name)), minutes)
        for name in ("surprise", "pixel_difference")
    }
    found: dict[str, list[tuple[str, bool]]] = {
        "events": [],
        "surprise": [],
        "pixel_difference": [],
    }
    alarms, quiet_s = len(calm.events or ()), minutes * 60
    for number in range(given.sets):
        rng = np.random.default_rng([given.seed, number])
        clip, planted = plant(pictures[half:], fps, rng)
        seen = asked(out, f"planted_{number}", clip, fps)
        spans = [(event.begin_s, event.end_s) for event in seen.events or ()]
        found["events"] += [(one.kind, hit(one, spans)) for one in planted]
        for name, limit in limits.items():
            over = np.array(seen.time_s)[np.array(getattr(seen, name)) > limit]
            found[name] += [(one.kind, hit(one, [(at, at) for at in over])) for one in planted]
        alarms += sum(not touches(span, planted) for span in spans)
        around = sum(one.end_s - one.begin_s + sum(_AROUND_S) for one in planted)
        quiet_s += minutes * 60 - around
    row: dict[str, Any] = {
        "minutes_normal": round(half / fps / 60, 2),
        "false_alarms": alarms,
        "minutes_without_events": round(quiet_s / 60, 2),
        "false_alarms_per_minute": round(alarms / quiet_s * 60, 2),
        "expected_from_normal": calm.false_alarms_per_minute,
        **{name: rates(pairs) for name, pairs in found.items()},
    }
    sys.stdout.write(f"{video.name}: {row}\n")
    sys.stdout.flush()
    return row


def asked(out: Path, name: str, pictures: np.ndarray, fps: float) -> SurpriseOfClip:
    """Write a clip as a video file, and ask about it."""
    write(out / f"{name}.mp4", pictures, fps)
    return surprise_clip(out / "run", out / f"{name}.mp4", out / name, out / "normal")


def plant(
    pictures: np.ndarray, fps: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[Planted]]:
    """Return pictures with ten events in them, one in each tenth."""
    count, slot = len(pictures), len(pictures) / _EVENTS
    kinds = rng.permutation((KINDS * 3)[:_EVENTS])
    source, planted = np.arange(count), []
    for number, kind in enumerate(kinds.tolist()):
        begin = int((number + 0.3) * slot)
        end = min(begin + int(_LASTS_S * fps), int((number + 0.8) * slot))
        if kind == "cut":  # the recording goes on elsewhere, to the end of its tenth
            jump = int(rng.uniform(*_JUMP_S) * fps)
            end = int((number + 1) * slot)
            ahead = jump if end + jump < count else -jump
            source[begin:end] += ahead
        elif kind == "freeze":
            source[begin:end] = begin
        planted.append(Planted(kind, begin / fps, end / fps))
    clip = pictures[source.clip(0, count - 1)]
    height, width = clip.shape[1:3]
    for one in planted:
        part = slice(round(one.begin_s * fps), round(one.end_s * fps))
        if one.kind == "mirror":
            clip[part] = clip[part, :, ::-1]
        elif one.kind == "paste":
            high, wide = (int(rng.uniform(0.1, 0.19) * side) for side in (height, width))
            top, left = int(rng.integers(height - high)), int(rng.integers(width - wide))
            clip[part, top : top + high, left : left + wide] = rng.integers(0, 256, 3)
    return clip, planted


def hit(one: Planted, spans: Sequence[tuple[float, float]]) -> bool:
    """Return whether any span lies at an event; a cut counts where it begins."""
    end_s = one.begin_s if one.kind == "cut" else one.end_s
    return any(last >= one.begin_s - _EARLY_S and first <= end_s + _LATE_S for first, last in spans)


def touches(span: tuple[float, float], planted: Sequence[Planted]) -> bool:
    """Return whether a span lies at any event or its end."""
    before, after = _AROUND_S
    return any(span[1] >= one.begin_s - before and span[0] <= one.end_s + after for one in planted)


def one_alarm_a_minute(values: np.ndarray, minutes: float) -> float:
    """Return the threshold above which so many separate seconds of a series lie."""
    left, allowed = values.copy(), max(1, round(minutes))
    for _ in range(allowed):
        peak = int(left.argmax())
        left[max(0, peak - _FPS) : peak + _FPS + 1] = -np.inf
    return float(left.max())


def rates(pairs: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """Return how many were found, in all and by kind."""
    hits, n = sum(found for _, found in pairs), len(pairs)
    kinds = {kind: [found for one, found in pairs if one == kind] for kind in KINDS}
    return {
        "found": hits,
        "n": n,
        "wilson95": list(wilson_interval(float(hits), n)),
        "kinds": {kind: [sum(found), len(found)] for kind, found in kinds.items()},
    }


def read(video: Path) -> tuple[np.ndarray, float]:
    """Return all pictures of a video, at most 320 pixels wide, and their rate."""
    reader, found = cv2.VideoCapture(str(video)), []
    fps = reader.get(cv2.CAP_PROP_FPS)
    while True:
        there, picture = reader.read()
        if not there:
            break
        scale = min(1.0, 320 / picture.shape[1])
        size = (round(picture.shape[1] * scale) // 2 * 2, round(picture.shape[0] * scale) // 2 * 2)
        found.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return np.stack(found), fps


def write(path: Path, pictures: np.ndarray, fps: float) -> None:
    """Write a video file, unless it is there."""
    if path.is_file():
        return
    height, width = pictures.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()


if __name__ == "__main__":
    sys.exit(main())
