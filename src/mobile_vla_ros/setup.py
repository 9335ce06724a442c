from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_ros"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=["setuptools", "filelock>=3.22", "numpy>=1.26", "PyYAML>=6"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="ROS code that all Mobile VLA nodes share",
    license="Apache-2.0",
)
