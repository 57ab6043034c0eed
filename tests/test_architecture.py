"""The imports of every part are those that docs/architecture.md allows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"void_server": ROOT / "void_server", "void_nuke": ROOT / "nuke_plugin" / "void_nuke"}


def allowed() -> dict[str, set[str]]:
    """The table of the guide: by part, what it may import."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("## Who may import whom")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\w+) \|(.*)\|$", table, re.MULTILINE)
    return {part: set(re.findall(r"\w+", others)) for part, others in rows if part != "part"}


def parts() -> set[str]:
    """The folders and modules at the root of void_server, and the plugin."""
    found = {p.stem for p in PACKAGES["void_server"].iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    return found - {"__init__"} | {"void_nuke"}


def imports(file: Path, package: str) -> Iterator[list[str]]:
    """Every module of ours that a file imports, as the names of its path."""
    inside = [package, *file.relative_to(PACKAGES[package]).with_suffix("").parts]
    folder = inside[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            yield from ([*module, alias.name] for alias in node.names)


def part_of(names: list[str]) -> str | None:
    """The part that a module belongs to; None for what is not ours, or is the package's version."""
    if names[0] == "void_nuke":
        return "void_nuke"
    return names[1] if names[0] == "void_server" and len(names) > 1 and names[1] in parts() else None


def test_the_page_has_every_part() -> None:
    assert set(allowed()) == parts()


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    table, wrong = allowed(), []
    for file in sorted(PACKAGES[package].rglob("*.py")):
        own = part_of([package, *file.relative_to(PACKAGES[package]).with_suffix("").parts])
        others = {part for names in imports(file, package) if (part := part_of(names))}
        if own:
            wrong += [f"{file.relative_to(ROOT)} imports {part}" for part in others - table[own] - {own}]
    assert not wrong


def test_the_service_does_not_import_the_pipeline() -> None:
    assert "pipeline" not in allowed()["service"]
