"""Whatever comes over HTTP or a WebSocket, the dashboard answers in words, stays up, and the robot does not move."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from dashboard_stage import CONTRACT, Stage
from episodes_stage import record
from geometry_msgs.msg import Twist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import BaseSchema, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from mobile_vla_dashboard.teleop import velocity_of_stick
from mobile_vla_data.action import Velocity
from mobile_vla_msgs.msg import GripperCommand
from mobile_vla_ros.qos import COMMAND
from mobile_vla_ros.testing import Probe, unique_domain, wait_for

pytestmark = pytest.mark.alone

QUICK = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
#: Not ready is what the dashboard answers without a robot.
MEANT = {("/readyz", 503)}

EPISODES = 8
#: Path parameters that name an episode: at times one that exists.
KNOWN = {
    "episode_id": [f"episode_{number:06d}" for number in range(EPISODES)],
    "name": [f"episode_{number:06d}.h5{ending}" for number in range(EPISODES) for ending in ("", ".untrimmed")],
}

load_all_checks()
_CHECKS = CHECKS.get_by_names(["not_a_server_error", "content_type_conformance", "response_schema_conformance"])
_addresses = itertools.cycle(f"127.0.0.{number}" for number in range(2, 250))


class _From(HTTPAdapter):
    """Sends from an address of its own: the limit of requests is not what is tested here."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(next(_addresses), 0))


