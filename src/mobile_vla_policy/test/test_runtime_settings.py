"""Values of the policy node's parameters."""

from pathlib import Path

import pytest

from mobile_vla_policy.runtime.settings import clean


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("hf:user/name", "hf:user/name"),
        ("models/flat", str(Path.cwd() / "models/flat")),
        ("~/flat", str(Path.home() / "flat")),
        ("~nobody_of_this_name/flat", str(Path.cwd() / "~nobody_of_this_name/flat")),
    ],
)
def test_the_path_of_a_checkpoint_is_absolute(given: str, kept: str) -> None:
    assert clean("checkpoint", given) == kept
