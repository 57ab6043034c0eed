"""Correct a quadmask by grid cells, and by mattes to add or protect. The original is not modified."""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import cells
from ..api.account import user
from ..api.cells import CellEdit
from ..api.errors import SequenceError, SettingError
from ..api.files import new_version_folder, write_atomically
from ..api.version import VersionFolder
from ..imaging import exr, matte
from ..imaging.parallel import results
from ..imaging.sequence import Sequence, find, format_frames
from ..imaging.window import Window
from . import classes
from .classes import Quadmask
from .grid import Grid

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class Edits:
    """What to change: cells in order, later ones win, and the mattes ``add`` and ``protect``.

    What a cell or ``protect`` keeps is kept, whatever adds to it, also where the object is. Whatever they say, nothing
    becomes affected in the frame ``unaffected``, where there is one.
    """

    cells: tuple[CellEdit, ...] = ()
    add: Sequence | None = None
    protect: Sequence | None = None
    unaffected: int | None = None

    def apply(self, codes: Quadmask, frame: int, window: Window, display: Window) -> Quadmask:
        """The edited codes of a frame, which cover ``window``."""
        removed, affected = classes.is_removed(codes), classes.is_affected(codes)
        marks = self._marks(frame, window, Grid(display))
        kept = _matte(self.protect, frame, window) | (marks < 0)
        added = _matte(self.add, frame, window) | (marks > 0)
        if frame != self.unaffected:
            affected |= added
        return classes.assemble((removed & ~kept).astype(np.float32), affected & ~kept)

    def _marks(self, frame: int, window: Window, grid: Grid) -> NDArray[np.int8]:
        """1 where the cells make a pixel affected, -1 where they keep it, 0 elsewhere."""
        marks = np.zeros((window.height, window.width), np.int8)
        for edit in self.cells:
            if edit.last_row >= grid.rows or edit.last_column >= grid.columns:
                raise SettingError(
                    f"There is no cell r{edit.last_row}c{edit.last_column}; the grid has rows 0 to {grid.rows - 1} and "
                    f"columns 0 to {grid.columns - 1}."
                )
            first, last = grid.cell(edit.row, edit.column), grid.cell(edit.last_row, edit.last_column)
            block = first.union(last).intersection(window)
            if edit.applies(frame) and not block.empty:
                marks[window.slices(block)] = 1 if edit.what == cells.AFFECTED else -1
        return marks


def _matte(sequence: Sequence | None, frame: int, window: Window) -> NDArray[np.bool_]:
    if sequence is None or frame not in sequence.files:
        return np.zeros((window.height, window.width), bool)
    return np.nan_to_num(exr.read_matte(sequence.path(frame), window, sequence.channels)) >= 0.5


def edit(
    quadmask: str,
    out: Path,
    cells: Several[str],
    add: str | None,
    protect: str | None,
    reason: str = "",
    *,
    first_frame_unaffected: bool = False,
) -> tuple[Path, int]:
    """Write an edited copy of a quadmask to a new version folder in ``out``; that folder, and how many frames changed.

    ``first_frame_unaffected`` is as in :class:`void_server.engines.Engine`, for the engine that it is made for. Each
    edit becomes a line of the history, which begins with that of the original.

    Raises :class:`~void_server.api.errors.InputError` where a file, a cell or a range is wrong.
    """
    original = _chosen(quadmask)
    edits = Edits(
        tuple(CellEdit.parse(text) for text in cells),
        _matte_for(original, add, "matte to add") if add else None,
        _matte_for(original, protect, "matte to protect") if protect else None,
        original.frames[0] if first_frame_unaffected else None,
    )
    if not (edits.cells or edits.add or edits.protect):
        raise SettingError("There is nothing to change; give --grid, --add or --protect.")
    _check(edits, original)
    what = {"grid": list(cells), "add": add, "protect": protect}
    return _write(original, original, edits, out, what, reason)


