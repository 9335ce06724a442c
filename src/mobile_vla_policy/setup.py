from xml.etree import ElementTree

from setuptools import find_packages, setup

package_name = "mobile_vla_policy"

setup(
    name=package_name,
    version=ElementTree.parse("package.xml").findtext("version"),
    packages=find_packages(exclude=["test"]),
    package_data={package_name: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package_name}"]),
        (f"share/{package_name}", ["package.xml"]),
    ],
    install_requires=[
        "setuptools",
        "mobile_vla_data",
        "numpy>=1.26",
        "torch>=2.5",
        "transformers>=5.4",
        "tokenizers",
        "peft>=0.18",
        "accelerate>=1.1",
        "safetensors>=0.4.3",
        "huggingface_hub>=1.5",
        "kornia>=0.7",
        "pydantic>=2.5",
        "PyYAML>=6",
        "typer>=0.9",
        "rich>=13",
        "matplotlib>=3.5",
        "tensorboard>=2.12",
    ],
    extras_require={
        "test": ["pytest"],
        "quantisation": ["bitsandbytes"],
        "opencv": ["opencv-python-headless>=4.5.4"],
        "onnx": ["onnx>=1.16", "onnxscript>=0.5", "onnxruntime>=1.18"],
    },
    zip_safe=False,
    maintainer="Mobile VLA maintainers",
    maintainer_email="maintainers@mobile-vla.org",
    description="The policy of Mobile VLA: model, training, policy node",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "mobile-vla-policy = mobile_vla_policy.start:policy",
            "policy_node = mobile_vla_policy.start:policy_node",
        ]
    },
)
