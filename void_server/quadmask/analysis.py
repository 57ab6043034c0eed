"""A language model's, or a person's, analysis of a shot: the object, its belongings, and what its removal changes.

Places are in frames of the shot: boxes relative to the frame, 0..1 from the top left, or cells of a grid.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from ..api.errors import SettingError

#: Models give boxes in thousandths of the frame.
SCALE = 1000
Box = tuple[float, float, float, float]
Cell = tuple[int, int]
#: How a service writes boxes: the key, and the order of left, top, right, bottom under it.
ORDERS = {"box_2d": (1, 0, 3, 2), "bbox_2d": (0, 1, 2, 3)}
#: The categories of artefacts; those of objects are physics.
ARTEFACTS = ("shadow", "reflection", "light", "contact", "wake")
_SIDES = ("left", "top", "right", "bottom")


#: What an analysis of our own form says, and what the published pipeline's does; the older one last.
_OWN = ("object", "belongings", "artefacts", "objects", "scene")
_PUBLISHED = ("affected_objects", "affected_subjects")


def _share(value: Any) -> Any:
    """A confidence as 0..1; models also give per cent."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return min(max(value / 100 if value > 1 else value, 0.0), 1.0)
    return value


Confidence = Annotated[float, BeforeValidator(_share)]


class Place(BaseModel):
    """Where something is in one frame: in a box, or in cells."""

    model_config = ConfigDict(extra="ignore")
    frame: int
    box: Box | None = None
    cells: list[Cell] = []

    @model_validator(mode="after")
    def _box_is_in_the_frame(self) -> Place:
        if (self.box is None) == (not self.cells):
            raise ValueError(f"the place in frame {self.frame} needs a box, or cells")
        box = self.box
        if box and not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise ValueError(f"the box {list(box)} is not left, top, right, bottom as fractions of the frame, 0 to 1")
        return self


class Thing(BaseModel):
    """Something in the shot that the removal concerns.

    ``category`` says how, such as shadow or physics. ``cells`` are those that it is in throughout.
    """

    model_config = ConfigDict(extra="ignore")
    name: str
    category: str = ""
    why: str = ""
    places: list[Place] = []
    cells: list[Cell] = []
    confidence: Confidence = 1.0

    @property
    def is_only_named(self) -> bool:
        """Whether nothing says where it is."""
        return not (self.places or self.cells)


class Moving(Thing):
    """A thing that may behave differently without the object: what it will do, and the path that it takes then.

    ``path`` is where it would be, from the first frame on in which that is elsewhere; ``goal_cells`` are where it would
    be at some time. What ``should_have_stayed`` would be, without a path, where it was seen first.
    """

    will: Literal["stay", "fall", "stop", "go on"] = "stay"
    should_have_stayed: bool = False
    path: list[Place] = []
    goal_cells: list[Cell] = []


class Analysis(BaseModel):
    """The whole answer.

    ``grid`` is the number of rows and columns that cells count in. ``frames`` are those that were looked at: in one
    that is not among a thing's places, the thing is not to be seen. ``first_frame`` is the number that the shot's first
    frame has in the analysis, where that is not the plate's.
    """

    model_config = ConfigDict(extra="ignore")
    object: str = ""
    belongings: list[Thing] = []
    artefacts: list[Thing] = []
    objects: list[Moving] = []
    scene: str = ""
    confidence: Confidence = 1.0
    grid: tuple[int, int] | None = None
    frames: list[int] = []
    first_frame: int | None = None

    def everything(self) -> list[Thing]:
        """Every thing named besides the object."""
        return [*self.belongings, *self.artefacts, *self.objects]

    @model_validator(mode="after")
    def _cells_are_in_the_grid(self) -> Analysis:
        """Cells mean nothing without the grid that they count in."""
        for thing in self.everything():
            way = [*thing.path, *thing.places] if isinstance(thing, Moving) else thing.places
            goal = thing.goal_cells if isinstance(thing, Moving) else []
            for row, column in [*thing.cells, *goal, *(cell for place in way for cell in place.cells)]:
                if self.grid is None:
                    raise ValueError(f"{thing.name} has cells, but the analysis gives no grid")
                if not (0 <= row < self.grid[0] and 0 <= column < self.grid[1]):
                    raise ValueError(f"{thing.name} has the cell {row},{column} in a grid of {self.grid}")
        return self


