"""Convert between a plate's colour space and the display-referred values of models and analysis, without loss.

Models see display-referred values of 0..1. The way there has two steps, both invertible: the plate's colour space to
scene-linear Rec.709 (OpenColorIO, through OpenImageIO), and a :class:`Curve` that is sRGB for all that a display can
show and keeps highlights above it apart.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio  # noqa: N813 -- as its own documentation writes it

from ..api.errors import ColourError
from ..api.files import check_regular
from ..api.shot import SCENE_LINEAR_REC709
from . import halves
from .complaint import complaint
from .exr import FloatImage
from .ocio import check_references

#: Values converted at once: all that is made on the way fits into a core's cache.
_PIECE = 2**17


def _srgb(linear: FloatImage) -> FloatImage:
    # IEC 61966-2-1; NumPy's own power takes many times as long
    encoded: FloatImage = cv2.pow(linear, 1 / 2.4).reshape(-1)
    encoded *= np.float32(1.055)
    encoded -= np.float32(0.055)
    np.copyto(encoded, linear * np.float32(12.92), where=linear <= np.float32(0.0031308))
    return encoded


def _srgb_inverse(encoded: FloatImage) -> FloatImage:
    linear: FloatImage = cv2.pow((encoded + np.float32(0.055)) / np.float32(1.055), 2.4).reshape(-1)
    np.copyto(linear, encoded / np.float32(12.92), where=encoded <= np.float32(0.04045))
    return linear


def _mirrored(convert: Callable[[FloatImage], FloatImage], values: FloatImage) -> FloatImage:
    """``convert`` of the sizes of ``values``, any shape, with their signs."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    result = np.empty_like(flat)
    for begin in range(0, len(flat), _PIECE):
        piece = flat[begin : begin + _PIECE]
        np.copysign(convert(np.abs(piece)), piece, out=result[begin : begin + _PIECE])
    return result.reshape(np.shape(values))


@dataclass(frozen=True)
class Curve:
    """Scene-linear to display-referred: sRGB up to ``knee``, logarithmic from there up to ``maximum``, which becomes 1.

    The two pieces meet with equal slope. Negative values mirror positive ones, so that colours outside the gamut
    survive; values beyond the maximum go beyond 1 along the same logarithm. A maximum of 1 or less leaves plain sRGB.
    """

    maximum: float
    knee: float = 0.6

    @cached_property
    def _shoulder(self) -> tuple[float, float, float] | None:
        """Height of the knee, and the two constants of ``height + scale * log1p(rate * (x - knee))``."""
        if self.maximum <= 1:
            return None
        height = float(_srgb(np.array([self.knee], np.float32))[0])
        slope: float = 1.055 / 2.4 * self.knee ** (1 / 2.4 - 1)
        reach = self.maximum - self.knee

        def excess(rate: float) -> float:
            return (1 - height) * rate / math.log1p(rate * reach) - slope

        # excess() grows with the rate, from (1 - height) / reach - slope < 0: sRGB is concave and meets 1 at 1
        low, high = 1e-9, 1.0
        while excess(high) < 0:
            high *= 2
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) < 0 else (low, middle)
        return height, (1 - height) / math.log1p(high * reach), high

    def to_display(self, linear: FloatImage) -> FloatImage:
        """Display-referred values, 0..1 for scene-linear 0..maximum; any shape."""
        return _mirrored(self._encoded, linear)

    def to_linear(self, display: FloatImage) -> FloatImage:
        """The inverse of :meth:`to_display`."""
        return _mirrored(self._decoded, display)

    def displayed_halves(self, exposure: float = 1.0) -> FloatImage:
        """What :meth:`to_display` makes of all halves times ``exposure``, for :func:`~.halves.look_up`."""
        return self.to_display(halves.FINITE * np.float32(exposure))

    def _encoded(self, size: FloatImage) -> FloatImage:
        encoded = _srgb(size)
        if self._shoulder is not None and (above := size > self.knee).any():
            height, scale, rate = self._shoulder
            encoded[above] = height + scale * np.log1p(rate * (size[above] - self.knee))
        return encoded

    def _decoded(self, size: FloatImage) -> FloatImage:
        linear = _srgb_inverse(size)
        if self._shoulder is not None and (above := size > self._shoulder[0]).any():
            height, scale, rate = self._shoulder
            # in float64: the exponential magnifies what float32 would round off
            exponent = np.minimum((size[above].astype(np.float64) - height) / scale, 80)
            linear[above] = self.knee + np.expm1(exponent) / rate
        return linear


