"""Trials over real DDS, with the real policy_node and a scripted policy: loading, the time limit, refusals."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from action_msgs.msg import GoalInfo, GoalStatus, GoalStatusArray
from builtin_interfaces.msg import Time
from dashboard_stage import CONTRACT, CONTRACT_FILE, Stage
from episodes_stage import Server
from geometry_msgs.msg import Twist
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import qos_profile_action_status_default
from unique_identifier_msgs.msg import UUID

from mobile_vla_dashboard.goal import Goal
from mobile_vla_dashboard.goal_watch import GoalWatch
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.trial_report import images
from mobile_vla_dashboard.trial_robot import ended_goal
from mobile_vla_dashboard.trials import REASONS
from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_msgs.msg import PolicyStatus
from mobile_vla_ros.qos import COMMAND, LATCHED
from mobile_vla_ros.testing import FakeRobot, NodeProcess, Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone

SCRIPTED_POLICY = Path(__file__).parents[2] / "mobile_vla_policy/test/scripted_policy_node.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("loaded", "other/best"):  # the second is the output of a training
        (folder / name).mkdir(parents=True)
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
            with NodeProcess("", "", parameters, command=command) as stage.policy:
                stage.wait_state(lambda state: state["policy"].get("ready"), "the policy")
                yield stage
        finally:
            robot.close()
            stage.close()


def new_series(stage: Stage, **fields: object) -> str:
    plan = {"instructions": ["go to the kitchen"], "rounds": 2, **fields}
    return str(stage.post("/api/trials", plan)["series"]["id"])


def load_by_hand(stage: Stage, checkpoint: Path) -> None:
    """Load another checkpoint as a person at a terminal would."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(checkpoint))

    def change(*transitions: int) -> None:
        for number in transitions:
            request = ChangeState.Request(transition=Transition(id=number))
            assert stage.probe.call(ChangeState, "policy_node/change_state", request).success

    change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    request = SetParameters.Request(parameters=[Parameter(name="checkpoint", value=value)])
    assert stage.probe.call(SetParameters, "policy_node/set_parameters", request).results[0].successful
    change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    # The page does not say which one that is.
    statuses = stage.probe.collect(PolicyStatus, "policy/status", LATCHED)
    wait_for(lambda: statuses and statuses[-1].checkpoint == str(checkpoint), what="the loaded checkpoint")
    stage.wait_state(lambda state: state["policy"].get("ready"), "the policy")


def begun(stage: Stage, **fields: object) -> str:
    """Begin the first trial of a new series, and wait until the robot moves."""
    series = new_series(stage, **fields)
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    # A dashboard that has just started may not have found the policy yet: as an operator, press again.
    wait_for(lambda: stage.post(f"/api/trials/{series}/begin")["ok"], what="a trial that begins")
    stage.wait_state(lambda state: state["gate"]["headline"]["key"] == "gate.policy", "the policy in command")
    return series


def until_it_stands(stage: Stage, statuses: list[PolicyStatus]) -> None:
    """Wait until the policy follows nothing, and the gate sends zeros."""
    wait_for(lambda: statuses and not statuses[-1].instruction, what="a policy without an instruction")
    output = stage.probe.collect(Twist, "cmd_vel", COMMAND)
    wait_for(lambda: len(output) > 5 and output[-1] == Twist(), what="zeros on cmd_vel")


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
    refused = stage.post(f"/api/trials/{series}/begin")
    assert refused["message"] == f"the policy has another checkpoint; load checkpoint {missing} first"
    load_by_hand(stage, folder.parent / "elsewhere" / "missing")
    wait_for(lambda: stage.post(f"/api/trials/{series}/begin")["ok"], what="the trial")
    assert stage.post(f"/api/trials/{series}/discard")["ok"]
    load_by_hand(stage, folder / "loaded")


@pytest.mark.parametrize("name", ["../models/other", "/etc", "."])
def test_no_name_of_a_checkpoint_leads_out_of_its_folder(stage: Stage, name: str) -> None:
    assert json.loads(stage.get("/api/trials"))["checkpoints"] == ["loaded", "other"]
    series = new_series(stage, checkpoints=[name])
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    state = stage.wait_state(lambda state: state["trial"]["series"] == series, "the desk")
    assert state["trial"]["message"]["why"] == {"key": "trials.unfound"}
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


def test_a_trial_keeps_its_images_although_no_page_is_open(stage: Stage, folder: Path) -> None:
    def looking() -> int:
        return int(stage.probe.node.count_subscribers(CONTRACT.cameras[CONTRACT.first_camera].topic))

    stage.wait_state(lambda state: state["cameras"][0]["tone"] == "ok", "an image")
    with_dashboard = looking()
    stage.view.close()
    wait_for(lambda: looking() < with_dashboard, what="a dashboard that does not look at the cameras")
    series = new_series(stage, time_limit_s=2.0)
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    assert stage.post(f"/api/trials/{series}/begin")["ok"]
    wait_for(lambda: looking() == with_dashboard, what="cameras for the video")
    wait_for(lambda: looking() < with_dashboard, what="the end of the trial, and of the look at the cameras")
    assert stage.post(f"/api/trials/{series}/judge", {"outcome": "success"})["ok"]
    (video,) = (folder / "trials" / series).glob("*.mjpeg")
    assert len(images(video)) >= 3
    stage.view = stage.open("view")


