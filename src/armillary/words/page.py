"""Page: what each saw, what each expected next, where each failed, in pictures and sentences.

Which moments are shown is a rule, not a choice: the first two of the judged ones in which the
object moves by 3 cm within eight steps, and then the moments at which the world model and the
language model are most wrong about the object. Episodes that were shown to who wrote a simulator
are left out of the first.

Axes: W judged moments, L horizons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from armillary.data import Dataset
from armillary.report.html import fill, write_html
from armillary.report.images import png_uri
from armillary.words.language import FORMS, PLACE_FROM_M, to_millimetres, to_text
from armillary.words.predicting import errors_cm
from armillary.words.scenes import Scene
from armillary.words.settings import HISTORY

_AHEAD = 8
_MOVED_M = 0.03
_SHOWN = 2
_SCALE = 100.0 / 0.5  # percent of the map for a metre of the table
_KNOWN = {
    "W": ("World model", "pictures", "W"),
    "T-probe": ("Language model", "words read from the pictures", "T"),
    "T-noise": ("Language model, noisy truth", "true places with errors of reading", "N"),
    "T-true": ("Language model, truth", "the simulator's true places", "S"),
}
_FLOORS = {
    "copy_last (probe)": ("Copy of the last state", "places read from the pictures"),
    "linear (probe)": ("Linear rule (ridge)", "places read from the pictures"),
    "nearest_neighbour (probe)": ("Nearest neighbour", "places read from the pictures"),
    "nearest_neighbour (truth)": ("Nearest neighbour, truth", "the simulator's true places"),
    "linear (truth)": ("Linear rule (ridge), truth", "the simulator's true places"),
}


@dataclass(frozen=True)
class _Moments:
    """What is known of the judged moments."""

    truth: Float[np.ndarray, "W L 4"]
    now: Float[np.ndarray, "W 4"]
    read: Float[np.ndarray, "W 4"]
    predicted: Mapping[str, Float[np.ndarray, "W L 4"]]
    horizons: Sequence[int]
    episode: Sequence[int]
    step: Sequence[int]
    y_up: bool
    shown: Sequence[int]

    @classmethod
    def of(cls, expected: Mapping[str, Any], y_up: bool, shown: Sequence[int]) -> _Moments:
        predicted = {
            name: np.array(states, np.float64) for name, states in expected["predicted"].items()
        }
        present = expected["present"]
        return cls(
            np.array(expected["truth"]), np.array(present["truth"]), np.array(present["probe"]),
            predicted, expected["horizons"], expected["episode"], expected["now"], y_up, shown,
        )  # fmt: skip

    @property
    def at(self) -> int:
        """Place of the horizon that is shown."""
        near = [horizon for horizon in self.horizons if horizon <= _AHEAD]
        return len(near) - 1

    def chosen(self) -> list[tuple[str, int]]:
        """Return why a moment is shown, and which."""
        way = np.linalg.norm(self.truth[:, self.at, 2:] - self.now[:, 2:], axis=-1)
        pushed = (way >= _MOVED_M) & ~np.isin(self.episode, self.shown)
        found = [("One of the first pushes", int(row)) for row in np.flatnonzero(pushed)[:_SHOWN]]
        for name, said in (("W", "world model"), ("T-probe", "language model")):
            if name in self.predicted:
                wrong = errors_cm(self.predicted[name], self.truth)[:, self.at, 1]
                found.append((f"Where the {said} is most wrong", int(wrong.argmax())))
        return found


def write_page(
    result: Mapping[str, Any],
    expected: Mapping[str, Any],
    judged: Dataset,
    scene: Scene,
    out: Path,
) -> Path:
    """Write the page of a study, and return its file.

    Args:
        result: of the study.
        expected: what its first seed predicts of every judged moment.
        judged: recording of these moments.
        scene: its world.
        out: the file.

    Raises:
        StorageError: not writable.
    """
    codes = [one.get("code") or {} for one in result["asked"].values()]
    shown = [episode for code in codes for episode in code.get("examples", [])]
    moments = _Moments.of(expected, scene.y_up, shown)
    text = fill(
        "words.html",
        verdict=_verdict(result["primary"]),
        examples=[_example(moments, judged, *chosen) for chosen in moments.chosen()],
        rows=_rows(result),
        asked=[answer_sentences(one) for one in result["asked"].values()],
        unparsed=_unparsed(result["unparsable"]),
        seeds=result["n"]["seeds"],
        episodes=result["n"]["episodes"],
        ahead=moments.horizons[moments.at],
        result=result,
    )
    return write_html(text, out)


def _verdict(primary: Mapping[str, Any]) -> str:
    if "difference" not in primary:
        return f"The verdict is {primary['verdict']}."
    low, high = primary["interval"]
    less = "less" if primary["difference"] < 0 else "more"
    return (
        f"The world model is wrong by {abs(primary['difference']):.2f} cm {less} than the language "
        f"model that reads what it sees, {primary['horizon']} steps ahead (95 % interval of the "
        f"difference {low:.2f} to {high:.2f}; margin {primary['margin_cm']} cm). "
        f"Verdict: {primary['verdict']}."
    )


def _example(moments: _Moments, judged: Dataset, why: str, row: int) -> dict[str, Any]:
    episode, now, at = moments.episode[row], moments.step[row], moments.at
    ahead = moments.horizons[at]
    frames = judged.read(episode).streams[next(iter(judged.cameras))].values
    said, letters = [], iter("CDEFGHIJKL")
    for name, states in moments.predicted.items():
        state = states[row, at]
        wrong = errors_cm(state[None, None], moments.truth[row, at][None, None])[0, 0]
        read = np.isfinite(state).all()
        said.append(
            {
                "name": _KNOWN[name][0] if name in _KNOWN else _who_wrote(name),
                "letter": _KNOWN[name][2] if name in _KNOWN else next(letters, "Z"),
                "text": _sentence(state) if read else "(cannot be read)",
                "pusher": f"{wrong[0]:.1f}",
                "object": f"{wrong[1]:.1f}",
                "places": _places(state, moments.y_up) if read else None,
            }
        )
    return {
        "why": why,
        "episode": episode,
        "step": now,
        "pictures": [
            {"uri": png_uri(frames[step]), "said": said_of}
            for step, said_of in (
                (now - HISTORY + 1, f"{HISTORY - 1} steps before"),
                (now, "now"),
                (now + ahead, f"{ahead} steps later: observed"),
            )
        ],
        "tokens": to_text(FORMS["digits"].write_states(moments.read[row])),
        "observed": _sentence(moments.truth[row, at]),
        "now": _sentence(moments.now[row]),
        "read": _sentence(moments.read[row]),
        "start": _places(moments.now[row], moments.y_up),
        "target": _places(moments.truth[row, at], moments.y_up),
        "said": said,
    }


def _sentence(state: np.ndarray) -> str:
    """Return a state as people read it, millimetres."""
    px, py, ox, oy = np.rint(to_millimetres(state)).astype(int).tolist()
    return f"The pusher is at {px}, {py}. The object is at {ox}, {oy}."


def _who_wrote(name: str) -> str:
    """Return what a written simulator is called: ``code NAME (source)``."""
    return f"Code of {name.removeprefix('code ').rsplit(' (', 1)[0]}"


def _places(state: np.ndarray, y_up: bool) -> list[tuple[float, float]]:
    """Return pusher and object on a map of 100 by 100, as the picture has them."""
    x, y = ((state[axis::2] - PLACE_FROM_M) * _SCALE for axis in (0, 1))
    y = 100 - y if y_up else y
    return [(round(float(a), 1), round(float(b), 1)) for a, b in zip(x, y, strict=True)]


def _rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    known = {name: about[:2] for name, about in _KNOWN.items()}
    for name in result["W_minus_written"]:
        reads = _FLOORS["linear (probe)" if name.endswith("(probe)") else "linear (truth)"][1]
        known[name] = (_who_wrote(name), reads)
    known |= _FLOORS
    rows = []
    for name, (said, reads) in known.items():
        errors = result["state_error_cm"].get(name)
        if errors is None:
            continue
        pairs = result["pairs"]["accuracy"].get(name, {}).get("held_and_moved")
        goals = result["goals"].get(name)
        rows.append(
            {
                "name": said,
                "reads": reads,
                "errors": {ahead: f"{row['mean']:.1f}" for ahead, row in errors.items()},
                "pairs": f"{100 * pairs['mean']:.0f} %" if pairs else "",
                "goals": f"{goals['reached']} of {goals['n']}" if goals else "",
            }
        )
    return rows


def answer_sentences(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a language model answered, in sentences.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: it is no result of asking.
    """
    said = []
    if "pairs" in one and "held_and_moved" in one["pairs"]["accuracy"]:
        row = one["pairs"]["accuracy"]["held_and_moved"]
        said.append(
            f"Which of two steps is possible? {100 * row['rate']:.0f} % of {row['n']} are right; "
            "a coin has 50 %."
        )
    for ahead, row in one.get("next", {}).items():
        said.append(
            f"Where is everything, {ahead} step{'s' * (ahead != '1')} later? It is wrong by "
            f"{row['mean']:.1f} cm. A copy of the last state has {row['copy_last']:.1f} cm. "
            f"{row['unparsable']} of {row['n']} answers could not be read."
        )
    if "goals" in one:
        goals = one["goals"]
        said.append(
            f"Which of nine moves leads to the goal? It reaches {goals['model']['reached']} of "
            f"{goals['model']['n']}; moves at random reach {goals['random']['reached']}, the best "
            f"ones {goals['best']['reached']}."
        )
    code = one.get("code")
    if code and code["refused"]:
        said.append(f"Asked to write the simulator, it wrote none that runs: {code['refused']}")
    elif code:
        errors = ", ".join(
            f"{row['mean']:.1f} cm after {ahead}" for ahead, row in code["state_error_cm"].items()
        )
        said.append(
            f"The simulator that it wrote is wrong by {errors} steps, and reaches "
            f"{code['goals']['reached']} of {code['goals']['n']} goals, from true places."
        )
    return {"model": str(one["model"]), "said": said, "code": str(code["text"]) if code else ""}


def _unparsed(rows: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {row['unparsable']:,} of {row['states']:,} states could not be read"
        + (f", for example: {row['examples'][0]['written']}" if row["examples"] else "")
        for name, row in rows.items()
    ]
