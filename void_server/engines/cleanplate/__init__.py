"""The engine without weights: rewrites pixels with what the rest of the shot shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import Engine, NewPixels

if TYPE_CHECKING:
    from ..clip import Clip

_PREPARED = "cleanplate.npz"


class CleanPlate(Engine):
    """Clean plates from the shot itself; runs anywhere, and has no settings of its own."""

    def prepare(self, clip: Clip, report: Callable[[float], None]) -> None:
        """Follow the camera, and look through all frames for what lies behind each; see :class:`Engine`."""
        from ...imaging.arrays import keep
        from ...imaging.camera import Camera
        from . import moving, still

        file = clip.kept / _PREPARED
        if clip.whole_region.empty or file.is_file():
            return
        clip.keep_regions()
        camera = Camera.track((clip.footage.small_plate(i), clip.small_rewritten(i)) for i in range(len(clip)))
        report(0.2)
        if camera.at_rest:
            found = still.prepare(clip, lambda share: report(0.2 + 0.8 * share))
        else:
            found = moving.prepare(clip, camera)
        keep(file, camera=camera.from_first, **found)
        report(1.0)

    def synthesise(self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """See :class:`void_server.engines.Engine`."""
        from ...imaging.arrays import kept
        from ...imaging.camera import Camera
        from . import exposure, moving, still

        if clip.whole_region.empty:
            return
        self.prepare(clip, report)
        found = kept(clip.kept / _PREPARED)
        camera = Camera(found["camera"])
        if camera.at_rest:
            frames = still.synthesise(clip, found, wanted)
        else:
            frames = moving.synthesise(clip, camera, found, wanted)
        for frame in frames:
            index, window = frame.index, frame.window
            border = (clip.blend(index, window) > 0) & ~clip.rewritten(index, window)
            yield replace(frame, rgb=exposure.match(frame.rgb, clip.plate(index, window), border))
