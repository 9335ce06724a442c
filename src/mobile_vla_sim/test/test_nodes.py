import json
import math
from itertools import pairwise

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from mobile_vla_data.action import gripper
from mobile_vla_data.dataset.folder import Dataset
from mobile_vla_data.episode.reader import Episode
from mobile_vla_msgs.msg import GripperCommand, GripperState, RecorderStatus, SimState
from mobile_vla_msgs.srv import ResetSim
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import LATCHED, SENSOR
from mobile_vla_ros.testing import NodeProcess, Probe, changed_contract, wait_for
from mobile_vla_sim.tasks.draw import draw

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def sim(domain, contract_path):
    with NodeProcess("mobile_vla_sim", "sim_node", {"contract": str(contract_path), "compressed": True}) as node:
        yield node


@pytest.fixture(scope="module")
def probe(domain, sim):
    with Probe() as probe:
        yield probe


@pytest.fixture(scope="module")
def states(probe):
    states = probe.collect(SimState, "sim/state", SENSOR)
    wait_for(lambda: states, what="sim/state")
    return states


def reset(probe, states, seed, task=""):
    response = probe.call(ResetSim, "sim/reset", ResetSim.Request(seed=seed, task=task))
    assert response.success, response.message
    wait_for(lambda: states[-1].seed == seed and states[-1].task == response.task, what="the new scene on sim/state")
    return response


def test_both_cameras_arrive_with_their_size_rate_intrinsics_and_growing_stamps(probe, states, contract):
    for name, camera in contract.cameras.items():
        images = probe.collect(Image, camera.topic, SENSOR)
        infos = probe.collect(CameraInfo, camera.topic.replace("image_raw", "camera_info"), SENSOR)
        compressed = probe.collect(CompressedImage, camera.topic + "/compressed", SENSOR)
        wait_for(lambda images=images, infos=infos: len(images) >= 20 and infos, what=f"images of {name}")
        wait_for(lambda compressed=compressed: compressed, what=f"compressed images of {name}")
        stamps = [to_ns(message.header.stamp) for message in images]
        assert all(later > earlier for earlier, later in pairwise(stamps))
        # A busy machine may lose frames, but never send more.
        rate_hz = (len(stamps) - 1) / ((stamps[-1] - stamps[0]) * 1e-9)
        assert 2.0 < rate_hz < 15.5
        assert (images[0].height, images[0].width, images[0].encoding) == (camera.height, camera.width, "rgb8")
        assert infos[0].k[0] == infos[0].k[4] > 100.0
        assert bytes(compressed[0].data[:2]) == b"\xff\xd8"


def test_the_robot_moves_as_told_and_stands_still_when_the_commands_stop(probe, states, contract):
    reset(probe, states, 3, "go_to_kitchen")
    odometry = probe.collect(Odometry, contract.state.odometry_topic, SENSOR)
    publisher = probe.publisher(Twist, "cmd_vel")
    command = Twist()
    command.linear.x, command.linear.y = -0.2, 0.3
    timer = probe.node.create_timer(0.05, lambda: publisher.publish(command))

    def as_told():
        speed = odometry[-1].twist.twist.linear if odometry else None
        return speed and (speed.x, speed.y) == (pytest.approx(-0.2, abs=0.05), pytest.approx(0.3, abs=0.05))

    wait_for(as_told, what="the commanded speed")
    assert odometry[-1].header.frame_id == contract.state.odometry_frame
    # Odometry knows nothing of the flat: it begins at zero where the robot was switched on.
    assert math.hypot(odometry[0].pose.pose.position.x, odometry[0].pose.pose.position.y) < 0.1
    assert math.hypot(states[-1].x, states[-1].y) > 0.3
    timer.cancel()
    silent_since = len(odometry)
    wait_for(lambda: odometry[-1].twist.twist.linear.y < 0.01, what="standing still")
    moving = [to_ns(m.header.stamp) for m in odometry[silent_since:] if m.twist.twist.linear.y > 0.1]
    assert np.ptp(moving or [0]) * 1e-9 < 2.0


def test_commands_that_are_not_numbers_do_not_move_it(probe, states):
    reset(probe, states, 5, "go_to_kitchen")
    publisher = probe.publisher(Twist, "cmd_vel")
    before = (states[-1].x, states[-1].y)
    command = Twist()
    command.linear.x = math.nan
    publisher.publish(command)
    # A finite command behind it proves that the other one has been handled.
    command = Twist()
    command.linear.y = 0.01
    publisher.publish(command)
    wait_for(lambda: states[-1].y != before[1], what="the finite command")
    assert states[-1].x == pytest.approx(before[0], abs=1e-6)


