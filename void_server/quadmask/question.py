"""The question put to a language model about a shot, and the pictures that go with it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..imaging import jpeg
from ..imaging.exr import FloatImage
from ..imaging.footage import Footage
from ..imaging.masks import Masks
from ..imaging.sequence import spread
from ..imaging.window import Window
from .contact import first_contact
from .grid import Grid

#: How many frames are shown as pictures, and how long the clip beside them is at most.
PICTURES, CLIP_FRAMES = 8, 120
#: Frames of the clip in a second.
CLIP_RATE = 12
#: How many things the model is asked to name at most.
MOST_BELONGINGS, MOST_AFFECTED = 3, 5
#: Pictures are at most so wide; they are never enlarged.
_WIDTH = 1280
_OUTLINE, _LINES = (255, 0, 200), (255, 220, 0)


@dataclass(frozen=True)
class Movie:
    """A short clip (MP4), of so many frames, each of a width and height."""

    data: bytes
    frames: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Question:
    """The words, the pictures by their frame number (JPEG), all of one width and height, and the plate as a clip."""

    words: str
    pictures: tuple[tuple[int, bytes], ...]
    clip: Movie | None
    size: tuple[int, int]

    @property
    def frames(self) -> tuple[int, ...]:
        """The numbers of the frames that are shown."""
        return tuple(frame for frame, _ in self.pictures)

    @property
    def contents(self) -> str:
        """What the question sends off the machine, for people and for the record."""
        frames = ", ".join(map(str, self.frames))
        pictures = _amount(self.size, sum(len(picture) for _, picture in self.pictures))
        clip = self.clip
        movie = f", a clip of {clip.frames} frames {_amount(clip.size, len(clip.data))}" if clip else ""
        return f"frames {frames} {pictures}{movie}, and the question"


def _amount(size: tuple[int, int], amount: int) -> str:
    return f"({size[0]}x{size[1]}, {amount / 1000:.0f} kB)"


_WORDS = """\
You are helping a film compositor. An object will be removed from a shot, together with everything that it does to the
scene. The object is outlined in magenta in the pictures, which are frames {frames} of the shot{clip}. Yellow lines
divide each picture into cells, {rows} from top to bottom and {columns} from left to right, numbered by row and column
at the left and top edge; they are there to help you find positions, and are not part of the scene.{hint}

Look at the whole shot first, then think of the same shot filmed without the object, and name what would be different:

1. belongings, at most {belongings}: what is part of the object and goes with it: clothes, hair, glasses, a bag on its
   back, a rider's saddle. Not what it holds or carries: that stays in the world, and falls.
2. artefacts: what the object causes without being a thing. Category shadow: its shadow on each surface. Reflection: in
   water, glass, floor or metal. Light: what it lights up. Contact: dents, footprints, tracks. Wake: dust, splashes,
   ripples, spray. Give where each is in every frame shown in which it can be seen; a splash may be in one frame only.
3. objects: other things that would behave otherwise. Ask of each thing that comes near the object: does the object hold
   it up, or act on it, or does it hold up the object?
   - held up, carried or held by the object: nothing holds it any more, so it falls. Will: fall.
   - pushed, hit, pulled, thrown or opened by the object: it would not have moved. Will: stay, should_have_stayed: true.
   - stopped or held back by the object: it would go on. Will: go on.
   - holding up the object (a bed, a chair, a trampoline): it stays, but is not pressed down. Will: stay. Name it only
     if it visibly bends, sags, swings or wobbles.
   - moving by itself, or at rest and untouched: not named.
   Give where it is in every frame shown in which the object's doing can be seen on it. If it would be elsewhere, give
   its path: where it would be, frame by frame, from the first frame in which that differs. A thing that falls speeds
   up, lands on what is below it, and stays there.
4. scene: one or two sentences that describe the scene after the removal, as if it had been filmed so. Never mention the
   object, nor that something was removed.

Artefacts and objects together are at most {affected}, those that matter most to the eye. Be complete about shadows and
reflections, also faint ones, and sparing with everything else. A box encloses all of the thing and little else. If
nothing belongs in a list, leave it empty.

