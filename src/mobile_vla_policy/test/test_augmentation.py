"""Random changes of the images: one draw an episode, and left stays left."""

import pytest
import torch

from mobile_vla_policy.training.augment import augment
from mobile_vla_policy.training.settings import AugmentSettings

STRONG = AugmentSettings(shift=0.25, brightness=0.3, contrast=0.3, saturation=0.3)
SIDE = 32


def changed(images: torch.Tensor, windows: list[int], seed: int, settings: AugmentSettings = STRONG) -> torch.Tensor:
    return augment(images, torch.tensor(windows), settings, torch.Generator().manual_seed(seed))[0]


def test_all_frames_and_cameras_of_a_window_change_alike_and_windows_differ() -> None:
    one = torch.rand(1, 1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    # Five frames of two windows, two cameras, all the same picture.
    result = changed(one.expand(5, 2, 3, SIDE, SIDE), [0, 0, 0, 1, 1], seed=1)
    first, second = result[0, 0], result[3, 0]
    assert all(torch.equal(result[frame, camera], first) for frame in range(3) for camera in range(2))
    assert all(torch.equal(result[frame, camera], second) for frame in (3, 4) for camera in range(2))
    assert (first - second).abs().mean() > 0.01
    assert (first - one[0, 0]).abs().mean() > 0.01


def test_the_draw_depends_on_the_generator_alone() -> None:
    images = torch.rand(2, 1, 3, SIDE, SIDE)
    torch.manual_seed(5)
    before = changed(images, [0, 1], seed=3)
    torch.manual_seed(6)
    assert torch.equal(before, changed(images, [0, 1], seed=3))
    assert not torch.equal(before, changed(images, [0, 1], seed=4))


def test_no_image_is_ever_mirrored_and_none_is_moved_further_than_allowed() -> None:
    image = torch.zeros(1, 1, 3, SIDE, SIDE)
    image[..., 14:18, 14:16] = 0.5  # darker on the left, brighter on the right of the middle
    image[..., 14:18, 16:18] = 1.0
    moves = set()
    for seed in range(60):
        result = changed(image, [0], seed, AugmentSettings(shift=0.25, brightness=0, contrast=0, saturation=0))
        rows, columns = (result[0, 0, 0] > 0).nonzero().unbind(1)
        assert result[0, 0, 0, rows[0], columns.min()] == 0.5
        assert result[0, 0, 0, rows[0], columns.max()] == 1.0
        assert len(rows) == 16
        moves.add((int(rows.min()) - 14, int(columns.min()) - 14))
    down, right = zip(*moves, strict=True)
    assert len(moves) > 30
    for moved in (down, right):
        assert min(moved) < 0 < max(moved)
        assert max(map(abs, moved)) <= 8


@pytest.mark.parametrize("field", ["shift", "brightness", "contrast", "saturation"])
def test_each_change_is_made_alone_and_off_means_untouched(field: str) -> None:
    off = dict.fromkeys(("shift", "brightness", "contrast", "saturation"), 0.0)
    images = torch.rand(3, 1, 3, SIDE, SIDE)
    assert torch.equal(changed(images, [0, 1, 2], 1, AugmentSettings(**off)), images)
    assert not torch.allclose(changed(images, [0, 1, 2], 1, AugmentSettings(**{**off, field: 0.3})), images, atol=1e-3)
