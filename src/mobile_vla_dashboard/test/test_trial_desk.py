"""Trials over real DDS, with the real policy_node and a scripted policy: loading, the time limit, refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_stage import CONTRACT, CONTRACT_FILE, Stage

from mobile_vla_dashboard.trials import REASONS
from mobile_vla_msgs.msg import PolicyStatus
from mobile_vla_ros.qos import LATCHED
from mobile_vla_ros.testing import FakeRobot, NodeProcess, Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone

SCRIPTED_POLICY = Path(__file__).parents[2] / "mobile_vla_policy/test/scripted_policy_node.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("loaded", "other"):
        (folder / name).mkdir()
        (folder / name / "config.json").touch()
    return folder


@pytest.fixture(scope="module")
def stage(folder: Path) -> Iterator[Stage]:
    with unique_domain(), Probe() as probe:
        stage = Stage(probe, trials=str(folder / "trials"))
        robot = FakeRobot(probe, CONTRACT)
        parameters = {"contract": str(CONTRACT_FILE), "checkpoint": str(folder / "loaded"), "autostart": True}
        command = [sys.executable, str(SCRIPTED_POLICY), "echo-length"]
        try:
            with NodeProcess("", "", parameters, command=command):
                stage.wait_state(lambda state: state["policy"].get("ready"), "the policy")
                yield stage
        finally:
            robot.close()
            stage.close()


def new_series(stage: Stage, **fields: object) -> str:
    plan = {"instructions": ["go to the kitchen"], "rounds": 2, **fields}
    return str(stage.post("/api/trials", plan)["series"]["id"])


def test_a_checkpoint_that_is_not_found_is_asked_for_by_its_letter_alone(stage: Stage, folder: Path) -> None:
    series = new_series(stage, checkpoints=["loaded", "missing"])
    document = json.loads((folder / "trials" / series / "series.json").read_text())
    missing = next(letter for letter, path in document["checkpoints"].items() if path == "missing")
    document["order"] = [trial for trial in document["order"] if trial["checkpoint"] == missing]
    (folder / "trials" / series / "series.json").write_text(json.dumps(document))
    reply = stage.post(f"/api/trials/{series}/prepare")
    assert reply["ok"] and reply["series"]["checkpoints"] is None
    state = stage.wait_state(lambda state: state["trial"]["phase"] == "idle", "the desk")
    said = state["trial"]["message"]
    assert said["key"] == "trials.loadit" and said["letter"] == missing and "missing" not in json.dumps(state["trial"])
    # Somebody has loaded it by hand.
    assert stage.post(f"/api/trials/{series}/begin")["ok"]
    assert stage.post(f"/api/trials/{series}/discard")["ok"]


@pytest.mark.parametrize("name", ["../models/other", "/etc", "."])
def test_no_name_of_a_checkpoint_leads_out_of_its_folder(stage: Stage, name: str) -> None:
    assert json.loads(stage.get("/api/trials"))["checkpoints"] == ["loaded", "other"]
    series = new_series(stage, checkpoints=[name])
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    state = stage.wait_state(lambda state: state["trial"]["series"] == series, "the desk")
    assert state["trial"]["message"]["why"] == "the dashboard does not find it"
    assert state["policy"]["ready"]


def test_the_policy_gets_the_checkpoint_and_the_instruction_and_is_stopped_when_time_is_over(
    stage: Stage, folder: Path
) -> None:
    statuses = stage.probe.collect(PolicyStatus, "policy/status", LATCHED)
    series = new_series(stage, checkpoints=["other"], time_limit_s=1.5)
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    wait_for(lambda: statuses and statuses[-1].checkpoint == str(folder / "other"), what="the other checkpoint")
    assert stage.post(f"/api/trials/{series}/begin") == {"ok": True}
    wait_for(lambda: statuses[-1].instruction == "go to the kitchen", what="the instruction")
    assert "a trial is running" in stage.post(f"/api/trials/{series}/prepare")["message"]
    state = stage.wait_state(lambda state: state["trial"]["phase"] == "judging", "the end of the time")
    assert state["trial"]["message"]["key"] == "trials.timeup"
    wait_for(lambda: not statuses[-1].instruction, what="a policy without an instruction")
    refused = stage.post(f"/api/trials/{series}/judge", {"outcome": "failure", "reason": "bad luck"})
    assert "a failure needs one of these reasons" in refused["message"]
    judged = stage.post(f"/api/trials/{series}/judge", {"outcome": "failure", "reason": REASONS[1]})
    (result,) = judged["series"]["results"]
    assert result["reason"] == "wrong room" and result["duration_s"] == pytest.approx(1.5, abs=1.0)


def test_no_trial_begins_on_a_stopped_robot(stage: Stage) -> None:
    series = new_series(stage)
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    assert stage.post("/api/stop")["ok"]
    stage.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    assert "resume it first" in stage.post(f"/api/trials/{series}/begin")["message"]
    assert stage.post("/api/resume")["ok"]
