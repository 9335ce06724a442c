"""Work out what a machine with a ROS 2 distribution still needs from a package index.

What belongs to the platform (its torch built for its GPU, and the numpy that its packages were compiled against) is
never replaced; ROS itself never comes from wheels there. Other packages are taken in the pinned version or, where the
platform's numpy is too old for that one, in the newest older version that goes with it.

    platform_requirements.py REQUIREMENTS_DIR OUTPUT_DIR
"""

import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path

#: Distribution name to the module whose presence means that the platform brings it.
PLATFORM = {
    "numpy": "numpy",
    "torch": "torch",
    "opencv-python-headless": "cv2",
    "colcon-core": "colcon_core",
}


def requirements(file: Path) -> dict[str, str]:
    """Read ``name==version`` lines."""
    pins = (re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in file.read_text().splitlines())
    return {pin[1].lower().replace("_", "-"): pin[2] for pin in pins if pin}


def main(folder: Path, output: Path) -> None:
    """Write ``platform-requirements.txt`` and ``platform-constraints.txt`` into ``output``."""
    wanted = requirements(folder / "app.txt") | requirements(folder / "dev.txt")
    brought = {name for name, module in PLATFORM.items() if importlib.util.find_spec(module)}
    if "colcon-core" not in brought:
        wanted |= {name: pin for name, pin in requirements(folder / "ros.txt").items() if name.startswith("colcon-")}
    lines = [f"{name}<={pin}" for name, pin in wanted.items() if name not in brought]
    (output / "platform-requirements.txt").write_text("\n".join(lines) + "\n")
    kept = []
    for name in sorted(brought):
        try:
            kept.append(f"{name}=={metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue  # installed by apt without pip's metadata, so pip cannot replace it either
    (output / "platform-constraints.txt").write_text("\n".join(kept) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
