"""The state of the stand-in's one session, and the rules that hold for every call."""

import collections
import functools
import os
import sys
import threading


class Callbacks:
    """One of Nuke's callback lists: entries are (call, args, kwargs, nodeClass)."""

    def __init__(self):
        self.entries = []

    def add(self, call, args=(), kwargs=None, nodeClass="*"):
        entry = (call, args, kwargs or {}, nodeClass)
        # adding the same one again replaces it, as Nuke does
        self.remove(call, args, kwargs, nodeClass)
        self.entries.append(entry)

    def remove(self, call, args=(), kwargs=None, nodeClass="*"):
        entry = (call, args, kwargs or {}, nodeClass)
        self.entries = [e for e in self.entries if e != entry]

    def run(self, node, knob=None):
        for call, args, kwargs, node_class in list(self.entries):
            if node_class in ("*", node.Class()):
                with session.about(node, knob):
                    call(*args, **kwargs)


class Session:
    """All that a running Nuke knows."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.gui = True
        self.executing = False
        self.events = collections.deque()
        self.messages = []
        self.errors = []
        self.defaults = {}
        self.variables = {}
        self.colour_labels = []
        self.renders = 0
        self.commands = []
        self.this = []
        self.groups = []
        self.undo = []
        self.undo_disabled = 0
        self.undo_open = None
        self.loading = 0
        self.frame = 1
        self.views = ["main"]
        self.layers = {}
        self.plugin_path = []
        self.menus = {}
        self.panels = {}
        self.panes = {}
        self.callbacks = collections.defaultdict(Callbacks)
        self.root = None
        self.root_modified = False
        self.rendered = []
        self.clipboard = ""

    def about(self, node, knob=None):
        return _About(self, node, knob)

    def check_idle(self, what):
        """Nuke lets a script change while it renders, and then renders two halves of different pictures."""
        if self.executing and not self.loading:
            raise RuntimeError(f"{what} was changed in the middle of a render")

    def record(self, undo, undoable=True):
        """Remember how to take a change back."""
        self.root_modified = True
        if self.undo_disabled or self.loading or not undoable:
            return
        if self.undo_open is not None:
            self.undo_open.append(undo)
        else:
            self.undo.append([undo])

    def group(self):
        return self.groups[-1] if self.groups else self.root


class _About:
    def __init__(self, owner, node, knob):
        self.owner, self.entry = owner, (node, knob)

    def __enter__(self):
        self.owner.this.append(self.entry)

    def __exit__(self, *_):
        self.owner.this.pop()


session = Session()


def check_thread():
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("nuke was used outside the main thread; only executeInMainThread* may be")


def main_thread_only(function):
    @functools.wraps(function)
    def checked(*args, **kwargs):
        check_thread()
        return function(*args, **kwargs)

    return checked


def guarded(cls):
    """Every public method of the class may be called from the main thread only."""
    for name, member in list(vars(cls).items()):
        plain = not isinstance(member, (staticmethod, classmethod, property))
        if callable(member) and plain and (not name.startswith("_") or name == "__getitem__"):
            setattr(cls, name, main_thread_only(member))
    return cls


def report(error):
    print(f"nuke stand-in: {error!r}", file=sys.stderr)


def forward_slashes(path):
    return path.replace(os.sep, "/")
