"""Findings of validation: one finding is one fact about one file, with advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (error) or deserves a look (warning)."""

    code: str
    """Stable short name, for example ``not-finite``; docs/reference/episode-format.md lists them."""
    severity: Severity
    file: str
    """Path of the file, or of the folder for findings about the dataset."""
    message: str
    """The fault, with the values found and expected."""
    advice: str
    """Advice."""
    step: int | None = None
    """First step concerned, if it is about steps."""

    def __str__(self) -> str:
        where = f"{self.file}, step {self.step}" if self.step is not None else self.file
        return f"{where}: {self.message}; {self.advice} [{self.code}]"

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return asdict(self)


def has_errors(findings: list[Finding]) -> bool:
    """Return whether any finding is an error."""
    return any(finding.severity == "error" for finding in findings)
