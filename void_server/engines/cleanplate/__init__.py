"""The engine without weights: rewrites pixels from the rest of the shot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from .. import Engine, NewPixels

if TYPE_CHECKING:
    from ..clip import Clip

_PREPARED = "cleanplate.npz"


class CleanPlate(Engine):
    """Clean plates from the shot itself; runs anywhere and has no settings of its own."""

    generative = False

    def prepare(self, clip: Clip, report: Callable[[float], None], wanted: Collection[int] | None = None) -> None:
        """Track the camera, and search all frames for what lies behind each; see :class:`Engine`.

        ``wanted`` are the frames that will ever be synthesised, if not all: only behind these must anything be seen.
        """
        from ...imaging import arrays
        from ...imaging.camera import Camera
        from . import moving, still

        file = clip.kept / _PREPARED
        if clip.whole_region.empty or file.is_file():
            return
        clip.keep_regions()
        camera = Camera.track((clip.footage.evenly_exposed(i), clip.small_rewritten(i)) for i in range(len(clip)))
        report(0.2)
        if camera.at_rest:
            prepared = still.prepare(clip, lambda share: report(0.2 + 0.8 * share))
        else:
            prepared = moving.prepare(clip, camera, range(len(clip)) if wanted is None else wanted)
        arrays.save(file, camera=camera.from_first, **prepared)
        report(1.0)

    def synthesise(self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """See :class:`void_server.engines.Engine`."""
        from ...imaging import arrays
        from ...imaging.camera import Camera
        from . import moving, still

        if clip.whole_region.empty:
            return
        self.prepare(clip, report)
        prepared = arrays.load(clip.kept / _PREPARED)
        camera = Camera(prepared["camera"])
        if camera.at_rest:
            yield from still.synthesise(clip, prepared, wanted)
        else:
            yield from moving.synthesise(clip, camera, prepared, wanted)
