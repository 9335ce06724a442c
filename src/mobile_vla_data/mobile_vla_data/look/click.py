"""Lets a person click a place in an episode's image."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look.view import ViewError

_HEADLESS = "give the place with --at COLUMN,ROW"


def click_target(episode: Episode) -> tuple[int, int] | None:
    """Show the first step's image of the first camera, and return the column and row that are clicked [px].

    None when the window is closed without a click.

    Raises:
        ViewError: no window can be opened here.
    """
    try:
        pyplot: Any = import_module("matplotlib.pyplot")
    except ImportError:
        raise ViewError(f"matplotlib is not installed; 'pip install matplotlib', or {_HEADLESS}") from None
    # Asking for the figure makes matplotlib choose a backend; without a display it takes one that only draws files.
    figure, axes = pyplot.subplots()
    if figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        raise ViewError(f"no window can be opened here; {_HEADLESS}")
    axes.imshow(episode.image(episode.cameras[0], 0))
    axes.set_title(f"{episode.path.stem}: click the target of '{episode.metadata.language}'", parse_math=False)
    axes.set_axis_off()
    clicked = pyplot.ginput(1, timeout=0)
    pyplot.close(figure)
    return (round(clicked[0][0]), round(clicked[0][1])) if clicked else None
