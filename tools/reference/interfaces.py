"""The page of the messages, services and actions, from their files: their comments are the specification."""

from __future__ import annotations

import re
from pathlib import Path

from reference.markdown import code, table

INTRODUCTION = """# Messages

Messages, services and the action of `mobile_vla_msgs`. Which topic carries which: [topics and services](topics.md).
"""
PARTS = {"msg": [""], "srv": ["Request", "Response"], "action": ["Goal", "Result", "Feedback"]}
_LINE = re.compile(r"^(?P<type>\S+)\s+(?P<name>\w+)(?:=(?P<value>\S+))?\s*(?:#\s*(?P<comment>.*))?$")


def page(root: Path) -> str:
    """Return the page."""
    folder = root / "src" / "mobile_vla_msgs"
    files = [path for kind in PARTS for path in sorted((folder / kind).iterdir())]
    return "\n".join([INTRODUCTION, *(_interface(path) for path in files)])


def _interface(path: Path) -> str:
    kind = path.parent.name
    text = f"## {path.stem}\n\n`mobile_vla_msgs/{kind}/{path.stem}`\n"
    for title, part in zip(PARTS[kind], path.read_text().split("\n---\n"), strict=True):
        text += f"\n**{title}**\n" if title else ""
        text += _fields(part)
    return text


def _fields(part: str) -> str:
    prose, constants, fields = [], [], []
    for line in part.splitlines():
        if line.startswith("#"):
            prose.append(line.lstrip("# "))
        elif match := _LINE.match(line.strip()):
            comment = match["comment"] or ""
            if match["value"]:
                constants.append([code(match["name"]), code(match["value"]), comment])
            else:
                fields.append([code(match["name"]), code(match["type"]), comment])
    text = f"\n{' '.join(prose)}\n" if prose else ""
    text += f"\n{table(['constant', 'value', 'meaning'], constants)}" if constants else ""
    text += f"\n{table(['field', 'type', 'meaning'], fields)}" if fields else ""
    return text or "\nNo fields.\n"
