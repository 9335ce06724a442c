"""Print which tests were skipped and retried, with their reasons: test_notes.py FILE. Status 1: too many retries.

FILE has one JSON object a line, written by the repository's conftest.py.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

#: Real processes share the machine with whatever else it does. More than this is a fault of the code or of a test.
RETRIES_ALLOWED = 2


def main() -> int:
    """Entry point; returns the exit status."""
    notes = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    skipped: dict[str, list[str]] = defaultdict(list)
    for note in notes:
        if note["kind"] == "skipped":
            skipped[note["reason"]].append(note["test"])
    for reason, tests in sorted(skipped.items()):
        print(f"SKIPPED {len(tests)}: {reason}")
        for test in sorted({test.partition("[")[0] for test in tests}):
            print(f"    {test}")
    retried = [note for note in notes if note["kind"] == "rerun"]
    for note in retried:
        print(f"RETRIED {note['test']}: {note['reason']}")
    if len(retried) > RETRIES_ALLOWED:
        print(f"{len(retried)} tests needed a second try; {RETRIES_ALLOWED} may")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
