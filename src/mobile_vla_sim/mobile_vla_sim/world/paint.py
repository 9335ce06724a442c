"""Colours: variation by a scene's shades, and the effect of light."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from mobile_vla_sim.world.geometry import Colour

WOOD: Colour = (0.66, 0.47, 0.28)
DARK_WOOD: Colour = (0.40, 0.26, 0.16)
WHITE: Colour = (0.95, 0.95, 0.96)
STEEL: Colour = (0.68, 0.70, 0.73)
BLACK: Colour = (0.07, 0.07, 0.08)

FLOORS: dict[str, tuple[Colour, ...]] = {
    "kitchen": ((0.95, 0.84, 0.52), (0.93, 0.76, 0.56), (0.90, 0.86, 0.66)),
    "living_room": ((0.62, 0.46, 0.30), (0.70, 0.54, 0.36), (0.55, 0.43, 0.33)),
    "bedroom": ((0.50, 0.53, 0.78), (0.60, 0.52, 0.74), (0.46, 0.56, 0.72)),
    "bathroom": ((0.58, 0.84, 0.86), (0.68, 0.86, 0.80), (0.70, 0.84, 0.94)),
}

#: Kind of furniture or object -> the colours that its main part may have.
MAIN: dict[str, tuple[Colour, ...]] = {
    "table": ((0.80, 0.62, 0.40), (0.72, 0.50, 0.28), (0.86, 0.74, 0.56)),
    "chair": ((0.88, 0.42, 0.12), (0.80, 0.30, 0.12), (0.90, 0.55, 0.15)),
    "sofa": ((0.25, 0.42, 0.36), (0.30, 0.36, 0.48), (0.42, 0.28, 0.34)),
    "bed": ((0.30, 0.33, 0.62), (0.55, 0.25, 0.40), (0.25, 0.45, 0.55)),
    "desk": ((0.42, 0.28, 0.18), (0.30, 0.22, 0.17), (0.50, 0.34, 0.24)),
    "cabinet": ((0.60, 0.20, 0.16), (0.52, 0.16, 0.22), (0.62, 0.28, 0.14)),
    "counter": ((0.33, 0.32, 0.31), (0.42, 0.40, 0.37), (0.26, 0.28, 0.30)),
    "cup": ((0.15, 0.45, 0.90), (0.10, 0.60, 0.92), (0.25, 0.35, 0.85)),
    "book": ((0.52, 0.14, 0.60), (0.60, 0.12, 0.45), (0.42, 0.20, 0.68)),
    "bottle": ((0.08, 0.52, 0.20), (0.10, 0.42, 0.16), (0.20, 0.60, 0.22)),
}


def pick(colours: Sequence[Colour], shade: float) -> Colour:
    """Return one of the colours, a little lighter or darker, as ``shade`` in 0 .. 1 says."""
    place = min(shade, 0.999999) * len(colours)
    return lighter(colours[int(place)], 0.92 + 0.16 * (place % 1.0))


def lighter(colour: Colour, factor: float) -> Colour:
    """Return the colour with its brightness multiplied by ``factor``."""
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    return colorsys.hsv_to_rgb(hue, saturation, min(1.0, value * factor))
