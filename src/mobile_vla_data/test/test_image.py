from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_vla_data.contract import CameraContract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.image import ImageError, fit, unpack


def camera(height=8, width=8, resize="stretch"):
    return CameraContract(topic="t", required=True, height=height, width=width, resize=resize, max_age_s=1.0)


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4), ("mono8", 1)])
@pytest.mark.parametrize("padding", [0, 5])
def test_every_encoding_becomes_rgb_whatever_the_row_step(encoding, channels, padding):
    pixel = {"rgb8": (10, 20, 30), "bgr8": (30, 20, 10), "rgba8": (10, 20, 30, 9), "bgra8": (30, 20, 10, 9)}
    expected = (10, 20, 30) if encoding != "mono8" else (7, 7, 7)
    row = bytes(pixel.get(encoding, (7,))) * 4 + b"\xee" * padding
    image = unpack(row * 3, encoding, 3, 4, 4 * channels + padding)
    assert image.shape == (3, 4, 3) and image.dtype == np.uint8 and (image == expected).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((b"", "nv24", 2, 2, 4), "encoding 'nv24' is not supported; publish one of rgb8"),
        ((b"", "yuv422", 3, 2, 4), "2x3 yuv422: width and height must be even"),
        ((b"12345", "nv12", 2, 2, 2), "2x2 nv12 with step 2 needs 6 bytes, got 5"),
        ((b"", "rgb8", 2, 2, 5), "needs rows of at least 6 bytes, step is 5"),
        ((b"123", "rgb8", 2, 2, 6), "needs 12 bytes, got 3"),
        ((b"", "rgb8", 0, 2, 6), "0"),
    ],
)
def test_images_that_cannot_be_are_refused_in_one_line(arguments, words):
    with pytest.raises(ImageError) as error:
        unpack(*arguments)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bgra16", "bayer_rggb16", "16UC1", "32FC1"])
def test_more_than_8_bits_are_refused_by_name(encoding):
    with pytest.raises(ImageError, match=f"encoding '{encoding}' is not supported: it has more than 8 bits a value"):
        unpack(b"", encoding, 2, 2, 4)


#: Red, green, blue and an uneven one, with their Y, U, V by ITU-R BT.601 (video range).
COLOURS = [((255, 0, 0), (81, 90, 240)), ((0, 255, 0), (145, 54, 34)), ((0, 0, 255), (41, 240, 110)),
           ((200, 120, 40), (132, 81, 169))]  # fmt: skip


@pytest.mark.parametrize(("rgb", "yuv"), COLOURS)
@pytest.mark.parametrize("encoding", ["yuyv", "yuv422_yuy2", "uyvy", "yuv422", "nv12"])
@pytest.mark.parametrize("padding", [0, 6])
def test_video_encodings_keep_their_colours(encoding, padding, rgb, yuv):
    y, u, v = yuv
    pair = (y, u, y, v) if encoding in ("yuyv", "yuv422_yuy2") else (u, y, v, y)
    rows, row = [bytes(pair) * 4] * 6, 16
    if encoding == "nv12":
        rows, row = [bytes([y]) * 8] * 6 + [bytes([u, v]) * 4] * 3, 8
    image = unpack(b"".join(line + b"\xee" * padding for line in rows), encoding, 6, 8, row + padding)
    assert image.shape == (6, 8, 3)
    assert np.abs(image.astype(int) - rgb).max() <= 3


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("padding", [0, 3])
def test_a_bayer_pattern_gives_the_colours_that_the_scene_has(pattern, padding):
    scene = {"r": 200, "g": 90, "b": 30}
    rows = [[scene[pattern[2 * (row % 2) + column % 2]] for column in range(8)] for row in range(6)]
    data = b"".join(bytes(row) + b"\xee" * padding for row in rows)
    image = unpack(data, f"bayer_{pattern}8", 6, 8, 8 + padding)
    assert (image[2:-2, 2:-2] == (200, 90, 30)).all()


def test_an_image_of_the_right_size_passes_untouched():
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    assert fit(image, camera()) is image


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), resize=st.sampled_from(["stretch", "letterbox", "crop"]),
    out=st.tuples(st.integers(1, 24), st.integers(1, 24)),
)  # fmt: skip
def test_any_size_becomes_the_contracts_size(height, width, resize, out):
    image = np.full((height, width, 3), 99, dtype=np.uint8)
    fitted = fit(image, camera(*out, resize))
    assert fitted.shape == (*out, 3) and fitted.dtype == np.uint8
    assert (fitted == 99).all() or resize == "letterbox"


def test_letterbox_pads_and_crop_keeps_the_centre():
    image = np.zeros((8, 16, 3), dtype=np.uint8)
    image[:, 4:12] = 255
    assert (fit(image, camera(8, 8, "crop")) == 255).all()
    boxed = fit(np.full((8, 16, 3), 255, np.uint8), camera(8, 8, "letterbox"))
    assert (boxed[2:6] == 255).all() and (boxed[:2] == 0).all() and (boxed[6:] == 0).all()


@pytest.fixture
def picture():
    coarse = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (224, 224), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("library", ["simplejpeg", "opencv"])
def test_jpeg_keeps_colours_and_their_order(monkeypatch, picture, library):
    if library == "opencv":
        monkeypatch.setattr(jpeg, "simplejpeg", None)
    elif jpeg.simplejpeg is None:
        pytest.skip("simplejpeg is not installed")
    decoded = jpeg.decode(jpeg.encode(picture, 95))
    assert decoded.shape == (224, 224, 3) and np.abs(decoded.astype(int) - picture).mean() < 6
    for bad in (b"", b"not a jpeg", cv2.imencode(".png", picture)[1].tobytes()):
        with pytest.raises(ImageError, match="not a JPEG"):
            jpeg.decode(bad)


def test_both_libraries_read_what_the_other_wrote(monkeypatch, picture):
    fast = jpeg.encode(picture, 95)
    monkeypatch.setattr(jpeg, "simplejpeg", None)
    slow = jpeg.encode(picture, 95)
    assert np.abs(jpeg.decode(fast).astype(int) - jpeg.decode(slow)).mean() < 1.5
    assert "simplejpeg" in sys.modules or fast == slow
