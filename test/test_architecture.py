"""The shape of the house: no import cycles, and arrows between packages that point down only."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from import_graph import Import, cycles, imports_of, modules_below

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/explanation/architecture.md"
PACKAGES = sorted(path.parent for path in (ROOT / "src").glob("*/package.xml"))
#: Folders whose modules find each other without the folder's name.
BARE = frozenset({"benchmarks"})


def repository() -> dict[str, Path]:
    """Every module of the packages, of the developer's tools and of the benchmarks."""
    found = {}
    for package in PACKAGES:
        found.update(modules_below(package / package.name, package.name))
    for name in ("demo", "platforms", "reference"):
        found.update(modules_below(ROOT / "tools" / name, name))
    found.update(modules_below(ROOT / "tools/ros2_lite/ros2_lite", "ros2_lite"))
    found.update(modules_below(ROOT / "benchmarks", "benchmarks"))
    return found


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return imports_of(repository(), BARE)


def order_in_docs() -> list[str]:
    """Packages in the order of the table in the docs, top first."""
    section = PAGE.read_text().split("\n## Packages\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(mobile_vla_\w+)` \|", section, re.MULTILINE)


def declared(package: Path, tags: tuple[str, ...]) -> set[str]:
    """Packages of the repository that package.xml names under one of ``tags``."""
    elements = ElementTree.parse(package / "package.xml").getroot()
    names = {path.name for path in PACKAGES}
    return {str(item.text) for item in elements if item.tag in tags and item.text in names}


def test_no_module_and_no_folder_imports_itself_through_a_cycle(imports: list[Import]) -> None:
    assert len({item.source for item in imports}) > 100
    found = cycles(imports)
    assert not found, "import cycles:\n" + "\n".join(found)


def test_the_docs_list_every_package() -> None:
    assert sorted(order_in_docs()) == [path.name for path in PACKAGES]


def test_arrows_between_packages_point_down_in_the_order_of_the_docs(imports: list[Import]) -> None:
    order = order_in_docs()
    # Tools and benchmarks stand above every package, and no package uses them.
    above = ["benchmarks", "demo", "platforms", "reference", "ros2_lite"]
    rank = {name: index for index, name in enumerate([*above, *order])}
    upwards = [
        str(item)
        for item in imports
        if (ends := [name.split(".")[0] for name in (item.source, item.target)])[0] != ends[1]
        and rank[ends[0]] > rank[ends[1]]
    ]
    upwards += [
        f"{package.name}/package.xml depends on {name}"
        for package in PACKAGES
        for name in declared(package, ("depend", "build_depend", "build_export_depend", "exec_depend"))
        if rank[package.name] >= rank[name]
    ]
    assert not upwards, "\n".join(upwards)


def test_a_package_declares_the_packages_that_it_imports(imports: list[Import]) -> None:
    for package in PACKAGES:
        used = {item.target.split(".")[0] for item in imports if item.source.split(".")[0] == package.name} - {
            package.name
        }
        undeclared = used - declared(package, ("depend", "exec_depend"))
        assert not undeclared, f"{package.name}/package.xml lacks {', '.join(sorted(undeclared))}"


def test_a_package_declares_the_ros_packages_that_it_and_its_tests_import() -> None:
    names = r"rclpy|rcl_interfaces|builtin_interfaces|launch|launch_ros|mobile_vla_\w+|\w+_(?:msgs|srvs)"
    ros = re.compile(rf"^\s*(?:from|import) ({names})\b", re.MULTILINE)
    for package in PACKAGES:
        tags = {item.text: item.tag for item in ElementTree.parse(package / "package.xml").getroot()}
        for path in package.rglob("*.py"):
            allowed = ("depend", "exec_depend", "test_depend") if "test" in path.parts else ("depend", "exec_depend")
            undeclared = {name for name in ros.findall(path.read_text()) if tags.get(name) not in allowed}
            undeclared -= {package.name}
            assert not undeclared, f"{package.name}/package.xml lacks {undeclared}, which {path.name} imports"


def write(folder: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cycles(imports_of(modules_below(folder)))


@pytest.mark.parametrize(
    "second",
    [
        "import p.a.one",
        "from p.a import one",
        "from p.a.one import name",
        "from ..a import one",
        "def function():\n    from p.a import one",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a.one import name",
        "import importlib\none = importlib.import_module('p.a.one')",
    ],
)
def test_every_way_to_import_counts(tmp_path: Path, second: str) -> None:
    found = write(tmp_path, {"p/a/one.py": "import p.b.two\n", "p/b/two.py": second})
    assert len(found) == 1
    assert "p: a -> b -> a" in found[0] or "p: b -> a -> b" in found[0]
    assert "p.b.two:" in found[0] and "p.a.one:1 imports p.b.two" in found[0]


def test_two_folders_that_import_each_other_are_a_cycle_even_if_no_module_does(tmp_path: Path) -> None:
    files = {"p/a/one.py": "import p.b.two", "p/b/two.py": "", "p/b/three.py": "import p.a.four", "p/a/four.py": ""}
    assert len(write(tmp_path, files)) == 1


def test_a_package_that_imports_its_modules_is_no_cycle_until_one_of_them_imports_it(tmp_path: Path) -> None:
    files = {"p/__init__.py": "from p.one import name", "p/one.py": "from p import two", "p/two.py": ""}
    assert write(tmp_path, files) == []
    assert len(write(tmp_path, {"p/two.py": "from p import name"})) == 1
