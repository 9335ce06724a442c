"""Entry points of this package; each names a missing Python module in one line."""

from mobile_vla_data.start import entry

policy = entry("mobile_vla_policy.cli", ("torch", "transformers", "peft", "accelerate", "safetensors"))
policy_node = entry("mobile_vla_policy.node.policy_node", ("transformers", "peft", "safetensors"))
