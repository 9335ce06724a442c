"""A stop that outlives the gate: a small file that exists while ``gate/stop`` is in force.

A gate that crashes or is restarted must not release the robot: a person may be standing in front of it. The file counts
as a stop by existing; it holds the time of the stop and the boot of the machine. A stop ends with a reboot, even where
the file survives one, as in the layer of a container.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from datetime import datetime
from pathlib import Path

from mobile_vla_data.storage.durable import explained, write_text_atomically
from mobile_vla_data.storage.folders import state_folder

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StopLatch:
    """File of one robot. No method raises: a gate must work without it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def of_robot(cls, domain_id: int, node_name: str) -> StopLatch:
        """Return the file of the gate ``node_name``, fully qualified, in a ROS domain; it is in the state folder."""
        return cls(state_folder() / f"stop_{domain_id}{node_name.replace('/', '.')}.json")

    def since(self) -> str:
        """Return the time of the stop in force, for a human; empty without one. An unreadable file counts as a stop."""
        try:
            noted = json.loads(self.file.read_text(encoding="utf-8"))
            since, boot_id = str(noted["since"]), str(noted["boot_id"])
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            return f"an unknown time ({explained(error)})"
        except (ValueError, KeyError, TypeError):
            return f"an unknown time ({self.file} is damaged)"
        now = _boot_id()
        return "" if boot_id and now and boot_id != now else since

    def set(self) -> str:
        """Write the file; return why that failed, in one line, or an empty string."""
        noted = {"since": f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}", "boot_id": _boot_id()}
        try:
            _require_own_folder(self.file.parent)
            write_text_atomically(self.file, json.dumps(noted))
        except OSError as error:
            return explained(error)
        return ""

    def clear(self) -> str:
        """Remove the file; return why that failed, in one line, or an empty string."""
        try:
            self.file.unlink(missing_ok=True)
        except NotADirectoryError:
            return ""
        except OSError as error:
            return explained(error)
        return ""


def _require_own_folder(folder: Path) -> None:
    """Create the folder for this user alone. Raises OSError if it belongs to another user, who could end a stop."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise OSError(errno.EPERM, "is not a folder of this user", str(folder))
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _boot_id() -> str:
    """Return an id that differs from boot to boot; empty on systems other than Linux."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