def schema(key: str) -> dict[str, Any]:
    """The JSON schema of the answer for a service that writes boxes under ``key`` of :data:`ORDERS`."""

    def table(**properties: Any) -> dict[str, Any]:
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def text(about: str) -> dict[str, Any]:
        return {"type": "string", "description": about}

    order = ", ".join(_SIDES[i] for i in ORDERS[key])
    box = {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4}
    place = table(
        frame={"type": "integer", "description": "one of the frame numbers shown"},
        **{key: {**box, "description": f"[{order}] in thousandths of the frame, 0 to {SCALE}"}},
    )
    places = {"type": "array", "items": place, "description": "where it is, in each frame shown that has it"}
    thing = {
        "name": text("a short noun"),
        "why": text("one sentence: how it hangs together with the object"),
        "places": places,
        "confidence": {"type": "number", "description": "0 to 1"},
    }
    artefact = {**thing, "category": {"type": "string", "enum": list(ARTEFACTS)}}
    moving = {
        **thing,
        "will": {"type": "string", "enum": ["stay", "fall", "stop", "go on"]},
        "should_have_stayed": {"type": "boolean", "description": "whether only the object makes it move"},
        "path": {
            "type": "array",
            "items": place,
            "description": "where it would be, in each frame shown from the first in which that is elsewhere",
        },
    }
    return table(
        object=text("what is removed"),
        belongings={"type": "array", "items": table(**thing)},
        artefacts={"type": "array", "items": table(**artefact)},
        objects={"type": "array", "items": table(**moving)},
        scene=text("the scene after the removal"),
        confidence={"type": "number", "description": "0 to 1"},
    )


#: In characters, the longest answer that is looked at, and the most things in it.
_LONGEST, _MOST_THINGS = 1 << 20, 20
_GROUPS = ("belongings", "artefacts", "objects")


def read_answer(
    text: str, key: str, frames: Sequence[int], size: tuple[int, int] = (SCALE, SCALE), *, in_pixels: bool = False
) -> tuple[Analysis, list[str]]:
    """Parse the analysis in a model's answer; returns it with notes on what was corrected.

    ``frames`` are those that the model was shown, ``size`` the width and height of the pictures. Boxes are thousandths,
    with ``in_pixels`` pixels of the pictures; where all of them can only be something else they are read as that.
    Raises :class:`SettingError` saying what is wrong with it.
    """
    data = _json(text)
    if not any(key in data for key in _OWN):
        raise SettingError(f"it has none of {', '.join(_OWN)}; {_only(data)}")
    notes: list[str] = []
    for group in _GROUPS:
        things = data.get(group)
        if things is None:
            data[group] = []
        elif not isinstance(things, list) or not all(isinstance(thing, dict) for thing in things):
            raise SettingError(f"{group} is not a list")
    _limit(data, notes)
    given = [
        (thing, field, f"{group}: {thing.get('name', '?')}")
        for group in _GROUPS
        for thing in data[group]
        for field in ("places", "path")
        if field in thing
    ]
    units = _units([entry for thing, field, _ in given for entry in _entries(thing[field])], size, in_pixels, notes)
    for thing, field, whose in given:
        thing[field] = _places(thing[field], whose, key, frames, units, notes)
    # cells and frames are for files
    return _validated({**data, "grid": None, "frames": list(frames), "first_frame": None}), list(dict.fromkeys(notes))


def _limit(data: dict[str, Any], notes: list[str]) -> None:
    """Leave out the least likely of more things than anyone could check."""
    things = [thing for group in _GROUPS for thing in data[group]]
    if len(things) <= _MOST_THINGS:
        return
    sure = sorted(range(len(things)), key=lambda number: -_likelihood(things[number]))
    kept = {id(things[number]) for number in sure[:_MOST_THINGS]}
    for group in _GROUPS:
        data[group] = [thing for thing in data[group] if id(thing) in kept]
    notes.append(f"it names {len(things)} things; the {_MOST_THINGS} that it is most sure of were taken")


def _likelihood(thing: dict[str, Any]) -> float:
    value = _share(thing.get("confidence", 1.0))
    return float(value) if _number(value) else 0.0


