"""Chosen ridge: of several inputs and two forms, the one that serves best on held-out groups.

A target can be read directly, or as the present plus a change. With few episodes the change is
read far better, for a ridge that knows nothing then says "it stays"; over long horizons the direct
form is better. Which one is used is chosen on a part of the training episodes, by the same rule
for baselines and models, so that neither is held back by its form.

Axes: W windows, X features, Y numbers of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from armillary.understanding.ridge import PENALTIES, Ridge, fit_with, held_out_errors

Form = Literal["direct", "change"]


@dataclass(frozen=True)
class ChosenRidge:
    """A fitted ridge and how it is to be used.

    Attributes:
        inputs: name of the inputs that it takes.
        form: whether it reads the target or its difference from the present.
        ridge: the fit.
    """

    inputs: str
    form: Form
    ridge: Ridge

    def predict(
        self, inputs: Mapping[str, np.ndarray], present: Float[np.ndarray, "W Y"]
    ) -> Float[np.ndarray, "W Y"]:
        """Return the target that is read.

        Args:
            inputs: by name, of which one is used [W X].
            present: the target's value now.
        """
        read = self.ridge.predict(inputs[self.inputs])
        return read if self.form == "direct" else present + read


def choose_ridge(
    inputs: Mapping[str, tuple[Form, ...]],
    values: Mapping[str, np.ndarray],
    present: Float[np.ndarray, "W Y"],
    target: Float[np.ndarray, "W Y"],
    held_out: Bool[np.ndarray, "*K W"],
) -> ChosenRidge:
    """Fit all forms of all inputs and return the one with the least error on held-out groups.

    Args:
        inputs: by name, the forms to try.
        values: by the same names [W X].
        present: the target's value now.
        target: what is to be read.
        held_out: windows of whole groups on which penalty and form are chosen; with a row for each
            of K folds, by cross-validation.
    """
    tried = []
    for name, forms in inputs.items():
        # one decomposition serves all forms of an input
        wanted = np.concatenate([_wanted(form, present, target) for form in forms], axis=1)
        errors = held_out_errors(values[name], wanted, held_out)
        by_form = errors.reshape(len(errors), len(forms), -1).mean(axis=2)
        for form, found in zip(forms, by_form.T, strict=True):
            best = int(np.argmin(found))
            tried.append((float(found[best]), name, form, PENALTIES[best]))
    error, name, form, penalty = min(tried, key=lambda one: one[0])
    ridge = fit_with(values[name], _wanted(form, present, target), penalty, error)
    return ChosenRidge(name, form, ridge)


def _wanted(form: Form, present: np.ndarray, target: np.ndarray) -> np.ndarray:
    return target if form == "direct" else target - present
