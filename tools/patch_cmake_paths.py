"""Point the ROS wheels' CMake exports at this interpreter.

The wheels were built under ``/opt/python/cp3xx-cp3xx``; two of those paths are written into their exported CMake
targets and break every message build elsewhere. Each file is replaced by rename, never edited in place: an installer
may hard-link from its cache, which must not be changed.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

NUMPY_INCLUDE = re.compile(r"/opt/python/[^;\"]*/numpy/_core/include")
PYTHON_INCLUDE = re.compile(r"/opt/python/[^;\"/]*/include/python3\.\d+")


def main() -> None:
    """Rewrite the stale include paths below ``<prefix>/share``; running it twice changes nothing."""
    for path in Path(sys.prefix, "share").rglob("*.cmake"):
        text = path.read_text()
        fixed = NUMPY_INCLUDE.sub(numpy.get_include(), text)
        fixed = PYTHON_INCLUDE.sub(sysconfig.get_paths()["include"], fixed)
        if fixed != text:
            replacement = path.with_name(path.name + ".new")
            replacement.write_text(fixed)
            replacement.rename(path)


if __name__ == "__main__":
    main()