#: The configuration that is taken where none is named. What ``ocio://default`` means changes between releases of
#: OpenColorIO; this is built into all that OpenImageIO has come with since 3.0.
BUILT_IN = "ocio://cg-config-v2.2.0_aces-v1.3_ocio-v2.4"
# Under one of these names a configuration knows scene-linear Rec.709; without any, its scene-linear role serves.
_LINEAR_NAMES = (SCENE_LINEAR_REC709, "Linear Rec.709 (sRGB)", "Utility - Linear - sRGB", "lin_srgb", "scene_linear")


def opencolorio() -> str:
    """The version of OpenColorIO that converts."""
    return str(oiio.get_string_attribute("opencolorio_version"))


class ColourSpace:
    """A plate's colour space and the way to scene-linear Rec.709 and back.

    ``name`` is a colour space, role or alias of the OCIO configuration ``config`` (a path; None takes ``$OCIO`` where
    it is set, else :data:`BUILT_IN`). Where that configuration does not name Rec.709, its role ``scene_linear`` takes
    the place. Raises :class:`ColourError` where the space or the configuration is not known.
    """

    def __init__(self, name: str, config: str | None = None) -> None:
        self.name = name
        self.config = config or os.environ.get("OCIO") or BUILT_IN
        self._linear = name
        if name != SCENE_LINEAR_REC709 or config:
            self._linear = self._known(trusted=not config)

    def _known(self, *, trusted: bool) -> str:
        """The configuration's name for scene-linear, after a check that the way there exists.

        ``trusted``: its path is the server's own, as $OCIO is.
        """
        if "://" not in self.config:
            check_regular(Path(self.config), trusted=trusted)
            if not trusted:
                check_references(Path(self.config))
        colours = oiio.ColorConfig(self.config)
        if reason := complaint(colours):
            where = "The OCIO configuration in $OCIO" if trusted else self.config
            raise ColourError(f"{where} is not an OCIO configuration; give the path of a config.ocio.", reason)
        probe = np.full((1, 1, 3), 0.18, np.float32)
        for linear in _LINEAR_NAMES:
            if not complaint(self._converted(probe, linear, linear)):
                break
        if complaint(self._converted(probe, self.name, linear)) or complaint(self._converted(probe, linear, self.name)):
            names = list(colours.getColorSpaceNames())
            listed = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
            raise ColourError(f"Colour space {self.name!r} is not in the OCIO configuration; it has {listed}.")
        return linear

    def _converted(self, pixels: FloatImage, source: str, target: str) -> oiio.ImageBuf:
        image = oiio.ImageBuf(np.ascontiguousarray(pixels))
        return oiio.ImageBufAlgo.colorconvert(image, source, target, unpremult=False, colorconfig=self.config)

    @property
    def is_linear(self) -> bool:
        """Whether the plate's RGB is scene-linear Rec.709 as it is."""
        return self.name == self._linear

    def _convert(self, pixels: FloatImage, source: str, target: str) -> FloatImage:
        if source == target:
            return pixels
        return np.asarray(self._converted(pixels, source, target).get_pixels(oiio.FLOAT), np.float32)

    def to_linear(self, pixels: FloatImage) -> FloatImage:
        """The plate's RGB (height, width, 3) as scene-linear Rec.709."""
        return self._convert(pixels, self.name, self._linear)

    def from_linear(self, pixels: FloatImage) -> FloatImage:
        """Scene-linear Rec.709 RGB (height, width, 3) as the plate's own."""
        return self._convert(pixels, self._linear, self.name)
