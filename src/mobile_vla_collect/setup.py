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
    install_requires=["setuptools", "numpy", "PyYAML"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="Cameras, teleoperation and the episode recorder",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "camera_node = mobile_vla_collect.camera.camera_node:main",
            "joy_teleop_node = mobile_vla_collect.teleop.joy_teleop_node:main",
            "keyboard_teleop_node = mobile_vla_collect.teleop.keyboard_teleop_node:main",
            "recorder_node = mobile_vla_collect.recorder.recorder_node:main",
        ]
    },
)
