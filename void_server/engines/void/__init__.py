"""The engine ``void``: Netflix's VOID (arXiv 2604.02296), a video diffusion model in one or two passes.

Nothing heavy is imported until a job needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ...api.errors import SettingError
from ...api.shot import Settings
from ...capabilities import how_to_install, installed
from ...imaging.exr import FloatImage
from ...imaging.window import Window
from ..cleanplate import CleanPlate
from ..clip import Clip
from .pieces import cut

#: Says of a piece that the model's frames are all there, and on which device they were made.
DONE = "void_{}.done"
_MODULES = ("torch", "diffusers", "transformers", "safetensors", "sentencepiece")


def check_installed() -> None:
    """Raise :class:`SettingError` where what the engine needs is not installed."""
    absent = [name for name in _MODULES if not installed(name)]
    if absent:
        raise SettingError(
            f"The VOID engine needs {', '.join(absent)}, not installed where the server runs: {how_to_install('void')}"
        )


class Void:
    """The VOID model; wants the extra ``void``, the weights, and for any real size a GPU."""

    wants_gpu = True

    def check(self, settings: Settings) -> None:
        """See :class:`void_server.engines.Engine`."""
        check_installed()
        if settings.published and settings.piece_length:
            raise SettingError("The published code knows no pieces; leave piece_length at 0, or published out.")
        from . import weights

        weights.find(settings.checkpoint).check((1, 2) if settings.second_pass else (1,))

    def synthesise(
        self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]
    ) -> Iterator[tuple[int, Window, FloatImage]]:
        """See :class:`void_server.engines.Engine`."""
        region = clip.whole_region
        if region.empty:
            return
        from .synthesis import Synthesis

        yield from Synthesis(clip, region).frames(wanted, report)

    def prepare(self, clip: Clip, report: Callable[[float], None]) -> None:
        """See :class:`void_server.engines.Engine`; the clean plate, from which the detail comes."""
        CleanPlate().prepare(clip, report)

    def pieces(self, settings: Settings, frames: int) -> int:
        """See :class:`void_server.engines.Engine`; more than one for a shot that is longer than a piece may be."""
        return len(cut(frames, settings.piece_length))

    def make(self, clip: Clip, piece: int, report: Callable[[float], None]) -> None:
        """See :class:`void_server.engines.Engine`; all that wants the GPU is in here."""
        region = clip.whole_region
        if not region.empty:
            from .synthesis import Synthesis

            Synthesis(clip, region).make([piece], report)

    def provenance(self, clip: Clip) -> dict[str, str]:
        """See :class:`void_server.engines.Engine`; the device is the one on which the model ran."""
        from . import weights

        settings = clip.settings
        devices = {done.read_text(encoding="utf-8") for done in clip.kept.glob(DONE.format("*"))}
        device = {"device": "; ".join(sorted(devices))} if devices else {}
        return {**device, **weights.find(settings.checkpoint).hashes((1, 2) if settings.second_pass else (1,))}
