"""Knobs: as strict about names and types as Nuke 17."""

import contextlib
import os
import re

from . import _expressions, _tcl
from ._session import check_thread, guarded, session

__all__ = [
    "Array_Knob",
    "BBox_Knob",
    "Boolean_Knob",
    "ChannelMask_Knob",
    "Channel_Knob",
    "Disable_Knob",
    "Double_Knob",
    "Enumeration_Knob",
    "EvalString_Knob",
    "Eyedropper_Knob",
    "File_Knob",
    "Gsv_Knob",
    "Int_Knob",
    "Knob",
    "Multiline_Eval_String_Knob",
    "PyScript_Knob",
    "Script_Knob",
    "String_Knob",
    "Tab_Knob",
    "Text_Knob",
    "Unsigned_Knob",
    "XY_Knob",
]
INVISIBLE, DISABLED, DO_NOT_WRITE, STARTLINE, ENDLINE = 0x400, 0x80, 0x200, 0x1000, 0x2000
NO_UNDO = 0x80000
_FLAGS = {"INVISIBLE": INVISIBLE, "HIDDEN": 0x40000, "DISABLED": DISABLED, "DO_NOT_WRITE": DO_NOT_WRITE,
          "STARTLINE": STARTLINE}  # fmt: skip


@guarded
class Knob:
    """The base of all knobs. ``setValue`` refuses what Nuke refuses."""

    type_number = None
    default = None

    def __init__(self, name, label=None, *_):
        check_thread()
        if not re.fullmatch(r"\w*", name):
            raise ValueError(f"knob name {name!r}")
        self._name, self._label = name, name if label is None else label
        self._node, self._expression, self._flags, self._tooltip = None, None, set(), ""
        self._value = self.default
        self._starts = self.default
        self._words = {}

    # -- what it is
    def Class(self):
        return type(self).__name__

    def name(self):
        return self._name

    def label(self):
        return self._label

    def node(self):
        return self._node

    def tooltip(self):
        return self._tooltip

    def setTooltip(self, text):
        self._tooltip = text

    def setFlag(self, flag):
        self._flags.add(flag)

    def clearFlag(self, flag):
        self._flags.discard(flag)

    def getFlag(self, flag):
        return flag in self._flags

    def visible(self):
        return INVISIBLE not in self._flags

    def setVisible(self, visible):
        (self._flags.discard if visible else self._flags.add)(INVISIBLE)

    def enabled(self):
        return DISABLED not in self._flags

    def setEnabled(self, enabled):
        (self._flags.discard if enabled else self._flags.add)(DISABLED)

    def setLabel(self, label):
        self._label = label

    def fullyQualifiedName(self):
        return f"{self._node.fullName()}.{self._name}"

    # -- its value
    def _checked(self, value):
        raise NotImplementedError

    def setValue(self, value):
        before = self._value, self._expression
        value = self._checked(value)
        if (value, None) == before:
            return True
        if self._node is not None:
            session.check_idle(f"{self._node.fullName()}.{self._name}")
            session.record(lambda: self._restore(*before), undoable=NO_UNDO not in self._flags)
        self._value, self._expression = value, None
        self._changed()
        return True

    def _restore(self, value, expression):
        self._value, self._expression = value, expression

    def _changed(self):
        if self._node is not None and not session.loading:
            self._node._knob_changed(self)

    def value(self):
        return self._number(session.frame) if self._expression else self._value

    def getValue(self):
        return self.value()

    def setExpression(self, text):
        session.check_idle(f"{self._node.fullName()}.{self._name}")
        before = self._value, self._expression
        session.record(lambda: self._restore(*before))
        self._expression = text
        return True

    def hasExpression(self):
        return self._expression is not None

    def _number(self, frame):
        """The value as a number at a frame, expressions evaluated."""
        if self._expression is None:
            return float(self._value)
        return float(_expressions.evaluate(self._expression, lambda name: self._lookup(name, frame), self._tcl))

    def _lookup(self, name, frame):
        if name in ("frame", "t"):
            return float(frame)
        if name == "$gui":
            return float(session.gui)
        node, _, knob = name.rpartition(".")
        owner = self._node._related(node)
        if owner is not None and knob in ("width", "height", "pixel_aspect"):
            picture = owner._image().format
            return float(picture.pixelAspect() if knob == "pixel_aspect" else getattr(picture, knob)())
        if owner is None or knob not in owner._knobs:
            raise RuntimeError(f"{self.fullyQualifiedName()}: nothing is named {name!r}")
        return owner._knobs[knob]._number(frame)

    def _means(self):
        """The nodes that the knob's expression names."""
        for name in re.findall(r"[A-Za-z_][\w.]*\.[\w]+", self._expression or ""):
            with contextlib.suppress(AttributeError):
                yield self._node._related(name.rpartition(".")[0])

    def _tcl(self, command):
        words = command.split()
        if words[:1] == ["exists"]:
            head, _, tail = words[1].rpartition(".")
            owner = self._node._related(head)
            index = re.fullmatch(r"input(\d+)", tail)
            if owner is None or not index:
                raise NotImplementedError(command)
            return owner.input(int(index[1])) is not None
        if words[:1] == ["python"]:
            import nuke

            code = command.split(None, 1)[1].strip()
            # TCL takes the braces off; what is not a number afterwards, an expression cannot use
            value = eval(code[1:-1] if code.startswith("{") else code, {"nuke": nuke})
            return str(value)
        raise NotImplementedError(f"the stand-in cannot run [{command}]")

    # -- as text
    def toScript(self):
        return "{{" + _tcl.quote(self._expression) + "}}" if self._expression else self._text()

    def _text(self):
        return _tcl.quote(str(self._value))

    def fromScript(self, text):
        word = _tcl.read_word(text, 0)
        self._read(*(word[:2] if word else ("bare", "")))

    def _read(self, kind, text):
        """Take a value out of a script."""
        if kind == "brace" and text.startswith("{"):
            inner = _tcl.split(text)[0][1]
            self._expression = _tcl.split(inner)[0][1]
        else:
            self._value = self._checked(self._parsed(text))

    def _parsed(self, text):
        return text

    def _not_default(self):
        return self._expression is not None or self._value != self._starts

    def _definition(self):
        words = [str(self.type_number), _tcl.quote(self._name), "l", _tcl.quote(self._label)]
        if self._tooltip:
            words += ["t", _tcl.quote(self._tooltip)]
        words += [("+" if value in self._flags else "-") + name for name, value in _FLAGS.items()
                  if value in self._flags or (name == "STARTLINE" and "STARTLINE" in self._words.get("off", ()))]  # fmt: skip
        return words + self._extras()

    def _extras(self):
        return []