def _entries(given: Any) -> list[dict[str, Any]]:
    return [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []


def _units(
    entries: Sequence[dict[str, Any]], size: tuple[int, int], in_pixels: bool, notes: list[str]
) -> tuple[int, int]:
    """What boxes count in, across and down, as all of them together show it."""
    boxes = [
        ([entry[key][i] for i in order]) for entry in entries for key, order in ORDERS.items() if _is_box(entry, key)
    ]
    highest = [max((max(box[side], box[side + 2]) for box in boxes), default=0) for side in (0, 1)]
    lowest = min((min(box) for box in boxes), default=0)
    units = size if in_pixels else (SCALE, SCALE)
    if boxes and lowest >= 0 and max(highest) <= 1:
        notes.append("its boxes were fractions of the frame, 0 to 1, and were read as that")
        return 1, 1
    if not in_pixels and lowest >= 0 and max(highest) > SCALE and highest[0] <= size[0] and highest[1] <= size[1]:
        notes.append("its boxes were pixels of the pictures, and were read as that")
        return size
    if in_pixels and (highest[0] > size[0] or highest[1] > size[1]) and max(highest) <= SCALE and lowest >= 0:
        notes.append("its boxes were thousandths of the frame, and were read as that")
        return SCALE, SCALE
    return units


def _is_box(entry: dict[str, Any], key: str) -> bool:
    values = entry.get(key)
    return isinstance(values, list) and len(values) == 4 and all(map(_number, values))


def _validated(data: dict[str, Any]) -> Analysis:
    try:
        return Analysis.model_validate(data)
    except ValidationError as error:
        raise SettingError(_sentence(error)) from error


def _sentence(error: ValidationError) -> str:
    """The first of what pydantic finds wrong, without its link."""
    first = error.errors()[0]
    where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
    return f"{where}{first['msg']}"


# Characters that no name or sentence has: control characters, and those that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
# Opening braces of an answer that are tried, as prose may have some.
_MOST_TRIED = 100


def _json(text: str) -> dict[str, Any]:
    """The JSON object in an answer that may have thoughts, text or a code fence around it."""
    if len(text) > _LONGEST:
        raise SettingError(f"it has {len(text)} characters, more than the {_LONGEST} of any analysis")
    # thoughts may have drafts in them
    text = text.rpartition("</think>")[2]
    begin = text.find("{")
    if begin < 0:
        raise SettingError(f"no JSON object in {_CONTROL.sub(' ', text[:80])!r}")
    # control characters in strings are mended, not refused
    decoder, at, other = json.JSONDecoder(strict=False), begin, None
    wrong: json.JSONDecodeError | None = None
    for _ in range(_MOST_TRIED):
        try:
            data = _cleaned(decoder.raw_decode(text, at)[0])
        except json.JSONDecodeError as error:
            wrong = wrong or error
        except RecursionError:
            raise SettingError("it is nested too deeply") from None
        else:
            if any(key in data for key in (*_OWN, *_PUBLISHED)):
                return dict(data)
            other = data if other is None else other
        if (at := text.find("{", at + 1)) < 0:
            break
    if wrong and (wrong.msg.startswith("Unterminated") or wrong.pos >= len(text.rstrip()) - 1):
        raise SettingError("it ends in the middle") from wrong
    if other is None:
        raise SettingError(f"it is not JSON: {wrong}") from wrong
    return dict(other)


def _cleaned(value: Any) -> Any:
    """The same without control characters in its texts."""
    if isinstance(value, str):
        return _CONTROL.sub(" ", value)
    if isinstance(value, list):
        return [_cleaned(entry) for entry in value]
    if isinstance(value, dict):
        return {_CONTROL.sub(" ", name): _cleaned(entry) for name, entry in value.items()}
    return value


def _places(
    given: Any, whose: str, key: str, frames: Sequence[int], units: tuple[int, int], notes: list[str]
) -> list[Place]:
    if not isinstance(given, list):
        raise SettingError(f"the places of {whose} are not a list")
    places = []
    for entry in given:
        if not isinstance(entry, dict):
            raise SettingError(f"a place of {whose} is {str(entry)[:60]!r}, not an object")
        used = next((name for name in (key, *ORDERS) if name in entry), key)
        values, order = entry.get(used), ORDERS[used]
        if not _is_box(entry, used):
            raise SettingError(f"a place of {whose} has the box {str(values)[:60]}, not four numbers")
        if used != key:
            notes.append(f"{whose}: boxes named {used} were read as {', '.join(_SIDES[i] for i in order)}")
        left, top, right, bottom = (entry[used][order[i]] / units[i % 2] for i in range(4))
        box = _inside((left, top, right, bottom), whose, notes)
        frame = entry.get("frame", frames[0])
        if not isinstance(frame, int):
            raise SettingError(f"a place of {whose} is in frame {str(frame)[:60]!r}, not a number")
        if frame not in frames:
            nearest = min(frames, key=lambda shown: abs(shown - frame))
            notes.append(f"{whose}: frame {frame} was not shown; frame {nearest} is used")
            frame = nearest
        if box:
            places.append(Place(frame=frame, box=box))
    return places


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _inside(box: Box, whose: str, notes: list[str]) -> Box | None:
    """The box with its corners in order and within the frame; None where nothing of it is."""
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    if (x0, y0) != box[:2]:
        notes.append(f"{whose}: a box had opposite sides exchanged; check that it is where it should be")
    clipped = max(x0, 0.0), max(y0, 0.0), min(x1, 1.0), min(y1, 1.0)
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        notes.append(f"{whose}: a box that is empty or outside the frame was dropped")
        return None
    if clipped != (x0, y0, x1, y1):
        notes.append(f"{whose}: a box extended beyond the frame and was clipped")
    return clipped


def read_file(text: str, source: str) -> Analysis:
    """Read an analysis from a file, in our own form or the published pipeline's (vlm_analysis.json).

    Raises :class:`SettingError` naming ``source``.
    """
    try:
        data = _json(text)
        if any(key in data for key in _PUBLISHED):
            return _published(data)
        if not any(key in data for key in _OWN):
            raise SettingError(f"it has none of {', '.join((*_OWN, *_PUBLISHED))}; {_only(data)}")
        return _validated(data)
    except (SettingError, KeyError, TypeError, ValueError) as error:
        wrong = _sentence(error) if isinstance(error, ValidationError) else str(error)
        if isinstance(error, KeyError):
            wrong = f"it lacks {error}"
        raise SettingError(f"{source} is not a usable analysis: {wrong}") from error


def _only(data: Mapping[str, Any]) -> str:
    """What a table has, for a message."""
    names = [str(name)[:40] for name in data]
    return f"it has only {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it is empty"


_VISUAL = re.compile(r"shadow|reflect|glare|highlight|caustic|light|silhouette|visual|artifact", re.IGNORECASE)
# What a subject has besides its place. Of one that rests, or a shadow, the released pipeline's model gives no more: its
# masks come from the name.
_DESCRIBING = {
    *("noun", "category", "why", "will_move", "first_appears_frame", "movement_description", "currently_moving"),
    *("should_have_stayed", "object_size_grids", "confidence"),
}
# Where a subject is in any frame, and in which: the older files' fields, then the released ones'.
_ANYTIME = ("current_position", "contact_position", "movement_path", "original_position_grid")
_TIMED = ("grid_localizations", "trajectory_path")
# Under which a place lists its cells, and a cell gives its row and column.
_CELLS = ("grid_regions", "cells", "regions")
_ROW_COLUMN = (("row", "col"), ("row", "column"), ("grid_row", "grid_col"))


def _published(data: dict[str, Any]) -> Analysis:
    """The published form: nouns with the cells of a grid where each is, frame by frame, and where it would go."""
    missing = [key for key in ("grid_rows", "grid_cols") if key not in data]
    if missing:
        raise SettingError(f"it names no {' and no '.join(missing)}, in which cells count")
    rows, columns = int(data["grid_rows"]), int(data["grid_cols"])
    artefacts: list[Thing] = []
    objects: list[Moving] = []
    frames: set[int] = set()
    for subject in [subject for key in _PUBLISHED for subject in data.get(key) or []]:
        thing = _subject(subject, rows, columns)
        frames |= {place.frame for place in thing.places}
        visual = _VISUAL.search(f"{thing.name} {subject.get('category', '')}")
        if visual and not subject.get("will_move"):
            artefacts.append(Thing.model_validate(thing.model_dump(include=set(Thing.model_fields))))
        else:
            objects.append(thing)
    belongings = [
        Thing(
            name=str(b["noun"]), why=str(b.get("why", "")), cells=_cells_in(b, "position", *_ANYTIME), places=_timed(b)
        )
        for b in data.get("integral_belongings") or []
    ]
    primary = data.get("primary_subject") or data.get("primary_object") or {}
    return Analysis(
        object=str(primary.get("noun", "")) if isinstance(primary, dict) else str(primary),
        belongings=belongings,
        artefacts=artefacts,
        objects=objects,
        scene=str(data.get("scene_description", "")),
        confidence=data.get("confidence", 1.0),
        grid=(rows, columns),
        frames=sorted(frames),
        first_frame=0,
    )


def _subject(subject: dict[str, Any], rows: int, columns: int) -> Moving:
    """A subject of the published form. Raises :class:`SettingError` where it says in no known way where it is."""
    name = str(subject["noun"])
    if not any(key in subject for key in (*_ANYTIME, *_TIMED)) and set(subject) - _DESCRIBING:
        raise SettingError(f"{name} has none of {', '.join((*_TIMED, *_ANYTIME))}; {_only(subject)}")
    places, cells = _timed(subject), _cells_in(subject, *_ANYTIME)
    path, goal, original = [], [], _cells_in(subject, "original_position_grid")
    stays = bool(subject.get("should_have_stayed"))
    size = _size_in_cells(subject, places[0].cells if places else cells)
    if stays and original:
        begin = places[0].frame if places else 0
        path = [_around(Place(frame=begin, cells=original[:1]), size, rows, columns)]
    elif subject.get("will_move"):
        path = [_around(place, size, rows, columns) for place in _timed(subject, "trajectory_path")]
        goal = _cells_in(subject, "final_position")
    down = path and path[-1].cells[0][0] > path[0].cells[0][0]
    return Moving(
        name=name,
        category=str(subject.get("category", "")),
        why=str(subject.get("why", "")),
        places=places,
        should_have_stayed=stays,
        # where it is frame by frame says more
        cells=[] if places else cells,
        path=path,
        goal_cells=goal,
        will="fall" if down or set(goal) - set(cells) else "go on" if path and not stays else "stay",
    )


def _timed(subject: dict[str, Any], key: str = "grid_localizations") -> list[Place]:
    """The places in a list of frames with cells, or of cells that each name their frame."""
    by_frame: dict[int, list[Cell]] = {}
    for entry in _listed(subject, key):
        if not isinstance(entry, dict) or "frame" not in entry:
            raise SettingError(f"{key} of {subject['noun']} has {str(entry)[:60]!r}, which names no frame")
        cells = next((entry[name] for name in _CELLS if name in entry), None)
        found = [_cell(entry, key)] if cells is None else [_cell(cell, key) for cell in cells]
        by_frame.setdefault(int(entry["frame"]), []).extend(found)
    return [Place(frame=frame, cells=sorted(set(cells))) for frame, cells in sorted(by_frame.items()) if cells]


def _size_in_cells(subject: dict[str, Any], whole: Sequence[Cell]) -> tuple[int, int]:
    """Rows and columns that a thing takes up: as the analysis says, or as the cells that it is in show."""
    if "object_size_grids" in subject:
        (size,) = _listed(subject, "object_size_grids")
        counts = [size.get(name) if isinstance(size, dict) else None for name in ("rows", "cols")]
        numbers = [int(count) for count in counts if _number(count) and count >= 1]
        if len(numbers) != 2:
            raise SettingError(f"object_size_grids of {subject['noun']} is {str(size)[:60]!r}, not rows and cols")
        return numbers[0], numbers[1]
    if not whole:
        return 1, 1
    height, width = (max(n) - min(n) + 1 for n in zip(*whole, strict=True))
    return height, width


def _around(place: Place, size: tuple[int, int], rows: int, columns: int) -> Place:
    """A place of a path, which names the middle of a thing, with all cells of a thing of that ``size`` around it."""
    row, column = place.cells[0]
    if not (0 <= row < rows and 0 <= column < columns):
        # refused with all other cells
        return place
    height, width = size
    top, left = row - height // 2, column - width // 2
    cells = [
        (r, c)
        for r in range(max(0, top), min(rows, top + height))
        for c in range(max(0, left), min(columns, left + width))
    ]
    return Place(frame=place.frame, cells=cells)


def _listed(subject: dict[str, Any], key: str) -> list[Any]:
    given = subject.get(key) or []
    if isinstance(given, dict):
        given = [given]
    if not isinstance(given, list):
        raise SettingError(f"{key} of {subject.get('noun', '?')} is {str(given)[:60]!r}, not a list")
    return given


def _cells_in(subject: dict[str, Any], *keys: str) -> list[Cell]:
    return sorted({_cell(entry, key) for key in keys for entry in _listed(subject, key)})


def _cell(entry: Any, key: str) -> Cell:
    """A cell as [row, column], or as a table that names both."""
    if isinstance(entry, dict):
        entry = next(([entry[row], entry[col]] for row, col in _ROW_COLUMN if {row, col} <= set(entry)), entry)
    if isinstance(entry, list) and len(entry) == 2 and all(map(_number, entry)):
        return int(entry[0]), int(entry[1])
    raise SettingError(f"{key} has {str(entry)[:60]!r}, which is no row and column")