def test_the_gripper_follows_its_command_and_closes_on_air(probe, states, contract):
    reset(probe, states, 3, "go_to_kitchen")
    gripper = probe.collect(GripperState, contract.state.gripper_topic, SENSOR)
    publisher = probe.publisher(GripperCommand, "gripper/command")
    publisher.publish(GripperCommand(position=1.0))
    wait_for(lambda: gripper and gripper[-1].position > 0.95, what="a closed gripper")
    assert not gripper[-1].holding
    assert states[-1].grip == "empty" and states[-1].closings == 1


def test_without_a_gripper_in_the_contract_no_gripper_state_is_published(domain, probe, contract_path, tmp_path):
    bare = {"contract": str(changed_contract(tmp_path, contract_path, gripper="none"))}
    with NodeProcess("mobile_vla_sim", "sim_node", bare, namespace="/bare") as node:
        grippers = probe.collect(GripperState, "/bare/gripper/state", SENSOR)
        states = probe.collect(SimState, "/bare/sim/state", SENSOR)
        wait_for(lambda: probe.node.count_publishers("/bare/gripper/state"), what="the topic")
        # Each is published after the state of the gripper.
        wait_for(lambda: len(states) > 20, what="sim/state")
        assert not grippers, node.output


def test_a_robot_that_is_to_place_something_starts_with_it_in_its_gripper(probe, states, contract):
    gripper = probe.collect(GripperState, contract.state.gripper_topic, SENSOR)
    response = reset(probe, states, 3, "place_object")
    held = json.loads(response.environment)["object"]
    assert states[-1].held == held
    wait_for(lambda: gripper[-1].holding, what="a held object")
    assert 0.6 < gripper[-1].position < 0.95
    # A gate repeats its last command, here one from the scene before; only another one moves the gripper.
    publisher = probe.publisher(GripperCommand, "gripper/command")
    publisher.publish(GripperCommand(position=0.0))
    wait_for(lambda: not states[-1].held, what="an opened gripper")
    reset(probe, states, 4, "place_object")
    publisher.publish(GripperCommand(position=0.0))
    publisher.publish(GripperCommand(position=0.9))
    publisher.publish(GripperCommand(position=0.1))
    wait_for(lambda: not states[-1].held, what="an opened gripper")
    reset(probe, states, 5, "place_object")
    for _ in range(20):
        publisher.publish(GripperCommand(position=0.1))
    count = len(states)
    wait_for(lambda: len(states) > count + 20, what="half a second")
    assert states[-1].held


def test_a_reset_is_reproducible_and_an_unknown_task_is_refused(probe, states, plan):
    first = reset(probe, states, 42, "go_to_bedroom")
    pose = (states[-1].x, states[-1].y)
    assignment = draw(42, ["go_to_bedroom"], plan)[0]
    assert (states[-1].goal_x, states[-1].goal_y) == pytest.approx(assignment.scene.room_points["bedroom"])
    count = states[-1].reset_count
    reset(probe, states, 43)
    again = reset(probe, states, 42, "go_to_bedroom")
    assert (states[-1].x, states[-1].y) == pytest.approx(pose, abs=1e-6)
    assert states[-1].reset_count == count + 2
    assert (first.language, first.environment) == (again.language, again.environment)
    assert json.loads(first.environment)["room"] == "bedroom"
    refused = probe.call(ResetSim, "sim/reset", ResetSim.Request(seed=1, task="fly"))
    assert not refused.success and refused.error_code == ResetSim.Response.INVALID_REQUEST
    assert "the catalogue has go_to_kitchen" in refused.message


def test_tasks_share_a_scene_and_those_that_exclude_each_other_are_refused(probe, states):
    poses, said = [], []
    for place in (0, 1):
        request = ResetSim.Request(seed=9, tasks=["pick_up_object", "go_to_kitchen"], place=place)
        response = probe.call(ResetSim, "sim/reset", request)
        assert response.success, response.message
        wait_for(lambda response=response: states[-1].task == response.task, what="the task on sim/state")
        poses.append((states[-1].x, states[-1].y))
        said.append(response.language)
    assert poses[0] == pytest.approx(poses[1], abs=1e-6) and said[0] != said[1]
    request = ResetSim.Request(seed=9, tasks=["open_drawer", "close_drawer"])
    refused = probe.call(ResetSim, "sim/reset", request)
    assert not refused.success and "cannot be done in one scene" in refused.message


