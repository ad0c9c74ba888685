"""Worlds for evaluation: a factory that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from armillary.core.protocols import World

WorldSource = Callable[[], World]


@dataclass(frozen=True)
class WorldFactory:
    """Makes a registered world by name.

    Attributes:
        name: of the world.
        settings: its settings.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> World:
        """Return a new world.

        Raises:
            ConfigError: an unknown name or setting.
        """
        from armillary.worlds import make_world  # a simulator is imported when it is wanted

        return make_world(self.name, **_as_tuples(self.settings))


def _as_tuples(settings: Mapping[str, Any]) -> dict[str, Any]:
    # JSON has lists where settings have tuples.
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
    }
