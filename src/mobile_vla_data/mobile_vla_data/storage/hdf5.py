"""Opens HDF5 files without HDF5's own locks, which many network file systems do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py


def open_hdf5(path: str | Path, mode: str = "r", **options: Any) -> Any:
    """Open an ``h5py.File``; arguments and errors are h5py's.

    No lock is needed: a committed episode is never changed in place, and whoever writes holds the lock of the folder.
    """
    return h5py.File(path, mode, locking=False, **options)
