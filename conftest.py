"""Rules for every test of the repository."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# A command that was started in the background (`make test &`) ignores Ctrl-C, and one under `nohup` SIGHUP; so would
# every process that a test starts and signals. Where this process has a handler, those begin with the default.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# Message setters check types, as Humble's always do; later distributions only with this, read at import of a message.
os.environ.setdefault("ROS_PYTHON_CHECK_FIELDS", "1")

# Tests that fill the user's cache give it a folder by XDG_CACHE_HOME, which this would override.
os.environ.pop("MOBILE_VLA_CACHE", None)

# Worker processes import the module of a test by its path from here, also where a package is tested in its own folder.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def domain() -> Iterator[int]:
    """A DDS domain that no other test uses; its id."""
    from mobile_vla_ros.testing import unique_domain

    with unique_domain() as domain_id:
        yield domain_id


@pytest.fixture
def local_ray() -> Iterator[None]:
    """Run a Ray with two processors on this machine."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def build_messages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """Builds a message package that no wheel has, once in a run; returns the environment in which nodes find it."""
    from mobile_vla_ros.testing.built_messages import build

    folder = tmp_path_factory.getbasetemp()
    # The folder of a worker process is in that of the run.
    return partial(build, folder=folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes, so that no processor waits for one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Note skipped and retried tests for tools/test.sh, which shows them at its end for all runs together."""
    notes = os.environ.get("MOBILE_VLA_TEST_NOTES")
    # Of several processes one has the results of all.
    if not notes or hasattr(config, "workerinput"):
        return
    with Path(notes).open("a") as file:
        for kind in ("skipped", "rerun"):
            for report in terminalreporter.stats.get(kind, []):
                note = {"kind": kind, "test": report.nodeid, "reason": _reason(report)}
                file.write(json.dumps(note) + "\n")


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).splitlines()
    return lines[0] if lines else "no reason given"