class Array_Knob(Knob):
    """The base of all that has a number."""


class _Text(Knob):
    default = ""

    def _checked(self, value):
        if not isinstance(value, str):
            raise TypeError(f"{self._name}.setValue takes a string, not {type(value).__name__}")
        return value


@guarded
class String_Knob(_Text):
    type_number = 1

    def value(self):
        return self._evaluated(self._value)

    def getText(self):
        return self._value

    def setText(self, text):
        self.setValue(text)

    def _evaluated(self, text):
        return _tcl.substitute(text, self._run)

    def _run(self, words):
        """A TCL command of this knob's text; those that Nuke has and no node of ours needs are remembered, not done."""
        session.commands.append(words)
        if words[0] == "value" and len(words) == 2:
            node, _, knob = words[1].rpartition(".")
            return str((self._node._related(node) if node else self._node)[knob].value())
        if words[:2] == ["file", "dirname"] and len(words) == 3:
            return os.path.dirname(words[2])
        if words[0] == "getenv" and len(words) == 2:
            return os.environ[words[1]]
        raise _tcl.TclError(f"the stand-in cannot run {words}")

    def _number(self, frame):
        raise TypeError(f"{self._name} is text")


@guarded
class EvalString_Knob(String_Knob):
    def evaluate(self):
        return self.value()


class Multiline_Eval_String_Knob(EvalString_Knob):
    type_number = 43


