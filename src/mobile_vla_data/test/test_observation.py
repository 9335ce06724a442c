from __future__ import annotations

import re

import numpy as np
import pytest

from mobile_vla_data.episode import jpeg
from mobile_vla_data.observation import ObservationBuilder

NOW = 1_790_000_000_000_000_000
MS = 1_000_000


@pytest.fixture
def builder(contract):
    return ObservationBuilder(contract)


def put_all(builder, now, lag_ms=10, shade=50):
    pixels = np.full((224, 224, 3), shade, np.uint8).tobytes()
    stamp = now - lag_ms * MS
    assert builder.put_image("static", stamp, now, pixels, "rgb8", 224, 224, 672)
    assert builder.put_odometry(stamp, now, 1.5, -2.0, "odom")
    assert builder.put_gripper(stamp, now, 1.0)


def counters(builder, name):
    return next(stream.counters for stream in builder.streams if stream.name == name)


def test_an_observation_holds_the_newest_of_each_stream_with_its_capture_time(builder):
    put_all(builder, NOW, shade=1)
    put_all(builder, NOW + 30 * MS, shade=2)
    seen = builder.snapshot(NOW + 40 * MS)
    assert seen is not None and seen.images["static"][0, 0, 0] == 2 and list(seen.images) == ["static"]
    assert seen.state.tolist() == [1.5, -2.0, 1.0] and seen.state.dtype == np.float32
    assert seen.stamps_ns == dict.fromkeys(("static", "odom", "gripper_state"), NOW + 20 * MS)


def test_an_optional_camera_may_be_silent(builder):
    put_all(builder, NOW)
    assert "gripper" not in builder.snapshot(NOW).images and builder.problems(NOW) == []
    assert counters(builder, "gripper").missing == 1


def test_an_optional_camera_that_fell_silent_is_kept_and_called_stale(builder):
    builder.put_image("gripper", NOW, NOW, bytes(224 * 672), "rgb8", 224, 224, 672)
    put_all(builder, NOW + 1000 * MS)
    seen = builder.snapshot(NOW + 1000 * MS)
    assert seen.stale == ("gripper",) and "gripper" in seen.images


def test_without_a_required_stream_there_is_no_observation_and_the_reason_names_the_topic(builder):
    assert builder.snapshot(NOW) is None
    assert builder.problems(NOW)[0] == "nothing has arrived on 'static_camera/image_raw'"
    put_all(builder, NOW)
    assert builder.snapshot(NOW + 250 * MS) is None
    assert (
        "'static_camera/image_raw' is silent: newest message 0.3 s old, limit 0.2 s"
        in builder.problems(NOW + 250 * MS)[0]
    )
    assert counters(builder, "static").late == 1


def test_a_message_used_twice_counts_as_repeated(builder):
    put_all(builder, NOW)
    builder.snapshot(NOW)
    builder.snapshot(NOW + 50 * MS)
    assert counters(builder, "static").repeated == 1


@pytest.mark.parametrize(
    ("refuse", "stream", "words"),
    [
        (lambda b: b.put_image("static", NOW, NOW, b"", "yuv", 2, 2, 2), "static", "encoding 'yuv' is not supported"),
        (lambda b: b.put_image("static", 0, NOW, bytes(12), "rgb8", 2, 2, 6), "static", "header.stamp is zero"),
        (lambda b: b.put_odometry(NOW, NOW, float("nan"), 0.0, "odom"), "odom", "position (nan, 0.0) is not finite"),
        (lambda b: b.put_odometry(NOW, NOW, 0.0, 0.0, "map"), "odom", "frame_id is 'map', the contract says 'odom'"),
        (lambda b: b.put_gripper(NOW, NOW, 7.0), "gripper_state", "position 7.0 is outside 0 (open) .. 1 (closed)"),
        (lambda b: b.put_gripper(NOW + 2000 * MS, NOW, 0.0), "gripper_state", "2.00 s in the future"),
    ],
)
def test_a_message_that_cannot_be_used_is_counted_with_its_reason(builder, refuse, stream, words):
    assert refuse(builder) is False
    assert counters(builder, stream).refused == 1 and words in counters(builder, stream).last_refusal


def test_a_stamp_that_goes_backwards_is_refused(builder):
    assert builder.put_gripper(NOW, NOW, 0.0)
    assert not builder.put_gripper(NOW - 100 * MS, NOW + 10 * MS, 1.0)
    assert "went backwards by 0.100 s" in counters(builder, "gripper_state").last_refusal


def test_after_the_clock_was_set_back_messages_are_accepted_again(builder):
    assert builder.put_gripper(NOW, NOW, 0.0)
    assert builder.put_gripper(NOW - 3600 * 1000 * MS, NOW - 3600 * 1000 * MS, 1.0)


def test_a_namespaced_frame_is_the_contracts_frame(builder):
    assert builder.put_odometry(NOW, NOW, 0.0, 0.0, "robot1/odom")


def test_images_of_another_size_are_fitted(builder):
    put_all(builder, NOW)
    builder.put_image("static", NOW + MS, NOW + MS, bytes(480 * 640 * 3), "bgr8", 480, 640, 1920)
    assert builder.snapshot(NOW + MS).images["static"].shape == (224, 224, 3)


def test_forgetting_makes_every_stream_new(builder):
    put_all(builder, NOW)
    builder.clear()
    assert builder.snapshot(NOW) is None
    builder.reset_counters()
    assert counters(builder, "static").missing == 0


