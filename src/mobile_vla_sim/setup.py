from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_sim"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "headless/*.j2"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=[
        "setuptools",
        "numpy>=1.26",
        "opencv-python-headless>=4.5.4",
        "mujoco>=3.4",
        "typer>=0.9",
        "rich>=13",
        "simplejpeg>=1.6",
        "Pillow>=10",
        "jinja2>=3",
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="Simulated flat and robot of Mobile VLA: tasks, expert, headless collection, closed-loop evaluation",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "mobile-vla-sim = mobile_vla_sim.start:sim",
            "sim_node = mobile_vla_sim.start:sim_node",
            "expert_node = mobile_vla_sim.start:expert_node",
            "trial_node = mobile_vla_sim.start:trial_node",
        ]
    },
)