Examples:
- A woman with a guitar walks through a room. Belongings: her hat. Artefacts: her shadow on the floor. Objects: the
  guitar, will fall, with its path from her hands down to the floor. The chair that she walks past is not named.
- A dog jumps into a pool. Artefacts: the splash, in the two frames that show it; its ripples, in all frames after
  that; its reflection before it jumps. Objects: the ball that the waves push away, will stay, should_have_stayed.
- A hand knocks over the first of a row of bottles. Objects: each bottle that falls, will stay, should_have_stayed, with
  a path of the place where it stood.

Answer with JSON alone, of the given schema.
"""


def build(footage: Footage, hint: str = "", *, with_clip: bool) -> Question:
    """The question about a shot whose object its roto shows; ``hint`` is the artist's description of the scene."""
    canvas = footage.canvas
    scale = min(1.0, _WIDTH / canvas.width)
    size = max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale))
    pictures = tuple((footage.frames[index], _picture(footage, index, size)) for index in chosen(footage))
    clip = _clip(footage) if with_clip and len(footage.frames) > 1 else None
    grid = Grid(Window(0, 0, *size))
    words = _WORDS.format(
        frames=", ".join(str(frame) for frame, _ in pictures),
        clip=", and the clip shows all of it" if clip else "",
        rows=grid.rows,
        columns=grid.columns,
        hint=f"\nThe artist says of the scene without it: {hint}" if hint else "",
        belongings=MOST_BELONGINGS,
        affected=MOST_AFFECTED,
    )
    return Question(words, pictures, clip, size)


def chosen(footage: Footage) -> list[int]:
    """The indices of the frames to show: both ends, the first contact, and the rest spread over where the object is."""
    count = len(footage.frames)
    rotos = Masks.of(footage.small_roto(index) >= 0.5 for index in range(count))
    there = [index for index in range(count) if rotos[index].any()] or list(range(count))
    fixed = {0, count - 1, there[0], there[-1]}
    if (contact := first_contact(footage, rotos)) is not None:
        fixed.add(contact)
    places = [there[step] for step in spread(len(there), PICTURES)]
    while len(fixed) < min(PICTURES, count) and (rest := [index for index in places if index not in fixed]):
        # the one furthest from all others
        fixed.add(max(rest, key=lambda index: min(abs(index - other) for other in fixed)))
    return sorted(fixed)


def _bytes(frame: FloatImage) -> NDArray[np.uint8]:
    return np.round(np.clip(frame, 0, 1) * 255).astype(np.uint8)


def _picture(footage: Footage, index: int, size: tuple[int, int]) -> bytes:
    """The frame, from the plate at its full size, with the object outlined and the grid over it, as JPEG."""
    frame, canvas = footage.frames[index], footage.canvas
    # a plate that is no larger is shown as it is
    picture = cv2.resize(_bytes(footage.read_plate(frame, canvas)), size, interpolation=cv2.INTER_AREA)
    roto = cv2.resize(footage.read_roto(frame, canvas), size, interpolation=cv2.INTER_AREA)
    mask = (roto >= 0.5).astype(np.uint8)
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
    return jpeg.encoded(picture, 90)


def _label(picture: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    for colour, width in (((0, 0, 0), 3), (_LINES, 1)):
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, width, cv2.LINE_AA)


def _clip(footage: Footage) -> Movie | None:
    """The plate without any marks as a short movie; long shots are thinned out. None where no movie can be made."""
    indices = spread(len(footage.frames), CLIP_FRAMES)
    height, width = (side - side % 2 for side in footage.small_size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        movie = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), CLIP_RATE, (width, height))
        if not movie.isOpened():
            # a build of OpenCV without encoders; the pictures say most of it
            return None
        for index in indices:
            movie.write(np.ascontiguousarray(_bytes(footage.small_plate(index))[:height, :width, ::-1]))
        movie.release()
        return Movie(path.read_bytes(), len(indices), (width, height))