def test_no_trial_begins_on_a_stopped_robot(stage: Stage) -> None:
    series = new_series(stage)
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    assert stage.post("/api/stop")["ok"]
    stage.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    assert "resume it first" in stage.post(f"/api/trials/{series}/begin")["message"]
    assert stage.post("/api/resume")["ok"]
    stage.wait_state(lambda state: not state["gate"]["stopped"], "the resumed gate")


def test_a_stop_ends_the_trial_so_that_resume_does_not_let_the_policy_drive_on(stage: Stage) -> None:
    statuses = stage.probe.collect(PolicyStatus, "policy/status", LATCHED)
    series = begun(stage)
    assert stage.post("/api/stop")["ok"]
    state = stage.wait_state(lambda state: state["trial"]["phase"] == "judging", "the end of the trial")
    assert state["trial"]["message"]["key"] == "trials.stopped"
    wait_for(lambda: not statuses[-1].instruction, what="a policy without an instruction")
    assert stage.post("/api/resume")["ok"]
    stage.wait_state(lambda state: not state["gate"]["stopped"], "the resumed gate")
    until_it_stands(stage, statuses)
    assert stage.post(f"/api/trials/{series}/discard")["ok"]


def test_a_trial_that_the_policy_refuses_is_not_begun(stage: Stage) -> None:
    series = new_series(stage, instructions=["do the impossible"])
    assert stage.post(f"/api/trials/{series}/prepare")["ok"]
    assert stage.post(f"/api/trials/{series}/begin") == {"ok": True}
    said = "'do the impossible' is beyond me"
    state = stage.wait_state(lambda state: state["trial"]["message"] == said, "the policy's refusal")
    assert state["trial"]["phase"] == "ready"


def test_a_goal_of_somebody_else_ends_the_trial(stage: Stage) -> None:
    series = begun(stage)
    assert stage.post("/api/policy/execute", {"instruction": "go to the bedroom", "time_limit_s": 30})["ok"]
    state = stage.wait_state(lambda state: state["trial"]["phase"] == "judging", "the end of the trial")
    assert state["trial"]["message"] == {"key": "trials.ended", "why": {"key": "goal.preempted"}}
    assert stage.post("/api/policy/instruction", {"instruction": ""})["ok"]
    assert stage.post(f"/api/trials/{series}/discard")["ok"]


def test_a_goal_that_was_replaced_before_anyone_saw_it_has_ended() -> None:
    first, second = ([number] * 16 for number in (1, 2))
    told: list[Goal] = []
    with unique_domain(), Probe() as probe:
        GoalWatch(probe.node, told.append)
        qos = qos_profile_action_status_default
        publisher = probe.publisher(GoalStatusArray, "policy/execute/_action/status", qos)
        statuses = [GoalStatus(status=GoalStatus.STATUS_ABORTED), GoalStatus(status=GoalStatus.STATUS_EXECUTING)]
        for status, number, stamp_s in zip(statuses, (first, second), (1, 2), strict=True):
            status.goal_info = GoalInfo(goal_id=UUID(uuid=number), stamp=Time(sec=stamp_s))
        publisher.publish(GoalStatusArray(status_list=statuses))
        wait_for(lambda: told, what="the goals")
    latest = Latest({})
    latest.put_status("goal", told[-1])
    ended = ended_goal(latest, bytes(first).hex())
    assert ended is not None and ended.error_code == ExecuteInstruction.Result.PREEMPTED
    assert ended_goal(latest, bytes(second).hex()) is None
    # A goal that the policy has just accepted, and does not list yet.
    assert ended_goal(latest, bytes([3] * 16).hex()) is None


def test_the_robot_is_stopped_if_the_policy_does_not_confirm_the_end_of_a_trial(stage: Stage) -> None:
    series = begun(stage)
    stage.policy.process.send_signal(signal.SIGSTOP)
    try:
        refused = stage.post(f"/api/trials/{series}/halt")
        assert refused["message"].startswith("The robot was stopped, because the policy did not confirm the end")
        assert refused["words"]["key"] == "trials.halted"
        stage.wait_state(lambda state: state["gate"]["stopped"], "the stopped gate")
    finally:
        stage.policy.process.send_signal(signal.SIGCONT)
    assert stage.post(f"/api/trials/{series}/discard")["ok"]
    stage.wait_state(lambda state: state["policy"]["present"] and not state["policy"]["instruction"], "a free policy")
    assert stage.post("/api/resume")["ok"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_robot_does_not_drive_on_when_the_dashboard_ends_in_a_trial(stage: Stage, number: int) -> None:
    statuses = stage.probe.collect(PolicyStatus, "policy/status", LATCHED)
    stage.wait_state(lambda state: not state["gate"]["stopped"], "a gate that is not stopped")
    # At once if it can still say so, at the time limit of the trial if it cannot.
    begun(stage, time_limit_s=60.0 if number == signal.SIGINT else 4.0)
    try:
        stage.node.stop(number)
        until_it_stands(stage, statuses)
    finally:
        stage.start_node()
    stage.wait_state(lambda state: not state["gate"].get("stopped", True), "the gate")


def test_the_desk_is_free_again_when_the_policy_dies_while_it_loads(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mobile_vla_dashboard.trial_robot.DEAD_S", 0.3)
    server = Server(tmp_path)
    try:
        server.latest.put_status("policy", PolicyStatus(state=PolicyStatus.STATE_LOADING))
        series = server.post("/api/trials", {"instructions": ["go to the kitchen"], "checkpoints": ["any"]})["series"]
        assert server.post(f"/api/trials/{series['id']}/prepare", {})["ok"]
        assert server.post(f"/api/trials/{series['id']}/close", {})["ok"]
    finally:
        server.close()
