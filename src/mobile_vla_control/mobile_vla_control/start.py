"""Entry points of this package; each names a missing Python module in one line."""

from mobile_vla_data.start import entry

command_gate_node = entry("mobile_vla_control.command_gate_node")
gripper_adapter_node = entry("mobile_vla_control.gripper_adapter_node")
