r"""How much of the world model's error in ``compare words`` is the penalty of its read-out.

    python scripts/words_reader.py out/words_push_t --scene push_t --episodes 300 --steps 100

The registered ridge chooses its penalty on latents of pictures that were seen. Here it is chosen on
predicted latents, of held-out episodes of the recording to learn from. Both are then judged. This
was made after the registered results were known, so it explains and decides nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from armillary.words import WordsConfig
from armillary.words.language import kept_on_table
from armillary.words.pictures import Reader, fit_reader, see_episodes
from armillary.words.predicting import errors_cm, moments_of, see_moments
from armillary.words.study import seeds_of

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
DEVELOPMENT = 1  # names the moments of held-out episodes


def main() -> int:
    """Print the errors of W by penalty, and which one held-out predictions choose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of a study")
    parser.add_argument("--scene", default="tabletop")
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--variants", nargs="*", default=["T-probe", "T-true", "T-noise"])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = WordsConfig(
        scene=given.scene, seeds=(given.seed,), episodes=given.episodes, steps=given.steps,
        variants=tuple(given.variants),
    )  # fmt: skip
    (one,) = seeds_of(given.out, config)
    seen, (cache, recorded) = one.seen, one.recorded_side
    model, (training, held) = seen.reader.model, one.split
    held_latents, held_truth = see_episodes(model, cache, held), recorded.of(held)
    shape = held_truth.states.shape
    moments = moments_of((shape[0], shape[1]), config.horizons, DEVELOPMENT)

    def errors(reader: Reader, judged: bool) -> np.ndarray:
        latents = seen.judged.latents if judged else held_latents
        truth, which = (seen.judged.truth, one.moments) if judged else (held_truth, moments)
        before, plans = see_moments(latents, which), which.plans(truth)[:, None]
        states = kept_on_table(reader.ahead(before, which.taken(truth), plans)[:, 0])
        found = errors_cm(states, which.later(truth)).mean(axis=(0, 2))
        return found[[ahead - 1 for ahead in config.horizons]]

    latents, learned = seen.training.latents, recorded.of(training)
    rows = {}
    for penalty in PENALTIES:
        reader = fit_reader(
            model, latents, learned, given.seed, config.scene_spec.action_scale, (penalty,)
        )
        rows[penalty] = errors(reader, False), errors(reader, True)
        sys.stdout.write(f"penalty {penalty:g}: held out {_said(rows[penalty][0])}, ")
        sys.stdout.write(f"judged {_said(rows[penalty][1])}\n")
    best = min(rows, key=lambda penalty: float(rows[penalty][0].sum()))
    sys.stdout.write(f"registered ridge: judged {_said(errors(seen.reader, True))} cm\n")
    sys.stdout.write(f"chosen by predictions, {best:g}: judged {_said(rows[best][1])} cm\n")
    return 0


def _said(values: np.ndarray) -> str:
    return " ".join(f"{value:.2f}" for value in values)


if __name__ == "__main__":
    raise SystemExit(main())
