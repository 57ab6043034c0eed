"""What a check has found, for whoever must act on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Finding:
    """Something that was looked at: whether it is as it must be, and what it is or what to do."""

    good: bool
    what: str
    detail: str


def as_text(findings: Sequence[Finding]) -> str:
    """The findings, a line each."""
    return "\n".join(f"{'ok' if one.good else 'WRONG':<6} {one.what}: {one.detail}" for one in findings)
