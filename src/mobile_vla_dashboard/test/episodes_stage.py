"""For tests of the page's episodes: real episode files, and the web application over real HTTP without a robot."""

from __future__ import annotations

import json
import shutil
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import h5py
import numpy as np

from mobile_vla_dashboard.jobs import Jobs
from mobile_vla_dashboard.latest import Latest
from mobile_vla_dashboard.library import Library
from mobile_vla_dashboard.server import make_app
from mobile_vla_dashboard.trial_desk import TrialDesk
from mobile_vla_dashboard.trials import Store
from mobile_vla_dashboard.web import WebServer, bind
from mobile_vla_data.contract import Contract
from mobile_vla_data.episode.metadata import EpisodeMetadata
from mobile_vla_data.episode.writer import EpisodeWriter

CONTRACT = Contract.load(Path(__file__).parents[3] / "config" / "robot.yaml")
START_NS = 1_790_000_000_000_000_000


def image(step: int, camera: str) -> Any:
    """RGB uint8 ``[224, 224, 3]``: a texture whose disc moves with the step."""
    rows, columns = np.mgrid[0:224, 0:224]
    picture = np.stack([rows // 2 + 60, columns // 2 + 60, (rows ^ columns) // 2 + 40], -1).astype(np.uint8)
    colour = (230, 40, 40) if camera == "static" else (40, 60, 230)
    cv2.circle(picture, (20 + 3 * step % 180, 110), 14, colour, -1)
    return picture


def record(
    folder: Path, steps: int = 20, *, language: str = "go to the kitchen", outcome: str = "success", **options: Any
) -> Path:
    """Record one episode that drives forwards and closes its gripper half-way."""
    metadata = EpisodeMetadata(language, "go_to_kitchen", "navigation", "teleop", {"room": "kitchen"})
    writer = EpisodeWriter(folder, CONTRACT, metadata, cameras=tuple(CONTRACT.cameras), **options)
    rng = np.random.default_rng(len(list(folder.iterdir())))
    for step in range(steps):
        tick_ns, closed = START_NS + step * 10**8 + int(rng.integers(0, 10**6)), float(step >= steps // 2)
        writer.add_step(
            stamp_ns=tick_ns,
            images={camera: image(step, camera) for camera in CONTRACT.cameras},
            state=np.array([0.04 * step, 0.01 * step, closed], np.float32),
            action=np.array([0.04, 0.01, closed], np.float32),
            stamps_ns={
                name: tick_ns - int(rng.integers(10**6, 3 * 10**7))
                for name in (*CONTRACT.cameras, "odom", "gripper_state")
            },
        )
    return writer.commit(outcome, 0)


@contextmanager
def changed(path: Path) -> Iterator[h5py.File]:
    """Write into an episode file. It replaces the old one, which a server in this process may be reading."""
    copy = path.with_suffix(".changed")
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        yield file
    copy.replace(path)


class Server:
    """The web application on a free port, for one dataset folder."""

    def __init__(self, dataset: Path, port: int = 0, **options: Any) -> None:
        self.latest = Latest({})
        robot: Any = SimpleNamespace(contract=CONTRACT, latest=self.latest, drivable=False)
        listener = bind("127.0.0.1", port)
        self.port = listener.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        desk = TrialDesk(robot, Store(dataset / "trials"), Jobs(), dict)
        app = make_app(robot, Library(lambda: str(dataset)), desk, **options)
        self._web = WebServer(app, listener, lambda loop: None)
        self._web.start()

    def fetch(self, path: str, body: object = None) -> tuple[int, bytes, dict[str, str]]:
        """Status, content and headers of an answer; a body makes it a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def get(self, path: str) -> Any:
        """JSON of an answer that must be accepted."""
        status, content, _ = self.fetch(path)
        assert status == 200, content
        return json.loads(content)

    def post(self, path: str, body: object) -> Any:
        """JSON of any answer to a POST."""
        return json.loads(self.fetch(path, body)[1])

    def close(self) -> None:
        self._web.close()


def split_frames(content: bytes) -> list[bytes]:
    """The JPEGs of an answer with frames."""
    found, at = [], 0
    while at < len(content):
        (length,) = struct.unpack_from("!I", content, at)
        found.append(content[at + 4 : at + 4 + length])
        at += 4 + length
    return found
