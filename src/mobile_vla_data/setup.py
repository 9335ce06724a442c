from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_data"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={
        package_name: ["py.typed"],
        f"{package_name}.look": ["report.css", "report.html.j2"],
        f"{package_name}.hub": ["card.md.j2"],
        f"{package_name}.trials": ["page.css", "parts.html.j2"],
        # A link to mobile_vla_msgs/msg: recordings may not bring the definitions of their messages.
        f"{package_name}.convert.rosbag": ["msg/*.msg"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    # OpenCV and simplejpeg are called by the names that pip knows; on a ROS 2 distribution rosdep brings OpenCV.
    install_requires=[
        "setuptools",
        "numpy>=1.26",
        "h5py>=3.8",
        "filelock>=3.22",
        "jinja2>=3",
        "opencv-python-headless>=4.5.4",
        "Pillow>=10",
        "platformdirs>=3",
        "pydantic>=2.5",
        "PyYAML>=6",
        "typer>=0.9",
        "rich>=13",
        "simplejpeg>=1.6",
    ],
    extras_require={
        "test": ["pytest", "hypothesis"],
        "test_cluster": ["ray>=2.40", "s3fs>=2024.2", "moto[server]>=5"],
        "rerun": ["rerun-sdk>=0.23"],
        "lerobot": ["av>=12", "pyarrow>=14"],
        "rosbag": ["rosbags>=0.11", "mcap", "mcap-ros2-support"],
        "hub": ["huggingface-hub>=1.5"],
        "ray": ["ray>=2.40"],
        "storage": ["fsspec>=2024.2"],
    },
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="ROS-free core of Mobile VLA",
    license="Apache-2.0",
    entry_points={"console_scripts": ["mobile-vla-data = mobile_vla_data.cli.start:data"]},
)
