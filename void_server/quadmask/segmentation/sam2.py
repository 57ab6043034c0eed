"""Objects followed by SAM 2 (Ravi et al., arXiv 2408.00714), with Meta's package and checkpoints 2.0 and 2.1."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...api.errors import SettingError
from ...imaging.exr import FloatImage
from ...plugins import installed
from . import Frames, Hints, by_first_hint
from .checkpoints import Checkpoint
from .streaming import Normalised, Streamed, forget, matte, precision

# the package's own progress bars would fill a worker's log; the job has one
os.environ.setdefault("TQDM_DISABLE", "1")

from sam2 import sam2_video_predictor
from sam2.build_sam import build_sam2_video_predictor

# the package takes frames from folders and movies only, through a function of one of its modules
_LOADING = threading.Lock()


class Sam2(Streamed):
    """SAM 2's video predictor."""

    def follow(self, frames: Frames, hints: Mapping[int, Mapping[int, Hints]]) -> Iterator[tuple[int, int, FloatImage]]:
        """See :class:`void_server.quadmask.segmentation.Segmenter`."""
        predictor = _predictor(self._checkpoint, self._device)
        # objects that begin together share the frames' features, which are most of the work
        for first, objects in by_first_hint(hints).items():
            with precision(self._device):
                state = _state(predictor, frames)
                for number in objects:
                    for index, known in hints[number].items():
                        _tell(predictor, state, number, index, known)
            for reverse in (False, True):
                steps = predictor.propagate_in_video(state, first, reverse=reverse)
                while step := self._next(steps):
                    index, numbers, logits = step
                    _forget(predictor, state, first, index, reverse)
                    if reverse and index == first:
                        continue
                    for number, of_object in zip(numbers, logits[:, 0], strict=True):
                        yield number, index, matte(of_object)

    def _next(self, steps: Iterator[Any]) -> Any:
        # the precision must not reach whoever takes the frames
        with precision(self._device):
            return next(steps, None)


@lru_cache(maxsize=1)
def _predictor(checkpoint: Checkpoint, device: str) -> Any:
    """The predictor of this process, kept between jobs. Raises :class:`SettingError` for another file."""
    try:
        predictor = build_sam2_video_predictor(checkpoint.config, str(checkpoint.path), device=device)
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise SettingError(
            f"{checkpoint.path} is not a checkpoint of {checkpoint.name}, or is incomplete; download it again."
        ) from error
    if not installed("sam2._C"):
        # small holes are filled by code that only a GPU build of the package has
        predictor.fill_hole_area = 0
    return predictor


def _state(predictor: Any, frames: Frames) -> dict[str, Any]:
    """The predictor's state for frames that lie in no folder and no movie."""
    height, width = frames[0].shape[:2]

    def load(**_: Any) -> tuple[Normalised, int, int]:
        return Normalised(frames, predictor.image_size), height, width

    with _LOADING:
        stock = sam2_video_predictor.load_video_frames
        sam2_video_predictor.load_video_frames = load
        try:
            state: dict[str, Any] = predictor.init_state("", offload_video_to_cpu=True, offload_state_to_cpu=True)
        finally:
            sam2_video_predictor.load_video_frames = stock
    return state


def _tell(predictor: Any, state: dict[str, Any], number: int, index: int, hints: Hints) -> None:
    if hints.mask is not None:
        predictor.add_new_mask(state, index, number, hints.mask)
        if not hints.off:
            return
        # points that come after a mask correct it
        hints = Hints(off=hints.off)
    points = np.array([*hints.on, *hints.off], np.float32).reshape(-1, 2)
    labels = np.array([1] * len(hints.on) + [0] * len(hints.off), np.int32)
    predictor.add_new_points_or_box(state, index, number, points=points, labels=labels, box=hints.box)


def _forget(predictor: Any, state: dict[str, Any], first: int, index: int, reverse: bool) -> None:
    reach = max(predictor.num_maskmem, predictor.max_obj_ptrs_in_encoder)
    for of_object in state["output_dict_per_obj"].values():
        forget(of_object["non_cond_frame_outputs"], reach, first, index, reverse)
