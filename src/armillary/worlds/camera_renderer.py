"""The fixed cameras of MuJoCo models: smooth colour, exact depth, and labels.

MuJoCo's own ``Renderer`` makes an OpenGL context per model; this one is kept for any number of
models that have no meshes and equal numbers and sizes of textures, and gets depth and labels from
one drawing.

Axes: H W image.
"""

# The stub of ``weakref.finalize`` lacks ``atexit``, which is set below.
# pyrefly: ignore-errors[missing-attribute]

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from armillary.core.errors import MissingExtraError
from armillary.worlds.gl import import_mujoco

_MAX_GEOMS = 200


class CameraRenderer:
    """Draws what cameras of MuJoCo models see, off screen.

    Args:
        model: any model of the family; its ``visual/map`` and ``statistic`` fix the depth range.
        height: H in pixels.
        width: W in pixels.
        shadows: whether shadows are drawn (10-20 times slower without a GPU).

    Raises:
        MissingExtraError: no off-screen OpenGL context could be made.
    """

    def __init__(self, model: Any, height: int, width: int, shadows: bool = False) -> None:
        mujoco = import_mujoco()
        self._mujoco = mujoco
        self._gl = _open_context(mujoco, height, width)
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        # A renderer that is dropped unclosed frees its textures as a closed one does. The garbage
        # collector alone would free those numbers in whichever context happens to be current.
        self._release = weakref.finalize(self, _release, self._gl, self._context)
        self._release.atexit = False
        self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        flag = mujoco.mjtRndFlag
        self._numbered = (flag.mjRND_SEGMENT, flag.mjRND_IDCOLOR)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = 0
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._shape = (height, width)
        self._near_m = float(np.float32(model.vis.map.znear * model.stat.extent))
        self._far_m = float(np.float32(model.vis.map.zfar * model.stat.extent))

    def adopt(self, model: Any) -> None:
        """Take over the textures of another model of the family."""
        self._gl.make_current()
        for texture in range(model.ntex):
            self._mujoco.mjr_uploadTexture(model, self._context, texture)

    def update(self, model: Any, data: Any, camera: int = 0) -> None:
        """Take over where everything is; what follows shows this moment from this camera."""
        self._gl.make_current()
        self._camera.fixedcamid = camera
        self._mujoco.mjv_updateScene(
            model,
            data,
            self._option,
            None,
            self._camera,
            self._mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )

    def rgb(self) -> UInt8[np.ndarray, "H W 3"]:
        """Return the colour picture."""
        rgb = np.empty((*self._shape, 3), np.uint8)
        self._gl.make_current()
        self._mujoco.mjr_render(self._rect, self._scene, self._context)
        self._mujoco.mjr_readPixels(rgb, None, self._rect, self._context)
        return np.ascontiguousarray(rgb[::-1])

    def depth_and_labels(
        self, num_geoms: int
    ) -> tuple[Float32[np.ndarray, "H W"], UInt8[np.ndarray, "H W"]]:
        """Return depth and what is seen, both exactly at pixel centres.

        Drawn with numbers for colours, for which MuJoCo switches multisampling off: a depth
        resolved from several samples would be off by up to half a pixel.

        Returns:
            Camera z in metres, NaN where nothing was hit; and the number of the geom plus one, 0
            where there is none.
        """
        ids = np.empty((*self._shape, 3), np.uint8)
        buffer = np.empty(self._shape, np.float32)
        for flag in self._numbered:
            self._scene.flags[flag] = True
        self._gl.make_current()
        self._mujoco.mjr_render(self._rect, self._scene, self._context)
        self._mujoco.mjr_readPixels(ids, buffer, self._rect, self._context)
        for flag in self._numbered:
            self._scene.flags[flag] = False
        numbers = ids[::-1].astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)
        return self._metres(buffer[::-1]), self._geom_numbers(num_geoms)[numbers]

    def close(self) -> None:
        """Give the OpenGL context back; a second call does nothing."""
        self._release()

    def _geom_numbers(self, num_geoms: int) -> UInt8[np.ndarray, " N"]:
        numbers = np.zeros(num_geoms + 2, np.uint8)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            if geom.segid >= 0:
                numbers[geom.segid + 1] = geom.objid + 1
        return numbers

    def _metres(self, buffer: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
        """Undo OpenGL's reversed depth: near / far at 1 / 0. float64 keeps it below 1e-5 m."""
        near, far = self._near_m, self._far_m
        depth = near * far / (near + buffer.astype(np.float64) * (far - near))
        depth[buffer <= 0.0] = np.nan
        return depth.astype(np.float32)


def _release(gl: Any, context: Any) -> None:
    """Free what a renderer holds in OpenGL, in its own context."""
    gl.make_current()
    context.free()
    gl.free()


def _open_context(mujoco: Any, height: int, width: int) -> Any:
    try:
        context = mujoco.GLContext(width, height)
        context.make_current()
    except Exception as error:  # PyOpenGL raises whatever the driver said
        raise MissingExtraError(
            f"No off-screen OpenGL context could be made ({error}); install one with "
            "'apt install libegl1 libegl-mesa0 libgl1-mesa-dri' or set MUJOCO_GL=osmesa."
        ) from error
    return context
