from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np

from mobile_vla_dashboard.latest import Latest, ReceivedStatus
from mobile_vla_dashboard.wording import in_english
from mobile_vla_dashboard.words import gate_card, page_state, policy_card, recorder_card
from mobile_vla_data.contract import Contract
from mobile_vla_msgs.msg import GateStatus, PolicyStatus, RecorderStatus, StageLatency, StreamStatus

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")


def _latest() -> Latest:
    return Latest({name: camera.topic for name, camera in CONTRACT.cameras.items()})


def test_nothing_running_is_said_in_plain_words():
    state = page_state(_latest(), CONTRACT)
    assert in_english(state["recorder"]["headline"]) == "No recorder running"
    assert in_english(state["policy"]["headline"]) == "No policy running"
    assert in_english(state["gate"]["headline"]) == "No command gate running"
    assert in_english(state["cameras"][0]["words"]) == "no image has arrived on static_camera/image_raw"
    json.dumps(state, allow_nan=False)


def test_the_page_knows_whether_there_is_a_gripper() -> None:
    assert page_state(_latest(), CONTRACT)["gripper"] is True
    without = Contract.model_validate({**CONTRACT.model_dump(), "gripper": "none"})
    assert page_state(_latest(), without)["gripper"] is False


def test_a_node_that_fell_silent_is_not_shown_as_it_last_was():
    heard = ReceivedStatus(RecorderStatus(state=RecorderStatus.STATE_RECORDING), received_s=100.0)
    assert in_english(recorder_card(heard, 102.0)["headline"]) == "Recording"
    silent = recorder_card(heard, 107.0)
    assert in_english(silent["headline"]) == "The recorder went silent"
    assert in_english(silent["detail"]).startswith("No message from it for 7 s")
    assert not silent.get("recording")


def test_numbers_that_json_cannot_say_are_left_out():
    card = gate_card(ReceivedStatus(GateStatus(driver=GateStatus.DRIVER_POLICY, gripper=math.nan), 1.0), 1.0)
    assert card["gripper"] is None
    assert in_english(card["headline"]) == "The policy drives"
    json.dumps(card, allow_nan=False)


def test_the_policys_latency_is_the_total_of_its_stages():
    status = PolicyStatus(state=PolicyStatus.STATE_RUNNING, temperature_c=math.nan)
    status.latency = [StageLatency(stage="head", p50_s=0.001), StageLatency(stage="total", p50_s=0.03, p99_s=0.06)]
    card = policy_card(ReceivedStatus(status, 1.0), 1.0)
    assert (card["latency_p50_s"], card["latency_p99_s"]) == (0.03, 0.06)


def test_a_recorder_that_waits_for_a_stream_names_its_topic():
    why = "nothing has arrived on '/odom'"
    stream = StreamStatus(name="odom", topic="/odom", required=True, age_s=-1.0, problem=why)
    card = recorder_card(ReceivedStatus(RecorderStatus(state=RecorderStatus.STATE_IDLE, streams=[stream]), 1.0), 1.0)
    assert card["tone"] == "warn"
    assert card["detail"] == why


def test_a_camera_that_stopped_or_sends_what_cannot_be_shown_says_so():
    latest = _latest()
    latest.put_frame(0, time.time_ns(), np.zeros((224, 224, 3), np.uint8))
    assert page_state(latest, CONTRACT)["cameras"][0]["tone"] == "ok"
    latest.refuse_frame(0, "encoding 'yuv422' is not supported")
    words = in_english(page_state(latest, CONTRACT)["cameras"][0]["words"])
    assert words == "images on static_camera/image_raw cannot be shown: encoding 'yuv422' is not supported"
