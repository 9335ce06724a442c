"""Entry points of this package; each reports in one line what is missing or incompatible."""

from importlib.metadata import PackageNotFoundError, requires, version

from mobile_vla_data.start import entry


def torch_fault() -> str:
    """Return in one line that the installed transformers needs another torch; empty if it does not.

    transformers disables a torch that is too old, and fails only when a model is imported.
    """
    from packaging.requirements import Requirement

    try:
        torch, transformers = version("torch"), version("transformers")
    except PackageNotFoundError:
        return ""  # installed without pip's metadata
    for wanted in map(Requirement, requires("transformers") or []):
        if wanted.name == "torch" and not wanted.specifier.contains(torch, prereleases=True):
            return (
                f"transformers {transformers} needs torch{wanted.specifier}, and torch {torch} is installed; "
                "go back to the tested version: python3 -m pip install transformers -c .venv/constraints.txt"
            )
    return ""


policy = entry(
    "mobile_vla_policy.cli", ("torch", "transformers", "peft", "accelerate", "safetensors"), fault=torch_fault
)
policy_node = entry(
    "mobile_vla_policy.node.policy_node", ("torch", "transformers", "peft", "safetensors"), fault=torch_fault
)
