"""A VOID node as the rest of the plugin sees it: its knobs, its state, its result. Uses nuke, on its main thread."""

from __future__ import annotations

import re
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping, Optional, Sequence, Union, cast
from urllib.parse import parse_qsl, urlencode

import nuke

from void_server.api.errors import SettingError
from void_server.api.settings import Declaration
from void_server.api.shot import title

from . import cells, declared, plain, ranges, versions
from . import knobs as k
from .ticket import Ticket, joined, parse
from .tile import Tile

_PLUG_IN = re.compile(r"[a-z][\w.-]{0,40}", re.ASCII | re.IGNORECASE)
_MOST_CHOICES = 100
_ANY_FRAME = -1_000_000, 1_000_000
_KNOBS = {"bool": nuke.Boolean_Knob, "int": nuke.Int_Knob, "float": nuke.Double_Knob, "str": nuke.String_Knob}


@contextmanager
def _quietly(knob: nuke.Knob) -> Iterator[None]:
    """What changes the knob inside is no step of undo, and no reason to save the script."""
    root = nuke.root()
    modified = root.modified()
    knob.setFlag(nuke.NO_UNDO)
    try:
        yield
    finally:
        knob.clearFlag(nuke.NO_UNDO)
        if root.modified() != modified:
            root.setModified(modified)


def _set_quietly(knob: nuke.Knob, value: Union[str, int]) -> bool:
    """Set a knob that only shows what a job is doing, where it differs; whether it did."""
    if knob.value() == value:
        return False
    with _quietly(knob):
        knob.setValue(value)
    return True


def _offer(knob: nuke.Enumeration_Knob, values: Sequence[str]) -> None:
    """Let a pulldown offer other values; what is chosen stays, where it is among them."""
    if list(knob.values()) == list(values):
        return
    chosen = knob.value()
    with _quietly(knob):
        knob.setValues(list(values))
        if chosen in values:
            knob.setValue(chosen)


@contextmanager
def one_step(name: str) -> Iterator[None]:
    """All changes become one step of undo."""
    nuke.Undo.begin(name)
    try:
        yield
    finally:
        nuke.Undo.end()


def is_void(node: nuke.Node) -> bool:
    """Whether the node is one of ours."""
    return node.Class() == "Group" and node.knob(k.KIND) is not None


def all_nodes() -> list[VoidNode]:
    """All VOID nodes of the script, in groups too."""
    return [VoidNode(node) for node in nuke.allNodes("Group", group=nuke.root(), recurseGroups=True) if is_void(node)]


def find(identity: str) -> Optional[VoidNode]:
    """The node with an id, None where it was deleted."""
    return next((node for node in all_nodes() if node.id == identity), None)


