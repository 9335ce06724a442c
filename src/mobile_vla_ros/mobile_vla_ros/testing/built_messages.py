"""Message packages of a distribution that no wheel has, built for a test from their definitions."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

#: Package -> its interfaces, and the packages they need. Definitions are those of ROS 2, without comments.
PACKAGES = {
    "tf2_msgs": ({"msg/TFMessage.msg": "geometry_msgs/TransformStamped[] transforms\n"}, ["geometry_msgs"]),
    "trajectory_msgs": (
        {
            "msg/JointTrajectory.msg": "std_msgs/Header header\nstring[] joint_names\nJointTrajectoryPoint[] points\n",
            "msg/JointTrajectoryPoint.msg": "float64[] positions\nfloat64[] velocities\nfloat64[] accelerations\n"
            "float64[] effort\nbuiltin_interfaces/Duration time_from_start\n",
        },
        ["std_msgs", "builtin_interfaces"],
    ),
    "control_msgs": (
        {
            "msg/GripperCommand.msg": "float64 position\nfloat64 max_effort\n",
            "action/GripperCommand.action": "control_msgs/GripperCommand command\n---\nfloat64 position\n"
            "float64 effort\nbool stalled\nbool reached_goal\n---\nfloat64 position\nfloat64 effort\n"
            "bool stalled\nbool reached_goal\n",
        },
        ["action_msgs"],
    ),
}

_CMAKE = """cmake_minimum_required(VERSION 3.8)
project({name})
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
{found}
rosidl_generate_interfaces(${{PROJECT_NAME}} {files} DEPENDENCIES {needed})
ament_package()
"""
_MANIFEST = """<package format="3"><name>{name}</name><version>0.0.0</version><description>for a test</description>
<maintainer email="nobody@example.com">nobody</maintainer><license>Apache-2.0</license>
<buildtool_depend>ament_cmake</buildtool_depend><buildtool_depend>rosidl_default_generators</buildtool_depend>
{depends}<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""


def build(name: str, folder: Path) -> dict[str, str]:
    """Build a package below ``folder`` unless it is installed; returns the environment in which nodes find it.

    Processes that share ``folder`` share what one of them has built.
    """
    if importlib.util.find_spec(name):
        return {}
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "built").exists():
            _build(name, folder)
            (folder / "built").touch()
    install = folder / "install"
    site = install / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    added = {"AMENT_PREFIX_PATH": install, "PYTHONPATH": site, "LD_LIBRARY_PATH": install / "lib"}
    return {key: f"{path}:{os.environ.get(key, '')}" for key, path in added.items()}


def _build(name: str, folder: Path) -> None:
    interfaces, needed = PACKAGES[name]
    package = folder / "src" / name
    for file, text in interfaces.items():
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text(text)
    files = " ".join(f'"{file}"' for file in interfaces)
    found = "\n".join(f"find_package({other} REQUIRED)" for other in needed)
    (package / "CMakeLists.txt").write_text(_CMAKE.format(name=name, found=found, files=files, needed=" ".join(needed)))
    depends = "".join(f"<depend>{other}</depend>" for other in needed)
    (package / "package.xml").write_text(_MANIFEST.format(name=name, depends=depends))
    colcon = [sys.executable, "-c", "import sys; from colcon_core.command import main; sys.exit(main())"]
    words = ["build", "--merge-install", "--cmake-args", "-DBUILD_TESTING=OFF"]
    done = subprocess.run([*colcon, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
