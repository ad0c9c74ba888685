"""Stage: possible scenes of things that move behind screens, painted in the plane."""

from armillary.worlds.stage.painter import paint
from armillary.worlds.stage.scene import Box, Scene, Thing
from armillary.worlds.stage.world import Stage

__all__ = ["Box", "Scene", "Stage", "Thing", "paint"]
