"""The question put to a language model about a shot, and the pictures that go with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.sequence import spread
from ..imaging.window import Window
from .grid import Grid

#: How many frames are shown as pictures, and how long the clip beside them is at most.
PICTURES, CLIP_FRAMES = 8, 120
_WIDTH = 960
_OUTLINE, _LINES = (255, 0, 200), (255, 220, 0)


@dataclass(frozen=True)
class Question:
    """The words, the pictures by their frame number (JPEG), and the plate as a short clip (MP4; empty for none)."""

    words: str
    pictures: tuple[tuple[int, bytes], ...]
    clip: bytes
    size: tuple[int, int]

    @property
    def frames(self) -> tuple[int, ...]:
        """The numbers of the frames that are shown."""
        return tuple(frame for frame, _ in self.pictures)

    @property
    def contents(self) -> str:
        """What the question sends off the machine, for the record."""
        clip = f", a clip of {len(self.clip)} bytes" if self.clip else ""
        size = sum(len(picture) for _, picture in self.pictures)
        frames = ", ".join(map(str, self.frames))
        return f"frames {frames} at {self.size[0]}x{self.size[1]} ({size} bytes){clip}, and the question"


_WORDS = """\
You are helping a film compositor. An object will be removed from a shot, together with everything that it does to the
scene. The object is outlined in magenta in the pictures, which are frames {frames} of the shot{clip}. Yellow lines
divide each picture into square cells, {rows} from top to bottom, numbered by row and column at the left and top edge;
they are there to help you find positions, and are not part of the scene.{hint}

Look at the whole shot first, then think of the same shot without the object, and name what would be different:

1. belongings: things that must go together with the object because they are part of it: what it wears, carries, holds
   or rides. Not what merely touches it.
2. artefacts: what the object causes without being a thing: its shadow on each surface, its reflections in water, glass,
   floor or metal, its light, dust, splashes, tracks. Give where each is in every frame shown in which it can be seen.
3. objects: other things that would behave otherwise: what the object holds up, pushes, bends, carries or bumps into
   during the shot. Say what each would do instead: stay where it is before the object reaches it, fall, stop, or go on.
   Give where it is in every frame shown, and, if it would end up elsewhere, where it would be in the end.
   A thing that does the same with and without the object is not named.
4. scene: one or two sentences that describe the scene after the removal, as if it had been filmed so. Never mention the
   object, nor that something was removed.

Be complete about shadows and reflections, also faint ones, and sparing with everything else. A box encloses all of the
thing and little else. If nothing belongs in a list, leave it empty. Answer with JSON alone, of the given schema.
"""


def build(footage: Footage, hint: str = "", *, with_clip: bool) -> Question:
    """The question about a shot whose object its roto shows; ``hint`` is the artist's description of the scene."""
    count = len(footage.frames)
    indices = spread(count, PICTURES)
    pictures = tuple((footage.frames[i], _picture(footage.small_plate(i), footage.small_roto(i))) for i in indices)
    clip = _clip(footage) if with_clip and count > 1 else b""
    height, width = footage.small_size
    scale = _WIDTH / width
    words = _WORDS.format(
        frames=", ".join(str(frame) for frame, _ in pictures),
        clip=", and the clip shows all of it" if clip else "",
        rows=Grid(Window(0, 0, width, height)).rows,
        hint=f"\nThe artist says of the scene without it: {hint}" if hint else "",
    )
    return Question(words, pictures, clip, (round(width * scale), round(height * scale)))


def _bytes(frame: FloatImage) -> NDArray[np.uint8]:
    return np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def _picture(plate: FloatImage, roto: FloatImage) -> bytes:
    """The frame with the object outlined and the grid over it, as JPEG."""
    height, width = plate.shape[:2]
    size = _WIDTH, round(height * _WIDTH / width)
    picture = cv2.resize(_bytes(plate), size, interpolation=cv2.INTER_CUBIC)
    mask = (cv2.resize(roto, size, interpolation=cv2.INTER_LINEAR) >= 0.5).astype(np.uint8)
    grid = Grid(Window(0, 0, *size))
    for column in range(grid.columns):
        x = grid.cell(0, column).x
        cv2.line(picture, (x, 0), (x, size[1]), _LINES, 1)
        _label(picture, str(column), (x + 3, 13))
    for row in range(grid.rows):
        y = grid.cell(row, 0).y
        cv2.line(picture, (0, y), (size[0], y), _LINES, 1)
        _label(picture, str(row), (3, y + 26))
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, _OUTLINE, 2)
    good, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert good, "JPEG takes any 8-bit picture"
    return jpeg.tobytes()


def _label(picture: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    for colour, width in (((0, 0, 0), 3), (_LINES, 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)


def _clip(footage: Footage) -> bytes:
    """The plate without any marks as a short movie; long shots are thinned out."""
    indices = spread(len(footage.frames), CLIP_FRAMES)
    height, width = (side - side % 2 for side in footage.small_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        movie = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 12, (width, height))
        if not movie.isOpened():
            # a build of OpenCV without encoders; the pictures say most of it
            return b""
        for index in indices:
            movie.write(np.ascontiguousarray(_bytes(footage.small_plate(index))[:height, :width, ::-1]))
        movie.release()
        return path.read_bytes()
