"""Suite worlds: those that a suite may name and ``armillary.worlds`` cannot know of.

Nothing that makes recordings may know how impossible clips are made, so the world of quadruplets is
no world of ``armillary.worlds``. It is entered here. Whoever opens a suite's world in another
process sends it a ``SuiteWorld``: reading that one back imports this module there.
"""

from __future__ import annotations

from dataclasses import dataclass

from armillary.core.protocols import World
from armillary.evaluation.manifest import Manifest
from armillary.evaluation.worlds import WorldFactory
from armillary.proof.code import QUADRUPLETS
from armillary.worlds.registry import WORLDS


def _quadruplets() -> World:
    from armillary.proof.quadruplets.world import Quadruplets

    return Quadruplets()


WORLDS[QUADRUPLETS] = _quadruplets


@dataclass(frozen=True)
class SuiteWorld(WorldFactory):
    """Makes the world of a suite's task, in any process."""

    @classmethod
    def of(cls, manifest: Manifest) -> SuiteWorld:
        """Return what makes the world of a manifest."""
        return cls(manifest.world, manifest.settings)
