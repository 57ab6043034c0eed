"""Nodes: the classes that our own nodes and tests use, each with the knobs that it has in Nuke."""

import contextlib
import re

from . import _tcl
from ._knobs import (
    BBox_Knob,
    Boolean_Knob,
    Channel_Knob,
    ChannelMask_Knob,
    Disable_Knob,
    Double_Knob,
    Enumeration_Knob,
    File_Knob,
    Gsv_Knob,
    Int_Knob,
    PyScript_Knob,
    Script_Knob,
    String_Knob,
    Tab_Knob,
    Unsigned_Knob,
    _Label,
)
from ._session import guarded, main_thread_only, session

_IMAGE = {"disable": Disable_Knob}
_ON_ERROR = ["error", "black", "checkerboard", "nearest frame"]


def _enum(*values):
    return lambda name: Enumeration_Knob(name, name, values)


def _with(cls, value):
    def made(name):
        knob = cls(name)
        knob._value = knob._starts = value
        return knob

    return made


_COMMON = {
    "name": String_Knob, "label": String_Knob, "help": String_Knob, "tile_color": Unsigned_Knob,
    "xpos": Int_Knob, "ypos": Int_Knob, "selected": Boolean_Knob, "note_font_size": Double_Knob,
    "knobChanged": Script_Knob, "onCreate": Script_Knob, "autolabel": Script_Knob,
}  # fmt: skip
_READ_RANGE = {"first": 1, "last": 1, "origfirst": 1, "origlast": 1}
CLASSES = {
    "Read": {
        "file": File_Knob, "proxy": File_Knob, **{n: _with(Int_Knob, v) for n, v in _READ_RANGE.items()},
        "origset": Boolean_Knob, "before": _enum("hold", "loop", "bounce", "black"),
        "after": _enum("hold", "loop", "bounce", "black"), "on_error": _enum(*_ON_ERROR), "raw": Boolean_Knob,
        "frame_mode": _enum("expression", "start at", "offset"), "frame": String_Knob, "premultiplied": Boolean_Knob,
        "auto_alpha": Boolean_Knob, "colorspace": _Label, "reload": PyScript_Knob,
        "localizationPolicy": _enum("on", "fromAutoLocalizePath", "onDemand", "off"), **_IMAGE,
    },
    "Write": {
        "file": File_Knob, "proxy": File_Knob, "channels": _with(ChannelMask_Knob, "rgb"), "raw": Boolean_Knob,
        "file_type": _enum("", "exr", "dpx", "tiff", "mov"), "create_directories": Boolean_Knob,
        "use_limit": Boolean_Knob, "reading": Boolean_Knob, "beforeRender": String_Knob, "first": _with(Int_Knob, 1), "last": _with(Int_Knob, 1), "premultiplied": Boolean_Knob,
        "colorspace": String_Knob, "render_order": Double_Knob, "Render": PyScript_Knob, **_IMAGE,
    },
    "Copy": {
        **{f"{way}{i}": _with(Channel_Knob, "none") for i in range(4) for way in ("from", "to")},
        "bbox": _enum("union", "intersection", "A", "B"), **_IMAGE,
    },
    "Expression": {
        **{f"{part}{i}": String_Knob for i in range(4) for part in ("temp_name", "temp_expr")},
        **{f"channel{i}": _with(ChannelMask_Knob, "rgba." + c) for i, c in enumerate(("red", "green", "blue", "alpha"))},
        **{f"expr{i}": _with(String_Knob, c) for i, c in enumerate("rgba")}, **_IMAGE,
    },
    "Merge2": {
        "operation": _enum("over", "difference"),
        **{n: _with(ChannelMask_Knob, "rgba") for n in ("Achannels", "Bchannels", "output")}, **_IMAGE,
    },
    "Dilate": {"channels": _with(ChannelMask_Knob, "all"), "size": Double_Knob, **_IMAGE},
    "Blur": {"channels": _with(ChannelMask_Knob, "all"), "size": Double_Knob, **_IMAGE},
    "Switch": {"which": Int_Knob, **_IMAGE},
    "Crop": {"box": BBox_Knob, "reformat": Boolean_Knob, "crop": _with(Boolean_Knob, True), "intersect": Boolean_Knob, **_IMAGE},
    "Reformat": {
        "type": _enum("to format", "to box", "scale"), "box_width": _with(Int_Knob, 200), "box_height": _with(Int_Knob, 200), "box_fixed": Boolean_Knob,
        "box_pixel_aspect": _with(Double_Knob, 1.0), "resize": _enum("none", "width", "height", "fit", "fill", "distort"),
        "filter": _enum("impulse", "cubic"), "black_outside": _with(Boolean_Knob, True), "pbb": Boolean_Knob, **_IMAGE,
    },
    "Remove": {"operation": _enum("remove", "keep"), "channels": _with(ChannelMask_Knob, "all"), **_IMAGE},
    "Dot": {}, "NoOp": dict(_IMAGE), "Output": {}, "Input": {"number": Int_Knob}, "Viewer": {"input_number": Int_Knob},
    "Group": {"lock_connections": Boolean_Knob, **_IMAGE},
    "Root": {
        "first_frame": _with(Int_Knob, 1), "last_frame": _with(Int_Knob, 100), "frame": _with(Int_Knob, 1),
        "proxy": Boolean_Knob, "proxy_scale": _with(Double_Knob, 0.5), "project_directory": File_Knob, "views": String_Knob,
        "colorManagement": _enum("Nuke", "OCIO"), "OCIO_config": _with(_Label, "nuke-default"),
        "customOCIOConfigPath": File_Knob, "OCIOConfigPath": File_Knob, "format": String_Knob, "gsv": Gsv_Knob, "workingSpaceLUT": _with(_Label, "linear"), "fps": _with(Double_Knob, 24.0),
        "lock_range": Boolean_Knob,
    },
}  # fmt: skip
_EXR_KNOBS = {
    "datatype": _enum("16 bit half", "32 bit float"),
    "compression": _enum("none", "Zip (1 scanline)", "Zip (16 scanlines)", "PIZ Wavelet (32 scanlines)"),
    "autocrop": Boolean_Knob,
    "interleave": _enum("channels, layers and views", "channels and layers", "channels"),
    "metadata": _enum("no metadata", "default metadata", "all metadata"),
}
_MAX_INPUTS = {"Read": 0, "Input": 0, "Root": 0, "Copy": 2, "Merge2": 2, "Switch": 1000, "Group": 1000, "Viewer": 10}


