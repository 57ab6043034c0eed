"""A strict stand-in for Foundry's ``nuke`` module, as far as the plugin uses it; it renders real EXR files.

What it refuses, Nuke refuses: unknown knobs and node classes, wrong types, use outside the main thread, nested renders,
deleted nodes. What is queued for the main thread runs when :func:`standin_process_events` is called, in the place of
Nuke's event loop.
Names that begin with ``standin`` are for tests and are not Nuke's.
"""

import os
import sys
import threading

from . import _images, _nodes, _script
from ._knobs import *  # noqa: F403
from ._knobs import DISABLED, DO_NOT_WRITE, INVISIBLE, NO_UNDO, STARTLINE  # noqa: F401
from ._nodes import Group, Node, Root, delete  # noqa: F401
from ._session import main_thread_only, session
from ._tcl import TclError  # noqa: F401

NUKE_VERSION_MAJOR, NUKE_VERSION_MINOR, NUKE_VERSION_RELEASE = 16, 0, 1
NUKE_VERSION_STRING = "16.0v1 (stand-in)"
EXE_PATH = "/nonexistent/Nuke16.0"
INPUTS, HIDDEN_INPUTS, EXPRESSIONS = 1, 2, 4
TO_SCRIPT, TO_VALUE, WRITE_NON_DEFAULT_ONLY, WRITE_USER_KNOB_DEFS, WRITE_ALL = 0x1, 0x2, 0x4, 0x10, 0x8
GUI = True
env = {"gui": True, "nc": False, "indie": False, "NukeVersionMajor": 16, "NukeVersionString": NUKE_VERSION_STRING}


class CancelledError(RuntimeError):
    pass


class FrameRange:
    def __init__(self, first, last, increment=1):
        self._range = int(first), int(last), int(increment)

    def first(self):
        return self._range[0]

    def last(self):
        return self._range[1]

    def increment(self):
        return self._range[2]

    def frames(self):
        return (self._range[1] - self._range[0]) // self._range[2] + 1


class FrameRanges:
    """Several ranges: text such as "1-10x2", or a list of texts and numbers."""

    def __init__(self, ranges=()):
        self._frames = []
        for part in [ranges] if isinstance(ranges, str) else ranges:
            self.add(part)

    def add(self, part):
        if isinstance(part, int):
            self._frames.append(part)
            return
        import re

        for word in part.replace(",", " ").split():
            match = re.fullmatch(r"(-?\d+)(?:-(-?\d+))?(?:x(\d+))?", word)
            if not match:
                raise ValueError(f"Invalid frame range: {word}")
            first = int(match[1])
            self._frames += range(first, int(match[2] or first) + 1, int(match[3] or 1))

    def toFrameList(self):
        return list(self._frames)

    def size(self):
        return len(self._frames)


# -- the script
@main_thread_only
def root():
    return session.root


@main_thread_only
def scriptClear():
    for call, args, kwargs, _ in list(session.callbacks["onScriptClose"].entries):
        call(*args, **kwargs)
    _fresh()


def _fresh():
    session.root = None
    session.layers = {"rgba": ["red", "green", "blue", "alpha"]}
    session.undo, session.groups, session.views = [], [], ["main"]
    session.root = _nodes.Root("Root", None)
    session.root_modified = False


@main_thread_only
def scriptSaveAs(filename=None, overwrite=-1):
    session.root._knobs["name"]._value = filename
    scriptSave()


@main_thread_only
def scriptSave(filename=None):
    name = filename or session.root._knobs["name"]._value
    if not name:
        raise RuntimeError("scriptSave: the script has no name")
    for call, args, kwargs, _ in list(session.callbacks["onScriptSave"].entries):
        call(*args, **kwargs)
    with open(name, "w") as file:
        file.write(_script.script_text())
    session.root_modified = False
    return True


@main_thread_only
def scriptSaveToTemp(filename):
    with open(filename, "w") as file:
        file.write(_script.script_text())
    return filename


