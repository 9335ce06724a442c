"""The episodes of the page: real files, read and edited over real HTTP."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from episodes_stage import CONTRACT, Server, record, split_frames

from mobile_vla_dashboard.jobs import THREADS, WAITING
from mobile_vla_dashboard.library import Library
from mobile_vla_data.dataset.split import split_dataset
from mobile_vla_data.episode import jpeg
from mobile_vla_data.episode.reader import Episode
from mobile_vla_data.storage.lock import DatasetLock, EditLock
from mobile_vla_ros.testing import wait_for

PLAN = Path(__file__).parents[3] / "config" / "collection_plan.yaml"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    return folder


def test_episodes_are_listed_newest_first_in_pages_with_outcome_and_findings(dataset: Path, server: Server) -> None:
    for steps in (20, 20, 12):
        record(dataset, steps)
    with h5py.File(dataset / "episode_000001.h5", "r+") as file:
        file["actions"][3, 0] = np.nan
    (dataset / "episode_000003.h5").write_bytes(b"not an episode")
    page = server.get("/api/episodes?limit=3")
    assert [item["episode_id"] for item in page["episodes"]] == ["episode_000003", "episode_000002", "episode_000001"]
    assert page["total"] == 4 and page["more"]
    assert "truncated, or not HDF5" in page["episodes"][0]["problem"]
    assert (page["episodes"][1]["steps"], page["episodes"][1]["outcome"]) == (12, "success")
    assert [found["code"] for found in page["episodes"][2]["findings"]] == ["not-finite"]
    older = server.get("/api/episodes?limit=3&before=episode_000001")
    assert [item["episode_id"] for item in older["episodes"]] == ["episode_000000"] and not older["more"]


def test_an_episode_that_could_not_be_read_for_a_moment_is_listed_whole_again(dataset: Path, server: Server) -> None:
    # As between the look at a file and its opening, when a second page discards the episode and takes it back.
    path = record(dataset, 20)
    whole, times_ns = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    for content, readable in ((b"x" * len(whole), False), (whole, True)):
        path.write_bytes(content)
        os.utime(path, ns=times_ns)
        (card,) = server.get("/api/episodes")["episodes"]
        assert (card["problem"] == "") == readable


@pytest.mark.parametrize("encoding", ["jpeg", "raw"])
def test_playback_gives_the_images_of_the_file_and_its_actions(dataset: Path, server: Server, encoding: str) -> None:
    path = record(dataset, 30, encoding=encoding)
    version = server.get("/api/episodes")["episodes"][0]["version"]
    steps = server.get("/api/episodes/episode_000000/steps")
    assert steps["count"] == 30 and steps["period_s"] == pytest.approx(0.1)
    assert steps["times_s"][0] == 0.0 and len(steps["times_s"]) == 30
    assert steps["action_names"] == ["delta_x", "delta_y", "gripper"] and steps["state_names"] == ["x", "y", "gripper"]
    for camera in CONTRACT.cameras:
        where = f"/api/episodes/episode_000000/frames/{camera}?first=25&count=64&v={version}"
        _, content, headers = server.fetch(where)
        frames = split_frames(content)
        assert len(frames) == 5 and "immutable" in headers["cache-control"]
        with Episode.open(path) as episode:
            assert np.abs(jpeg.decode(frames[2]).astype(int) - episode.image(camera, 27)).mean() < 4
            if encoding == "jpeg":
                assert frames[2] == episode.jpeg(camera, 27)
            np.testing.assert_allclose(steps["actions"], episode.actions, atol=1e-4)
    assert server.fetch("/api/episodes/episode_000000/thumbnail")[1][:2] == b"\xff\xd8"


def test_labels_are_corrected_while_a_recorder_records(dataset: Path, server: Server) -> None:
    path = record(dataset)
    with DatasetLock(dataset):
        reply = server.post(
            "/api/episodes/episode_000000/relabel", {"outcome": "failure", "language": " go  to the bedroom"}
        )
    assert reply["ok"] and reply["episode"]["outcome"] == "failure"
    with Episode.open(path) as episode:
        assert (episode.outcome, episode.metadata.language) == ("failure", "go to the bedroom")
        assert episode.metadata.task == "go_to_kitchen"
    assert server.get("/api/episodes")["episodes"][0]["language"] == "go to the bedroom"


def test_an_edit_beside_that_of_another_process_says_why_not(dataset: Path, server: Server) -> None:
    record(dataset)
    with EditLock(dataset):
        status, content, _ = server.fetch("/api/episodes/episode_000000/relabel", {"outcome": "failure"})
    assert status == 409
    assert f"dataset {dataset} is being edited by pid" in json.loads(content)["message"]
    assert server.get("/api/episodes")["episodes"][0]["outcome"] == "success"


def test_a_trim_keeps_the_steps_and_can_be_undone(dataset: Path, server: Server) -> None:
    path = record(dataset, 30)
    whole = path.read_bytes()
    reply = server.post("/api/episodes/episode_000000/trim", {"first": 5, "last": 24})
    assert reply["ok"] and reply["episode"]["steps"] == 20
    assert server.get("/api/episodes/episode_000000/steps")["count"] == 20
    assert server.post("/api/restore", reply["undo"])["episode"]["steps"] == 30
    assert path.read_bytes() == whole
    refused = server.post("/api/episodes/episode_000000/trim", {"first": 5, "last": 30})
    assert not refused["ok"] and "steps 5 .. 30 are not within 0 .. 29" in refused["message"]


def test_a_discarded_episode_comes_back_with_its_place_in_the_splits(dataset: Path, server: Server) -> None:
    for _ in range(6):
        record(dataset)
    splits = split_dataset(dataset, (0.5, 0.25, 0.25))["splits"]
    before = (dataset / "episode_000002.h5").read_bytes()
    reply = server.post("/api/episodes/episode_000002/discard", {})
    assert reply["ok"] and server.get("/api/episodes")["total"] == 5
    assert "episode_000002" not in (dataset / "splits.json").read_text()
    assert server.post("/api/restore", reply["undo"])["ok"]
    assert (dataset / "episode_000002.h5").read_bytes() == before
    assert json.loads((dataset / "splits.json").read_text())["splits"] == splits
    again = server.post("/api/restore", reply["undo"])
    assert not again["ok"] and "the trash has no episode file" in again["message"]


def test_a_restored_episode_never_replaces_another(dataset: Path, server: Server) -> None:
    record(dataset)
    undo = server.post("/api/episodes/episode_000000/discard", {})["undo"]
    (dataset / "episode_000000.h5").write_bytes(b"new")
    refused = server.post("/api/restore", undo)
    assert not refused["ok"] and "delete it before you restore" in refused["message"]
    assert (dataset / "episode_000000.h5").read_bytes() == b"new"


def test_a_clicked_target_is_in_the_file_until_the_gripper_closes(dataset: Path, server: Server) -> None:
    path = record(dataset, 20)
    assert server.post("/api/episodes/episode_000000/target", {"column": 120, "row": 45})["steps"] == 10
    with Episode.open(path) as episode:
        assert episode.target is not None and episode.target[0].tolist() == [120, 45]
    assert server.get("/api/episodes/episode_000000/steps")["target"][12] == [-1, -1]
    refused = server.post("/api/episodes/episode_000000/target", {"column": 224, "row": 0})
    assert not refused["ok"] and "outside the image of 224x224" in refused["message"]


def test_a_mark_is_removed_again(dataset: Path, server: Server) -> None:
    path = record(dataset, 20)
    server.post("/api/episodes/episode_000000/target", {"column": 120, "row": 45})
    assert server.post("/api/episodes/episode_000000/unmark", {})["ok"]
    with Episode.open(path) as episode:
        assert episode.target is None
    assert server.post("/api/episodes/episode_000000/unmark", {})["ok"]


def test_an_edit_of_a_file_that_another_page_has_changed_is_refused(dataset: Path, server: Server) -> None:
    record(dataset, 30)
    address = "/api/episodes/episode_000000"
    (card,) = server.get("/api/episodes")["episodes"]
    old = card["version"]
    assert server.fetch(f"{address}/frames/static?v={old}")[0] == 200
    new = server.post(f"{address}/trim?v={old}", {"first": 5, "last": 24})["episode"]["version"]
    edits = {
        "relabel": {"outcome": "failure"},
        "trim": {"first": 0, "last": 9},
        "target": {"column": 1, "row": 1},
        "unmark": {},
        "discard": {},
    }
    for action, body in edits.items():
        status, content, _ = server.fetch(f"{address}/{action}?v={old}", body)
        assert status == 409, content
        assert json.loads(content)["words"] == {"key": "episodes.changed", "id": "episode_000000"}
    for path in ("frames/static", "thumbnail"):
        # Nor is it kept by the browser under the address of the old file.
        status, _, headers = server.fetch(f"{address}/{path}?v={old}")
        assert status == 409 and "immutable" not in headers.get("cache-control", "")
    assert server.get(address)["steps"] == 20
    assert server.post(f"{address}/relabel?v={new}", {"outcome": "failure"})["ok"]
    # The whole episode does not replace one that was corrected after the trim.
    undo = {"name": "episode_000000.h5.untrimmed"}
    assert not server.post(f"/api/restore?v={new}", undo)["ok"]
    assert server.get(address)["outcome"] == "failure"


def test_a_fault_of_the_program_is_no_refusal(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "plan", lambda *_: {}["name"])
    status, content, _ = server.fetch("/api/plan")
    assert status == 500
    assert json.loads(content) == {
        "ok": False,
        "message": "the dashboard failed; its log says why",
        "words": {"key": "reply.failed"},
    }


def test_progress_follows_every_edit_and_names_the_next_scene(dataset: Path, server: Server) -> None:
    (dataset / "plan.yaml").write_text(PLAN.read_text())
    record(dataset)

    def done() -> tuple[int, int]:
        (task,) = [item for item in server.get("/api/plan")["tasks"] if item["task"] == "go_to_kitchen"]
        return task["done"], task["failed"]

    assert done() == (1, 0)
    plan = server.get("/api/plan")
    assert plan["wanted"] == 1000 and plan["step_range"] == [50, 100] and plan["planned"]
    server.post("/api/episodes/episode_000000/relabel", {"outcome": "failure"})
    assert done() == (0, 1)
    undo = server.post("/api/episodes/episode_000000/discard", {})["undo"]
    assert done() == (0, 0)
    server.post("/api/restore", undo)
    assert done() == (0, 1)
    chosen = server.get("/api/plan?task=go_to_bedroom")["next"]
    assert chosen["task"] == "go_to_bedroom" and chosen["environment"]["room"] == "bedroom" and chosen["language"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/episodes/..%2f..%2fetc%2fpasswd", None),
        ("/api/episodes/episode_1/steps", None),
        ("/api/episodes/episode_000000%2f../steps", None),
        ("/api/episodes/episode_000000/frames/..%2fstatic", None),
        ("/api/episodes/episode_000000/frames/static?first=-1", None),
        ("/api/episodes/episode_000000/frames/static?count=100000", None),
        ("/api/episodes?limit=100000", None),
        ("/api/restore", {"name": "../episode_000000.h5"}),
        ("/api/restore", {"name": "plan.yaml"}),
        ("/api/episodes/episode_000000/relabel", {"path": "/etc/passwd"}),
        ("/api/episodes/episode_000000/trim", {"first": "x", "last": 3}),
    ],
)
def test_no_request_names_a_file_outside_the_dataset(dataset: Path, server: Server, path: str, body: object) -> None:
    record(dataset, 12)
    status, content, _ = server.fetch(path, body)
    assert status in (404, 422), (status, content)
    assert not json.loads(content).get("ok")


def test_a_disk_that_does_not_answer_keeps_nothing_else_waiting(
    dataset: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(Library, "plan", lambda *_: {"answered": answer.wait(60)})
    statuses: list[int] = []
    asking = [
        threading.Thread(target=lambda: statuses.append(server.fetch("/api/plan")[0]))
        for _ in range(THREADS + WAITING + 5)
    ]
    for thread in asking:
        thread.start()
    wait_for(lambda: len(statuses) == 5, what="a refusal of every request too many")
    assert set(statuses) == {503} and server.fetch("/healthz")[0] == 200
    answer.set()
    for thread in asking:
        thread.join()
    assert sorted(statuses) == [200] * (THREADS + WAITING) + [503] * 5


def test_an_episode_that_is_not_there_is_one_line(dataset: Path, server: Server) -> None:
    status, content, _ = server.fetch("/api/episodes/episode_000007/steps")
    assert status == 409 and json.loads(content)["message"] == f"{dataset}: no episode 'episode_000007'"
    status, content, _ = server.fetch("/api/episodes/episode_000007/frames/static")
    assert status == 409


def test_without_a_dataset_the_page_says_so(tmp_path: Path) -> None:
    server = Server(tmp_path / "nowhere")
    try:
        reply = json.loads(server.fetch("/api/episodes")[1])
        assert "no such dataset folder on this machine" in reply["message"]
        assert reply["words"]["key"] == "library.absent"
    finally:
        server.close()