def test_the_expert_records_one_scene_under_two_instructions(probe, states, sim, contract_path, tmp_path):
    parameters = {"contract": str(contract_path)}
    recording = {**parameters, "dataset": str(tmp_path), "autostart": True}
    demonstrating = {**parameters, "episodes": 2, "seed": 5, "tasks": "pick_up_object"}
    with (
        NodeProcess("mobile_vla_control", "command_gate_node", parameters),
        NodeProcess("mobile_vla_collect", "recorder_node", recording) as recorder,
        NodeProcess("mobile_vla_sim", "expert_node", demonstrating) as expert,
    ):
        assert expert.wait(180.0) == 0, expert.output + recorder.output
    # On a busy machine an episode may be repeated because of dropped ticks; every one in the folder is a success.
    said, seeds = set(), set()
    for path in Dataset.open(tmp_path).episode_paths:
        with Episode.open(path) as episode:
            assert 40 <= episode.num_steps <= 100
            assert (episode.metadata.source, episode.outcome) == ("expert", "success")
            assert gripper(episode.states)[0] < 0.05 and 0.6 < gripper(episode.states)[-1] < 0.95
            assert list(np.unique(gripper(episode.actions))) == [0.0, 1.0]
            said.add(episode.metadata.environment["object"])
            seeds.add(episode.metadata.environment["scene_seed"])
    assert len(said) >= 2 or len(seeds) >= 2


def test_the_expert_says_that_the_robot_is_stopped_and_demonstrates_once_it_is_resumed(
    probe, states, sim, contract_path, tmp_path
):
    parameters = {"contract": str(contract_path)}
    recording = {**parameters, "dataset": str(tmp_path), "autostart": True}
    with (
        NodeProcess("mobile_vla_control", "command_gate_node", parameters),
        NodeProcess("mobile_vla_collect", "recorder_node", recording),
    ):
        assert probe.call(Trigger, "gate/stop").success
        with NodeProcess("mobile_vla_sim", "expert_node", {**parameters, "wait_s": 6.0}) as expert:
            assert expert.wait() == 1
        assert "the robot has stayed stopped for 6 s: gate/stop was called" in expert.output
        recorder = probe.collect(RecorderStatus, "recorder/status", LATCHED)
        with NodeProcess("mobile_vla_sim", "expert_node", parameters) as expert:
            said = "call: ros2 service call /gate/resume std_srvs/srv/Trigger"
            wait_for(lambda: said in expert.output or expert.process.poll() is not None, what="how to resume")
            assert probe.call(Trigger, "gate/resume").success
            wait_for(lambda: recorder and recorder[-1].state == RecorderStatus.STATE_RECORDING, what="an episode")


def test_trials_name_what_is_missing_and_exit_with_1(domain, contract_path):
    parameters = {"contract": str(contract_path), "wait_s": 0.5}
    with NodeProcess("mobile_vla_sim", "trial_node", parameters, namespace="/alone") as trials:
        assert trials.wait() == 1
    assert "waited 0.5 s for service sim/reset; start sim_node" in trials.output


@pytest.mark.parametrize("parameter", ["output", "record"])
def test_trials_refuse_a_file_that_cannot_be_written_before_the_first_one(domain, contract_path, tmp_path, parameter):
    (tmp_path / "file").touch()
    parameters = {"contract": str(contract_path), parameter: str(tmp_path / "file" / "trials" / "result.gif")}
    with NodeProcess("mobile_vla_sim", "trial_node", parameters, namespace="/alone") as trials:
        assert trials.wait() == 1
    assert f"error: trial_node: {tmp_path}/file/trials: not a directory; a part of the path is a file" in trials.output
    assert "Traceback" not in trials.output


def test_the_simulator_names_a_wrong_task_and_ends_cleanly_on_a_signal(domain, contract_path):
    wrong = {"contract": str(contract_path), "task": "fly"}
    with NodeProcess("mobile_vla_sim", "sim_node", wrong, namespace="/wrong") as node:
        assert node.wait() == 1
    assert "parameter 'task': unknown task 'fly'" in node.output
    with NodeProcess("mobile_vla_sim", "sim_node", {"contract": str(contract_path)}, namespace="/short") as node:
        with Probe("listener") as listener:
            states = listener.collect(SimState, "/short/sim/state", SENSOR)
            wait_for(lambda: states, what="sim/state")
        assert node.stop() == 0, node.output
