"""What artists mark in the viewer: points on the object, cells of the grid. Uses nuke, on its main thread."""

from __future__ import annotations

from typing import Optional

import nuke

from void_server.api.cells import CellEdit
from void_server.api.errors import SettingError
from void_server.api.shot import Prompt

from . import cells, points
from . import knobs as k
from .node import VoidNode, one_step


def change_cell(void: VoidNode, what: Optional[str]) -> None:
    """Make the cell under the handle affected or keep in the frame range, or, with None, take its changes back."""
    plate = void.plate()
    x, y = _position(void, k.CELL)
    row, column = cells.cell_at(x, y, plate.width(), plate.height())
    frames = void.frames()
    edits = cells.parse(void.plain_text(k.GRID))
    if what is None:
        edits = [e for e in edits if (e.row, e.column, e.last_row, e.last_column) != (row, column, row, column)]
    else:
        edits.append(CellEdit(row, column, row, column, what, frames[0], frames[-1]))
    with one_step("VOID cell"):
        void.node[k.GRID].setValue("\n".join(map(str, edits)))
        void.apply_grid()


def add_point(void: VoidNode, what: str) -> None:
    """Add the point under the handle, on the object or not on it, in the current frame."""
    plate = void.plate()
    x, y = _position(void, k.CLICK)
    if not (0 <= x < plate.width() and 0 <= y < plate.height()):
        raise SettingError(f"The point's handle is at {x:g}, {y:g}, outside the frame; put it on the object.")
    click = points.Click(nuke.frame(), what, x, y)
    with one_step("VOID point"):
        void.node[k.CLICKS].setValue("\n".join(map(str, [*points.parse(void.plain_text(k.CLICKS)), click])))


def clear_points(void: VoidNode) -> None:
    """Remove the points of the current frame."""
    others = [click for click in points.parse(void.plain_text(k.CLICKS)) if click.frame != nuke.frame()]
    with one_step("VOID point"):
        void.node[k.CLICKS].setValue("\n".join(map(str, others)))


def prompts(void: VoidNode) -> tuple[Prompt, ...]:
    """The node's points as the server takes them. Raises :class:`SettingError` naming the line that is wrong."""
    if not void.has(k.CLICKS):
        return ()
    height = void.plate().height()
    return tuple(click.prompt(height) for click in points.parse(void.plain_text(k.CLICKS)))


def _position(void: VoidNode, name: str) -> tuple[float, float]:
    x, y = (float(part) for part in void.node[name].value())
    return x, y
