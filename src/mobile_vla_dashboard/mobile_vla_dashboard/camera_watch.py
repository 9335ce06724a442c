"""Images of the contract's cameras, as the policy sees them. Subscribed only while a browser or a trial looks."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from mobile_vla_dashboard.latest import Latest
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode import jpeg
from mobile_vla_data.image import ImageError, fit, unpack
from mobile_vla_ros.convert import to_ns
from mobile_vla_ros.qos import SENSOR

#: Cameras stay subscribed for this long after the last browser left, so that reloading the page does not flicker [s].
_LINGER_S = 5.0


class CameraWatch:
    """Puts the newest image of each camera into ``latest``. On the ROS thread."""

    def __init__(self, node: Any, latest: Latest, contract: Contract, *, compressed: bool) -> None:
        self._node, self._latest, self._contract, self._compressed = node, latest, contract, compressed
        self._subscriptions: list[Any] = []
        self._wanted_s = 0.0

    def follow(self, wanted: bool) -> None:
        """Subscribe if something looks at the cameras; end that :data:`_LINGER_S` after nothing does."""
        now_s = time.monotonic()
        if wanted:
            self._wanted_s = now_s
        in_use = wanted or (self._wanted_s > 0 and now_s - self._wanted_s < _LINGER_S)
        if in_use and not self._subscriptions:
            self._subscriptions = [
                self._node.create_subscription(CompressedImage, topic, partial(self._on_jpeg, index), SENSOR)
                if self._compressed
                else self._node.create_subscription(Image, topic, partial(self._on_image, index), SENSOR)
                for index, topic in enumerate(self._latest.cameras.values())
            ]
        elif not in_use and self._subscriptions:
            for subscription in self._subscriptions:
                self._node.destroy_subscription(subscription)
            self._subscriptions = []

    def _on_image(self, camera: int, message: Image) -> None:
        try:
            image = unpack(message.data, message.encoding, message.height, message.width, message.step)
        except ImageError as error:
            self._latest.refuse_frame(camera, str(error))
            return
        # As the policy sees it, not as the camera sent it: a wrong crop shows at once.
        shape = self._contract.cameras[self._contract.camera_names[camera]]
        self._latest.put_frame(camera, to_ns(message.header.stamp), fit(image, shape))

    def _on_jpeg(self, camera: int, message: CompressedImage) -> None:
        shape, data = self._contract.cameras[self._contract.camera_names[camera]], bytes(message.data)
        stamp_ns = to_ns(message.header.stamp)
        try:
            if jpeg.size(data) == (shape.height, shape.width):
                self._latest.put_frame(camera, stamp_ns, None, data)
            else:
                self._latest.put_frame(camera, stamp_ns, fit(jpeg.decode(data), shape))
        except ImageError as error:
            self._latest.refuse_frame(camera, str(error))
