from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_control"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "numpy>=1.26"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="The only way to the wheels and the gripper",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "command_gate_node = mobile_vla_control.start:command_gate_node",
            "gripper_adapter_node = mobile_vla_control.start:gripper_adapter_node",
        ]
    },
)