def test_rates_are_measured_over_two_seconds(builder):
    for index in range(60):
        builder.put_gripper(NOW + index * 100 * MS, NOW + index * 100 * MS, 0.0)
    stream = next(stream for stream in builder.streams if stream.name == "gripper_state")
    assert stream.rate_hz(NOW + 5900 * MS) == pytest.approx(10.0, abs=0.6)


def test_a_jpeg_becomes_the_image_that_its_pixels_would_and_what_is_none_is_refused(contract):
    builder, picture = ObservationBuilder(contract), np.full((48, 64, 3), 90, np.uint8)
    picture[:, 32:] = 200
    data = jpeg.encode(picture, 95)
    assert builder.put_jpeg("static", NOW, NOW, data)
    other = ObservationBuilder(contract)
    pixels = jpeg.decode(data)
    assert other.put_image("static", NOW, NOW, pixels.data, "rgb8", 48, 64, 192)
    for each in (builder, other):
        each.put_odometry(NOW, NOW, 0.0, 0.0, "odom")
        each.put_gripper(NOW, NOW, 0.0)
    first, second = builder.snapshot(NOW), other.snapshot(NOW)
    assert first.images["static"].tobytes() == second.images["static"].tobytes()
    assert not builder.put_jpeg("static", NOW + MS, NOW + MS, b"no picture")
    assert "not a JPEG (10 bytes)" in builder.streams[0].counters.last_refusal


def test_a_stream_that_is_silent_since_the_clock_was_set_back_is_not_taken_for_fresh(builder):
    put_all(builder, NOW)
    earlier = NOW - 3_600_000 * MS
    assert builder.snapshot(earlier) is None
    assert "'static_camera/image_raw' has sent nothing since the clock was set back" in builder.problems(earlier)[0]


def send_odometry(builder, arrival_ns, offset_s, rate_hz=30):
    """Three seconds of odometry, the newest at ``arrival_ns``, with stamps that are off by ``offset_s``."""
    count = 3 * rate_hz
    for index in range(count):
        at_ns = arrival_ns - round((count - 1 - index) * 1e9 / rate_hz)
        builder.put_odometry(at_ns + round(offset_s * 1e9), at_ns, 0.0, 0.0, "odom")


@pytest.mark.parametrize(("behind_s", "rate_hz"), [(0.5, 30), (7200.0, 30), (1_795_907_507.8, 50), (7200.0, 2)])
def test_a_clock_that_is_behind_is_not_called_silence(builder, behind_s, rate_hz):
    now_ns = 2 * NOW
    send_odometry(builder, now_ns - 100 * MS, -behind_s, rate_hz=rate_hz)
    (why,) = [line for line in builder.problems(now_ns) if "odom" in line]
    assert f"stamps on 'odom' are {behind_s:.1f} s behind this machine's clock, limit 0.2 s" in why
    rate = re.search(r"though (\d+) messages/s arrive; synchronise the clocks", why)
    assert rate and float(rate[1]) == pytest.approx(rate_hz, abs=2) and "silent" not in why


def test_a_clock_that_is_ahead_is_named_and_not_called_silence_either(builder):
    send_odometry(builder, NOW, 3600.0)
    (why,) = [line for line in builder.problems(NOW) if "odom" in line]
    assert why == ("messages on 'odom' are refused: stamp is 3600.00 s in the future; synchronise the clocks (chrony)")


def test_a_stream_with_a_wrong_clock_that_ends_is_silent_since_then(builder):
    send_odometry(builder, NOW, -7200.0)
    (why,) = [line for line in builder.problems(NOW + 5_000 * MS) if "odom" in line]
    assert why == "'odom' is silent: newest message 5.0 s old, limit 0.2 s"


@pytest.mark.parametrize("later_ms", [2_100, 60_000])
def test_the_reason_of_an_earlier_fault_does_not_stay_attached(builder, later_ms):
    builder.put_odometry(NOW - 100 * MS, NOW - 100 * MS, 0.0, 0.0, "odom")
    builder.put_odometry(NOW, NOW, 0.0, 0.0, "map")
    (why,) = [line for line in builder.problems(NOW + 200 * MS) if "odom" in line]
    assert why == "messages on 'odom' are refused: frame_id is 'map', the contract says 'odom'"
    (why,) = [line for line in builder.problems(NOW + later_ms * MS) if "odom" in line]
    assert "'odom' is silent" in why and "map" not in why
    # A good message in between: what follows is silence, too.
    again_ns = NOW + 100_000 * MS
    builder.put_odometry(again_ns - MS, again_ns - MS, 0.0, 0.0, "map")
    builder.put_odometry(again_ns, again_ns, 0.0, 0.0, "odom")
    assert not [line for line in builder.problems(again_ns) if "odom" in line]
    (why,) = [line for line in builder.problems(again_ns + 500 * MS) if "odom" in line]
    assert why == "'odom' is silent: newest message 0.5 s old, limit 0.2 s"


def test_a_refusal_is_still_named_right_after_the_counters_were_reset(builder):
    builder.put_odometry(NOW, NOW, 0.0, 0.0, "map")
    builder.reset_counters()
    (why,) = [line for line in builder.problems(NOW) if "odom" in line]
    assert "frame_id is 'map'" in why
