"""Parameters of a node: paths."""

from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter

from mobile_vla_ros.parameters import load_contract, path
from mobile_vla_ros.run import StartError

pytestmark = pytest.mark.alone

CONTRACT = Path(__file__).resolve().parents[3] / "config/robot.yaml"


@pytest.fixture
def make_node():
    context = Context()
    rclpy.init(context=context)
    nodes = []

    def make(**parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        nodes.append(rclpy.create_node("node", context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    context.shutdown()


def test_a_tilde_in_a_path_becomes_the_home_folder(make_node, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "robot.yaml").write_text(CONTRACT.read_text())
    node = make_node(file="~/o'brien's file", contract="~/robot.yaml")
    assert path(node, "file", "a file") == tmp_path / "o'brien's file"
    assert load_contract(node).cameras


def test_an_empty_path_is_none_or_refused_where_it_is_required(make_node):
    node = make_node()
    assert path(node, "file", "a file") is None
    with pytest.raises(StartError, match="'folder' is ''; it must be set"):
        path(node, "folder", "a folder", required=True)
