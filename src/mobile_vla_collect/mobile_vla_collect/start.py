"""Entry points of this package; each names a missing Python module in one line."""

from mobile_vla_data.start import entry

camera_node = entry("mobile_vla_collect.camera.camera_node")
joy_teleop_node = entry("mobile_vla_collect.teleop.joy_teleop_node")
keyboard_teleop_node = entry("mobile_vla_collect.teleop.keyboard_teleop_node")
raw_recorder_node = entry("mobile_vla_collect.raw_recorder.raw_recorder_node")
recorder_node = entry("mobile_vla_collect.recorder.recorder_node")
replay_node = entry("mobile_vla_collect.replay.replay_node")
