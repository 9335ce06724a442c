from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_dashboard"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed", "static/*", "*.j2"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=[
        "setuptools",
        "numpy>=1.26",
        "opencv-python-headless>=4.5.4",
        "fastapi>=0.100",
        "jinja2>=3",
        "Pillow>=10",
        "uvicorn>=0.23",
        "websockets>=11",
        "prometheus-client>=0.14",
        "pydantic>=2.5",
    ],
    extras_require={"test": ["pytest", "hypothesis", "schemathesis"]},
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="The web page of a Mobile VLA robot: cameras, recorder, policy, gate, stop button, teleop",
    license="Apache-2.0",
    entry_points={"console_scripts": ["dashboard_node = mobile_vla_dashboard.start:dashboard_node"]},
)
