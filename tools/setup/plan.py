"""Work out what pip has to install: the requirements and constraints of one platform.

With ROS 2 from wheels, everything is installed in tested versions. On a ROS 2 distribution, what belongs to the
platform (its torch built for its GPU, and the numpy that its packages were compiled against) is never replaced, and
ROS itself never comes from wheels. A numpy older than 1.26 (Ubuntu 22.04 has 1.21) is covered by a newer one of the
same ABI in the virtual environment.

    plan.py REQUIREMENTS_DIR OUTPUT_DIR ROS [EXTRA ...]

ROS is ``wheels-jazzy``, ``wheels-kilted``, or the prefix of a distribution. Extras are the files of REQUIREMENTS_DIR
that only some machines need: sim, onnx, rosbag, dev. Runs on the Python of the virtual environment, standard library
only.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

EXTRAS = ("sim", "onnx", "rosbag", "dev")
#: Distribution name to the module whose presence means that the platform brings it.
PLATFORM = {
    "numpy": "numpy",
    "torch": "torch",
    "opencv-python-headless": "cv2",
    "colcon-core": "colcon_core",
}
LEAST_NUMPY = (1, 26)
#: torch.nn.Buffer came with it.
LEAST_TORCH = (2, 5)
#: Newest transformers that works with a torch below the version on the left; later ones switch torch off, and fail
#: when a model is imported (``is_torch_available`` in transformers/utils/import_utils.py of each wheel).
NEWEST_TRANSFORMERS = {(2, 6): "5.19.0"}
#: Chosen by the torch that a platform brings, and installed with it.
FOLLOW_TORCH = ("sympy", "networkx", "fsspec")
#: Their versions follow from that of transformers.
FOLLOW_TRANSFORMERS = ("tokenizers", "huggingface-hub")
#: Distributions whose Ubuntu packages were compiled against numpy 1.
NUMPY_1_DISTRIBUTIONS = ("humble", "jazzy", "kilted")


class PlanError(ValueError):
    """The platform cannot run this project; one line that says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """Lines of a requirements file and of a constraints file for pip."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]


def plan(folder: Path, python: str, ros: str, brought: Mapping[str, str], extras: Iterable[str] = ()) -> Plan:
    """Return what pip must install on a platform.

    ``folder`` holds the requirement files, ``python`` is "3.11", ``ros`` as on the command line, ``brought`` maps
    distribution names that the platform has to their versions ("" where unknown). Raises :class:`PlanError`.
    """
    wheels = ros.removeprefix("wheels-") if ros.startswith("wheels-") else ""
    kept = {} if wheels else {name: version for name, version in brought.items() if name in PLATFORM}
    if "numpy" in kept:
        _check_numpy(kept["numpy"], ros)
        if release(kept["numpy"]) < LEAST_NUMPY:
            del kept["numpy"]
    numpy_1 = not wheels and release(brought.get("numpy", "2")) < (2,)
    wanted = _lines(folder / "app.txt")
    for extra in extras:
        wanted += _lines(folder / f"{extra}.txt")
    if "colcon-core" not in kept:
        wanted += _lines(folder / "colcon.txt")
    pins = _pins(folder / "constraints", python, numpy_1)
    if "torch" in kept:
        pins = _with_torch(pins, kept["torch"])
    pins = {name: pin for name, pin in pins.items() if name not in kept}
    requirements = [line for line in wanted if _name(line) not in kept]
    if wheels:
        requirements += _lines(folder / f"ros-{wheels}.txt")
    constraints = [f"{name}=={pin}" for name, pin in (pins | {n: v for n, v in kept.items() if v}).items()]
    return Plan(tuple(requirements), tuple(sorted(constraints)))


def release(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 7, 0) for ``2.7.0a0+git1``."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _is_below(version: str, bound: tuple[int, ...]) -> bool:
    """Compare as transformers does: a pre-release of the bound itself, such as ``2.6.0a0+git1``, is below it."""
    number = release(version)
    same = number == bound + (0,) * (len(number) - len(bound))
    return number < bound or (same and re.match(r"[\d.]+(a|b|rc|dev)\d", version) is not None)


def _check_numpy(version: str, ros: str) -> None:
    distribution = Path(ros).name
    if ros.startswith("/opt/ros/") and distribution in NUMPY_1_DISTRIBUTIONS and release(version) >= (2,):
        raise PlanError(
            f"ROS 2 {distribution} was compiled against numpy 1, and this Python has numpy {version}; "
            'install an older one: python3 -m pip install "numpy<2"'
        )


def _with_torch(pins: dict[str, str], torch: str) -> dict[str, str]:
    if _is_below(torch, LEAST_TORCH):
        raise PlanError(f"this platform has torch {torch}; 2.5 or later is needed, 2.6 or later recommended")
    pins = {name: pin for name, pin in pins.items() if name not in FOLLOW_TORCH}
    for below, transformers in NEWEST_TRANSFORMERS.items():
        if _is_below(torch, below):
            free = {name: pin for name, pin in pins.items() if name not in FOLLOW_TRANSFORMERS}
            return free | {"transformers": transformers}
    return pins


def _pins(folder: Path, python: str, numpy_1: bool) -> dict[str, str]:
    file = folder / f"{python}.txt"
    if numpy_1 and (folder / f"{python}-numpy1.txt").is_file():
        file = folder / f"{python}-numpy1.txt"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.txt") if "-" not in path.stem))
        raise PlanError(f"no tested versions for Python {python}; there are some for {known}")
    return dict(line.split("==") for line in _lines(file))


def _lines(file: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return [line for line in lines if line]


def _name(line: str) -> str:
    return re.split(r"[<>=!~ ;\[]", line)[0].lower().replace("_", "-")


def brought_by_platform() -> dict[str, str]:
    """Return the names and versions of what the Python that runs this finds installed, outside its own environment.

    What an earlier set-up has installed into that is not the platform's.
    """
    found = {}
    for name, module in PLATFORM.items():
        installed = list(metadata.distributions(name=name))
        versions = [one.version for one in installed if not _is_own(one.locate_file(""))]
        if name == "torch" and versions and len(versions) < len(installed):
            raise PlanError(
                f"the environment in {sys.prefix} has a torch of its own, which hides the platform's {versions[0]}; "
                "remove the folder, then run make setup again"
            )
        if versions:
            found[name] = versions[0]
        elif not installed and importlib.util.find_spec(module):
            found[name] = ""  # installed without pip's metadata, so pip cannot replace it either
    return found


def _is_own(path: object) -> bool:
    return sys.prefix != sys.base_prefix and Path(str(path)).is_relative_to(sys.prefix)


def main(folder: Path, output: Path, ros: str, extras: list[str]) -> None:
    """Write ``requirements.txt`` and ``constraints.txt`` into ``output``."""
    python = "{}.{}".format(*sys.version_info)
    try:
        unknown = sorted(set(extras) - set(EXTRAS))
        if unknown:
            raise PlanError(f"unknown extras: {', '.join(unknown)}; there are {', '.join(EXTRAS)}")
        planned = plan(folder, python, ros, brought_by_platform(), extras)
    except PlanError as error:
        sys.exit(f"error: {error}")
    (output / "requirements.txt").write_text("\n".join(planned.requirements) + "\n")
    (output / "constraints.txt").write_text("\n".join(planned.constraints) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
