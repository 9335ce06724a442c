"""The page of a series of trials on the robot, made of the same parts as that of trials in the simulator."""

from __future__ import annotations

import tempfile
from io import BytesIO
from pathlib import Path

from jinja2 import PackageLoader
from PIL import Image

from mobile_vla_dashboard.trial_desk import VIDEO_PERIOD_S
from mobile_vla_dashboard.trials import Series, Store, for_page
from mobile_vla_data.episode import jpeg
from mobile_vla_data.image import ImageError
from mobile_vla_data.trials.page import TILES, Tile, animate, as_data, templates, tile

#: Images of one trial in the report's animation, and in that of the trial alone.
_MOST_TILES, _MOST_IMAGES = 60, 600


def images(path: Path) -> list[bytes]:
    """Return the JPEGs of a video."""
    parts = path.read_bytes().split(jpeg.ENDS + jpeg.BEGINS)
    last = len(parts) - 1
    return [
        (jpeg.BEGINS if index else b"") + part + (jpeg.ENDS if index < last else b"")
        for index, part in enumerate(parts)
    ]


def animation(path: Path) -> bytes:
    """Return a video as an animation (WebP) at its own speed. Raises OSError if an image is damaged."""
    found = images(path)
    stride = _stride(len(found), _MOST_IMAGES)
    first, *others = (Image.open(BytesIO(image)) for image in found[::stride])
    output = BytesIO()
    # Method 0 is the fastest: the robot's processor has other work.
    duration_ms = round(1000 * VIDEO_PERIOD_S * stride)
    first.save(output, "WEBP", save_all=True, append_images=others, duration=duration_ms, loop=0, quality=80, method=0)
    return output.getvalue()


def _stride(count: int, most: int) -> int:
    """Return n such that every n-th of ``count`` images are at most ``most``."""
    return max(1, -(-count // most))


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
    stride = _stride(max((len(images(path)) for _, path in kept), default=0), _MOST_TILES)
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
