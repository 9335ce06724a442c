"""The calibration of an image that was resized."""

import numpy as np
import pytest

from mobile_vla_collect.camera.calibration import Calibration
from mobile_vla_data.contract import CameraContract
from mobile_vla_data.image import fit


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(8, 11), (11, 8), (8, 5), (7, 12), (12, 7), (8, 8)])
def test_the_principal_point_stays_on_the_pixel_that_it_was_on(resize, size):
    camera = CameraContract(topic="t", required=True, height=8, width=8, resize=resize, max_age_s=1.0)
    height, width = size
    # Brightness grows by 20 with each column in red, with each row in green.
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0], image[:, :, 1] = 20 * np.arange(width), 20 * np.arange(height)[:, None]
    x, y = (width - 1) / 2, (height - 1) / 2
    k = np.array([[9.0, 0, x], [0, 9.0, y], [0, 0, 1]])
    before = Calibration(width, height, "plumb_bob", (0.0,) * 5, k, np.eye(3), np.hstack([k, np.zeros((3, 1))]))
    after = before.fitted(camera)
    fitted = fit(image, camera)
    assert np.interp(after.k[0, 2], range(8), fitted[4, :, 0]) == pytest.approx(20 * x, abs=1)
    assert np.interp(after.k[1, 2], range(8), fitted[:, 4, 1]) == pytest.approx(20 * y, abs=1)
    assert (after.k == after.p[:, :3]).all()
