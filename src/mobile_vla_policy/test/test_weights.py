"""A checkpoint's file is read tensor by tensor: never two copies of a network in memory."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mobile_vla_policy.backbones.kosmos2 import random_kosmos2
from mobile_vla_policy.weights import WeightsFile, leave_file

LARGE = (1024, 4096)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    return {
        "large": torch.rand(LARGE).bfloat16(),
        "odd": torch.rand(3),
        "scalar": torch.tensor(7),
        "nothing": torch.zeros(0, 5),
        "full": torch.rand(LARGE),
    }


@pytest.fixture
def path(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


@pytest.mark.parametrize("view", [False, True])
def test_every_tensor_of_a_file_is_the_one_that_was_saved(
    path: Path, tensors: dict[str, torch.Tensor], view: bool
) -> None:
    file = WeightsFile(path)
    assert file.shapes == {name: tensor.shape for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        found = file.tensor(name, view=view)
        assert found.dtype == tensor.dtype
        assert torch.equal(found, tensor)


def test_writing_to_a_view_does_not_change_the_file(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    WeightsFile(path).tensor("full", view=True).zero_()
    assert torch.equal(WeightsFile(path).tensor("full"), tensors["full"])


def test_a_view_takes_memory_once_it_is_looked_at_and_until_it_is_dropped(tmp_path: Path) -> None:
    size = 256_000_000
    save_file({"large": torch.ones(size, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    file, before = WeightsFile(tmp_path / "model.safetensors"), resident_bytes()
    view = file.tensor("large", view=True)
    unread = resident_bytes() - before
    assert int(view.max()) == 1
    read = resident_bytes() - before
    del view
    assert unread < size // 4 < size // 2 < read
    assert resident_bytes() - before < size // 4


def test_a_network_that_left_its_file_does_not_notice_when_someone_overwrites_it(
    path: Path, tensors: dict[str, torch.Tensor]
) -> None:
    network = nn.Linear(*LARGE[::-1], bias=False)
    network.load_state_dict({"weight": WeightsFile(path).tensor("full", view=True)}, assign=True)
    leave_file(network)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(network.weight, tensors["full"])


def test_full_size_kosmos2_that_is_to_be_filled_draws_no_weights_but_knows_its_positions() -> None:
    model = random_kosmos2(torch.bfloat16, without_weights=True)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1.6e9
    assert all(parameter.is_meta for parameter in model.parameters())
    assert not any(buffer.is_meta for buffer in model.buffers())
