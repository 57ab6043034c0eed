"""Scripts as text: saved, loaded, copied, pasted."""

from . import _nodes, _tcl
from ._knobs import user_knob
from ._session import session

_NEVER_SAVED = ("name", "selected", "gsv")


def read_knobs(node, text):
    """Set knobs from the lines of a node's body."""
    at = 0
    while at < len(text):
        word = _tcl.read_word(text, at)
        if word is None:
            at += 1
            continue
        name, at = word[1], word[2]
        value = _tcl.read_word(text, at)
        if value is None:
            raise _tcl.TclError(f"{node._class}: knob {name} has no value")
        at = value[2]
        if name == "addUserKnob":
            node._add(user_knob(value[1]))
        elif name == "inputs":
            node._taken = sum(int(part) for part in value[1].split("+"))
        elif name not in node._knobs:
            raise _tcl.TclError(f"{node._class}: no knob is named {name}")
        else:
            node._knobs[name]._read(value[0], value[1])
            if node._class == "Write" and name == "file_type":
                node._knob_changed(node._knobs[name])


def load(text, into):
    """Build the nodes of a script inside a group; returns them. The stack begins with what is selected."""
    selected = [node for node in into._nodes if node.isSelected()]
    stack, variables, groups, new = selected[-1:], {}, [], []
    if not stack:
        stack = []
    current, stacks = into, []
    at = 0
    session.loading += 1
    try:
        while at < len(text):
            word = _tcl.read_word(text, at)
            if word is None:
                at += 1
                continue
            command, at = word[1], word[2]
            if command == "end_group":
                if not groups:
                    raise _tcl.TclError("end_group without a group")
                current, stack = groups.pop(), stacks.pop()
                continue
            if command == "version" or command.startswith("#"):
                at = (text + "\n").index("\n", at)
                continue
            if command == "set":
                name = _tcl.read_word(text, at)
                end = text.index("\n", name[2])
                variables[name[1]] = stack[-1] if stack else None
                at = end
                continue
            body = _tcl.read_word(text, at)
            if body is None:
                raise _tcl.TclError(f"{command} lacks its body")
            at = body[2]
            if command == "push":
                stack.append(None if body[1] == "0" else variables[body[1].lstrip("$")])
            elif command == "add_layer":
                layer, *channels = body[1].split()
                known = session.layers.setdefault(layer, [])
                known += [c.partition(".")[2] for c in channels if c.partition(".")[2] not in known]
            elif command == "Root":
                read_knobs(session.root, body[1])
            else:
                node = _read_node(command, body[1], current, stack)
                if current is into:
                    new.append(node)
                stack.append(node)
                if isinstance(node, _nodes.Group):
                    groups.append(current)
                    stacks.append(stack)
                    current, stack = node, []
        if groups:
            raise _tcl.TclError("a group is not closed")
    finally:
        session.loading -= 1
    for node in new:
        _nodes.created(node)
    return new


def _read_node(node_class, body, parent, stack):
    node = _nodes.new_node(node_class, parent)
    node._taken = 0 if node_class in ("Read", "Input") else 1
    wanted = node._knobs["name"]._value
    node._knobs["name"]._value = ""
    read_knobs(node, body)
    parent._nodes.remove(node)
    node._knobs["name"]._value = parent._free_name(node._knobs["name"]._value or wanted)
    parent._nodes.append(node)
    node._inputs = [stack.pop() if stack else None for _ in range(node._taken)]
    while node._inputs and node._inputs[-1] is None:
        node._inputs.pop()
    return node


def text_of(nodes):
    """Nodes as the text of a script."""
    ordered, seen = [], set()

    def visit(node):
        if node in seen:
            return
        seen.add(node)
        for one in node._inputs:
            if one is not None and one in nodes:
                visit(one)
        ordered.append(node)

    for node in nodes:
        visit(node)
    lines = []
    for node in ordered:
        for one in reversed(node._inputs):
            lines.append(f"push $N{id(one):x}" if one in seen else "push 0")
        lines.append(f"{node._class} {{")
        lines.append(f" inputs {len(node._inputs)}")
        lines += [" " + line for line in _knob_lines(node)]
        lines.append(f" name {node._knobs['name']._value}")
        lines.append("}")
        if isinstance(node, _nodes.Group):
            lines += [" " + line for line in text_of(node._nodes).splitlines()]
            lines.append("end_group")
        lines.append(f"set N{id(node):x} [stack 0]")
    return "\n".join(lines) + "\n"


def _knob_lines(node):
    for knob in node._knobs.values():
        if getattr(knob, "_user", False):
            yield "addUserKnob {" + " ".join(knob._definition()) + "}"
        saved = knob._name not in _NEVER_SAVED and 0x200 not in knob._flags and knob._not_default()
        if saved:
            yield f"{knob._name} {knob.toScript()}"


def script_text():
    """The whole script."""
    root = "\n".join(f" {line}" for line in _knob_lines(session.root))
    layers = "\n".join(
        f"add_layer {{{layer} {' '.join(f'{layer}.{c}' for c in channels)}}}"
        for layer, channels in session.layers.items()
    )
    return f"version 16.0 v1\nRoot {{\n{root}\n}}\n{layers}\n{text_of(session.root._nodes)}"
