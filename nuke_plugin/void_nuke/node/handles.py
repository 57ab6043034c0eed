"""What artists mark in the viewer: points on the object, cells of the grid. Uses nuke, on its main thread."""

from __future__ import annotations

import time
from typing import Optional, cast

import nuke

from void_server.api.cells import CellEdit
from void_server.api.errors import SettingError
from void_server.api.shot import Prompt

from . import cells, points
from . import knobs as k
from .node import VoidNode, one_step

#: An eyedropper that is dragged tells of every step; what comes within so many seconds is one click.
_ONE_CLICK = 0.3
#: The last click with an eyedropper: the node's id, the list of points before it, and when it was.
_last_pick = ("", "", 0.0)


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
    x, y = _position(void, k.CLICK)
    if not _is_inside(void, x, y):
        raise SettingError(f"The point's handle is at {x:g}, {y:g}, outside the frame; put it on the object.")
    _append(void, void.plain_text(k.CLICKS), points.Click(nuke.frame(), what, x, y))


def pick(void: VoidNode, name: str, *, other: bool) -> bool:
    """Add the point that was clicked with one of the eyedroppers; with ``other`` it counts for the other one.

    Returns whether there was a point to add.
    """
    global _last_pick
    picked = cast(nuke.Array_Knob, void.node[name]).getValue()
    # the colour comes first, then the corners of what was picked
    if not isinstance(picked, (list, tuple)) or len(picked) < 8 or not any(picked[4:8]):
        return False
    if nuke.root()["proxy"].value():
        void.tell("Switch proxy mode off to click points; the viewer's pixels are not the plate's in it.")
        return False
    left, bottom, right, top = picked[4:8]
    x, y = max(left, (left + right) / 2), max(bottom, (bottom + top) / 2)
    if not _is_inside(void, x, y):
        return False
    now, before = time.monotonic(), void.plain_text(k.CLICKS)
    if _last_pick[0] == void.id and now - _last_pick[2] < _ONE_CLICK:
        before = _last_pick[1]
    _last_pick = void.id, before, now
    what = points.ON if (name == k.PICK_ON) != other else points.OFF
    _append(void, before, points.Click(nuke.frame(), what, x, y))
    return True


def _append(void: VoidNode, before: str, click: points.Click) -> None:
    """Add a click to a list, unless it is in it."""
    clicks = points.parse(before)
    if click not in clicks:
        with one_step("VOID point"):
            void.node[k.CLICKS].setValue("\n".join(map(str, [*clicks, click])))


def _is_inside(void: VoidNode, x: float, y: float) -> bool:
    plate = void.plate()
    return 0 <= x < plate.width() and 0 <= y < plate.height()


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
