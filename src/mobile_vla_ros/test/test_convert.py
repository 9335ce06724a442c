"""Messages to values and back."""

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped

from mobile_vla_data.action import Velocity
from mobile_vla_data.image import unpack
from mobile_vla_ros.convert import image_message, to_ns, to_stamp, velocity_message, velocity_of, velocity_type


@pytest.mark.parametrize("time_ns", [0, 1, 999_999_999, 1_700_000_000_123_456_789])
def test_stamps_survive_to_the_nanosecond(time_ns):
    assert to_ns(to_stamp(time_ns)) == time_ns


def test_an_image_survives_to_the_byte_even_from_a_view():
    whole = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    view = whole[::2, ::3, ::-1]
    message = image_message(view, 5, "camera")
    back = unpack(message.data, message.encoding, message.height, message.width, message.step)
    assert back.tobytes() == np.ascontiguousarray(view).tobytes()
    assert (message.header.frame_id, to_ns(message.header.stamp)) == ("camera", 5)


@pytest.mark.parametrize(("stamped", "type_"), [(False, Twist), (True, TwistStamped)])
def test_a_velocity_survives_in_either_type(stamped, type_):
    velocity = Velocity(0.25, -0.5, 1.5)
    message = velocity_message(velocity, stamped=stamped, stamp_ns=7, frame_id="base_link")
    assert isinstance(message, type_) and velocity_type(stamped) is type_
    assert velocity_of(message) == velocity
