import os
from pathlib import Path

import numpy as np
import pytest

from mobile_vla_data.contract import Contract
from mobile_vla_data.parallel import Spread
from mobile_vla_sim.tasks.catalogue import load_plan
from mobile_vla_sim.world.world import World

# Several workers on few cores: threads of the linear algebra only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CONFIG = Path(__file__).parents[3] / "config"


class BlindWorld(World):
    """The same physics without rendering, for tests that do not look at images."""

    def render(self, camera):
        return np.zeros((1, 1, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def contract_path() -> Path:
    return CONFIG / "robot.yaml"


@pytest.fixture(scope="session")
def contract(contract_path) -> Contract:
    return Contract.load(contract_path)


@pytest.fixture(scope="session")
def differential(contract) -> Contract:
    return Contract.from_dict({**contract.model_dump(mode="json"), "base": "differential"})


@pytest.fixture(scope="session")
def plan():
    return load_plan(CONFIG / "collection_plan.yaml")


@pytest.fixture(scope="session")
def blind(contract):
    return BlindWorld(contract)


@pytest.fixture(scope="session")
def blind_differential(differential):
    return BlindWorld(differential)


@pytest.fixture(scope="session")
def blind_turning(differential):
    """Its actions have delta_yaw."""
    data = differential.model_dump(mode="json")
    return BlindWorld(Contract.from_dict({**data, "action": {**data["action"], "yaw": True}}))


@pytest.fixture(params=[pytest.param(Spread(2), id="processes"), pytest.param(Spread(ray=True), id="ray")])
def spread(request):
    """Where work is spread: two processes, and a Ray on this machine."""
    if request.param.ray:
        request.getfixturevalue("local_ray")
    return request.param


@pytest.fixture(scope="session")
def world(contract):
    world = World(contract)
    yield world
    world.close()
