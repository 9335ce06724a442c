import os
import sys
from pathlib import Path

import pytest

# Before torch is imported: parallel test processes must not spin on each other's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# pytest's importlib mode leaves the test folder off the path; helpers beside the tests are imported from there.
sys.path.insert(0, str(Path(__file__).parent))

from robot_fixtures import probe, robot, stamped, start_node, statuses  # noqa: F401


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten short episodes; a module that needs others has its own."""
    from synthetic_episodes import write_dataset

    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", episodes=10, steps=6)