def undo(quadmask: str, out: Path, reason: str = "") -> tuple[Path, int]:
    """Write the quadmask as it was before its last edit that is not undone; what :func:`edit` returns.

    Nothing is removed: that, too, is a new version and a line of the history. Raises
    :class:`~void_server.api.errors.InputError` where there is no edit to undo, or the version before it is gone.
    """
    edited = _chosen(quadmask)
    earlier = _before(_place(edited))
    original = _chosen(str(earlier))
    if original.frames != edited.frames:
        raise SequenceError(
            f"{earlier} has frames {format_frames(original.frames)}, no longer those of {edited.name}, which are "
            f"{format_frames(edited.frames)}; restore its files."
        )
    return _write(edited, original, Edits(), out, {"undo": str(earlier)}, reason)


def _write(
    edited: Sequence, source: Sequence, edits: Edits, out: Path, what: Mapping[str, Any], reason: str
) -> tuple[Path, int]:
    """Write a version of the quadmask ``edited``: the quadmask ``source`` with ``edits``."""
    folder = new_version_folder(out)

    def work(frame: int) -> bool:
        window, display = exr.windows(source.path(frame))
        given = classes.read(source.path(frame), window, source.channels)
        before = given if edited is source else classes.read(edited.path(frame), window, edited.channels)
        after = edits.apply(given, frame, window, display)
        exr.write(
            VersionFolder(folder).quadmask(frame),
            (after / np.float32(255)).astype(np.float16)[..., None],
            ("Y",),
            data_window=window,
            display_window=display,
            pixel_aspect=exr.pixel_aspect(source.path(frame)),
        )
        return not np.array_equal(before, after)

    changed = sum(results(work, source.frames))
    entry = {
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "who": user(),
        "of": str(_place(edited)),
        **{name: value for name, value in what.items() if value},
        **({"why": reason} if reason else {}),
        "frames_changed": changed,
    }
    lines = [json.dumps(one) for one in (*_history(_place(edited)), entry)]
    write_atomically(folder / HISTORY, "\n".join(lines) + "\n")
    return folder, changed


def _chosen(quadmask: str) -> Sequence:
    found = _frames_of(quadmask, "quadmask")
    return classes.chosen(found, found.frames)


def _place(quadmask: Sequence) -> Path:
    """The folder of its files."""
    return next(iter(quadmask.files.values())).parent


def _history(place: Path) -> list[dict[str, Any]]:
    """The edits that led to the quadmask in a folder, the oldest first."""
    file = place.parent / HISTORY
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [dict(json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise SettingError(f"{file} is no history of edits ({error}); restore it, or move it away.") from error


def _before(place: Path) -> Path:
    """The folder of the quadmask before the last edit, of those that are not undone, of the one in ``place``."""
    history = _history(place)
    if not history:
        raise SettingError(f"There is no edit to undo: {place} has no {HISTORY} beside it.")
    last = history[-1]
    return _before(Path(last["undo"])) if "undo" in last else Path(last["of"])


def _frames_of(text: str, what: str) -> Sequence:
    sequence = find(text, what)
    if sequence.movie:
        raise SequenceError(f"The {what} {sequence.name} is a movie; write it as EXR frames, which are exact.")
    return sequence


def _matte_for(original: Sequence, text: str, what: str) -> Sequence:
    """A matte for a quadmask: some of its frames, in its format."""
    sequence = _frames_of(text, what)
    shared = tuple(frame for frame in sequence.frames if frame in original.files)
    if not shared:
        raise SequenceError(
            f"The {what}, {sequence.name}, has frames {format_frames(sequence.frames)}, none of them among the "
            f"quadmask's {format_frames(original.frames)}; write it for those."
        )
    _, display = exr.windows(original.path(original.frames[0]))
    matte.check_format(what, sequence, shared, display, like="quadmask")
    return matte.choose(sequence, what, shared, may_be_empty=True)


def _check(edits: Edits, original: Sequence) -> None:
    """Raise every possible error before anything is written."""
    first = original.frames[0]
    window, display = exr.windows(original.path(first))
    edits.apply(classes.read(original.path(first), window, original.channels), first, window, display)
    for edited in edits.cells:
        if not any(edited.applies(frame) for frame in original.frames):
            raise SettingError(
                f"The edit of r{edited.row}c{edited.column} is for frames {edited.first}-{edited.last}; the quadmask "
                f"has {format_frames(original.frames)}."
            )