@guarded
class Node:
    """A node. After its deletion every use raises ValueError, as in Nuke."""

    def __init__(self, node_class, parent):
        if node_class not in CLASSES:
            raise RuntimeError(f"{node_class}: Unknown command")
        self._class, self._parent, self._inputs, self._attached = node_class, parent, [], True
        self._knobs = {}
        for name, make in {**_COMMON, **CLASSES[node_class]}.items():
            self._add(make(name), f"{node_class}.{name}")

    def _add(self, knob, default=""):
        """Add a knob; a studio may have set its default, which is then no value that is saved."""
        if default in session.defaults:
            knob.fromScript(session.defaults[default])
            knob._starts = knob._value
        knob._node = self
        self._knobs[knob._name] = knob

    def _live(self):
        if not self._attached:
            raise ValueError("A PythonObject is not attached to a node")

    def _knob_changed(self, knob):
        if self._class == "Write" and knob._name == "file_type" and knob._value == "exr":
            for name, make in _EXR_KNOBS.items():
                if name not in self._knobs:
                    self._add(make(name), f"Write.exr.{name}")
        session.callbacks["knobChanged"].run(self, knob)

    def _related(self, dotted):
        """The node that ``dotted`` names from here: parent, root, one beside it or inside it."""
        node = self
        for part in filter(None, dotted.split(".")):
            if part == "parent":
                node = node._parent
            elif part == "root":
                node = session.root
            elif part != "this":
                inside = node._parent if node is self else node
                node = inside.node(part) if inside is not None else None
            if node is None:
                return None
        return node

    # -- knobs
    def __getitem__(self, name):
        self._live()
        if name not in self._knobs:
            raise NameError(f"knob {name} does not exist")
        return self._knobs[name]

    def knob(self, name):
        self._live()
        return self._knobs.get(name)

    def knobs(self):
        self._live()
        return dict(self._knobs)

    def allKnobs(self):
        return list(self._knobs.values())

    def addKnob(self, knob):
        if knob._name in self._knobs:
            raise ValueError(f"a knob {knob._name} exists")
        knob._user = True
        self._add(knob)

    def writeKnobs(self, flags=0):
        self._live()
        lines = [f"{k._name} {k.toScript()}" for k in self._knobs.values() if k._not_default() and k._name != "name"]
        return "\n".join(lines)

    def readKnobs(self, text):
        from . import _script

        _script.read_knobs(self, text)

    # -- the graph
    def Class(self):
        self._live()
        return self._class

    def name(self):
        self._live()
        return self._knobs["name"]._value

    def setName(self, name, uncollide=True, updateExpressions=False):
        self._live()
        self._knobs["name"]._value = self._parent._free_name(name) if uncollide else name

    def fullName(self):
        self._live()
        above = self._parent
        return self.name() if above is None or above is session.root else f"{above.fullName()}.{self.name()}"

    def parent(self):
        return self._parent

    def inputs(self):
        self._live()
        return len(self._inputs)

    def maxInputs(self):
        return _MAX_INPUTS.get(self._class, 1)

    def input(self, index):
        self._live()
        if not isinstance(index, int):
            raise TypeError("input takes an int")
        return self._inputs[index] if index < len(self._inputs) else None

    def setInput(self, index, node):
        self._live()
        if node is not None and not isinstance(node, Node):
            raise TypeError("setInput takes a node or None")
        if node is not None and node._parent is not self._parent:
            raise ValueError(f"{node.fullName()} is in another group than {self.fullName()}")
        if index >= self.maxInputs():
            return False
        before = list(self._inputs)
        session.record(lambda: setattr(self, "_inputs", before))
        self._inputs = [*self._inputs, *[None] * (index + 1 - len(self._inputs))]
        self._inputs[index] = node
        return True

    connectInput = setInput

    def dependencies(self, mask):
        self._live()
        found = [node for node in self._inputs if node is not None] if mask & 0x1 else []
        if mask & 0x4:
            found += [node for knob in self._knobs.values() for node in knob._means() if node not in (None, self)]
        return list(dict.fromkeys(found))

    def dependent(self, mask, forceEvaluate=True):
        return [node for node in self._parent._nodes if self in node._inputs]

    def selectOnly(self):
        for node in self._parent._nodes:
            node._knobs["selected"]._value = node is self

    def setSelected(self, selected):
        self._knobs["selected"]._value = bool(selected)

    def isSelected(self):
        return self._knobs["selected"]._value

    def xpos(self):
        return self._knobs["xpos"]._value

    def ypos(self):
        return self._knobs["ypos"]._value

    def setXYpos(self, x, y):
        self["xpos"].setValue(int(x))
        self["ypos"].setValue(int(y))

    def _tile(self):
        """What stands on the tile, as Nuke's autolabel.py makes it: the label is evaluated, and then once more.

        A user knob that is called output stands there too.
        """
        name, label = self.name(), self["label"].value()
        with contextlib.suppress(_tcl.TclError):
            label = _tcl.substitute(label, self["label"]._run)
        output = self._knobs["output"].value() if "output" in self._knobs else ""
        return "\n".join(
            filter(None, [f"{name} ({output})" if output not in ("", "rgb", "rgba", "-") else name, label])
        )

    def showControlPanel(self, forceFloat=False):
        session.callbacks["knobChanged"].run(self, String_Knob("showPanel"))

    def redraw(self):
        pass

    # -- pictures
    def frameRange(self):
        from . import FrameRange

        self._live()
        if self._class == "Read":
            return FrameRange(self["first"].value(), self["last"].value(), 1)
        source = self
        if isinstance(self, Group):
            source = self.output()
        if source._class == "Input":
            source = source._parent.input(source["number"].value())
        else:
            source = source.input(0)
        return source.frameRange() if source else FrameRange(
            session.root["first_frame"].value(), session.root["last_frame"].value(), 1)  # fmt: skip

    def firstFrame(self):
        return self.frameRange().first()

    def lastFrame(self):
        return self.frameRange().last()

    def metadata(self, key=None, time=None, view=None):
        from . import _images

        self._live()
        found = _images.metadata(self, session.frame if time is None else time, view or session.views[0])
        return found if key is None else found.get(key)

    def hasError(self):
        try:
            self._image()
        except RuntimeError:
            return True
        return False

    def _image(self):
        from . import _images

        return _images.evaluate(self, session.frame, session.views[0])

    def format(self):
        return self._image().format

    def bbox(self):
        return self._image().bbox

    def channels(self):
        self._live()
        return sorted(self._image().channels)

    def width(self):
        return self._image().format.width()

    def height(self):
        return self._image().format.height()

    def pixelAspect(self):
        return self._image().format.pixelAspect()

    def __repr__(self):
        return f"<{self._class} {self._knobs['name']._value}>"

    def __bool__(self):
        return True


