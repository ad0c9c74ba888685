"""Subsets: the same model with some of its sensors, as a model of its own.

A model that was trained with sensors left out by chance runs on those that a robot has. Since a
sensor that is not there is a missing summand or a missing token, the smaller model is the larger
one without the other tokenizers: its latents are those of the larger one without their streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from armillary.core.errors import ConfigError
from armillary.models.jepa import JEPA, untrained


def narrowed(model: JEPA, sensors: Sequence[str]) -> JEPA:
    """Return a model that sees only some of the sensors, with the same weights.

    Args:
        model: the model.
        sensors: names, of those that it sees.

    Raises:
        ConfigError: none is named, or one that the model does not see.
    """
    seen = model.config.sensors
    if strange := [name for name in sensors if name not in seen]:
        raise ConfigError(
            f"The model sees {', '.join(seen)}; {strange[0]!r} cannot be chosen of them."
        )
    chosen = tuple(name for name in seen if name in sensors)
    config = replace(
        model.config,
        sensors=chosen,
        optional_sensors=tuple(name for name in model.config.optional_sensors if name in chosen),
        proprio_width=model.config.proprio_width if "proprio" in chosen else 0,
        azimuths_rad=model.config.azimuths_rad if "scan" in chosen else (),
        elevations_rad=model.config.elevations_rad if "scan" in chosen else (),
    )
    small = untrained(config, 0)
    state = model.state_dict()
    if "proprio" not in chosen:  # its scales are then of width 0
        own = small.state_dict()
        state |= {name: own[name] for name in ("normalizer.proprio_mean", "normalizer.proprio_std")}
    small.load_state_dict({name: state[name] for name in small.state_dict()})
    return small.train(model.training)
