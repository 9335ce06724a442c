from __future__ import annotations

from geometry_msgs.msg import Twist

from mobile_vla_msgs.action import ExecuteInstruction
from mobile_vla_ros.graph import type_name


def test_types_of_topics_and_of_actions_are_named_as_the_graph_names_them() -> None:
    # Otherwise every subscriber of an action's feedback was reported as one of a wrong type.
    assert type_name(Twist) == "geometry_msgs/msg/Twist"
    feedback = ExecuteInstruction.Impl.FeedbackMessage
    assert type_name(feedback) == "mobile_vla_msgs/action/ExecuteInstruction_FeedbackMessage"