@guarded
class Group(Node):
    """A node with nodes inside; also the root."""

    def __init__(self, node_class, parent):
        super().__init__(node_class, parent)
        self._nodes = []

    def node(self, name):
        self._live()
        head, _, rest = name.partition(".")
        for node in self._nodes:
            if node.name() == head:
                return node.node(rest) if rest else node
        return None

    def nodes(self):
        self._live()
        return list(self._nodes)

    def output(self):
        return next(node for node in self._nodes if node._class == "Output")

    def begin(self):
        self._live()
        session.groups.append(self)
        return self

    def end(self):
        session.groups.pop()

    def __enter__(self):
        return self.begin()

    def __exit__(self, *_):
        self.end()

    def _free_name(self, name):
        taken = {node._knobs["name"]._value for node in self._nodes}
        if name not in taken:
            return name
        stem = re.sub(r"\d+$", "", name)
        number = 1
        while f"{stem}{number}" in taken:
            number += 1
        return f"{stem}{number}"


@guarded
class Root(Group):
    def setModified(self, state):
        session.root_modified = bool(state)

    def modified(self):
        return session.root_modified

    def firstFrame(self):
        return self["first_frame"].value()

    def lastFrame(self):
        return self["last_frame"].value()

    def name(self):
        return self._knobs["name"]._value or "Root"

    def frameRange(self):
        from . import FrameRange

        return FrameRange(self.firstFrame(), self.lastFrame(), 1)


