"""The stage that makes the counterfactual plate, and the mattes of every frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import engines, finish
from .engines import NewPixels
from .imaging.parallel import in_order
from .imaging.window import Window
from .work import Work


def rewrite(work: Work, clip: engines.Clip, frames: tuple[int, ...]) -> list[str]:
    """Write plate and mattes of those of ``frames`` that have none yet; what is to be said of them."""
    results, course = work.results, work.course
    wanted = [
        index for index, frame in enumerate(work.frames) if frame in frames and not results.plate(frame).is_file()
    ]
    finisher = finish.Finisher(clip, grain=clip.settings.grain)

    def new_frames() -> Iterator[NewPixels]:
        """The engine's frames, and between them those in which there is nothing to rewrite."""
        rest = iter(wanted)
        for new in work.engine.synthesise(clip, wanted, lambda share: course.at(0.4 * share)):
            for index in rest:
                if index == new.index:
                    yield new
                    break
                yield _nothing(index)
        yield from map(_nothing, rest)

    def write(new: NewPixels) -> int:
        frame = work.frames[new.index]
        _write_mattes(work, finisher, new.index)
        finisher.write_plate(new, results.plate(frame))
        return frame

    for done, (_, frame) in enumerate(in_order(write, new_frames())):
        course.at(0.4 + 0.6 * (done + 1) / len(wanted), frame)
    return clip.warnings


def _nothing(index: int) -> NewPixels:
    return NewPixels(index, Window(0, 0, 0, 0), np.zeros((0, 0, 3), np.float32))


def write_all_mattes(work: Work) -> None:
    """Write the mattes of a quadmask that is to be looked at, with the blend that rewriting would use."""
    finisher = finish.Finisher(work.clip(), grain=False)
    missing = [index for index, frame in enumerate(work.frames) if not work.results.mattes(frame).is_file()]
    for _ in in_order(lambda index: _write_mattes(work, finisher, index), missing):
        pass


def _write_mattes(work: Work, finisher: finish.Finisher, index: int) -> None:
    frame = work.frames[index]
    data = work.plate_window(frame)
    work.write(work.results.mattes(frame), finisher.mattes(index, data), finish.MATTE_CHANNELS, data)
