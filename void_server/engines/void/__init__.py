"""The engine ``void``: Netflix's VOID (arXiv 2604.02296), a video diffusion model in one or two passes.

Nothing heavy is imported until a job needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...api.errors import SettingError
from ...api.shot import Settings
from ...plugins import how_to_install, installed
from .. import NewPixels
from ..cleanplate import CleanPlate
from ..clip import Clip
from .frames import Made, made_with
from .pieces import cut

if TYPE_CHECKING:
    from .synthesis import Synthesis

# The shares of the preparation that the model, and the clean plate for the detail, usually take.
_PASSES = 0.9
#: The packages that the engine needs beyond the installation itself.
MODULES = ("torch", "diffusers", "transformers", "safetensors", "sentencepiece")


def check_installed() -> None:
    """Raise :class:`SettingError` if a package that the engine needs is not installed."""
    absent = [name for name in MODULES if not installed(name)]
    if absent:
        raise SettingError(
            f"The engine void needs {', '.join(absent)}, missing where the server runs: {how_to_install('void')}"
        )


class Void:
    """The VOID model; needs the extra ``void``, the weights, and for any real size a GPU."""

    wants_gpu = True
    settings = frozenset(
        (
            *("steps", "guidance", "second_pass", "negative_prompt", "working_height", "memory", "device", "published"),
            *("quality", "attention", "compiled", "strength", "piece_length", "checkpoint"),
        )
    )

    def check(self, settings: Settings) -> None:
        """See :class:`void_server.engines.Engine`."""
        guided = settings.guidance > 1 or (settings.second_pass and not settings.guidance)
        if settings.negative_prompt and not guided:
            raise SettingError("The negative prompt needs a guidance above 1; raise guidance, or leave the prompt out.")
        check_installed()
        if settings.published and settings.piece_length:
            raise SettingError(
                "The published code does not work in pieces; leave piece_length at 0, or leave out published."
            )
        from . import weights

        weights.find(settings.checkpoint).check((1, 2) if settings.second_pass else (1,))

    def synthesise(self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """See :class:`void_server.engines.Engine`; where all pieces are made, this needs no torch and no weights."""
        region = clip.whole_region
        if region.empty:
            return
        made = Made(clip, region)
        if made.missing:
            _model_at_work(made).make(made.missing, lambda share: report(_PASSES * share))
        yield from made.frames(wanted, lambda share: report(_PASSES + (1 - _PASSES) * share))

    def prepare(self, clip: Clip, report: Callable[[float], None]) -> None:
        """See :class:`void_server.engines.Engine`; the clean plate, from which the detail comes."""
        CleanPlate().prepare(clip, report)

    def pieces(self, settings: Settings, frames: int) -> int:
        """See :class:`void_server.engines.Engine`; more than one for a shot that is longer than a piece may be."""
        return len(cut(frames, settings.piece_length))

    def make(self, clip: Clip, piece: int, report: Callable[[float], None]) -> None:
        """See :class:`void_server.engines.Engine`; all that wants the GPU is in here."""
        region = clip.whole_region
        if not region.empty and piece in (made := Made(clip, region)).missing:
            _model_at_work(made).make([piece], report)

    def provenance(self, clip: Clip) -> dict[str, str]:
        """See :class:`void_server.engines.Engine`: where the model ran, and the hashes of its weights."""
        return made_with(clip.kept)


def _model_at_work(made: Made) -> Synthesis:
    from .synthesis import Synthesis

    return Synthesis(made)
