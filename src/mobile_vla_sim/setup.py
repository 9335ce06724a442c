from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_sim"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "headless/*.css", "headless/*.j2"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=[
        "setuptools",
        "numpy",
        "opencv-python-headless",
        "mujoco>=3.4",
        "typer",
        "rich",
        "simplejpeg",
        "Pillow",
        "jinja2",
    ],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="Simulated flat and robot of Mobile VLA: tasks, expert, headless collection, closed-loop evaluation",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "mobile-vla-sim = mobile_vla_sim.cli:main",
            "sim_node = mobile_vla_sim.nodes.sim_node:main",
            "expert_node = mobile_vla_sim.nodes.expert_node:main",
            "trial_node = mobile_vla_sim.nodes.trial_node:main",
        ]
    },
)
