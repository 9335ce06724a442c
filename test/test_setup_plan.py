"""What make setup installs on each platform, and the lower bounds that the packages name."""

import ast
import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
SETUPS = sorted(ROOT.glob("src/*/setup.py"))
#: pip's names of modules, where they differ or where another package brings the module.
PIP_NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
    "starlette": "fastapi",
    "yaml": "pyyaml",
}
#: pip's names of rosdep's keys python3-NAME, where they differ.
ROSDEP_NAMES = {"opencv": "opencv-python-headless", "pil": "pillow", "yaml": "pyyaml"}
HUMBLE_DESKTOP = {"numpy": "1.21.5", "opencv-python-headless": "", "colcon-core": "0.18.3"}


def load(script: str):
    spec = importlib.util.spec_from_file_location(script.replace("/", "_"), ROOT / f"tools/{script}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


plan, typecheck = load("setup/plan"), load("typecheck")


def pins(planned) -> dict[str, str]:
    return dict(line.split("==") for line in planned.constraints)


def names(planned) -> set[str]:
    return {re.split(r"[<>= ]", line)[0] for line in planned.requirements}


def test_numpy_of_ubuntu_22_is_covered_by_a_newer_one_of_the_same_abi() -> None:
    planned = plan.plan(REQUIREMENTS, "3.10", "/opt/ros/humble", HUMBLE_DESKTOP)
    assert "numpy" in names(planned) and pins(planned)["numpy"].startswith("1.26.")
    assert "opencv-python-headless" not in names(planned)


def brought(tmp_path: Path, **installed: tuple[str, ...]) -> str:
    """What brought_by_platform() says in an environment whose packages, and those of its platform, are these."""
    folders = {place: tmp_path / place / "lib/python3/site-packages" for place in ("venv", "usr")}
    for place, packages in installed.items():
        for package in packages:
            name, version = package.split("==")
            (folders[place] / name).mkdir(parents=True)
            (folders[place] / name / "__init__.py").touch()
            (folders[place] / f"{name}-{version}.dist-info").mkdir()
            (folders[place] / f"{name}-{version}.dist-info/METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    script = (
        f"import sys; sys.path[:0] = {[str(folder) for folder in folders.values()] + [str(ROOT / 'tools/setup')]}\n"
        f"import plan; sys.prefix = {str(tmp_path / 'venv')!r}\n"
        "try: print(plan.brought_by_platform())\nexcept plan.PlanError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


def test_what_an_earlier_setup_has_installed_is_not_the_platforms(tmp_path: Path) -> None:
    assert brought(tmp_path, venv=("torch==2.13.0", "numpy==1.26.4"), usr=("numpy==1.21.5",)) == "{'numpy': '1.21.5'}"


def test_a_torch_that_hides_the_platforms_is_an_error(tmp_path: Path) -> None:
    said = brought(tmp_path, venv=("torch==2.13.0",), usr=("torch==2.7.0",))
    assert "has a torch of its own, which hides the platform's 2.7.0; remove the folder" in said


def test_what_the_platform_brings_is_not_replaced() -> None:
    brought = {"numpy": "1.26.4", "torch": "2.7.0", "opencv-python-headless": "4.11.0", "colcon-core": "0.18.3"}
    planned = plan.plan(REQUIREMENTS, "3.10", "/opt/ros/humble", brought)
    assert not names(planned) & {*brought, "colcon-ros"} and not any("ros-" in name for name in names(planned))
    assert {name: pins(planned)[name] for name in brought} == brought


@pytest.mark.parametrize(
    ("torch", "newest"),
    [
        ("2.5.1+cu124", (5, 19)),
        # A pre-release of 2.6 is older than 2.6.
        ("2.6.0a0+df5bbc09d1.nv24.12", (5, 19)),
        ("2.6.0.dev20241112", (5, 19)),
        ("2.6", (5, 20)),
        ("2.6.0", (5, 20)),
        ("2.6.1rc1", (5, 20)),
        ("2.7.0a0+git1", (5, 20)),
    ],
)
def test_transformers_fits_the_torch_of_the_platform(torch: str, newest: tuple[int, int]) -> None:
    planned = plan.plan(REQUIREMENTS, "3.10", "/opt/ros/humble", {"numpy": "1.26.4", "torch": torch})
    assert plan.release(pins(planned)["transformers"])[:2] == newest
    # A pinned tokenizers would contradict an older transformers.
    assert ("tokenizers" in pins(planned)) == (newest == (5, 20))


@pytest.mark.parametrize("torch", ["2.4.0", "2.5.0a0+872d972e41.nv24.08"])
def test_a_torch_that_no_transformers_of_ours_works_with_is_refused(torch: str) -> None:
    with pytest.raises(plan.PlanError, match=re.escape(f"torch {torch}; 2.5 or later")):
        plan.plan(REQUIREMENTS, "3.10", "/opt/ros/humble", {"torch": torch})


def test_numpy_2_is_refused_where_ros_was_compiled_against_numpy_1() -> None:
    with pytest.raises(plan.PlanError, match="jazzy was compiled against numpy 1"):
        plan.plan(REQUIREMENTS, "3.12", "/opt/ros/jazzy", {"numpy": "2.1.0"})
    plan.plan(REQUIREMENTS, "3.14", "/opt/ros/lyrical", {"numpy": "2.3.5"})


def test_a_distribution_with_numpy_1_gets_versions_that_go_with_it() -> None:
    with_1 = pins(plan.plan(REQUIREMENTS, "3.12", "/opt/ros/jazzy", {"numpy": "1.26.4"}))
    with_2 = pins(plan.plan(REQUIREMENTS, "3.12", "wheels-jazzy", {}))
    assert with_1["opencv-python-headless"] != with_2["opencv-python-headless"]


def test_what_only_some_machines_need_is_left_out_until_asked_for() -> None:
    heavy = {"onnx", "onnxruntime", "onnxscript", "mujoco", "mcap", "rosbags", "pytest", "mypy"}
    assert not names(plan.plan(REQUIREMENTS, "3.10", "/opt/ros/humble", HUMBLE_DESKTOP)) & heavy
    assert heavy <= names(plan.plan(REQUIREMENTS, "3.10", "/opt/ros/humble", HUMBLE_DESKTOP, plan.EXTRAS))


@pytest.mark.parametrize("wheels", ["jazzy", "kilted"])
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_with_wheels_everything_is_pinned(python: str, wheels: str) -> None:
    planned = plan.plan(REQUIREMENTS, python, f"wheels-{wheels}", {}, plan.EXTRAS)
    exact = {line.split("==")[0] for line in planned.requirements if "==" in line}
    assert "ros-rclpy" in exact and names(planned) - exact <= set(pins(planned))


def test_an_unknown_python_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(plan.PlanError, match=r"3\.9; there are some for 3\.10, 3\.11"):
        plan.plan(REQUIREMENTS, "3.9", "/opt/ros/humble", {})


def declared(setup: Path) -> dict[str, list[str]]:
    """Return what a package needs, as its setup.py says: ``install_requires`` under "", and the extras."""
    tree = ast.parse(setup.read_text())
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "setup")
    words = {word.arg: word.value for word in call.keywords}
    return {"": ast.literal_eval(words["install_requires"]), **ast.literal_eval(words["extras_require"])}


@pytest.mark.parametrize("setup", SETUPS, ids=[setup.parent.name for setup in SETUPS])
def test_setup_files_and_requirements_name_the_same_lower_bounds(setup: Path) -> None:
    bounds = {}
    for name in ("app.txt", *(f"{extra}.txt" for extra in plan.EXTRAS)):
        for line in plan._lines(REQUIREMENTS / name):
            bounds[plan._name(line)] = line[len(plan._name(line)) :]
    for extra, required in declared(setup).items():
        for line in required:
            name = plan._name(line)
            if name in bounds and name != "setuptools":
                assert line[len(name) :] == bounds[name], f"{setup}, {extra or 'install_requires'}: {line}"


def test_extras_of_packages_name_what_the_requirements_do() -> None:
    extras = declared(ROOT / "src/mobile_vla_data/setup.py")
    assert extras["rosbag"] == plan._lines(REQUIREMENTS / "rosbag.txt")
    assert declared(ROOT / "src/mobile_vla_policy/setup.py")["onnx"] == plan._lines(REQUIREMENTS / "onnx.txt")


@pytest.mark.parametrize("setup", SETUPS, ids=[setup.parent.name for setup in SETUPS])
def test_a_package_names_what_its_modules_import(setup: Path) -> None:
    package = setup.parent.name
    needs, others = set(), [package]
    while others:
        needs_of_one = {
            plan._name(line) for lines in declared(ROOT / f"src/{others.pop()}/setup.py").values() for line in lines
        }
        others += [name.replace("-", "_") for name in needs_of_one if name.startswith("mobile-vla-")]
        needs |= needs_of_one
    for path in (setup.parent / package).rglob("*.py"):
        for module in {name.split(".")[0] for name in typecheck.imported(ast.parse(path.read_text()))}:
            if module in sys.stdlib_module_names or module.startswith("mobile_vla_") or typecheck.ROS.fullmatch(module):
                continue
            assert PIP_NAMES.get(module, plan._name(module)) in needs, f"{path} imports {module}"


def test_the_page_lists_what_rosdep_does_not_bring() -> None:
    keys = {
        key for path in ROOT.glob("src/*/package.xml") for key in re.findall(r">python3-([\w-]+)<", path.read_text())
    }
    brought = {ROSDEP_NAMES.get(key, key) for key in keys} | {"setuptools"}
    page = (ROOT / "docs/reference/platforms.md").read_text().split("\n## Without make setup\n")[1].split("\n## ")[0]
    needed = {plan._name(line) for line in plan._lines(REQUIREMENTS / "app.txt")} - brought
    assert not {name for name in needed if not re.search(rf"\b{name}\b", page)}


def test_the_newest_transformers_wants_the_torch_that_the_plan_knows_of() -> None:
    wanted = [Requirement(line) for line in metadata.requires("transformers") or [] if line.startswith("torch>")]
    newest = ".".join(map(str, max(plan.NEWEST_TRANSFORMERS)))
    assert {str(one.specifier) for one in wanted} == {f">={newest}"}


def test_the_plan_is_written_for_pip(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools/setup/plan.py"), str(REQUIREMENTS), str(tmp_path)]
    subprocess.run([*command, "wheels-jazzy", "sim"], check=True)
    assert "mujoco>=3.4" in (tmp_path / "requirements.txt").read_text().splitlines()
    assert "torch==2.13.0" in (tmp_path / "constraints.txt").read_text().splitlines()
    refused = subprocess.run([*command, "wheels-jazzy", "simulator"], capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr == (
        "error: unknown extras: simulator; there are sim, onnx, rosbag, dev\n"
    )
