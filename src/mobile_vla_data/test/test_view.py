from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.look import rerun_view, view


@pytest.fixture(params=["ffmpeg", "opencv"])
def encoder(request, monkeypatch):
    if request.param == "opencv":
        monkeypatch.setattr(view.shutil, "which", lambda name: None)
    elif shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    return request.param


def test_the_video_has_a_frame_for_every_step_at_the_control_rate(record, tmp_path, encoder):
    path = record(steps=12, language="부엌으로 가")
    with Episode.open(path) as episode:
        view.write_video(episode, tmp_path / "out.mp4")
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 12 and video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    done, frame = video.read()
    with Episode.open(path) as episode:
        expected = cv2.resize(episode.image("static", 0), (448, 448))
    assert done and np.abs(frame[56:504, :448, ::-1].astype(int) - expected).mean() < 8


def test_a_video_that_cannot_be_written_is_one_line(record, tmp_path, encoder):
    with Episode.open(record(steps=6)) as episode, pytest.raises(OSError) as error:
        view.write_video(episode, tmp_path / "nowhere" / "out.mp4")
    assert str(tmp_path / "nowhere") in str(error.value) and "\n" not in str(error.value)


def test_the_contact_sheet_shows_first_and_last_step_of_each_camera(record):
    with Episode.open(record(steps=30)) as episode:
        sheet = view.contact_sheet(episode, columns=4, image_px=160)
        last = cv2.resize(episode.image("gripper", 29), (158, 158), interpolation=cv2.INTER_LINEAR)
    assert sheet.shape[1] == 640
    np.testing.assert_array_equal(sheet[56 + 160 : 56 + 318, 480:638], last)


def test_one_camera_is_enough(record):
    with Episode.open(record(steps=6, cameras=("static",))) as episode:
        assert view.contact_sheet(episode).shape[0] == 56 + 160 + 24 + 210


def test_the_command_writes_both_and_names_them(run, record, tmp_path):
    path = record(steps=6)
    done = run("view", path, "--output", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "pictures" / f"episode_000000.{kind}") for kind in ("png", "mp4")]
    assert all((tmp_path / "pictures" / f"episode_000000.{kind}").stat().st_size > 1000 for kind in ("png", "mp4"))


def test_without_rerun_the_command_says_how_to_get_it(run, record, tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(rerun_view, "import_module", absent)
    done = run("view", record(steps=6), "--output", tmp_path, "--no-video", "--no-sheet", "--rerun")
    assert done.returncode == 1 and done.stderr.strip().endswith("'pip install rerun-sdk'")


def test_rerun_gets_every_step(run, record, tmp_path):
    pytest.importorskip("rerun")
    path = record(steps=6)
    done = run("view", path, "--output", tmp_path, "--no-video", "--no-sheet", "--rrd")
    assert done.returncode == 0 and done.stdout.split() == [str(tmp_path / f"{path.stem}.rrd")], done.stderr
    assert (tmp_path / f"{path.stem}.rrd").stat().st_size > 10_000


def test_a_chunk_is_a_path_in_the_robots_frame():
    straight = np.array([[0.1, 0.02, 0], [0.1, 0.02, 1]], dtype=np.float32)
    np.testing.assert_allclose(rerun_view.chunk_path(straight), [[0, 0], [0.1, 0.02], [0.2, 0.04]], atol=1e-6)
    quarter = np.array([[0.1, 0, 0, np.pi / 2], [0.1, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(rerun_view.chunk_path(quarter), [[0, 0], [0.1, 0], [0.1, 0.1]], atol=1e-6)