@main_thread_only
def scriptOpen(filename):
    scriptClear()
    with open(filename) as file:
        text = file.read()
    session.root._knobs["name"]._value = filename
    _script.load(text, session.root)
    session.root_modified = False
    session.callbacks["onScriptLoad"].run(session.root)


@main_thread_only
def scriptName():
    return session.root.name()


@main_thread_only
def script_directory():
    name = session.root._knobs["name"]._value
    return os.path.dirname(name) if name else ""


@main_thread_only
def modified():
    """To set it like this is deprecated, as it also starts and stops the timer of the autosave."""
    return session.root_modified


@main_thread_only
def knobDefault(classknob, value=None):
    """The default of a class's knob, such as Write.use_limit; of a file type's, such as Write.exr.compression."""
    if value is None:
        return session.defaults.get(classknob)
    session.defaults[classknob] = value
    return None


# -- nodes
@main_thread_only
def toNode(name):
    if name == "root":
        return session.root
    return session.group().node(name) or session.root.node(name)


@main_thread_only
def allNodes(filter=None, group=None, recurseGroups=False):
    found = []
    for node in (group or session.group())._nodes:
        if filter is None or node.Class() == filter:
            found.append(node)
        if recurseGroups and isinstance(node, Group):
            found += allNodes(filter, node, True)
    return found


@main_thread_only
def selectedNodes(filter=None):
    return [node for node in session.group()._nodes if node.isSelected()]


@main_thread_only
def thisNode():
    if not session.this:
        raise ValueError("no node is current")
    return session.this[-1][0]


@main_thread_only
def thisKnob():
    return session.this[-1][1]


@main_thread_only
def thisGroup():
    return session.group()


class _Makers:
    """``nuke.nodes.Blur(...)``: a node without connections or panel."""

    def __getattr__(self, node_class):
        @main_thread_only
        def make(**knobs):
            node = _nodes.new_node(node_class, session.group())
            session.record(lambda: None)
            for name, value in knobs.items():
                node[name].setValue(value) if name != "name" else node.setName(value)
            _nodes.created(node)
            return node

        return make


nodes = _Makers()


@main_thread_only
def createNode(node_class, knobs="", inpanel=True):
    if node_class not in _nodes.CLASSES:
        # a tool: the file of that name on the plugin path
        files = [os.path.join(folder, f"{node_class}.gizmo") for folder in session.plugin_path]
        file = next(filter(os.path.isfile, files), None)
        if file is None:
            raise RuntimeError(f"{node_class}: Unknown command")
        node = nodePaste(file)
        if inpanel:
            node.showControlPanel()
        return node
    selected = selectedNodes()
    node = _nodes.new_node(node_class, session.group())
    if selected and node.maxInputs():
        node.setInput(0, selected[-1])
    if knobs:
        node.readKnobs(knobs)
    node.selectOnly()
    session.record(lambda: None)
    _nodes.created(node)
    return node


@main_thread_only
def nodeCopy(filename):
    text = _script.text_of(selectedNodes())
    if filename == "%clipboard%":
        session.clipboard = text
    else:
        with open(filename, "w") as file:
            file.write(text)


@main_thread_only
def nodePaste(filename):
    if filename == "%clipboard%":
        text = session.clipboard
    else:
        with open(filename) as file:
            text = file.read()
    new = _script.load(text, session.group())
    for node in session.group()._nodes:
        node.setSelected(node in new)
    session.root_modified = True
    return new[-1] if new else None


@main_thread_only
def nodeDelete():
    for node in selectedNodes():
        delete(node)


@main_thread_only
def views():
    return list(session.views)


@main_thread_only
def frame(number=None):
    if number is not None:
        session.frame = int(number)
    return session.frame


@main_thread_only
def channels(node=None):
    return [f"{layer}.{c}" for layer, names in session.layers.items() for c in names]


@main_thread_only
def activeViewer():
    return None