class VoidNode:
    """One node. Like Nuke's own objects it is only good until the node is deleted: find it anew for each use."""

    def __init__(self, node: nuke.Node) -> None:
        self.node = cast(nuke.Group, node)

    # -- what the artist has set

    def text(self, name: str) -> str:
        """A text knob, with what stands in brackets evaluated."""
        return str(self.node[name].value()).strip()

    def path(self, name: str) -> str:
        """A file knob, with what Nuke evaluates in it filled in, such as a variable of the script."""
        return str(cast(nuke.File_Knob, self.node[name]).evaluate() or "").strip()

    def plain_text(self, name: str) -> str:
        """A text knob as it was typed."""
        return cast(nuke.String_Knob, self.node[name]).getText().strip()

    def number(self, name: str) -> float:
        """A number."""
        return float(self.node[name].value())

    def checked(self, name: str) -> bool:
        """A checkbox."""
        return bool(self.node[name].value())

    def has(self, name: str) -> bool:
        """Whether this kind of node has the knob."""
        return self.node.knob(name) is not None

    @property
    def name(self) -> str:
        """The node's full name."""
        return self.node.fullName()

    @property
    def kind(self) -> str:
        """Which of the nodes it is."""
        return self.text(k.KIND)

    def source(self, name: str) -> Optional[nuke.Node]:
        """What is connected to the input of that name, None where nothing is."""
        inner = self.node.node(name)
        return self.node.input(int(inner["number"].value())) if inner else None

    def plate(self) -> nuke.Node:
        """What is connected as the plate. Raises :class:`SettingError` where nothing is."""
        plate = self.source(k.PLATE_INPUT)
        if plate is None:
            raise SettingError(f"{self.name}: connect a plate to the first input.")
        return plate

    def frames(self) -> list[int]:
        """The frames to work on, by the frame range knobs. Raises :class:`SettingError`."""
        choice = self.text(k.FRAMES)
        if choice == k.CUSTOM:
            text = self.text(k.CUSTOM_RANGE)
            try:
                # given as text in a list: Nuke 17 is strict about it
                frames = nuke.FrameRanges([text]).toFrameList()
            except (ValueError, RuntimeError, TypeError):
                frames = []
            if not frames:
                raise SettingError(
                    f"{self.name}: the frame range {text!r} is not like 1001-1040; correct the knob frame range."
                )
            return sorted(set(frames))
        if choice == k.FROM_SCRIPT:
            root = nuke.root()
            return list(range(int(root.firstFrame()), int(root.lastFrame()) + 1))
        found = self.plate().frameRange()
        return list(range(int(found.first()), int(found.last()) + 1))

    def offer(self, choices: Mapping[str, Sequence[str]]) -> None:
        """Let pulldowns offer what the server has. Raises :class:`SettingError` where it lacks what is chosen."""
        for name, offered in choices.items():
            # Nuke takes tabs, slashes and the like in a pulldown's items for more than text
            values = [value for value in offered if _PLUG_IN.fullmatch(value)][:_MOST_CHOICES]
            knob = cast(Optional[nuke.Enumeration_Knob], self.node.knob(name))
            if knob is None:
                continue
            chosen = str(knob.value())
            if chosen not in values:
                has = ", ".join(values)
                raise SettingError(f"{self.name}: the server has no {knob.label()} {chosen!r}; it has {has}.")
            _offer(knob, values)

    def show_titles(self) -> None:
        """Say beside the pulldowns what artists call the chosen engine and reasoner."""
        for chooser, place in k.TITLE_OF.items():
            if self.has(chooser):
                _set_quietly(self.node[place], plain.plain(title(self.text(chooser))))

    # -- settings

    def value(self, name: str, type_: str) -> Any:
        """The value of a setting's knob, as the setting's type has it."""
        if type_ == "bool":
            return self.checked(name)
        if type_ in ("int", "float"):
            return int(self.number(name)) if type_ == "int" else self.number(name)
        return self.text(name)

    def own_settings(self, kind: str, name: str) -> dict[str, Any]:
        """What the node's knobs say to the engine, or the reasoner, of that name."""
        return {setting: self.value(place.knob, place.type) for setting, place in self.places(kind, name).items()}

    def places(self, kind: str, name: str) -> Mapping[str, declared.Place]:
        """Which knobs are the settings of the engine, or the reasoner, of that name."""
        return self._places[kind].get(name, {})

    @property
    def _places(self) -> declared.Places:
        return declared.read(self.plain_text(k.DECLARED))

    def add_settings(self, kind: str, known: Mapping[str, Sequence[Declaration]]) -> None:
        """Give the node knobs for what the server's engines or reasoners declare and it has none for yet."""
        places, added = self._places, 0
        for name, found in known.items():
            of = places[kind].setdefault(name, {})
            for one in found:
                if one.name not in of and added < _MOST_CHOICES and _PLUG_IN.fullmatch(name):
                    of[one.name] = declared.Place(one.type, self._add_knob(name, one))
                    added += 1
        _set_quietly(self.node[k.DECLARED], declared.kept(places))

    def _add_knob(self, owner: str, one: Declaration) -> str:
        """Add the knob of a setting at the node's end; its name."""
        tab, label = "tab_plugins", plain.plain(one.label, 40)
        if not self.has(tab):
            self.node.addKnob(nuke.Tab_Knob(tab, "Plug-ins"))
        name = one.name
        while self.has(name):
            name = re.sub(r"\W", "_", f"{owner}_{name}", flags=re.ASCII)
        items = [item for item in one.choices if _PLUG_IN.fullmatch(item)][:_MOST_CHOICES]
        items = items if one.default in items else []
        knob = nuke.Enumeration_Knob(name, label, items) if items else _KNOBS[one.type](name, label)
        knob.setTooltip(plain.plain(f"{owner}: {one.long_help}"))
        self.node.addKnob(knob)
        default = one.default
        _set_quietly(knob, plain.plain(default) if isinstance(default, str) and not items else default)
        return name

    # -- what the node remembers

    @property
    def id(self) -> str:
        """The node's own id, the same for as long as it lives."""
        return self.text(k.ID)

    def renew_id(self) -> None:
        """Give the node an id of its own; the job of the node that it was copied from is not its own."""
        self.node[k.ID].setValue(uuid.uuid4().hex[:12])
        self.node[k.JOBS].setValue("")

    @property
    def tickets(self) -> list[Ticket]:
        """The jobs that the node waits for, or that it could go on with."""
        return parse(self.text(k.JOBS))

    def set_tickets(self, tickets: list[Ticket]) -> None:
        """Remember the jobs."""
        if _set_quietly(self.node[k.JOBS], joined(tickets)):
            # unlike progress, this must be saved: it is how a job is found again
            nuke.root().setModified(True)

    @property
    def state(self) -> str:
        """What the tile's words begin with: one of the states in :mod:`.knobs`."""
        said = self.text(k.STATE)
        return next((state for state in k.TILES if state and said.startswith(state)), k.IDLE)

    def show(self, state: str, status: str, tile: Tile = Tile()) -> None:  # noqa: B008 -- it never changes
        """Show a state on the tile, in words of ours, and in the panel, where ``status`` may be anybody's sentence."""
        _set_quietly(self.node[k.STATE], f"{state} {tile.text}".strip())
        self.tell(status)
        _set_quietly(self.node["tile_color"], k.TILES[state])

    def tell(self, status: str) -> None:
        """Say something in the panel; the node's state stays what it is."""
        _set_quietly(self.node[k.STATUS], plain.plain(status))

    # -- results

    def offer_versions(self, names: Sequence[str]) -> None:
        """Offer these versions, and the shown one in any case; what is chosen stays."""
        knob = cast(nuke.Enumeration_Knob, self.node[k.RESULT])
        chosen = str(knob.value())
        found = {*names, *([chosen] if chosen != k.NO_RESULT else [])}
        _offer(knob, [k.NO_RESULT, *sorted(found, key=lambda name: (len(name), name))])

    @property
    def shown(self) -> Optional[versions.Result]:
        """The version that the node shows."""
        folder = self.text(k.FOLDER)
        return versions.result_in(Path(folder)) if folder else None

    @property
    def _sources(self) -> dict[str, str]:
        return dict(parse_qsl(self.text(k.SOURCES)))

    @property
    def source_of_shown(self) -> str:
        """The hash of the plate and the roto that the shown version was made from, empty where it is not known."""
        return self._sources.get(Path(self.text(k.FOLDER)).name, "")

    def show_result(self, result: Optional[versions.Result], source: str = "") -> None:
        """Point the node's Reads at a version, or at nothing; nothing else in the script changes.

        ``source`` is the hash of what the version was made from, where that is news.
        Raises :class:`SettingError` where Nuke would not take the version's path as it is.
        """
        if result is not None:
            plain.check_folder(result.folder)
        with one_step("VOID result"):
            if result is not None:
                self._point(k.RESULT_PLATE, result.plate if result.has_plate else "", result.first, result.last)
                self._point(k.RESULT_PATCH, result.patch if result.has_plate else "", result.first, result.last)
                self._point(k.RESULT_MATTES, result.mattes, result.first, result.last)
                self._point(k.STRICT_MATTES, result.mattes, *_ANY_FRAME)
                cast(nuke.Array_Knob, self.node[k.HAS_FRAME]).setExpression(ranges.expression(result.frames))
            self.node[k.HAS_PLATE].setValue(int(result is not None and result.has_plate))
            self.node[k.HAS_MATTES].setValue(int(result is not None))
            self.node[k.FOLDER].setValue(result.folder.as_posix() if result else "")
            if result is not None and source:
                self.node[k.SOURCES].setValue(urlencode({**self._sources, result.name: source}))
            if result is not None:
                knob = cast(nuke.Enumeration_Knob, self.node[k.RESULT])
                self.offer_versions([*(name for name in knob.values() if name != k.NO_RESULT), result.name])
                if knob.value() != result.name:
                    knob.setValue(result.name)

    def show_preview(self, file: str, first: int, last: int, view: str) -> None:
        """Show a preview's sequence in the view for it; the version that the node has stays what it is.

        Raises :class:`SettingError` where Nuke would not take the path as it is.
        """
        plain.check_folder(Path(file).parent)
        with one_step("VOID preview"):
            self._point(k.PREVIEW_READ, file, first, last)
            self.node[k.HAS_PREVIEW].setValue(1)
            self.node[k.VIEW].setValue(view)

    def _point(self, name: str, file: str, first: int, last: int) -> None:
        """Point a Read at a file, where this kind of node has the Read."""
        read = self.node.node(name)
        if read is None:
            return
        read["file"].setValue(file)
        # a Read does not find its range by itself when its file is set
        for which, frame in (("first", first), ("last", last)):
            read[which].setValue(frame)
            read[f"orig{which}"].setValue(frame)
        read["origset"].setValue(True)
        read["raw"].setValue(True)

    def apply_grid(self) -> None:
        """Put the grid's edits into effect. Raises :class:`SettingError` naming the line that is wrong."""
        edits = cells.parse(self.plain_text(k.GRID))
        inner = self.node.node(k.GRID_NODE)
        if inner is not None:
            inner["expr0"].setValue(cells.expression(edits))
