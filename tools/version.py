"""Print the version of the workspace, or set it: ``python tools/version.py [NEW]``.

The version stands in every ``package.xml``, where ROS wants it; ``setup.py`` and ``__version__`` read it from there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r"(?<=<version>)[^<]+(?=</version>)")


def main(arguments: list[str]) -> int:
    """Print or set; return 0, or 1 when packages disagree, or 2 on wrong usage."""
    packages = sorted((ROOT / "src").glob("*/package.xml"))
    if arguments:
        if len(arguments) != 1 or not re.fullmatch(r"\d+\.\d+\.\d+", arguments[0]):
            print(f"error: a version is three numbers, such as 0.2.0; got {' '.join(arguments)}", file=sys.stderr)
            return 2
        for path in packages:
            path.write_text(_VERSION.sub(arguments[0], path.read_text(), count=1))
    versions = {path.parent.name: _VERSION.findall(path.read_text())[0] for path in packages}
    if len(set(versions.values())) != 1:
        print(f"error: versions differ: {versions}; set one with tools/version.py NEW", file=sys.stderr)
        return 1
    print(next(iter(versions.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
