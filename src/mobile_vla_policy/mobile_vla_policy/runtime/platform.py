"""What the machine says about itself: memory and temperature, without further packages."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_THERMAL = Path("/sys/class/thermal")


def resident_bytes() -> int:
    """Resident memory of this process [bytes]; 0 where the platform does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def gpu_bytes() -> int:
    """What torch has allocated on all CUDA devices [bytes]; 0 where it uses none. Not while torch is being imported."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.memory_allocated(device) for device in range(torch.cuda.device_count()))


def temperature_c() -> float:
    """The hottest thermal zone [deg C]; NaN where the platform offers none. On a Jetson the GPU's is among them."""
    hottest = math.nan
    for zone in _THERMAL.glob("thermal_zone*/temp"):
        try:
            celsius = int(zone.read_text()) / 1000.0
        except (OSError, ValueError):
            # Zones of parts that are powered down refuse to be read.
            continue
        if math.isnan(hottest) or celsius > hottest:
            hottest = celsius
    return hottest
