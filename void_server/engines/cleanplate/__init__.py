"""The engine without weights: rewrites pixels with what the rest of the shot shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...api.shot import Settings
from ...imaging.camera import Camera
from ...imaging.exr import FloatImage
from ...imaging.window import Window
from ..clip import Clip
from . import exposure, moving, still


class CleanPlate:
    """Clean plates from the shot itself; runs anywhere."""

    wants_gpu = False

    def check(self, settings: Settings) -> None:
        """Nothing is needed beyond the installation itself."""

    def pieces(self, settings: Settings, frames: int) -> int:
        """See :class:`void_server.engines.Engine`; each frame is made by itself."""
        del settings, frames
        return 0

    def prepare(self, clip: Clip, piece: int, report: Callable[[float], None]) -> None:
        """Nothing is made for all frames at once."""

    def provenance(self, clip: Clip) -> dict[str, str]:
        """Nothing decides the result but the settings and the software."""
        del clip
        return {}

    def synthesise(
        self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]
    ) -> Iterator[tuple[int, Window, FloatImage]]:
        """See :class:`void_server.engines.Engine`."""
        region = clip.whole_region
        if region.empty:
            return
        camera = Camera.track((clip.footage.small_plate(i), clip.small_rewritten(i)) for i in range(len(clip)))
        if camera.at_rest:
            frames = still.synthesise(clip, region, wanted, report)
        else:
            frames = moving.synthesise(clip, camera, wanted, report)
        for index, window, rgb in frames:
            border = (clip.blend(index, window) > 0) & ~clip.rewritten(index, window)
            yield index, window, exposure.match(rgb, clip.plate(index, window), border)
