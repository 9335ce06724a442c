"""The page of a series of trials on the robot, made of the same parts as that of trials in the simulator."""

from __future__ import annotations

import tempfile
from pathlib import Path

from jinja2 import PackageLoader

from mobile_vla_dashboard.trial_desk import VIDEO_PERIOD_S
from mobile_vla_dashboard.trials import Series, Store, for_page
from mobile_vla_data.episode import jpeg
from mobile_vla_data.image import ImageError
from mobile_vla_data.trials.page import TILES, Tile, animate, as_data, templates, tile

#: Images of one trial in the animation.
_MOST_TILES = 60


def images(path: Path) -> list[bytes]:
    """Return the JPEGs of a video."""
    parts = path.read_bytes().split(jpeg.ENDS + jpeg.BEGINS)
    last = len(parts) - 1
    return [
        (jpeg.BEGINS if index else b"") + part + (jpeg.ENDS if index < last else b"")
        for index, part in enumerate(parts)
    ]


def report(store: Store, series: Series) -> str:
    """Return the page as HTML."""
    page = templates(PackageLoader("mobile_vla_dashboard", ".")).get_template("trials.html.j2")
    shown = for_page(series)
    names = {name: name for name in shown["summary"]["by_checkpoint"]}
    title = series.plan.title or "Trials on the robot"
    return page.render(title=title, series=shown, names=names, video=_animation(store, series))


def _animation(store: Store, series: Series) -> str:
    rollouts: list[list[Tile]] = []
    kept = [(result, store.path(series.id) / result.video) for result in series.results if result.video]
    kept = [(result, path) for result, path in kept if path.is_file()][:TILES]
    # All at the same speed, so that their lengths can be compared. One video in memory at a time.
    stride = max(1, -(-max((len(images(path)) for _, path in kept), default=0) // _MOST_TILES))
    for result, path in kept:
        try:
            rollouts.append([tile(jpeg.decode(image), result.outcome == "success") for image in images(path)[::stride]])
        except ImageError:
            continue
    if not rollouts:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "trials.webp"
        animate(rollouts, output, VIDEO_PERIOD_S * stride)
        return as_data(output.read_bytes(), "webp")
