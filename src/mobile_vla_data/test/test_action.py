from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mobile_vla_data.action import (
    ACTION,
    DELTA_YAW,
    STANDS_M,
    ActionCodec,
    CommandIntegrator,
    Velocity,
    displacement,
    gripper,
    motion,
    motion_columns,
    motion_names,
    position,
    yaw,
)
from mobile_vla_data.contract import Contract

PERIOD_NS = 100_000_000
METRES = st.floats(-0.08, 0.08)


@pytest.fixture(scope="session")
def differential(contract):
    return Contract.from_json(contract.to_json().replace('"holonomic"', '"differential"'))


@given(x=METRES, y=METRES)
def test_a_delta_survives_the_way_to_a_velocity_and_back(contract, differential, x, y):
    for robot in (contract, differential):
        if robot.base == "differential":
            assume(abs(x) > 1e-4 and math.hypot(x, y) >= STANDS_M)
        codec = ActionCodec(robot)
        assert codec.to_delta(codec.to_velocity(x, y)) == pytest.approx((x, y), abs=1e-7)


@given(x=METRES, y=METRES)
def test_a_differential_base_never_strafes_and_ends_where_the_arc_ends(differential, x, y):
    velocity = ActionCodec(differential).to_velocity(x, y)
    assert velocity.y == 0.0 and abs(velocity.yaw_rate) * 0.1 <= math.pi + 1e-9
    position, heading, parts = np.zeros(2), 0.0, 2000
    for _ in range(parts):  # drive it in small steps, as odometry does
        heading += velocity.yaw_rate * 0.1 / parts / 2
        position += velocity.x * 0.1 / parts * np.array([math.cos(heading), math.sin(heading)])
        heading += velocity.yaw_rate * 0.1 / parts / 2
    reached = (x, y) if math.hypot(x, y) >= STANDS_M else (0.0, 0.0)
    np.testing.assert_allclose(position, reached, atol=1e-5)


def test_noise_about_standing_still_does_not_turn_a_differential_base(differential):
    for x, y in ((3e-4, 5e-4), (-3e-4, 5e-4), (0.0, -9e-4), (0.0, 0.0)):
        assert ActionCodec(differential).to_velocity(x, y) == Velocity()
    assert ActionCodec(differential).to_velocity(1.1e-3, 0.0).x == pytest.approx(0.011)


def test_velocity_is_delta_over_period(contract):
    assert ActionCodec(contract).to_velocity(0.03, -0.01) == Velocity(pytest.approx(0.3), pytest.approx(-0.1))


def test_velocities_that_are_not_numbers_are_recognised():
    assert Velocity(1, 2, 3).finite and not Velocity(math.nan).finite and not Velocity(0, 0, math.inf).finite