@guarded
class File_Knob(EvalString_Knob):
    type_number = 2

    def _checked(self, value):
        value = super()._checked(value)
        if "\\" in value and self._node is not None and self._node.Class() == "Write":
            raise RuntimeError("Write: backslashes are not allowed in file names")
        return value

    def value(self):
        # the raw text: numbers and views are filled in by evaluate
        return self._value

    def getValue(self):
        return self._value

    def evaluate(self, frame=None):
        return self._at(session.frame if frame is None else frame, session.views[0])

    def _at(self, frame, view):
        path = re.sub(r"%\{(\w+)\}", lambda m: session.variables.get(m[1], m[0]), self._evaluated(self._value))
        path = path.replace("%V", view).replace("%v", view[:1])
        path = re.sub(r"#+", lambda m: f"%0{len(m[0])}d", path)
        return re.sub(r"%0?(\d*)d", lambda m: f"{frame:0{int(m[1] or 1)}d}", path)

    def fromUserText(self, text):
        match = re.fullmatch(r"(.*?)(?:\s+(-?\d+)-(-?\d+))?", text)
        self.setValue(match[1])
        if match[2]:
            for name, number in zip(("first", "last", "origfirst", "origlast"), (2, 3, 2, 3)):
                self._node[name].setValue(int(match[number]))


@guarded
class _Label(_Text):
    """A pulldown of what an OCIO configuration offers, whose items Nuke makes itself: in Nuke 17 with tabs in them.

    Only what comes before the first tab is a value.
    """

    def values(self):
        return list(session.colour_labels)


@guarded
class Gsv_Knob(Knob):
    """Graph Scope Variables, in Nuke 16 and newer."""

    default = ()

    def setGsvValue(self, path, value):
        if not isinstance(value, str):
            raise TypeError("the value of a Graph Scope Variable is text")
        session.variables[path.partition(".")[2]] = value
        self._value = tuple(sorted(session.variables.items()))


@guarded
class Text_Knob(_Text):
    type_number = 26

    def _extras(self):
        return ["T", _tcl.quote(self._value)] if self._value else []

    def _not_default(self):
        return False


@guarded
class PyScript_Knob(_Text):
    type_number = 22

    def __init__(self, name, label=None, command=""):
        super().__init__(name, label)
        self._value = command

    def command(self):
        return self._value

    def execute(self):
        import nuke

        with session.about(self._node, self):
            exec(compile(self._value, self.fullyQualifiedName(), "exec"), {"nuke": nuke})

    _extras = Text_Knob._extras
    _not_default = Text_Knob._not_default


class Tab_Knob(Text_Knob):
    type_number = 20


@guarded
class Boolean_Knob(Array_Knob):
    type_number = 6
    default = False

    def _checked(self, value):
        if not isinstance(value, (bool, int)):
            raise TypeError(f"{self._name}.setValue takes a bool, not {type(value).__name__}")
        return bool(value)

    def value(self):
        return bool(super().value())

    def _parsed(self, text):
        return {"true": True, "false": False, "1": True, "0": False}[text]

    def _text(self):
        return "true" if self._value else "false"


class Disable_Knob(Boolean_Knob):
    pass


@guarded
class Int_Knob(Array_Knob):
    type_number = 3
    default = 0

    def _checked(self, value):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{self._name}.setValue takes an int, not {type(value).__name__}")
        return value

    def _parsed(self, text):
        return int(text, 0)

    def value(self):
        return int(super().value())


