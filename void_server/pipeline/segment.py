"""The stage that segments the object: turns points, boxes or a rough roto into a roto over the whole shot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..api.errors import SequenceError, SettingError
from ..api.shot import Prompt, Shot
from ..imaging import exr
from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.sequence import Sequence, format_frames
from ..quadmask import segmentation
from ..quadmask.segmentation import Hints, names
from .inputs import Source

# A roto of a smaller share of the frame, or a larger one, is rarely what a single point is meant for.
_TINY, _GIANT = 0.0005, 0.4
# Frames of a rough roto with less than this are ignored.
_ROUGH_LEAST = 1e-5


class PlateFrames:
    """The plate's frames at full size, display-referred, read when they are asked for."""

    def __init__(self, footage: Footage) -> None:
        self._footage = footage

    def __len__(self) -> int:
        return len(self._footage.frames)

    def __getitem__(self, index: int) -> FloatImage:
        footage = self._footage
        return np.clip(footage.read_plate(footage.frames[index], footage.canvas), 0, 1)


def check_prompts(shot: Shot, source: Source) -> None:
    """Raise :class:`SettingError` naming the first prompt that lies outside the shot, or says too little."""
    for prompt in shot.prompts:
        what = prompt.called or f"{prompt.kind} at {', '.join(f'{value:g}' for value in prompt.at)}"
        where = f"The {what} in frame {prompt.frame}"
        if prompt.frame not in source.frames:
            raise SettingError(f"{where} is outside the frame range, {format_frames(source.frames)}; move it.")
        if prompt.kind == Prompt.NAMED:
            continue
        x, y = source.display.x + prompt.at[0], source.display.y + prompt.at[1]
        canvas = source.canvas
        if prompt.kind != Prompt.BOX and not (canvas.x <= x < canvas.right and canvas.y <= y < canvas.bottom):
            raise SettingError(
                f"{where} is outside the plate, which is {source.display.width}x{source.display.height}, counted from "
                "its top left corner."
            )
    if shot.prompts and not shot.roto:
        hints(shot, source)


def hints(shot: Shot, source: Source) -> dict[int, dict[int, Hints]]:
    """The hints for each object from the shot's prompts and rough roto, by frame index, in pixels of the canvas."""
    indices = {frame: index for index, frame in enumerate(source.frames)}
    left, top = source.display.x - source.canvas.x, source.display.y - source.canvas.y
    objects: dict[int, dict[int, Hints]] = {}
    for prompt in shot.prompts:
        of_object = objects.setdefault(prompt.object, {})
        hint = of_object.get(indices[prompt.frame], Hints())
        if prompt.kind == Prompt.NAMED:
            hint = replace(hint, called=prompt.called)
        elif prompt.kind == Prompt.BOX:
            x0, y0, x1, y1 = prompt.at
            hint = replace(hint, box=(x0 + left, y0 + top, x1 + left, y1 + top))
        else:
            point = prompt.at[0] + left, prompt.at[1] + top
            hint = (
                replace(hint, on=(*hint.on, point))
                if prompt.kind == Prompt.POINT
                else replace(hint, off=(*hint.off, point))
            )
        of_object[indices[prompt.frame]] = hint
    if source.roto:
        first = min(objects, default=1)
        for frame, path in source.roto.files.items():
            if frame not in indices:
                continue
            matte = exr.read_matte(path, source.canvas, source.roto.channels) >= 0.5
            if matte.mean() > _ROUGH_LEAST:
                of_object = objects.setdefault(first, {})
                hint = of_object.get(indices[frame], Hints())
                # clicks correct what was drawn
                if not (hint.on or hint.box or hint.called):
                    of_object[indices[frame]] = replace(hint, mask=matte)
    for number, of_object in objects.items():
        for index, hint in of_object.items():
            if not (hint.on or hint.box or hint.called or hint.mask is not None):
                raise SettingError(
                    f"In frame {source.frames[index]} all points are off object {number}; add a point on it, a box, or "
                    "its name."
                )
    if not objects:
        raise SequenceError(
            f"The roto {source.roto.name if source.roto else ''} is empty; draw the object roughly in it."
        )
    return objects


def write_roto(
    shot: Shot,
    source: Source,
    footage: Footage,
    roto: Sequence,
    write: Callable[[Path, FloatImage], None],
    report: Callable[[float], None],
) -> tuple[list[str], str]:
    """Find the shot's objects in every frame and write them, as one, to the files of ``roto``.

    Returns warnings, and the GPU that the segmenter ran on, empty for the CPU.
    ``write`` writes a matte of the canvas. An object is followed from its hints, so all frames are made anew.
    """
    segmenter = segmentation.choose(shot.settings.segmenter, shot.settings.device)
    objects = _found(hints(shot, source), PlateFrames(footage), source.frames, shot.settings.device)
    waiting: dict[int, FloatImage] = {}
    seen: dict[int, int] = {}
    warnings = [segmenter.warning] if segmenter.warning else []
    for done, (number, index, matte) in enumerate(segmenter.follow(PlateFrames(footage), objects), 1):
        if index in objects[number]:
            warnings += _odd(objects[number][index], matte, number, source.frames[index])
        waiting[index] = np.maximum(waiting[index], matte) if index in waiting else matte
        seen[index] = seen.get(index, 0) + 1
        if seen[index] == len(objects):
            write(roto.path(source.frames[index]), waiting.pop(index))
        report(done / (len(objects) * len(source.frames)))
    return warnings, segmenter.device


def _found(
    objects: dict[int, dict[int, Hints]], frames: segmentation.Frames, numbers: tuple[int, ...], device: str
) -> dict[int, dict[int, Hints]]:
    """The hints with masks in place of names. Raises :class:`SettingError` for a name that nothing in its frame has."""
    named = [
        (number, index) for number, of_object in objects.items() for index, hint in of_object.items() if hint.called
    ]
    finder = names.Finder(device) if named else None
    for number, index in named:
        hint = objects[number][index]
        assert finder
        masks = finder.find(frames[index], hint.called)
        if hint.on:
            # of several with that name, those that were clicked
            masks = [mask for mask in masks if any(mask[_pixel(point, mask)] for point in hint.on)]
        if not masks:
            raise SettingError(
                f"SAM 3 finds nothing called {hint.called!r} in frame {numbers[index]}; name it otherwise, choose "
                "another frame, or click on it."
            )
        objects[number][index] = Hints(off=hint.off, mask=np.logical_or.reduce(masks))
    return objects


def _pixel(point: tuple[float, float], mask: NDArray[np.bool_]) -> tuple[int, int]:
    return min(max(int(point[1]), 0), mask.shape[0] - 1), min(max(int(point[0]), 0), mask.shape[1] - 1)


def _odd(hint: Hints, matte: FloatImage, number: int, frame: int) -> list[str]:
    """A warning where a point alone yields a roto of hardly anything, or of most of the frame."""
    share = float((matte >= 0.5).mean())
    if hint.box or hint.mask is not None or len(hint.on) != 1 or _TINY <= share <= _GIANT:
        return []
    return [
        f"From one point in frame {frame}, {share:.2%} of the frame was taken for object {number}: check the roto, and "
        "add points on it, points that are not on it, or a box."
    ]
