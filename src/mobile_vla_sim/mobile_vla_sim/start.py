"""Entry points of this package; each names a missing Python module in one line."""

from mobile_vla_data.start import entry

sim = entry("mobile_vla_sim.cli")
sim_node = entry("mobile_vla_sim.nodes.sim_node")
expert_node = entry("mobile_vla_sim.nodes.expert_node")
trial_node = entry("mobile_vla_sim.nodes.trial_node")
