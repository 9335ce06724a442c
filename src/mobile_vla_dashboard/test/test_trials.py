"""Series of trials on the robot without the robot: order, blindness, what is kept, and what it adds up to."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from episodes_stage import Server, image
from PIL import Image

from mobile_vla_dashboard.checkpoints import checkpoints_in
from mobile_vla_dashboard.trial_report import images, report
from mobile_vla_dashboard.trials import Judged, Series, SeriesPlan, Store, TrialsError, for_page, make_series, summary
from mobile_vla_data.episode import jpeg

NOW = datetime(2026, 11, 29, 9, 30, tzinfo=timezone.utc)
PLAN = SeriesPlan(
    title="Kitchen or bedroom",
    instructions=["go to the kitchen", "go to the bedroom"],
    starts=["hall, facing the door", "hall, facing the wall"],
    rounds=3,
    checkpoints=["first_try", "second_try"],
)


def judged(outcome: str = "success", reason: str = "", video: str = "") -> Judged:
    return Judged.model_validate(
        {"outcome": outcome, "reason": reason, "duration_s": 12.5, "began_at": NOW.isoformat(), "video": video}
    )


def with_results(series: Series, *results: Judged) -> Series:
    return series.model_copy(update={"results": list(results)})


def test_every_checkpoint_makes_the_same_trials_in_every_round() -> None:
    series = make_series(PLAN, "robot", NOW, seed=1)
    assert len(series.order) == 12 and set(series.checkpoints) == {"A", "B"}
    for number in (1, 2, 3):
        own = [item for item in series.order if item.round == number]
        trials = {
            letter: [(item.instruction, item.start) for item in own if item.checkpoint == letter] for letter in "AB"
        }
        assert trials["A"] == trials["B"] and len(trials["A"]) == 2
        # One checkpoint after the other: each has to be loaded once a round.
        letters = [item.checkpoint for item in own]
        assert letters in (["A", "A", "B", "B"], ["B", "B", "A", "A"])
    starts = Counter((item.instruction, item.start) for item in series.order if item.checkpoint == "A")
    assert max(starts.values()) == 2 and len(starts) == 4


def test_letters_and_order_are_drawn_by_lot() -> None:
    drawn = [make_series(PLAN, "robot", NOW, seed) for seed in range(30)]
    assert {series.checkpoints["A"] for series in drawn} == set(PLAN.checkpoints)
    assert len({json.dumps([item.model_dump() for item in series.order]) for series in drawn}) > 20


def test_the_page_learns_which_checkpoint_is_which_only_when_the_series_is_over() -> None:
    series = make_series(PLAN, "robot", NOW, seed=1)
    half = with_results(series, *[judged()] * 6)
    for now in (series, half):
        assert "first_try" not in json.dumps(for_page(now)) and for_page(now)["summary"]["by_checkpoint"] == {}
    over = for_page(half.model_copy(update={"closed": True}))
    assert over["checkpoints"] == series.checkpoints and over["next"] is None
    assert sum(entry["trials"] for entry in over["summary"]["by_checkpoint"].values()) == 6


def test_a_summary_has_wilson_intervals_and_reasons() -> None:
    series = make_series(PLAN.model_copy(update={"rounds": 1}), "robot", NOW, seed=1)
    results = [judged(), judged("failure", "wrong room"), judged(), judged("failure", "wrong room")]
    found = summary(with_results(series, *results))
    assert (found["successes"], found["trials"]) == (2, 4)
    assert found["interval_95"] == pytest.approx([0.15, 0.85], abs=1e-3)
    assert found["reasons"] == {"wrong room": 2} and found["duration_p50_s"] == 12.5
    assert sum(entry["trials"] for entry in found["by_instruction"].values()) == 4


def test_a_series_is_continued_from_its_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "trials")
    series = store.create(PLAN, "robot")
    store.save(with_results(series, judged(), judged("failure", "dropped")))
    again = Store(tmp_path / "trials").load(series.id)
    assert again.next == series.order[2] and store.ids() == [series.id]
    (store.path(series.id) / "series.json").write_text("{}")
    with pytest.raises(TrialsError, match=r"series.json: "):
        store.load(series.id)
    for wrong in ("..", "series_20261129_0930", "../series_20261129_093000", "series_20261129_093000"):
        with pytest.raises(TrialsError):
            store.load(wrong)


def test_the_report_shows_rates_reasons_and_the_first_trials(tmp_path: Path) -> None:
    store = Store(tmp_path)
    series = store.create(SeriesPlan(instructions=["go to the kitchen"], rounds=2), "robot")
    frames = [jpeg.encode(image(step, "static"), 80) for step in range(4)]
    (store.path(series.id) / "trial_0000.mjpeg").write_bytes(b"".join(frames))
    assert images(store.path(series.id) / "trial_0000.mjpeg") == frames
    html = report(store, with_results(series, judged(video="trial_0000.mjpeg"), judged("failure", "wrong room")))
    assert "95 % interval (Wilson)" in html and "wrong room" in html and "data:image/webp;base64," in html
    assert "<script" not in html and "http" not in html


def test_a_video_is_an_animation_at_its_own_speed_and_its_first_image_is_not_kept_by_the_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobile_vla_dashboard.trial_report._MOST_IMAGES", 4)
    server, store = Server(tmp_path), Store(tmp_path / "trials")
    try:
        series = store.create(SeriesPlan(instructions=["go to the kitchen"], rounds=2), "robot")
        for step in (0, 40):
            # The second time, the trial was taken back and made again.
            (store.path(series.id) / "trial_0000.mjpeg").write_bytes(jpeg.encode(image(step, "static"), 80))
            store.save(with_results(series, judged(video="trial_0000.mjpeg")))
            status, content, headers = server.fetch(f"/api/trials/{series.id}/video/0/first")
            assert status == 200 and headers["cache-control"] == "no-cache"
            assert content == jpeg.encode(image(step, "static"), 80)
        frames = [jpeg.encode(image(step, "static"), 80) for step in range(8)]
        (store.path(series.id) / "trial_0000.mjpeg").write_bytes(b"".join(frames))
        status, content, headers = server.fetch(f"/api/trials/{series.id}/video/0")
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "image/webp", "no-cache")
        with Image.open(BytesIO(content)) as animation:
            # Every second image, for twice as long.
            assert animation.n_frames == 4
            animation.seek(3)
            animation.load()
            assert animation.info["duration"] == 400
            shown = np.asarray(animation.convert("RGB"), dtype=int)
        assert np.abs(shown - image(6, "static")).mean() < 6.0
        (store.path(series.id) / "trial_0000.mjpeg").write_bytes(frames[0][:-2000])
        assert server.fetch(f"/api/trials/{series.id}/video/0")[0] == 409
    finally:
        server.close()


@pytest.mark.parametrize(
    "plan",
    [
        {"instructions": []},
        {"instructions": [" "]},
        {"instructions": ["go"], "rounds": 0},
        {"instructions": ["go"], "checkpoints": ["a\nb"]},
        {"instructions": ["go"], "folder": "/etc"},
        {"instructions": ["go"] * 50, "rounds": 100},
    ],
)
def test_a_series_that_cannot_be_is_refused_in_one_line(tmp_path: Path, plan: dict) -> None:
    server = Server(tmp_path)
    try:
        status, content, _ = server.fetch("/api/trials", plan)
        assert status in (409, 422), content
        assert json.loads(content)["message"] and not list(tmp_path.glob("trials/*"))
        assert server.fetch("/api/trials/..%2fseries_20261129_093000")[0] in (404, 422)
    finally:
        server.close()


def test_checkpoints_exports_and_trainings_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = ("checkpoint/config.json", "export/export.json", "training/best/config.json", "dataset/splits.json")
    for mark in marks:
        (tmp_path / "models" / mark).parent.mkdir(parents=True)
        (tmp_path / "models" / mark).touch()
    monkeypatch.chdir(tmp_path)
    wanted = {name: str(tmp_path / "models" / name) for name in ("checkpoint", "export", "training")}
    assert checkpoints_in(Path("models")) == wanted
    assert checkpoints_in(Path("nowhere")) == {}
