"""Turned, mirrored and shifted views of the same world: images, places and motions.

The eight symmetries of the square (the dihedral group) mirror right and left, mirror up and down, and swap the axes,
each or not. Each of them gives another plausible world. Of a robot that turns with it, only a mirrored world asks for
other actions: left becomes right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from mobile_vla_data.action import displacement, yaw
from mobile_vla_policy.samples.journeys import Journeys

SYMMETRIES = 8


@dataclass(frozen=True)
class View:
    """One of the eight symmetries, and a shift, for each of E episodes."""

    symmetry: torch.Tensor
    """int64 ``[E]``, 0 .. 7: bit 0 mirrors right and left, bit 1 up and down, bit 2 swaps the axes after that."""
    shift: torch.Tensor
    """float ``[E, 2]``: right and up, in units of which the image's side is 2; after the symmetry."""

    def to(self, device: torch.device) -> View:
        """Return the same on another device."""
        return View(self.symmetry.to(device), self.shift.to(device))

    def matrices(self) -> torch.Tensor:
        """Return the symmetries as float ``[E, 2, 2]``, to be multiplied from the left with (right, up)."""
        mirror = 1 - 2 * torch.stack([self.symmetry & 1, self.symmetry >> 1 & 1], dim=1).float()
        plain = torch.diag_embed(mirror)
        # Swapping rows and columns of an image sends (right, up) to (-up, -right).
        swapped = -plain.flip(1)
        return torch.where((self.symmetry >> 2).bool()[:, None, None], swapped, plain)

    @property
    def mirrored(self) -> torch.Tensor:
        """bool ``[E]``: left and right are exchanged. An even number of mirrors is a turn."""
        return self.matrices().det() < 0

    def images(self, images: torch.Tensor, episode: torch.Tensor) -> torch.Tensor:
        """Return ``images`` float ``[N, cameras, 3, S, S]`` under their episodes' symmetries, int64 ``[N]``.

        The first camera sees the world from above. The others ride on the robot: they see a mirrored world mirrored,
        and a turned one unchanged. Shifts are left to the caller.
        """
        changed, exchanged = torch.empty_like(images), self.mirrored.tolist()
        for index in range(len(self.symmetry)):
            members = episode == index
            symmetry = int(self.symmetry[index])
            first, others = images[members, 0], images[members, 1:]
            mirrored = [axis for axis, bit in ((-1, 1), (-2, 2)) if symmetry & bit]
            first = first.flip(mirrored) if mirrored else first
            changed[members, 0] = first.transpose(-1, -2) if symmetry & 4 else first
            changed[members, 1:] = others.flip(-1) if exchanged[index] else others
        return changed

    def journeys(self, journeys: Journeys, camera: torch.Tensor) -> Journeys:
        """Return the journeys in the changed world. ``camera`` as for :meth:`motions`."""
        image = self.matrices()[:, None]
        robot = (camera.T @ self.matrices() @ camera)[:, None]
        return replace(
            journeys,
            positions=_apply(robot, journeys.positions),
            motions=_apply(robot, journeys.motions),
            targets=_apply(image, journeys.targets) + self.shift[:, None],
        )

    def actions(self, actions: torch.Tensor, episode: torch.Tensor, turned_deg: int, *, turns: bool) -> torch.Tensor:
        """Return ``actions`` ``[B, ..., 3 or 4]`` of episodes int64 ``[B]`` as they are in the changed world.

        ``turned_deg`` as for :func:`camera_turn`; ``turns``: actions are along axes that turn with the robot.
        """
        changed = actions.clone()
        if turns:
            mirror_actions(changed, self.mirrored[episode])
        else:
            camera = camera_turn(turned_deg).to(actions.device)
            displacement(changed)[:] = self.motions(displacement(actions), episode, camera)
        return changed

    def motions(self, motions: torch.Tensor, episode: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        """Return ``motions`` ``[B, ..., 2]`` along the robot's axes in the changed world; ``episode`` int64 ``[B]``.

        ``camera`` ``[2, 2]`` turns the robot's axes into the image's right and up.
        """
        matrices = (camera.T @ self.matrices() @ camera)[episode]
        return _apply(matrices.view(len(motions), *[1] * (motions.ndim - 2), 2, 2), motions)


def draw_views(count: int, dihedral: bool, shift: float, side: int, generator: torch.Generator) -> View:
    """Draw ``count`` views; shifts of at most ``shift`` of the image's ``side`` [px], in whole pixels."""
    symmetry = torch.randint(SYMMETRIES if dihedral else 1, (count,), generator=generator)
    pixels = ((torch.rand(count, 2, generator=generator) * 2 - 1) * shift * side).round()
    return View(symmetry, pixels * 2 / side)


def mirror_actions(actions: torch.Tensor, mirrored: torch.Tensor) -> None:
    """Exchange left and right in ``actions`` ``[B, ..., 3 or 4]`` where ``mirrored`` bool ``[B]``; in place."""
    displacement(actions)[mirrored, ..., 1] *= -1
    turn = yaw(actions)
    if turn is not None:
        turn[mirrored] *= -1


def camera_turn(degrees: int) -> torch.Tensor:
    """Return the matrix ``[2, 2]`` that turns the robot's axes into the image's right and up."""
    cos, sin = {0: (1.0, 0.0), 90: (0.0, 1.0), 180: (-1.0, 0.0), 270: (0.0, -1.0)}[degrees]
    return torch.tensor([[cos, -sin], [sin, cos]])


def _apply(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return (matrices.to(vectors.device, vectors.dtype) @ vectors[..., None])[..., 0]
