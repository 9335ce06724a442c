from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from launch_commands import ROS2, Launched


@pytest.fixture(params=ROS2)
def ros2(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def domain() -> Iterator[int | None]:
    """A DDS domain of each test, because each launches a whole robot; none where there is no ROS."""
    if find_spec("rclpy") is None:
        yield None
        return
    from mobile_vla_ros.testing import unique_domain

    with unique_domain() as domain_id:
        yield domain_id


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Start commands in the background; whatever is left is killed at the end."""
    running: list[Launched] = []

    def starter(*command: object) -> Launched:
        running.append(Launched([str(word) for word in command], tmp_path / f"output{len(running)}.log"))
        return running[-1]

    yield starter
    for item in running:
        item.close()