def session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", _From())
    return session


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A dashboard with a small dataset, whose episodes the requests correct, discard and take back."""
    dataset = tmp_path_factory.mktemp("fuzz") / "dataset"
    dataset.mkdir()
    for _ in range(EPISODES):
        record(dataset, 12)
    with unique_domain(), Probe() as probe:
        stage = Stage(probe, dataset=str(dataset), trials=str(dataset.parent / "trials"))
        try:
            yield stage
        finally:
            stage.close()


@pytest.fixture(scope="module")
def driven(stage: Stage) -> list[list[Any]]:
    """What leaves the gate for the wheels and for the gripper."""
    topics = ((Twist, "cmd_vel"), (GripperCommand, "gripper/command"))
    found = [stage.probe.collect(kind, topic, COMMAND) for kind, topic in topics]
    wait_for(lambda: all(stage.probe.node.count_publishers(topic) for _, topic in topics), what="the gate's outputs")
    return found


@pytest.fixture(scope="module")
def api(stage: Stage) -> BaseSchema:
    api = schemathesis.openapi.from_url(f"http://127.0.0.1:{stage.port}/api/openapi.json")
    assert {"/api/stop", "/api/policy/execute", "/api/episodes", "/metrics", "/readyz"} <= set(api)
    return api


@given(data=st.data())
@settings(QUICK, max_examples=400, suppress_health_check=list(HealthCheck))  # about eight of every operation
def test_no_request_that_the_description_allows_or_nearly_allows_is_a_server_error(api, driven, data) -> None:
    operation = data.draw(st.sampled_from([found.ok() for found in api.get_all_operations()]))
    known = {
        item.name: data.draw(st.sampled_from(KNOWN[item.name]), label=item.name)
        for item in operation.path_parameters
        if item.name in KNOWN and data.draw(st.booleans())
    }
    mode = data.draw(st.sampled_from(GenerationMode), label="mode")
    case = data.draw(operation.as_strategy(mode, path_parameters=known or None), label=operation.label)
    response = case.call(session=session(), timeout=30)
    if (operation.path, response.status_code) not in MEANT:
        case.validate_response(response, checks=_CHECKS)
        # A path that was generated may be another path, or none.
        described = operation.responses.find_by_status_code(response.status_code) is not None
        assert described or response.status_code in (307, 404, 405), (operation.label, response.text)
    wheels, grippers = driven
    assert all(message == Twist() for message in wheels) and not grippers


def test_the_requests_reach_real_episodes(stage: Stage) -> None:
    page = json.loads(stage.get("/api/episodes?limit=50"))
    assert page["total"] <= EPISODES and page["dataset"].endswith("dataset")


def test_images_are_described_as_images(api: BaseSchema) -> None:
    kinds = {
        "/api/episodes/{episode_id}/thumbnail": "image/jpeg",
        "/api/episodes/{episode_id}/frames/{camera}": "application/octet-stream",
        "/api/trials/{series_id}/video/{trial}": "image/webp",
        "/api/trials/{series_id}/video/{trial}/first": "image/jpeg",
        "/api/trials/{series_id}/report": "text/html",
    }
    for path, kind in kinds.items():
        responses = api.raw_schema["paths"][path]["get"]["responses"]
        assert list(responses["200"]["content"]) == [kind]
        assert responses["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Answer"}


@given(
    body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode), kind=st.sampled_from(["application/json", ""])
)
@QUICK
def test_a_body_that_is_no_json_is_refused_in_one_line(stage, body: bytes, kind: str) -> None:
    address = f"http://127.0.0.1:{stage.port}/api/recorder/start"
    answer = session().post(address, body, headers={"Content-Type": kind}, timeout=30)
    assert answer.status_code in (400, 409, 422), answer.text
    assert answer.json()["message"]


def _moves(message: str) -> bool:
    """Return whether a message is a command that an operator could send."""
    with contextlib.suppress(ValueError, RecursionError):
        fields = json.loads(message)
        if isinstance(fields, dict) and fields.keys() & {"x", "y", "turn"}:
            sticks = (fields.get(name, 0.0) for name in ("x", "y", "turn"))
            return velocity_of_stick(*sticks, CONTRACT) != Velocity()
    return False


KEYS = ["x", "y", "turn", "gripper", "release", "camera", "ack", "view", "beat", "other"]
COMMANDS = st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4).map(json.dumps)
#: Whole numbers beyond every float, nesting beyond the parser, what is not JSON.
HOSTILE = ['{"x": 1' + "0" * 400 + "}", "[" * 4000, '{"x": 1e999}', '{"ack": -1, "camera": 1e30}', "\x00", "{"]
MESSAGES = (COMMANDS | st.text(max_size=60) | st.sampled_from(HOSTILE)).filter(lambda text: not _moves(text))


@pytest.fixture(scope="module")
def commands(stage: Stage) -> list[Twist]:
    return stage.probe.collect(Twist, "cmd_vel_teleop", COMMAND)


def in_control(stage: Stage) -> ClientConnection:
    """Take control, once whoever had it before is gone."""
    for _ in range(100):
        socket = stage.open("drive")
        with contextlib.suppress(ConnectionClosed):
            assert json.loads(socket.recv(timeout=20)) == {"has_wheel": True}
            return socket
        time.sleep(0.05)
    raise TimeoutError("control never became free")


@pytest.mark.parametrize("name", ["drive", "view"])
@given(messages=st.lists(MESSAGES | st.binary(max_size=60), min_size=1, max_size=8))
@QUICK
def test_nothing_on_a_socket_moves_the_robot_or_takes_the_dashboard_down(
    stage, commands, driven, name, messages
) -> None:
    socket = in_control(stage) if name == "drive" else stage.open(name)
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            socket.send(message)
    socket.close()
    assert stage.get("/healthz") == b'{"ok":true}'
    assert all(message == Twist() for message in [*commands, *driven[0]])
    assert "Traceback" not in stage.node.output


@pytest.mark.parametrize("name", ["drive", "view"])
def test_a_message_of_five_thousand_bytes_ends_the_connection(stage: Stage, name: str) -> None:
    socket = in_control(stage) if name == "drive" else stage.open(name)
    socket.send("x" * 5000)
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=20)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


def test_a_flood_of_messages_ends_the_connection_and_the_robot_stands(stage: Stage, commands: list[Twist]) -> None:
    wheel = in_control(stage)
    with pytest.raises(ConnectionClosed, match="too many messages"):
        for _ in range(20_000):
            wheel.send("{}")
            with contextlib.suppress(TimeoutError):
                wheel.recv(timeout=0)
    assert all(message == Twist() for message in commands)
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    assert "Traceback" not in stage.node.output
