import os
from pathlib import Path

import pytest

from mobile_vla_data.contract import Contract

# Several workers on few cores: threads of the linear algebra only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CONTRACT_PATH = Path(__file__).parents[3] / "config" / "robot.yaml"


@pytest.fixture(scope="session")
def contract_path() -> Path:
    return CONTRACT_PATH


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load(CONTRACT_PATH)


@pytest.fixture(scope="session")
def differential(contract: Contract) -> Contract:
    return Contract.from_dict({**contract.model_dump(mode="json"), "base": "differential"})