def new_node(node_class, parent, name=None):
    """A node of a class inside ``parent``, named as Nuke names it."""
    session.check_idle(node_class)
    node = (Group if node_class == "Group" else Node)(node_class, parent)
    node._knobs["name"]._value = parent._free_name(name or f"{node_class.rstrip('2')}1")
    parent._nodes.append(node)
    return node


@main_thread_only
def delete(node):
    node._live()
    session.check_idle(node.fullName())
    parent, index = node._parent, node._parent._nodes.index(node)
    outputs = [(other, list(other._inputs)) for other in parent._nodes if node in other._inputs]

    def back():
        node._attached = True
        parent._nodes.insert(index, node)
        for other, inputs in outputs:
            other._inputs = inputs
        created(node)

    session.record(back)
    session.callbacks["onDestroy"].run(node)
    parent._nodes.remove(node)
    for other, inputs in outputs:
        other._inputs = [None if one is node else one for one in inputs]
    node._attached = False


def created(node):
    """Run what waits for new nodes; an error of theirs is reported and breaks nothing here, but the test looks."""
    session.callbacks["onCreate"].run(node)


def split_mask(text):
    """The channels that are on in a channel mask."""
    shorthand = {"rgb": ["rgba.red", "rgba.green", "rgba.blue"], "alpha": ["rgba.alpha"]}
    shorthand["rgba"] = shorthand["rgb"] + shorthand["alpha"]
    words = [word for _, word in _tcl.split(text)]
    channels = []
    for word in words:
        if word.startswith("-") or word == "none":
            continue
        if word in shorthand:
            channels += shorthand[word]
        elif "." in word:
            channels.append(word)
        elif word in session.layers:
            channels += [f"{word}.{c}" for c in session.layers[word]]
        else:
            raise RuntimeError(f"no layer is named {word}")
    for channel in channels:
        layer, _, name = channel.partition(".")
        if layer != "rgba" and name not in session.layers.get(layer, ()):
            raise RuntimeError(f"no channel is named {channel}")
    return channels


__all__ = ["CLASSES", "Double_Knob", "Group", "Node", "PyScript_Knob", "Root", "Tab_Knob", "created", "delete"]
