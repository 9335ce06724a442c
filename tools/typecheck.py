"""Run ``mypy --strict`` on every module that imports no ROS: typecheck.py [--list]."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Packages that exist only where ROS 2 does.
ROS = re.compile(r"rclpy|ament_index_python|builtin_interfaces|launch|launch_ros|std_srvs|\w+_msgs|\w+_interfaces")


def module_name(path: Path) -> str:
    """Dotted name of a module of ``src/PACKAGE/PACKAGE/…``."""
    parts = path.relative_to(ROOT / "src").with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST) -> Iterator[str]:
    """Names that a module imports outside its functions, those for types alone (``if TYPE_CHECKING``) too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imported(child)


def ros_free(modules: dict[str, Path]) -> list[Path]:
    """Those that import ROS neither themselves nor through another module of ours."""
    imports = {name: set(imported(ast.parse(path.read_text()))) for name, path in modules.items()}
    tainted = {name for name, names in imports.items() if any(ROS.fullmatch(item.split(".")[0]) for item in names)}
    while grown := {name for name, names in imports.items() if name not in tainted and names & tainted}:
        tainted |= grown
    return [path for name, path in modules.items() if name not in tainted]


def main() -> int:
    """Entry point; returns mypy's exit status."""
    paths = sorted((ROOT / "src").glob("*/mobile_vla_*/**/*.py"))
    files = [str(path.relative_to(ROOT)) for path in ros_free({module_name(path): path for path in paths})]
    if sys.argv[1:] == ["--list"]:
        print("\n".join(files))
        return 0
    print(f"{len(files)} of {len(paths)} modules import no ROS", flush=True)
    return subprocess.run([sys.executable, "-m", "mypy", *files], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
