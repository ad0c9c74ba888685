"""Known judges: what they score is known before, so that a scorer that says otherwise is wrong.

They are made from the labels, where the scorer is, and go through the same scoring as all others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from armillary.core.rng import generator
from armillary.understanding.suites.quadruplets.suite import Label

_STEPS = 31


def known_judges(labels: Mapping[str, Label]) -> dict[str, dict[str, np.ndarray]]:
    """Return surprise by judge and clip: an oracle, its inverse, and one with permuted labels.

    The oracle knows from the simulator what is possible, and is surprised at the event. Labels are
    permuted quadruplet by quadruplet: in half of them possible and impossible change places.

    Args:
        labels: of all clips, by id.
    """
    judges: dict[str, dict[str, np.ndarray]] = {}
    for name, label in labels.items():
        flip = generator("permuted labels", label.index, len(label.concept)).integers(2) > 0
        for judge, surprised in (
            ("oracle", not label.possible),
            ("inverted_oracle", label.possible),
            ("permuted_labels", label.possible == flip),
        ):
            said = np.zeros(_STEPS, np.float32)
            said[label.event - 1] = surprised
            judges.setdefault(judge, {})[name] = said
    return judges
