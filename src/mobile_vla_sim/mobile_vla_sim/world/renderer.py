"""Renders cameras of one model after another with a single graphics context."""

from __future__ import annotations

import mujoco
import numpy as np

from mobile_vla_data.image import Image


class Renderer:
    """Offscreen renderer. Belongs to the thread that made it.

    A graphics context takes longer to make than a model to compile. Models without meshes and textures leave nothing
    in it, so one context serves them all; ``mujoco.Renderer`` would make a new one for every model.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, *, shadows: bool) -> None:
        """``width`` and ``height`` are the largest image [px]."""
        self._gl = mujoco.GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._shadows = shadows
        self._options, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self.use(model)

    def use(self, model: mujoco.MjModel) -> None:
        """Render this model from now on."""
        self._model = model
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 50)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = int(self._shadows)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = int(self._shadows)

    def render(self, data: mujoco.MjData, camera: str, width: int, height: int) -> Image:
        """Return what a camera sees: RGB uint8 ``[height, width, 3]``."""
        self._camera.fixedcamid = self._model.camera(camera).id
        mujoco.mjv_updateScene(
            self._model, data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        view = mujoco.MjrRect(0, 0, width, height)
        pixels = np.empty((height, width, 3), dtype=np.uint8)
        mujoco.mjr_render(view, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, None, view, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Release the graphics context."""
        self._context.free()
        self._gl.free()
