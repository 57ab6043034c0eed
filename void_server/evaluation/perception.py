"""Errors as a viewer sees them: FLIP, and HDR-FLIP over the exposures that a picture may be graded to.

Both come from flip-evaluator, NVIDIA's own implementation, and are left out where it is not installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import plugins
from ..imaging.exr import FloatImage

#: How far, in pixels, what is around a pixel counts: FLIP's filters, at its 67 pixels a degree, reach 10.
REACH = 24
#: What is not brighter is black to FLIP, whose least luminance is 1.2e-7.
_BLACK = 1e-6


def available() -> bool:
    """Whether flip-evaluator is installed."""
    return plugins.installed("flip_evaluator")


def flip(image: FloatImage, true: FloatImage) -> FloatImage:
    """FLIP's error (0..1) at each pixel of display-referred sRGB, 0..1 (Andersson et al., 2020)."""
    return _evaluated(image, true, "LDR", inputsRGB=True)


def hdr_flip(image: FloatImage, true: FloatImage) -> FloatImage:
    """HDR-FLIP's error (0..1) at each pixel of scene-linear Rec.709 (Andersson et al., 2021).

    The greatest over the exposures that it derives from ``true``; where that is black, at exposure 0.
    """
    # it derives none from black, and ends the process
    as_it_is = {} if true.max(initial=0) > _BLACK else {"startExposure": 0.0, "stopExposure": 0.0, "numExposures": 2}
    return _evaluated(np.maximum(image, 0), np.maximum(true, 0), "HDR", inputsRGB=False, parameters=as_it_is)


def _evaluated(image: FloatImage, true: FloatImage, kind: str, **options: Any) -> FloatImage:
    import flip_evaluator

    # copies: it takes no arrays that may not be written to
    pictures = (np.array(picture, np.float32, order="C") for picture in (true, image))
    found = flip_evaluator.evaluate(*pictures, kind, applyMagma=False, computeMeanError=False, **options)
    return np.asarray(found[0][..., 0], np.float32)
