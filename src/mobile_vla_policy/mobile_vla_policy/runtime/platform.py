"""Memory and temperature of the machine, without further packages."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

_THERMAL = Path("/sys/class/thermal")


def resident_bytes() -> int:
    """Return the resident memory of this process [bytes]; 0 if the platform does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def gpu_bytes() -> int:
    """Return the memory that torch has allocated on all CUDA devices [bytes]. Not while torch is being imported."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return sum(torch.cuda.memory_allocated(device) for device in range(torch.cuda.device_count()))


def temperature_c() -> float:
    """Return the temperature of the hottest thermal zone [deg C], the GPU's included on a Jetson; NaN without zones."""
    hottest = math.nan
    for zone in _THERMAL.glob("thermal_zone*/temp"):
        try:
            celsius = int(zone.read_text()) / 1000.0
        except (OSError, ValueError):
            # Zones of parts that are powered down cannot be read.
            continue
        if math.isnan(hottest) or celsius > hottest:
            hottest = celsius
    return hottest
