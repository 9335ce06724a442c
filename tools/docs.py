"""Regenerate ``docs/reference/cli.md`` from the code: commands, launch arguments, interfaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "cli.md"
COMMANDS = {
    "mobile-vla-data": "mobile_vla_data.cli.main",
    "mobile-vla-sim": "mobile_vla_sim.cli",
    "mobile-vla-policy": "mobile_vla_policy.cli",
}
LAUNCH_FILES = ("collect.launch.py", "inference.launch.py", "policy.launch.py", "sim.launch.py")
INTRODUCTION = """# Reference

Made from the code by `make docs`; do not edit. What the parts are for: [architecture](../explanation/architecture.md).
"""


def main() -> int:
    """Write the page; returns the exit status."""
    parts = [INTRODUCTION, "## Commands\n"]
    parts += [command_page(name, module) for name, module in COMMANDS.items()]
    parts += ["## Launch files\n", *(launch_page(name) for name in LAUNCH_FILES)]
    parts += ["## Interfaces\n", *(interface_page(path) for path in interfaces())]
    PAGE.write_text("\n".join(part.rstrip() + "\n" for part in parts))
    print(PAGE.relative_to(ROOT))
    return 0


def command_page(name: str, module: str) -> str:
    """Markdown of a typer command and its subcommands, two heading levels down."""
    page = _output([sys.executable, "-m", "typer", module, "utils", "docs", "--name", name])
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in page.splitlines())


def launch_page(name: str) -> str:
    """The declared arguments of a launch file, as ``ros2 launch --show-args`` says them."""
    shown = _output(["ros2", "launch", "mobile_vla_bringup", name, "--show-args"])
    return f"### {name}\n\n```\n{shown.replace(str(ROOT) + '/', '').strip()}\n```\n"


def interfaces() -> list[Path]:
    """Every message, service and action file."""
    folder = ROOT / "src" / "mobile_vla_msgs"
    return [path for kind in ("msg", "srv", "action") for path in sorted((folder / kind).iterdir())]


def interface_page(path: Path) -> str:
    """An interface, whole: its comments are the specification."""
    return f"### mobile_vla_msgs/{path.parent.name}/{path.stem}\n\n```\n{path.read_text().strip()}\n```\n"


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
