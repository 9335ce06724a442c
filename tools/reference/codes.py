"""The page of the findings and error codes."""

from __future__ import annotations

import re
from pathlib import Path

from reference.markdown import code, table

INTRODUCTION = """# Findings and error codes

## Exit status of commands

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | findings, or a failure that one line on stderr describes |
| 2 | wrong usage |
| 130 | stopped by Ctrl-C |

A node ends with 0 after SIGINT or SIGTERM, 1 when it cannot start or fails, and 2 for wrong parameters.

## Findings

`mobile-vla-data validate` and the recorder (at every stop) run the same checks. An error means: do not train
on this episode. `validate --strict` treats warnings as errors. From Python, `check_episode(path)` of
`mobile_vla_data.checks.validate` returns the findings of one file, and `validate_dataset(folder)` a report.
"""
SERVICES = """
## Error codes of services and actions

A response has `error_code`, and `message` says in one line what is wrong.
"""
_CONSTANT = re.compile(r"^uint8 (?P<name>[A-Z_]+)=(?P<value>\d+)\s*(?:#\s*(?P<comment>.*))?$", re.MULTILINE)


def page(root: Path) -> str:
    """Return the page."""
    from mobile_vla_data.checks.codes import CODES

    rows = [[code(name), entry.severity, entry.meaning] for name, entry in CODES.items()]
    parts = [INTRODUCTION, table(["code", "severity", "meaning"], rows), SERVICES]
    folder = root / "src" / "mobile_vla_msgs"
    codes = []
    for path in [*sorted(folder.glob("srv/*")), *sorted(folder.glob("action/*"))]:
        for match in _CONSTANT.finditer(path.read_text()):
            codes.append([code(path.stem), match["value"], code(match["name"]), match["comment"] or ""])
    return "\n".join([*parts, table(["service or action", "code", "name", "meaning"], codes)])
