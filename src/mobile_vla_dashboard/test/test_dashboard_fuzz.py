"""Whatever comes over HTTP or a WebSocket, the dashboard answers in words, stays up, and the robot does not move.

The requests come from a generator of our own, which reads /api/openapi.json as schemathesis does: every operation, with
path and query parameters and bodies of the described types, within and beyond their patterns and limits, fields that
are missing or too many, ids of episodes that exist, and bodies that are no JSON. It does not follow links between
answers, does not shrink a sequence of requests, and sends no headers of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from dashboard_stage import CONTRACT, Stage
from episodes_stage import record
from geometry_msgs.msg import Twist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from websockets.exceptions import ConnectionClosed

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
#: Parameters and fields that name an episode: at times one that exists.
KNOWN = {
    "episode_id": [f"episode_{number:06d}" for number in range(EPISODES)],
    "name": [f"episode_{number:06d}.h5{ending}" for number in range(EPISODES) for ending in ("", ".untrimmed")],
}

_addresses = itertools.cycle(f"127.0.0.{number}" for number in range(2, 250))


def of_schema(schema: dict[str, Any], parts: dict[str, Any]) -> SearchStrategy[Any]:
    """Values as an OpenAPI schema describes them, and some that it does not."""
    if "$ref" in schema:
        return of_schema(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
    if "anyOf" in schema:
        return st.one_of([of_schema(each, parts) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _of_type(schema, parts) | JSON


def _of_type(schema: dict[str, Any], parts: dict[str, Any]) -> SearchStrategy[Any]:
    match schema.get("type"):
        case "string":
            return st.from_regex(schema["pattern"]) if "pattern" in schema else st.text(max_size=600)
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats()
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(of_schema(schema.get("items", {}), parts), max_size=4)
        case "object":
            return of_object(schema, parts)
    return JSON


def named(name: str, schema: dict[str, Any], parts: dict[str, Any]) -> SearchStrategy[Any]:
    """Values of a parameter or field."""
    values = of_schema(schema, parts)
    return st.sampled_from(KNOWN[name]) | values if name in KNOWN else values


def of_object(schema: dict[str, Any], parts: dict[str, Any]) -> SearchStrategy[Any]:
    """Objects whose required fields are there, the others at times."""
    fields = {name: named(name, each, parts) for name, each in schema.get("properties", {}).items()}
    required = {name: fields[name] for name in schema.get("required", ())}
    rest = {name: each for name, each in fields.items() if name not in required}
    return (
        st.fixed_dictionaries(required, optional=rest) if fields else st.dictionaries(st.text(), st.text(), max_size=3)
    )


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
def described(stage: Stage) -> dict[str, Any]:
    document = dict(json.loads(stage.get("/api/openapi.json")))
    assert {"/api/stop", "/api/policy/execute", "/api/episodes", "/metrics", "/readyz"} <= set(document["paths"])
    return document


def ask(
    stage: Stage, method: str, target: str, body: bytes | None, kind: str = "application/json"
) -> tuple[int, bytes]:
    # From an address of its own: the limit of requests is not what is tested here.
    source = (next(_addresses), 0)
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=30, source_address=source)
    with contextlib.closing(connection):
        connection.request(method.upper(), target, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.read()


@given(data=st.data())
@settings(QUICK, max_examples=10)  # each asks every operation
def test_no_request_that_the_description_allows_or_nearly_allows_is_a_server_error(
    stage, described, driven, data
) -> None:
    parts = described.get("components", {}).get("schemas", {})
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            target, query = path, []
            for parameter in operation.get("parameters", ()):
                value = data.draw(named(parameter["name"], parameter["schema"], parts), label=parameter["name"])
                said = quote(str(value).encode("utf-8", "surrogatepass"), safe="")
                if parameter["in"] == "path":
                    target = target.replace(f"{{{parameter['name']}}}", said or "-")
                else:
                    query.append(f"{parameter['name']}={said}")
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            body = json.dumps(data.draw(of_schema(content["schema"], parts))).encode() if content else None
            status, answer = ask(stage, method, target + ("?" + "&".join(query) if query else ""), body)
            assert status < 500 or (path, status) in MEANT, (method, target, body, answer)
            assert str(status) in operation["responses"] or status in (307, 404, 405), (method, target, status, answer)
    wheels, grippers = driven
    assert all(message == Twist() for message in wheels) and not grippers


def test_the_requests_reach_real_episodes(stage: Stage) -> None:
    page = json.loads(stage.get("/api/episodes?limit=50"))
    assert page["total"] <= EPISODES and page["dataset"].endswith("dataset")


def test_images_are_described_as_images(described: dict[str, Any]) -> None:
    kinds = {
        "/api/episodes/{episode_id}/thumbnail": "image/jpeg",
        "/api/episodes/{episode_id}/frames/{camera}": "application/octet-stream",
        "/api/trials/{series_id}/video/{trial}": "video/x-motion-jpeg",
        "/api/trials/{series_id}/video/{trial}/first": "image/jpeg",
        "/api/trials/{series_id}/report": "text/html",
    }
    for path, kind in kinds.items():
        responses = described["paths"][path]["get"]["responses"]
        assert list(responses["200"]["content"]) == [kind]
        assert responses["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Answer"}


@given(
    body=st.binary(max_size=300) | st.text(max_size=100).map(str.encode), kind=st.sampled_from(["application/json", ""])
)
@QUICK
def test_a_body_that_is_no_json_is_refused_in_one_line(stage, body: bytes, kind: str) -> None:
    status, answer = ask(stage, "post", "/api/recorder/start", body, kind)
    assert status in (400, 409, 422), answer
    assert json.loads(answer)["message"]


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


@pytest.mark.parametrize("name", ["drive", "view"])
@given(messages=st.lists(MESSAGES | st.binary(max_size=60), min_size=1, max_size=8))
@QUICK
def test_nothing_on_a_socket_moves_the_robot_or_takes_the_dashboard_down(
    stage, commands, driven, name, messages
) -> None:
    socket = stage.open(name)
    with contextlib.suppress(ConnectionClosed):
        for message in messages:
            socket.send(message)
    socket.close()
    assert stage.get("/healthz") == b'{"ok":true}'
    assert all(message == Twist() for message in [*commands, *driven[0]])
    assert "Traceback" not in stage.node.output


def test_a_flood_of_messages_ends_the_connection_and_the_robot_stands(stage: Stage, commands: list[Twist]) -> None:
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    wheel = stage.open("drive")
    with pytest.raises(ConnectionClosed, match="too many messages"):
        for _ in range(20_000):
            wheel.send("{}")
            with contextlib.suppress(TimeoutError):
                wheel.recv(timeout=0)
    assert all(message == Twist() for message in commands)
    stage.wait_state(lambda state: state["wheel"]["operator"] is None, "a free wheel")
    assert "Traceback" not in stage.node.output
