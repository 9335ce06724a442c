"""``report.html``: the demo on one self-contained page."""

from __future__ import annotations

import html
import io
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from demo import evaluation
from demo.stages import Demo, read_json
from demo.summary import condition_rows, rows
from mobile_vla_data.contract import Contract
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.trials.page import as_data
from mobile_vla_sim.tasks.catalogue import load_plan
from mobile_vla_sim.tasks.draw import draw
from mobile_vla_sim.world.model import VISIBLE_HALF_M
from mobile_vla_sim.world.world import World

CONFIG = Path(__file__).resolve().parents[2] / "config"
PAGE = Path(__file__).with_name("report.html.template")


def write_report(demo: Demo, summary: dict[str, Any]) -> None:
    """Write the page beside ``summary.json``."""
    paths = Dataset.open(demo.dataset).episode_paths
    result = read_json(demo.root / "trials.json")
    page = Template(PAGE.read_text()).substitute(
        headline=_headline(summary),
        table="".join(f"<tr><th>{_text(label)}</th><td>{_text(value)}</td></tr>" for label, value in rows(summary)),
        predicted=_figure(
            _file(demo.root / "evaluation" / "paths.png"), "Recorded paths, and what the policy predicts"
        ),
        sheet=_figure(_png(contact_sheet(paths[0])), _instruction(paths[0])),
        losses=_figure(_file(demo.looks / "loss.png"), "Loss of stage 1 on training and validation frames"),
        evaluation="".join(_metric(row) for row in evaluation.rows(summary["evaluation"])),
        evaluated=_text(_evaluated(summary["evaluation"])),
        rollout=_rollout(demo.root / "trials.gif", result["trials"][result["recorded_trial"]]),
        paths=paths_drawing(result["trials"]),
        conditions="".join(
            f"<tr><td>{_text(label)}</td><td>{_text(value)}</td></tr>"
            for label, value in condition_rows(summary["conditions"])
        ),
        trials="".join(_trial(trial) for trial in result["trials"]),
    )
    (demo.root / "report.html").write_text(page)


def contact_sheet(path: Path, columns: int = 8) -> Image.Image:
    """Frames of one episode, evenly spaced from first to last: a row for each camera."""
    with Episode.open(path) as episode:
        picks = [round(i * (episode.num_steps - 1) / (columns - 1)) for i in range(columns)]
        frames = [[episode.image(camera, step) for step in picks] for camera in episode.cameras]
    height, width = frames[0][0].shape[:2]
    sheet = Image.new("RGB", (columns * width, len(frames) * height))
    for row, line in enumerate(frames):
        for column, frame in enumerate(line):
            sheet.paste(Image.fromarray(frame), (column * width, row * height))
    return sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4))


def paths_drawing(trials: list[dict[str, Any]]) -> str:
    """Return an SVG for every trial: its flat from above with the path: start, path and end."""
    half, plan = VISIBLE_HALF_M, load_plan(CONFIG / "collection_plan.yaml")
    world = World(Contract.load(CONFIG / "robot.yaml"))
    drawings = []
    try:
        for trial in trials:
            world.reset(draw(trial["seed"], [trial["task"]], plan)[0].scene)
            image = as_data(jpeg.encode(world.render("static"), 85), "jpeg")
            drawings.append(
                f'<svg viewBox="{-half} {-half} {2 * half} {2 * half}" role="img" aria-label="Path of a trial">'
                f'<image href="{image}" x="{-half}" y="{-half}" width="{2 * half}" '
                f'height="{2 * half}"/>{_path(trial)}</svg>'
            )
    finally:
        world.close()
    return "".join(drawings)


def _path(trial: dict[str, Any]) -> str:
    mark = "reached" if trial["success"] else "missed"
    points = [(x, -y) for x, y in trial["path"]]
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    (x0, y0), (x1, y1) = points[0], points[-1]
    title = f"<title>{_text(trial['instruction'])}: {mark}</title>"
    return (
        f'<g class="{mark}">{title}<polyline points="{line}"/>'
        f'<circle cx="{x0:.2f}" cy="{y0:.2f}" r=".06"/><circle class="end" cx="{x1:.2f}" cy="{y1:.2f}" r=".12"/></g>'
    )


def _headline(summary: dict[str, Any]) -> str:
    trained, untrained = summary["trials"]["trained"], summary["trials"]["untrained"]
    return (
        f"{summary['episodes']} demonstrations, {summary['wall_time_s']['train'] / 60:.1f} minutes of training: the "
        f"robot went to the room it was told in {trained['successes']} of {trained['trials']} trials "
        f"(untrained: {untrained['successes']} of {untrained['trials']})."
    )


def _instruction(path: Path) -> str:
    with Episode.open(path) as episode:
        return f"{path.name}: “{episode.metadata.language}”, {episode.num_steps} steps"


def _rollout(path: Path, trial: dict[str, Any]) -> str:
    return _figure(_file(path), f"The trained policy, live: “{trial['instruction']}”")


def _metric(row: tuple[str, str, str, str]) -> str:
    label, before, after, verdict = row
    mark = "missed" if verdict == "not better" else "reached" if verdict.startswith("better") else ""
    cells = "".join(f"<td>{_text(value)}</td>" for value in (label, before, after, verdict))
    return f'<tr class="{mark}">{cells}</tr>'


def _evaluated(comparison: dict[str, Any]) -> str:
    return f"{comparison['episodes']} episodes of the {comparison['split']} split, {comparison['steps']} steps"


def _trial(trial: dict[str, Any]) -> str:
    mark = "reached" if trial["success"] else "missed"
    return (
        f'<tr class="{mark}"><td>{trial["seed"]}</td><td>{_text(trial["instruction"])}</td><td>{mark}</td>'
        f"<td>{trial['duration_s']:.1f} s</td><td>{trial['final_distance_m']:.2f} m</td></tr>"
    )


def _figure(source: str, caption: str) -> str:
    return f'<figure><img src="{source}" alt="{_text(caption)}"><figcaption>{_text(caption)}</figcaption></figure>'


def _png(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return as_data(stream.getvalue(), "png")


def _file(path: Path) -> str:
    return as_data(path.read_bytes(), path.suffix.lstrip("."))


def _text(value: object) -> str:
    return html.escape(str(value))
