"""JPEG through libjpeg-turbo (simplejpeg) where it is installed, else through OpenCV: RGB in, RGB out."""

from __future__ import annotations

import cv2
import numpy as np

from mobile_vla_data.image import Image, ImageError

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

#: First and last bytes of a whole JPEG.
BEGINS, ENDS = b"\xff\xd8", b"\xff\xd9"


def encode(image: Image, quality: int) -> bytes:
    """Encode RGB uint8 ``[h, w, 3]``; ``quality`` 1 .. 100.

    Chroma is halved (4:2:0), as in what cameras and video streams deliver: that takes half the time of whole chroma and
    three quarters of the room, and keeps the outlines, which are in the luma, as they are.
    """
    image = np.ascontiguousarray(image)
    if simplejpeg is not None:
        return bytes(simplejpeg.encode_jpeg(image, quality=quality, colorspace="RGB", colorsubsampling="420"))
    # OpenCV halves the chroma unless told otherwise.
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"OpenCV could not encode an image of shape {image.shape}")
    return data.tobytes()


def decode(data: bytes) -> Image:
    """Decode to RGB uint8 ``[h, w, 3]``.

    Raises:
        ImageError: the bytes are not a JPEG.
    """
    if simplejpeg is not None:
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB"), dtype=np.uint8)
        except ValueError as error:
            raise ImageError(f"not a JPEG ({len(data)} bytes): {error}") from None
    # OpenCV would also decode a PNG.
    image = decode_any(data) if data.startswith(BEGINS) else None
    if image is None:
        raise ImageError(f"not a JPEG ({len(data)} bytes)")
    return image


def decode_any(data: bytes) -> Image | None:
    """Decode any format of OpenCV to RGB uint8 ``[h, w, 3]``; None if the bytes are not an image."""
    bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if bgr is None else np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode_into(data: bytes, out: Image) -> bool:
    """Decode to RGB into ``out``, contiguous uint8 ``[h, w, 3]``; False, without touching it, if the size is another.

    A third faster than :func:`decode`: no memory is asked for, and nothing is copied.

    Raises:
        ImageError: the bytes are not a JPEG.
    """
    if simplejpeg is None:
        image = decode(data)
        fits = image.shape == out.shape
        if fits:
            out[...] = image
        return fits
    try:
        if simplejpeg.decode_jpeg_header(data)[:2] != out.shape[:2]:
            return False
        simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out)
    except ValueError as error:
        raise ImageError(f"not a JPEG ({len(data)} bytes): {error}") from None
    return True


def size(data: bytes) -> tuple[int, int]:
    """Height and width of a JPEG [px]. Raises :class:`ImageError`."""
    if simplejpeg is None:
        height, width = decode(data).shape[:2]
        return height, width
    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
    except ValueError as error:
        raise ImageError(f"not a JPEG ({len(data)} bytes): {error}") from None
    return int(height), int(width)


def decode_thumbnail(data: bytes) -> Image:
    """Decode to grey uint8 ``[h / 8, w / 8, 1]``: half the time of :func:`decode`, and all bytes are looked at.

    Raises:
        ImageError: the bytes are not a complete JPEG.
    """
    if not data.endswith(ENDS):
        raise ImageError(f"JPEG of {len(data)} bytes is cut off")
    if simplejpeg is not None:
        try:
            small = simplejpeg.decode_jpeg(data, colorspace="GRAY", fastdct=True, min_height=1, min_width=1)
        except ValueError as error:
            raise ImageError(f"not a complete JPEG ({len(data)} bytes): {error}") from None
        return np.asarray(small, dtype=np.uint8)
    grey = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if grey is None:
        raise ImageError(f"not a complete JPEG ({len(data)} bytes)")
    return np.asarray(grey, dtype=np.uint8)[..., None]
