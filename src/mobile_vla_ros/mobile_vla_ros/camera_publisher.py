"""The only way to publish a camera: images, ``camera_info``, and JPEGs on request."""

from __future__ import annotations

import array
from typing import Any

from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from mobile_vla_data.episode import jpeg
from mobile_vla_data.image import Image
from mobile_vla_ros.convert import image_message, to_stamp
from mobile_vla_ros.qos import SENSOR_OFFERED


class CameraPublisher:
    """Publishes ``topic``, ``camera_info`` in the same namespace, and ``<topic>/compressed`` if wanted.

    Args:
        node: owner of the publishers.
        topic: topic of the images, for example ``static_camera/image_raw``.
        info: intrinsics of the published images; its ``frame_id`` goes into every message.
        jpeg_quality: 1 .. 100 publishes JPEGs, too, while there are subscribers; None does not.
    """

    def __init__(self, node: Any, topic: str, info: CameraInfo, *, jpeg_quality: int | None = None) -> None:
        self._info = info
        self._jpeg_quality = jpeg_quality
        self._images = node.create_publisher(ImageMessage, topic, SENSOR_OFFERED)
        info_topic = "/".join([*topic.split("/")[:-1], "camera_info"])
        self._infos = node.create_publisher(CameraInfo, info_topic, SENSOR_OFFERED)
        self._jpegs = None
        if jpeg_quality is not None:
            self._jpegs = node.create_publisher(CompressedImage, f"{topic}/compressed", SENSOR_OFFERED)

    @property
    def topic(self) -> str:
        """Full name of the topic of the images, after remapping."""
        return str(self._images.topic_name)

    def publish(self, image: Image, stamp_ns: int, encoded: bytes | None = None) -> None:
        """Publish an image, RGB uint8 ``[height, width, 3]``, captured at ``stamp_ns``, on every topic.

        ``encoded`` is a JPEG of it, if there is one already.
        """
        self._images.publish(image_message(image, stamp_ns, self._info.header.frame_id))
        self._info.header.stamp = to_stamp(stamp_ns)
        self._infos.publish(self._info)
        if self._jpegs is not None and self._jpegs.get_subscription_count() > 0:
            message = CompressedImage(header=self._info.header, format="rgb8; jpeg compressed rgb8")
            message.data = array.array("B", encoded or jpeg.encode(image, self._jpeg_quality))
            self._jpegs.publish(message)
