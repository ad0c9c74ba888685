"""armillary: world models that you can train, question, use and verify.

    import armillary as arm

    data = arm.record("tabletop", "out/table", episodes=200, steps=12)
    run = arm.train("world", data, "out/run", steps=150, settling={"steps": 150})
    print(arm.probe(run, data))

Nothing is imported before it is asked for: ``import armillary`` brings no torch along.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "record": "data",
    "ingest": "data",
    "open_dataset": "data",
    "prepare": "data",
    "train": "learning",
    "load_model": "learning",
    "push_to_hub": "learning",
    "probe": "asking",
    "read_out": "asking",
    "surprise": "asking",
    "rollout": "asking",
    "act": "acting",
    "evaluate": "acting",
    "plan": "acting",
    "Planning": "acting",
    "view": "viewing",
}

__all__ = [
    "Planning",
    "__version__",
    "act",
    "evaluate",
    "ingest",
    "load_model",
    "open_dataset",
    "plan",
    "prepare",
    "probe",
    "push_to_hub",
    "read_out",
    "record",
    "rollout",
    "surprise",
    "train",
    "view",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"armillary.api.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
