"""A language model's, or a person's, analysis of a shot: the object, its belongings, and what its removal changes.

Places are boxes relative to the frame, 0..1 from the top left, in frames of the shot; or cells of a grid.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator, model_validator

from ..api.errors import SettingError

#: Models give boxes in thousandths of the frame.
SCALE = 1000
Box = tuple[float, float, float, float]
Cell = tuple[int, int]
#: How a service writes boxes: the key, and the order of left, top, right, bottom under it.
ORDERS = {"box_2d": (1, 0, 3, 2), "bbox_2d": (0, 1, 2, 3)}


def _share(value: Any) -> Any:
    """A confidence as 0..1; models also give per cent."""
    if isinstance(value, (int, float)) and math.isfinite(value):
        return min(max(value / 100 if value > 1 else value, 0.0), 1.0)
    return value


Confidence = Annotated[float, BeforeValidator(_share)]


class Place(BaseModel):
    """Where something is in one frame."""

    model_config = ConfigDict(extra="ignore")
    frame: int
    box: Box

    @field_validator("box")
    @classmethod
    def _box_is_in_the_frame(cls, box: Box) -> Box:
        if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
            raise ValueError(f"the box {list(box)} is not left, top, right, bottom as fractions of the frame, 0 to 1")
        return box


class Thing(BaseModel):
    """Something in the shot that the removal concerns."""

    model_config = ConfigDict(extra="ignore")
    name: str
    why: str = ""
    places: list[Place] = []
    cells: list[Cell] = []
    confidence: Confidence = 1.0


class Moving(Thing):
    """A thing that may behave differently without the object: what it will do, and where it ends up."""

    will: Literal["stay", "fall", "stop", "go on"] = "stay"
    goal: list[Place] = []
    goal_cells: list[Cell] = []


class Analysis(BaseModel):
    """The whole answer. ``grid`` is the number of rows and columns that cells count in."""

    model_config = ConfigDict(extra="ignore")
    object: str = ""
    belongings: list[Thing] = []
    artefacts: list[Thing] = []
    objects: list[Moving] = []
    scene: str = ""
    confidence: Confidence = 1.0
    grid: tuple[int, int] | None = None

    def everything(self) -> list[Thing]:
        """Every thing named besides the object."""
        return [*self.belongings, *self.artefacts, *self.objects]

    @model_validator(mode="after")
    def _cells_are_in_the_grid(self) -> Analysis:
        """Cells mean nothing without the grid that they count in."""
        for thing in self.everything():
            goal = thing.goal_cells if isinstance(thing, Moving) else []
            for row, column in [*thing.cells, *goal]:
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

    names = ["left", "top", "right", "bottom"]
    order = ", ".join(names[i] for i in ORDERS[key])
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
    moving = {
        **thing,
        "will": {"type": "string", "enum": ["stay", "fall", "stop", "go on"]},
        "goal": {"type": "array", "items": place, "description": "where it would be in the end, if elsewhere"},
    }
    return table(
        object=text("what is removed"),
        belongings={"type": "array", "items": table(**thing)},
        artefacts={"type": "array", "items": table(**thing)},
        objects={"type": "array", "items": table(**moving)},
        scene=text("the scene after the removal"),
        confidence={"type": "number", "description": "0 to 1"},
    )


def read_answer(
    text: str, key: str, frames: Sequence[int], size: tuple[int, int] | None = None
) -> tuple[Analysis, list[str]]:
    """Parse the analysis in a model's answer; returns it with notes on what was corrected.

    ``frames`` are those that the model was shown. ``size`` is the width and height of the pictures, for models that
    give boxes in pixels; else they are thousandths. Raises :class:`SettingError` saying what is wrong with it.
    """
    data = _json(text)
    notes: list[str] = []
    for group in ("belongings", "artefacts", "objects"):
        things = data.get(group)
        if things is None:
            data[group] = []
        elif not isinstance(things, list) or not all(isinstance(thing, dict) for thing in things):
            raise SettingError(f"{group} is not a list")
        for thing in data[group]:
            for field in ("places", "goal"):
                if field in thing:
                    thing[field] = _places(thing[field], f"{group}: {thing.get('name', '?')}", key, frames, size, notes)
    return _validated(data), notes


def _validated(data: dict[str, Any]) -> Analysis:
    try:
        return Analysis.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{'.'.join(map(str, first['loc']))}: " if first["loc"] else ""
        raise SettingError(f"{where}{first['msg']}") from error


def _json(text: str) -> dict[str, Any]:
    """The JSON object in an answer that may have text or a code fence around it."""
    begin = text.find("{")
    if begin < 0:
        raise SettingError(f"no JSON object in {text[:80]!r}")
    try:
        data, _ = json.JSONDecoder().raw_decode(text[begin:])
    except json.JSONDecodeError as error:
        ended = error.msg.startswith("Unterminated") or error.pos >= len(text[begin:].rstrip()) - 1
        raise SettingError("it ends in the middle" if ended else f"it is not JSON: {error}") from error
    return dict(data)


def _places(
    given: Any, whose: str, key: str, frames: Sequence[int], size: tuple[int, int] | None, notes: list[str]
) -> list[Place]:
    if not isinstance(given, list):
        raise SettingError(f"the places of {whose} are not a list")
    places = []
    for entry in given:
        if not isinstance(entry, dict):
            raise SettingError(f"a place of {whose} is {entry!r}, not an object")
        values, order = next(((entry[k], ORDERS[k]) for k in (key, *ORDERS) if k in entry), (None, ORDERS[key]))
        if not isinstance(values, list) or len(values) != 4 or not all(_number(value) for value in values):
            raise SettingError(f"a place of {whose} has the box {values!r}, not four numbers")
        width, height = size or (SCALE, SCALE)
        left, top, right, bottom = (values[order[i]] / (width, height)[i % 2] for i in range(4))
        box = _inside((left, top, right, bottom), whose, notes)
        frame = entry.get("frame", frames[0])
        if not isinstance(frame, int):
            raise SettingError(f"a place of {whose} is in frame {frame!r}, not a number")
        if frame not in frames:
            nearest = min(frames, key=lambda shown: abs(shown - frame))
            notes.append(f"{whose}: frame {frame} was not shown; frame {nearest} is used")
            frame = nearest
        if box:
            places.append(Place(frame=frame, box=box))
    return places


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _inside(box: Box, whose: str, notes: list[str]) -> Box | None:
    """The box with its corners in order and within the frame; None where nothing of it is."""
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
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
        if not set(data) & {*Analysis.model_fields, "affected_subjects", "primary_subject"}:
            known = ", ".join(Analysis.model_fields)
            raise SettingError(f"it has none of {known}, only {', '.join(map(str, list(data)[:4])) or 'nothing'}")
        return _published(data) if "affected_subjects" in data or "primary_subject" in data else _validated(data)
    except (SettingError, KeyError, TypeError, ValueError) as error:
        raise SettingError(f"{source} is not a usable analysis: {error}") from error


_VISUAL = re.compile(r"shadow|reflect|glare|highlight|caustic|light|silhouette", re.IGNORECASE)


def _published(data: dict[str, Any]) -> Analysis:
    """The published form: nouns with the cells of a grid where each is, was touched, moves along and ends."""
    artefacts, objects = [], []
    for subject in data.get("affected_subjects", []):
        name, why = str(subject["noun"]), str(subject.get("why", ""))
        cells = _cells(subject, "current_position", "contact_position", "movement_path")
        goal = _cells(subject, "final_position") if subject.get("will_move") else []
        if not subject.get("will_move") and _VISUAL.search(name):
            artefacts.append(Thing(name=name, why=why, cells=cells))
        else:
            will: Literal["fall", "stay"] = "fall" if goal and set(goal) - set(cells) else "stay"
            objects.append(Moving(name=name, why=why, cells=cells, goal_cells=goal, will=will))
    belongings = [
        Thing(name=str(b["noun"]), why=str(b.get("why", "")), cells=_cells(b, "position", "current_position"))
        for b in data.get("integral_belongings", [])
    ]
    return Analysis(
        object=str(data.get("primary_subject", {}).get("noun", "")),
        belongings=belongings,
        artefacts=artefacts,
        objects=objects,
        scene=str(data.get("scene_description", "")),
        confidence=data.get("confidence", 1.0),
        grid=(int(data["grid_rows"]), int(data["grid_cols"])),
    )


def _cells(subject: dict[str, Any], *fields: str) -> list[Cell]:
    cells = {(int(row), int(column)) for field in fields for row, column in subject.get(field) or []}
    return sorted(cells)
