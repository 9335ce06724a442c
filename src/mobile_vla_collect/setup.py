from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_collect"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy>=1.26", "opencv-python-headless>=4.5.4", "PyYAML>=6"],
    extras_require={"test": ["pytest"], "raw": ["mcap"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="Cameras, teleoperation and the episode recorder",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "camera_node = mobile_vla_collect.start:camera_node",
            "joy_teleop_node = mobile_vla_collect.start:joy_teleop_node",
            "keyboard_teleop_node = mobile_vla_collect.start:keyboard_teleop_node",
            "raw_recorder_node = mobile_vla_collect.start:raw_recorder_node",
            "recorder_node = mobile_vla_collect.start:recorder_node",
            "replay_node = mobile_vla_collect.start:replay_node",
        ]
    },
)