# -- rendering
@main_thread_only
def execute(nameOrNode, start, end=None, incr=1, views=None, continueOnError=False):
    """Render a Write: frames from, to, in steps, or FrameRanges in the place of the first of them."""
    node = toNode(nameOrNode) if isinstance(nameOrNode, str) else nameOrNode
    ranges = (
        start if isinstance(start, FrameRanges) else FrameRanges([f"{start}-{start if end is None else end}x{incr}"])
    )
    executeMultiple([node], ranges, session.views if views is None else views, continueOnError)


@main_thread_only
def executeMultiple(nodes, ranges, views, continueOnError=False):
    """Render several Writes, frame by frame."""
    if session.executing:
        raise RuntimeError("I'm already executing something else")
    for node in nodes:
        if node.Class() != "Write":
            raise RuntimeError(f"{node.fullName()} is not executable")
        if node["disable"].value():
            raise RuntimeError(f"{node.fullName()} is disabled")
    if not isinstance(ranges, FrameRanges):
        raise TypeError("the stand-in takes FrameRanges alone")
    unknown = set(views) - set(session.views)
    if unknown:
        raise RuntimeError(f"no view is named {unknown}")
    session.executing = True
    session.renders += 1
    before = session.frame
    try:
        for number in ranges.toFrameList():
            session.frame = number
            for view in views:
                for node in nodes:
                    session.rendered.append((node["channels"].value(), number, view))
                    _images.write(node, number, view)
    finally:
        session.executing, session.frame = False, before


class Pane:
    """A pane of the window."""

    def __init__(self):
        self.panels = []


@main_thread_only
def getPaneFor(name):
    if not session.gui:
        raise RuntimeError("panes need a window")
    return session.panes.get(name)


@main_thread_only
def zoomToFitSelected():
    if not session.gui:
        raise RuntimeError("the node graph needs a window")


def executing(f=1.0):
    return session.executing


# -- the main thread
def executeInMainThread(call, args=(), kwargs=None):
    session.events.append((call, args if isinstance(args, tuple) else (args,), kwargs or {}))


def executeInMainThreadWithResult(call, args=(), kwargs=None):
    if threading.current_thread() is threading.main_thread():
        raise RuntimeError("You cannot use executeInMainThreadWithResult from the main thread")
    done, result = threading.Event(), []

    def run(*a, **k):
        try:
            result.append(call(*a, **k))
        finally:
            done.set()

    executeInMainThread(run, args, kwargs)
    done.wait()
    return result[0] if result else None


@main_thread_only
def standin_process_events():
    """Run what is queued for the main thread; an exception is printed, as Nuke does, and counted for the test."""
    while session.events:
        call, args, kwargs = session.events.popleft()
        call(*args, **kwargs)


# -- talking to the artist
@main_thread_only
def message(text):
    if not session.gui:
        raise RuntimeError("nuke.message needs a window")
    session.messages.append(text)


@main_thread_only
def ask(text):
    if not session.gui:
        raise RuntimeError("nuke.ask needs a window")
    session.messages.append(text)
    return True


def tprint(*args, **kwargs):
    print(*args, **kwargs)


def error(text):
    """Into the Error Console."""
    session.errors.append(text)
    print("nuke.error:", text.encode(errors="replace"), file=sys.stderr)


def warning(text):
    print("nuke.warning:", text, file=sys.stderr)


# -- undo
class Undo:
    """Steps of undo; also a context manager for one named step."""

    @staticmethod
    @main_thread_only
    def begin(name=""):
        session.undo_open = []

    @staticmethod
    @main_thread_only
    def end():
        if session.undo_open:
            session.undo.append(session.undo_open)
        session.undo_open = None

    @staticmethod
    @main_thread_only
    def cancel():
        for step in reversed(session.undo_open or []):
            step()
        session.undo_open = None

    @staticmethod
    @main_thread_only
    def disable():
        session.undo_disabled += 1

    @staticmethod
    @main_thread_only
    def enable():
        session.undo_disabled -= 1

    @staticmethod
    @main_thread_only
    def disabled():
        return session.undo_disabled > 0

    @staticmethod
    def name(text=""):
        pass

    def __enter__(self):
        Undo.begin()
        return self

    def __exit__(self, *_):
        Undo.end()


