"""The engine ``void``: Netflix's VOID (arXiv 2604.02296), a video diffusion model in one or two passes.

Nothing heavy is imported until a job needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...api.errors import SettingError
from ...api.shot import Settings
from ...plugins import how_to_install, installed
from .. import Engine, NewPixels
from .settings import VoidSettings
from .weights import BASE

if TYPE_CHECKING:
    from ...imaging.window import Window
    from ..clip import Clip
    from .frames import Made
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
            f"The VOID model needs {', '.join(absent)}, missing where the server runs: {how_to_install('void')}"
        )


class Void(Engine):
    """The VOID model; needs the extra ``void``, the weights, and for any real size a GPU."""

    settings = VoidSettings
    wants_gpu = True
    generative = True
    model = f"VOID by Netflix (arXiv 2604.02296) on {BASE}"
    licence = "VOID: Apache-2.0; its base: the CogVideoX licence, which commercial use registers for"
    whole_cells = True
    # as in its training
    first_frame_unaffected = True

    def check(self, settings: Settings) -> None:
        """See :class:`void_server.engines.Engine`."""
        own = settings.of_engine(VoidSettings)
        own.check_together()
        check_installed()
        from . import weights

        weights.find(own.checkpoint, own.lora, own.lora_strength).check((1, 2) if own.second_pass else (1,))
        self._check_card(settings, own)

    def _check_card(self, settings: Settings, own: VoidSettings) -> None:
        """Raise :class:`SettingError` where the cards of a job here are too small; without cards, nobody can say."""
        from . import memory

        if settings.device != "cpu" and (cards := memory.cards()):
            room = memory.of_a_job(cards, settings.device)
            memory.check(memory.PROFILES[own.memory], own.working_height, guided=own.guided, available=room)

    def cells_of(self, settings: Settings, region: Window, canvas: Window, pixel_aspect: float) -> Window:
        """See :class:`void_server.engines.Engine`; in its training the grid lay over what the model sees."""
        from .fit import around

        return around(region, canvas, pixel_aspect, settings.of_engine(VoidSettings).working_height)

    def synthesise(self, clip: Clip, wanted: Sequence[int], report: Callable[[float], None]) -> Iterator[NewPixels]:
        """See :class:`void_server.engines.Engine`; where all pieces are made, this needs no torch and no weights."""
        from ...imaging.sequence import format_frames
        from .frames import Made
        from .pieces import between_gaps

        region = clip.whole_region
        if region.empty:
            return
        if few := between_gaps(clip.footage.frames):
            clip.warnings.append(
                f"The frames {format_frames(few)} lie between gaps, only a few together: the model sees hardly any "
                "motion there. Give the frames beside them too, or look at these first."
            )
        made = Made(clip, region)
        if made.missing:
            _model_at_work(made).make(made.missing, lambda share: report(_PASSES * share))
        yield from made.frames(wanted, lambda share: report(_PASSES + (1 - _PASSES) * share))

    def prepare(self, clip: Clip, report: Callable[[float], None]) -> None:
        """See :class:`void_server.engines.Engine`; the clean plate, which has the detail, and the model's inputs.

        Prompts too where the model can run: no later part of the job loads the text encoder then.
        """
        from .frames import Made

        if clip.whole_region.empty:
            return
        made = Made(clip, clip.whole_region)
        clip.keep_regions()
        made.prepare_guides(lambda share: report(0.5 * share))
        made.inputs.write(lambda share: report(0.5 + 0.4 * share))
        try:
            self.check(clip.settings)
            _model_at_work(made).read_prompts()
        except SettingError:
            # this machine need not have the model, nor a GPU; the first one that has it reads the prompts
            report(1.0)

    def pieces(self, settings: Settings, frames: Sequence[int]) -> int:
        """See :class:`void_server.engines.Engine`; more for a shot that is longer than a piece may be, or has gaps."""
        from .pieces import planned

        own = settings.of_engine(VoidSettings)
        return len(planned(frames, own.frame_step, own.piece_length).pieces)

    def in_pieces(self, settings: Settings, most: int) -> Settings:
        """See :class:`void_server.engines.Engine`; the published code knows no pieces."""
        own = settings.of_engine(VoidSettings)
        if own.piece_length or own.published_sampling:
            return settings
        return replace(settings, engine_settings={**settings.engine_settings, "piece_length": most})

    def make(self, clip: Clip, piece: int, report: Callable[[float], None]) -> None:
        """See :class:`void_server.engines.Engine`; all that wants the GPU is in here."""
        from .frames import Made

        region = clip.whole_region
        if not region.empty and piece in (made := Made(clip, region)).missing:
            _model_at_work(made).make([piece], report)

    def weights(self, settings: Settings) -> dict[str, str]:
        """See :class:`void_server.engines.Engine`: of the checkpoints of its passes."""
        from . import weights

        own = settings.of_engine(VoidSettings)
        return weights.find(own.checkpoint).hashes((1, 2) if own.second_pass else (1,))

    def provenance(self, clip: Clip) -> dict[str, str]:
        """See :class:`void_server.engines.Engine`: where the model ran, and the hashes of its weights."""
        from .frames import made_with

        return made_with(clip.kept)


def _model_at_work(made: Made) -> Synthesis:
    from .synthesis import Synthesis

    return Synthesis(made)
