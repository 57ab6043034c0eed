"""Writes the table of settings in training.md from the code: python tools/training_table.py."""

from __future__ import annotations

import re
from pathlib import Path

from void_server.training.config import settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"


def page(text: str) -> str:
    """The page with its table as the code has it."""
    rows = (f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |" for name, default, meaning in settings())
    table = "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows])
    return re.sub(r"(<!-- settings -->\n).*?(<!-- end -->)", lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