@main_thread_only
def undo():
    if session.undo:
        for step in reversed(session.undo.pop()):
            step()


# -- callbacks
def _callback(name):
    def add(call, args=(), kwargs=None, nodeClass="*"):
        session.callbacks[name].add(call, args, kwargs, nodeClass)

    def remove(call, args=(), kwargs=None, nodeClass="*"):
        session.callbacks[name].remove(call, args, kwargs, nodeClass)

    return add, remove


addOnCreate, removeOnCreate = _callback("onCreate")
addOnDestroy, removeOnDestroy = _callback("onDestroy")
addOnScriptLoad, removeOnScriptLoad = _callback("onScriptLoad")
addOnScriptSave, removeOnScriptSave = _callback("onScriptSave")
addOnScriptClose, removeOnScriptClose = _callback("onScriptClose")
addKnobChanged, removeKnobChanged = _callback("knobChanged")


# -- menus and plugins
class MenuItem:
    def __init__(self, name, command="", icon="", tooltip=""):
        self._name, self._command, self._icon, self.enabled = name, command, icon, True

    def name(self):
        return self._name

    def script(self):
        return self._command

    def icon(self):
        return self._icon

    def setEnabled(self, enabled):
        self.enabled = enabled

    def invoke(self):
        if callable(self._command):
            self._command()
        else:
            exec(self._command, {"nuke": sys.modules["nuke"]})


class Menu(MenuItem):
    def __init__(self, name, icon=""):
        super().__init__(name, icon=icon)
        self._items = []

    def items(self):
        return list(self._items)

    def findItem(self, name):
        return next((item for item in self._items if item.name() == name), None)

    def addMenu(self, name, icon="", tooltip="", index=-1):
        found = self.findItem(name)
        if found is None:
            found = Menu(name, icon)
            self._items.append(found)
        return found

    def addCommand(self, name, command="", shortcut="", icon="", tooltip="", index=-1, readonly=False):
        item = MenuItem(name, command, icon, tooltip)
        self._items = [one for one in self._items if one.name() != name] + [item]
        return item

    def addSeparator(self):
        self._items.append(MenuItem("-"))

    def removeItem(self, name):
        self._items = [one for one in self._items if one.name() != name]


@main_thread_only
def menu(name):
    if not session.gui:
        raise RuntimeError("menus need a window")
    return session.menus.setdefault(name, Menu(name))


@main_thread_only
def pluginAddPath(paths, addToSysPath=True):
    """Put a folder first, and run its init.py, as Nuke does while it starts."""
    for path in [paths] if isinstance(paths, str) else paths:
        if not os.path.isabs(path):
            # relative to the file that calls
            path = os.path.join(os.path.dirname(sys._getframe(2).f_code.co_filename), path)
        path = os.path.normpath(path)
        if path not in session.plugin_path:
            session.plugin_path.insert(0, path)
        if addToSysPath and path not in sys.path:
            sys.path.insert(0, path)
        standin_run(os.path.join(path, "init.py"))


@main_thread_only
def pluginPath():
    return list(session.plugin_path)


@main_thread_only
def standin_run(path):
    """Run a start-up file, if there is one."""
    if os.path.isfile(path):
        with open(path) as file:
            code = compile(file.read(), path, "exec")
        exec(code, {"__file__": path, "__name__": "__main__", "nuke": sys.modules["nuke"]})


def standin_reset(gui=True):
    """A Nuke that has just started."""
    global GUI
    session.reset()
    session.gui = GUI = env["gui"] = gui
    _fresh()


standin = session
standin_reset()
