"""OpenGL without a screen: the one place where MuJoCo's rendering backend is chosen."""

from __future__ import annotations

import ctypes.util
import os
import sys
from types import ModuleType

from armillary.core.errors import MissingExtraError

_SENTENCE = (
    "Rendering needs EGL or OSMesa and neither could be loaded{why}; install one with "
    "'apt install libegl1 libegl-mesa0 libgl1-mesa-dri' (or libosmesa6)."
)


def import_mujoco() -> ModuleType:
    """Import MuJoCo with a backend that renders off screen: EGL, else OSMesa.

    A value of ``MUJOCO_GL`` that is set already is left alone.

    Raises:
        MissingExtraError: no off-screen OpenGL library is installed; names the packages.
    """
    if "MUJOCO_GL" not in os.environ and sys.platform == "linux":
        os.environ["MUJOCO_GL"] = _backend()
    try:
        import mujoco
    except (ImportError, AttributeError, OSError) as error:
        # PyOpenGL reports a missing library as an AttributeError on None.
        raise MissingExtraError(_SENTENCE.format(why=f" ({error})")) from error
    return mujoco


def describe_driver() -> str:
    """Return what draws pictures here: renderer and version, as OpenGL tells them.

    Another driver may draw the last bit otherwise; empty where nothing can be drawn.
    """
    try:
        mujoco = import_mujoco()
        context = mujoco.GLContext(16, 16)
    except (MissingExtraError, RuntimeError):
        return ""
    try:
        context.make_current()
        from OpenGL import GL

        said = [GL.glGetString(name) for name in (GL.GL_RENDERER, GL.GL_VERSION)]
    finally:
        context.free()
    return " | ".join(part.decode(errors="replace") for part in said if part)[:200]


def _backend() -> str:
    for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            return name
    raise MissingExtraError(_SENTENCE.format(why=""))
