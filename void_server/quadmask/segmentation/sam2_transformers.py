"""Objects followed by SAM 2.1 (Ravi et al., arXiv 2408.00714) with the package transformers, which needs no build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn.functional import interpolate
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from ...api.errors import SettingError
from ...imaging.exr import FloatImage
from . import Frames, Hints, by_first_hint
from .checkpoints import Checkpoint
from .streaming import Normalised, Streamed, forget, matte, precision

# Each object has a session of its own, in which it is the only one.
_OBJECT = 1
# How points are labelled: on the object, off it, and the corners of a box.
_ON, _OFF, _CORNERS = 1, 0, (2, 3)
# The package keeps an earlier matte's logits within these where points correct it, as Meta's does.
_LEAST, _MOST = -32.0, 32.0


class Sam2Transformers(Streamed):
    """SAM 2.1's video model."""

    def follow(self, frames: Frames, hints: Mapping[int, Mapping[int, Hints]]) -> Iterator[tuple[int, int, FloatImage]]:
        """See :class:`void_server.quadmask.segmentation.Segmenter`."""
        model = _model(self._checkpoint, self._device)
        # objects that begin together share the frames' features, which are most of the work
        for first, objects in by_first_hint(hints).items():
            sessions = {number: _session(model, frames, self._device) for number in objects}
            for session in sessions.values():
                session.cache = next(iter(sessions.values())).cache
            for number, session in sessions.items():
                for index, known in sorted(hints[number].items()):
                    with _running(self._device):
                        _tell(model, session, index, known)
            for reverse in (False, True):
                for index in range(first - 1, -1, -1) if reverse else range(first, len(frames)):
                    for number, session in sessions.items():
                        yield number, index, self._matte(model, session, index, reverse)
                        _forget(model, session, first, index, reverse)

    def _matte(self, model: Any, session: Any, index: int, reverse: bool) -> FloatImage:
        with _running(self._device):
            logits = model(session, frame_idx=index, reverse=reverse).pred_masks
            size = session.video_height, session.video_width
            return matte(interpolate(logits.float(), size, mode="bilinear", align_corners=False)[0, 0])


@contextmanager
def _running(device: str) -> Iterator[None]:
    # never around a yield: neither may reach whoever takes the frames
    with torch.inference_mode(), precision(device):
        yield


class _Model(Sam2VideoModel):
    """The package's model; points correct an earlier matte of their frame, as in Meta's."""

    def _run_single_frame_inference(self, **named: Any) -> Any:
        session, number, index = named["inference_session"], named["obj_idx"], named["frame_idx"]
        if named["point_inputs"] is not None:
            before = session.get_output(number, index, "pred_masks")
            named["prev_sam_mask_logits"] = None if before is None else before.clamp(_LEAST, _MOST)
        return super()._run_single_frame_inference(**named)


@lru_cache(maxsize=1)
def _model(checkpoint: Checkpoint, device: str) -> Any:
    """The model of this process, kept between jobs. Raises :class:`SettingError` for a folder that holds another."""
    try:
        model, found = _Model.from_pretrained(checkpoint.path, local_files_only=True, output_loading_info=True)
    except (RuntimeError, KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise _wrong(checkpoint) from error
    if found["missing_keys"] or found["mismatched_keys"]:
        raise _wrong(checkpoint)
    return model.to(device).eval()


def _wrong(checkpoint: Checkpoint) -> SettingError:
    return SettingError(
        f"{checkpoint.path} is not {checkpoint.name} for transformers, or is incomplete; download it again."
    )


def _session(model: Any, frames: Frames, device: str) -> Any:
    """A session for one object in frames that are read as they are asked for."""
    height, width = frames[0].shape[:2]
    session = Sam2VideoInferenceSession(
        video_height=height, video_width=width, inference_device=device, dtype=torch.float32
    )
    session.processed_frames = Normalised(frames, model.config.image_size)
    return session


def _tell(model: Any, session: Any, index: int, hints: Hints) -> None:
    """Let the model see what is known in a frame."""
    number, size = session.obj_id_to_idx(_OBJECT), model.config.image_size
    if hints.mask is not None:
        mask = torch.from_numpy(hints.mask.astype(np.float32))[None, None]
        mask = interpolate(mask, (size, size), mode="bilinear", align_corners=False, antialias=True) >= 0.5
        session.add_mask_inputs(number, index, mask.float())
        _look(model, session, index)
        session.remove_mask_inputs(number, index)
        if not hints.off:
            return
        # points that come after a mask correct it
        hints = Hints(off=hints.off)
    box = [hints.box[:2], hints.box[2:]] if hints.box else []
    labels = [*(_CORNERS if box else ()), *(_ON for _ in hints.on), *(_OFF for _ in hints.off)]
    scale = torch.tensor((size / session.video_width, size / session.video_height))
    points = torch.tensor([*box, *hints.on, *hints.off], dtype=torch.float32) * scale
    told = {"point_coords": points[None, None], "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None]}
    session.add_point_inputs(number, index, told)
    _look(model, session, index)


def _look(model: Any, session: Any, index: int) -> None:
    session.obj_with_new_inputs = [_OBJECT]
    model(session, frame_idx=index)


def _forget(model: Any, session: Any, first: int, index: int, reverse: bool) -> None:
    reach = max(model.num_maskmem, model.config.max_object_pointers_in_encoder)
    forget(session.output_dict_per_obj[0]["non_cond_frame_outputs"], reach, first, index, reverse)
