"""What the documents show runs: the tutorial, the examples, and the JSON output."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobile_vla_ros.testing import unique_domain

pytestmark = [pytest.mark.alone, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/tutorial/simulation.md"
JSON_PAGE = ROOT / "docs/reference/json.md"
#: Smaller than in the page; the commands are the same.
SIZES = {"LIVE": "1", "EPISODES": "9", "MINUTES": "0.05", "TRIALS": "1"}


def script(work: Path) -> str:
    """Every bash block of the tutorial, in order, with smaller sizes."""
    text = "\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))
    for name, value in {**SIZES, "WORK": str(work)}.items():
        text, count = re.subn(rf"^{name}=\S+", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1, f"the tutorial sets {name} {count} times"
    return "set -euo pipefail\n" + text


def run(*command: object) -> str:
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=600, env=one_thread
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder that the tutorial has filled."""
    folder = tmp_path_factory.mktemp("tutorial")
    with unique_domain():
        run("bash", "-c", script(folder))
        yield folder


def test_the_tutorial_runs_from_collecting_to_driving(work: Path) -> None:
    assert len(list((work / "dataset").glob("episode_*.h5"))) == int(SIZES["EPISODES"])
    assert {"best", "last", "loss.png", "metrics.csv"} <= {path.name for path in (work / "policy").iterdir()}
    assert list(work.glob("*.png")), "view left no contact sheet"
    assert json.loads((work / "trials.json").read_text())["trials"]


def test_the_example_reads_and_plots_a_dataset_without_this_project(work: Path, tmp_path: Path) -> None:
    plot = tmp_path / "paths.png"
    script = "import sys; sys.modules['mobile_vla_data'] = None; import runpy; sys.argv = sys.argv[1:]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    printed = run(sys.executable, "-c", script, ROOT / "examples/read_dataset.py", work / "dataset", "--output", plot)
    assert printed.count(" steps at ") == int(SIZES["EPISODES"])
    assert plot.stat().st_size > 10_000


def test_the_example_calls_a_policy_without_ros(work: Path) -> None:
    script = "import sys; sys.modules['rclpy'] = None; import runpy; sys.argv = sys.argv[1:]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    episode = work / "dataset/episode_000001.h5"
    printed = run(
        sys.executable, "-c", script, ROOT / "examples/call_policy.py", work / "policy", episode, "--steps", 12
    )
    assert re.search(r"mean error [\d.]+ mm over \d+ steps", printed)


def documented(command: str) -> list[set[str]]:
    """Keys of each table in a command's section of the page."""
    sections = re.split(r"^## ", JSON_PAGE.read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if re.match(rf"`{command}`|.*, `{command.split()[-1]}`", text)]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    return [
        set(re.findall(r"`([^`]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))) for table in tables
    ]


COMMANDS = {
    "mobile-vla-data validate": ["{work}/dataset"],
    "mobile-vla-data info": ["{work}/dataset"],
    "mobile-vla-data info EPISODE": ["{work}/dataset/episode_000000.h5"],
    "mobile-vla-data progress": ["{work}/dataset", "--plan", "config/collection_plan.yaml"],
    "mobile-vla-data split": ["{work}/dataset"],
    "mobile-vla-data stats": ["{work}/dataset"],
    "mobile-vla-data recover": ["{work}/dataset"],
    "mobile-vla-data merge": ["{tmp}/merged", "{work}/dataset"],
    "mobile-vla-sim collect": ["--episodes", "1", "--output", "{tmp}/dataset"],
    "mobile-vla-sim evaluate": ["--checkpoint", "{work}/policy", "--trials", "1", "--time-limit", "1"],
    "mobile-vla-policy info": ["{work}/policy"],
    "mobile-vla-policy evaluate": ["{work}/policy", "--dataset", "{work}/dataset", "--split", "test"],
    "mobile-vla-policy benchmark": ["{work}/policy", "--steps", "2"],
    "mobile-vla-policy export": ["--format", "torchscript", "{work}/policy", "{tmp}/export"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_json_output_has_the_documented_keys(name: str, work: Path, tmp_path: Path) -> None:
    command, action, *_ = name.split()
    arguments = [word.format(work=work, tmp=tmp_path) for word in COMMANDS[name]]
    printed = json.loads(run(command, action, *arguments, "--json"))
    shown = printed[0] if isinstance(printed, list) else printed
    tables = documented(f"{command} {action}")
    assert set(shown) == tables[1 if "EPISODE" in name else 0]


def test_every_command_with_json_output_is_documented() -> None:
    page = JSON_PAGE.read_text()
    reference = (ROOT / "docs/reference/cli.md").read_text()
    for section in re.split(r"^### ", reference, flags=re.MULTILINE)[1:]:
        command = re.match(r"`([^`]+)`", section)
        if command and "`--json`" in section:
            program, action = command[1].split()
            assert re.search(rf"^## `{program} .*{action}`", page, re.MULTILINE), f"{command[1]} is not in json.md"


def test_the_environment_that_the_tutorial_loads_is_this_one() -> None:
    assert os.environ.get("VIRTUAL_ENV") == str(ROOT / ".venv")
