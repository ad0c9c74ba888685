"""Eye: other sensors of a simulator, which look at moments of the one that is driven.

What is driven renders colour alone, and as fast as before. Depth or a LiDAR is rendered where a
page shows it, by a second simulator that is put at the moment in question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from armillary.core.protocols import World
from armillary.core.values import Observation, WorldSpec


@runtime_checkable
class SavesMoments(Protocol):
    """A world that can be put at a moment of another one with the same settings but sensors."""

    def save_state(self) -> Any:
        """Return the present moment."""
        ...

    def load_state(self, state: Any) -> Observation:
        """Go to a moment, and return what the sensors give there."""
        ...


class Eye:
    """Other sensors of a world. The world is made when something is first looked at.

    Args:
        make: a world with these sensors, and else the settings of the one that is driven.
        spec: of that world.
    """

    def __init__(self, make: Callable[[], World], spec: WorldSpec) -> None:
        self._make, self.spec = make, spec
        self._world: World | None = None

    def at(self, moment: Any) -> Observation:
        """Return what the sensors give at a moment of the world that is driven.

        Raises:
            WorldError: the world raised.
        """
        if self._world is None:
            self._world = self._make()
        assert isinstance(self._world, SavesMoments), "eyes are made of worlds that save moments"
        return self._world.load_state(moment)

    def close(self) -> None:
        """Close the world, where one was made; a second call does nothing."""
        if self._world is not None:
            self._world.close()
            self._world = None