def test_the_action_is_the_integral_of_the_commands_in_its_period(contract):
    integrator = CommandIntegrator(contract)
    integrator.reset(0, gripper_closed=False)
    integrator.command_velocity(0, Velocity(0.4, 0.0))
    integrator.command_velocity(PERIOD_NS // 4, Velocity(0.0, 0.2))
    np.testing.assert_allclose(integrator.close(PERIOD_NS), [0.01, 0.015, 0.0], atol=1e-8)
    # The last command holds into the next period.
    np.testing.assert_allclose(integrator.close(2 * PERIOD_NS), [0.0, 0.02, 0.0], atol=1e-8)


def test_a_late_tick_does_not_record_a_longer_stride(contract):
    integrator = CommandIntegrator(contract)
    integrator.reset(0, gripper_closed=False, velocity=Velocity(0.5, 0.0))
    np.testing.assert_allclose(integrator.close(3 * PERIOD_NS), [0.05, 0.0, 0.0], atol=1e-8)


def test_a_clock_that_jumps_back_does_not_produce_negative_time(contract):
    integrator = CommandIntegrator(contract)
    integrator.reset(10 * PERIOD_NS, gripper_closed=False, velocity=Velocity(0.5, 0.0))
    integrator.command_velocity(9 * PERIOD_NS, Velocity(0.1, 0.0))
    assert integrator.close(11 * PERIOD_NS)[0] == pytest.approx(0.01)
    assert np.isfinite(integrator.close(11 * PERIOD_NS)).all()


def test_the_gripper_holds_its_last_command(contract):
    integrator = CommandIntegrator(contract)
    integrator.reset(0, gripper_closed=True)
    assert integrator.close(PERIOD_NS)[2] == 1.0
    integrator.command_gripper(0.5)
    assert integrator.close(2 * PERIOD_NS)[2] == 1.0
    integrator.command_gripper(0.1)
    assert integrator.close(3 * PERIOD_NS)[2] == 0.0


@given(speeds=st.lists(st.tuples(st.floats(-0.8, 0.8), st.integers(1, 50)), min_size=1, max_size=20))
def test_the_actions_of_a_drive_sum_to_its_path(contract, speeds):
    integrator = CommandIntegrator(contract)
    integrator.reset(0, gripper_closed=False)
    now, path, total, next_tick = 0, 0.0, 0.0, PERIOD_NS
    for speed, hold_ms in speeds:
        integrator.command_velocity(now, Velocity(speed, 0.0))
        end = now + hold_ms * 1_000_000
        path += speed * (end - now) * 1e-9
        while next_tick <= end:
            total += float(integrator.close(next_tick)[0])
            next_tick += PERIOD_NS
        now = end
    integrator.command_velocity(now, Velocity())
    total += float(integrator.close(next_tick)[0])
    assert total == pytest.approx(path, abs=1e-5)


@pytest.fixture(scope="session")
def turning(differential):
    return Contract.from_json(differential.to_json().replace('"yaw":false', '"yaw":true'))


@given(x=st.floats(-0.8, 0.8), rate=st.floats(-1.5, 1.5))
def test_every_velocity_of_a_differential_base_survives_an_action_with_delta_yaw(turning, x, rate):
    codec = ActionCodec(turning)
    action = codec.to_action(Velocity(x, 0.0, rate), gripper_closed=True)
    assert action.shape == (4,) and gripper(action) == 1.0
    back = codec.to_velocity(*motion(action).tolist())
    assert (back.x, back.y, back.yaw_rate) == pytest.approx((x, 0.0, rate), abs=1e-5)
    assert codec.lost_yaw_rad(Velocity(x, 0.0, rate)) == 0.0


def test_a_prediction_of_a_turn_that_no_base_can_drive_gives_a_finite_velocity(turning):
    for turn in (2 * math.pi, -2 * math.pi, 100.0):
        velocity = ActionCodec(turning).to_velocity(0.05, 0.02, turn)
        assert velocity.finite and abs(velocity.x) < 2.0


def test_a_turn_on_the_spot_is_in_the_action_where_the_contract_has_delta_yaw(contract, turning):
    holonomic = Contract.from_json(contract.to_json().replace('"yaw":false', '"yaw":true'))
    for robot in (turning, holonomic):
        integrator = CommandIntegrator(robot)
        integrator.reset(0, gripper_closed=False)
        integrator.command_velocity(0, Velocity(0.0, 0.0, 0.8))
        np.testing.assert_allclose(integrator.close(PERIOD_NS), [0.0, 0.0, 0.0, 0.08], atol=1e-7)
        assert integrator.lost_yaw_rad == 0.0


def test_commanded_turning_that_no_action_carries_is_counted(contract, differential):
    for robot in (contract, differential):
        integrator = CommandIntegrator(robot)
        integrator.reset(0, gripper_closed=False)
        integrator.command_velocity(0, Velocity(0.0, 0.0, 0.8))
        assert integrator.close(PERIOD_NS).tolist() == [0.0, 0.0, 0.0]
        assert integrator.lost_yaw_rad == pytest.approx(0.08)
        integrator.command_velocity(PERIOD_NS, Velocity(0.0, 0.0, -0.8))
        integrator.close(2 * PERIOD_NS)
        assert integrator.lost_yaw_rad == pytest.approx(0.08)


def test_an_arc_of_a_differential_base_loses_no_turning(differential, contract):
    for x in (0.3, -0.3, 0.02):
        assert ActionCodec(differential).lost_yaw_rad(Velocity(x, 0.0, 0.8)) == pytest.approx(0.0, abs=1e-9)
    # Slower than a policy's noise it stands still, and turns not at all when it is driven by the action.
    assert ActionCodec(differential).lost_yaw_rad(Velocity(0.005, 0.0, 0.8)) == pytest.approx(0.08)
    assert ActionCodec(contract).lost_yaw_rad(Velocity(0.3, 0.1, 0.8)) == pytest.approx(0.08)


def test_columns_are_named_for_arrays_and_tensors_of_either_width():
    for width in (3, 4):
        actions = np.arange(2 * 5 * width).reshape(2, 5, width)
        assert displacement(actions).tolist() == actions[..., 0:2].tolist()
        assert gripper(actions).tolist() == actions[..., 2].tolist()
        assert motion(actions).shape == (2, 5, width - 1) and motion_columns(width) == (0, 1, 3)[: width - 1]
    assert motion(actions)[0, 0].tolist() == [0, 1, 3] and yaw(actions)[0, 0] == 3 and yaw(actions[..., :3]) is None
    assert motion_names((*ACTION, DELTA_YAW)) == ("delta_x", "delta_y", "delta_yaw")
    torch = pytest.importorskip("torch")
    tensor = torch.as_tensor(actions)
    assert torch.equal(motion(tensor)[1, 1], torch.tensor([24, 25, 27])) and torch.equal(yaw(tensor), tensor[..., 3])
    assert position(tensor).data_ptr() == tensor.data_ptr()