@guarded
class Double_Knob(Array_Knob):
    type_number = 7
    default = 0.0

    def _checked(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{self._name}.setValue takes a number, not {type(value).__name__}")
        return float(value)

    def _parsed(self, text):
        return float(text)

    def _text(self):
        return f"{self._value:g}"

    def _extras(self):
        return ["R", *self._words["R"]] if "R" in self._words else []


@guarded
class Enumeration_Knob(Array_Knob):
    type_number = 4

    def __init__(self, name, label=None, values=()):
        super().__init__(name, label)
        self._values = list(values)
        self._value = self._starts = self._values[0] if self._values else ""

    def values(self):
        return list(self._values)

    def setValues(self, values):
        if not all(isinstance(value, str) for value in values):
            raise TypeError(f"{self._name}.setValues takes strings")
        before, chosen = self._values, self._value
        session.record(
            lambda: (setattr(self, "_values", before), setattr(self, "_value", chosen)),
            undoable=NO_UNDO not in self._flags,
        )
        # what is chosen is kept by its number
        index = before.index(chosen) if chosen in before else 0
        self._values = list(values)
        self._value = self._values[min(index, len(self._values) - 1)] if self._values else ""

    def numValues(self):
        return len(self._values)

    def _checked(self, value):
        if isinstance(value, int) and not isinstance(value, bool):
            return self._values[value]
        if not isinstance(value, str):
            raise TypeError(f"{self._name}.setValue takes a string or an index, not {type(value).__name__}")
        if value not in self._values:
            raise ValueError(f"{self._name} has no choice {value!r}; it has {self._values}")
        return value

    def value(self):
        return self._values[int(self._number(session.frame))] if self._expression else self._value

    def getValue(self):
        return self._number(session.frame)

    def _number(self, frame):
        return super()._number(frame) if self._expression else float(self._values.index(self._value))

    def _extras(self):
        return ["M", "{" + " ".join(_tcl.quote(value) for value in self._values) + "}"]


class _Numbers(Knob):
    default = ()

    def _checked(self, value):
        if not isinstance(value, (tuple, list)) or len(value) != len(self.default):
            raise TypeError(f"{self._name}.setValue takes {len(self.default)} numbers")
        return tuple(float(part) for part in value)

    def setValue(self, value, index=None):
        if index is not None:
            values = list(self._value)
            values[index] = float(value)
            value = values
        return super().setValue(value)

    def value(self, index=None):
        return list(self._value) if index is None else self._value[index]

    def _parsed(self, text):
        return tuple(float(word) for _, word in _tcl.split(text))

    def _text(self):
        return "{" + " ".join(f"{part:g}" for part in self._value) + "}"


@guarded
class BBox_Knob(_Numbers):
    type_number = 15
    default = (0.0, 0.0, 0.0, 0.0)

    def x(self):
        return self._value[0]

    def y(self):
        return self._value[1]

    def r(self):
        return self._value[2]

    def t(self):
        return self._value[3]


@guarded
class XY_Knob(_Numbers):
    type_number = 12
    default = (0.0, 0.0)


@guarded
class Eyedropper_Knob(_Numbers):
    """A colour, and the corners of what was picked: ``getValue`` gives all eight, as Cryptomatte relies on."""

    type_number = 36
    default = (0.0,) * 8

    def value(self, index=None):
        return list(self._value[:4]) if index is None else self._value[index]

    def getValue(self, index=None):
        return list(self._value) if index is None else self._value[index]


class Unsigned_Knob(Int_Knob):
    pass


@guarded
class Channel_Knob(_Text):
    """One channel, or a layer."""


@guarded
class ChannelMask_Knob(_Text):
    """A set of channels: a layer's name, or words of which those with a minus are off."""

    def _read(self, kind, text):
        self._value = text

    def _text(self):
        return "{" + self._value + "}" if " " in self._value else _tcl.quote(self._value)


@guarded
class Script_Knob(_Text):
    def execute(self):
        pass


USER_KNOBS = {
    cls.type_number: cls
    for cls in (String_Knob, File_Knob, Int_Knob, Enumeration_Knob, Boolean_Knob, Double_Knob, XY_Knob, BBox_Knob,
                Eyedropper_Knob,                 Tab_Knob, PyScript_Knob, Text_Knob, Multiline_Eval_String_Knob)
}  # fmt: skip


def user_knob(text):
    """The knob that an ``addUserKnob`` line defines."""
    words = _tcl.split(text)
    number, name = int(words[0][1]), words[1][1]
    if number not in USER_KNOBS:
        raise _tcl.TclError(f"addUserKnob: no knob of type {number}")
    knob = USER_KNOBS[number](name)
    rest = words[2:]
    while rest:
        word = rest.pop(0)[1]
        if word == "l":
            knob._label = rest.pop(0)[1]
        elif word == "t":
            knob._tooltip = rest.pop(0)[1]
        elif word == "M":
            knob._values = [value for _, value in _tcl.split(rest.pop(0)[1])]
            knob._value = knob._starts = knob._values[0]
        elif word == "T":
            knob._value = rest.pop(0)[1]
        elif word == "R":
            knob._words["R"] = [rest.pop(0)[1], rest.pop(0)[1]]
        elif word[:1] in "+-" and word[1:] in _FLAGS:
            if word[0] == "+":
                knob._flags.add(_FLAGS[word[1:]])
            else:
                knob._words.setdefault("off", []).append(word[1:])
        else:
            raise _tcl.TclError(f"addUserKnob {name}: what is {word!r}?")
    knob._user = True
    return knob
