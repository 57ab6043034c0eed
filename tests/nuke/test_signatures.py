"""The stand-in takes no call that Nuke would not: its signatures are those of Foundry's API, as types-nuke has them."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import math
from pathlib import Path

import nuke
import pytest

#: What types-nuke lacks, or describes otherwise than Foundry's own Python and published tools use it.
KNOWN = {
    "TclError": "what Nuke raises for it has no name of its own; it is a RuntimeError",
    "Pane": "what getPaneFor gives has no public class",
    "Gsv_Knob": "came with Nuke 16",
    "XY_Knob.value": "without an argument it gives both",
    "Menu.setEnabled": "whether it goes for what is below is optional",
    "MenuItem.setEnabled": "as above",
    "Menu.name": "inherited from MenuItem",
}


@pytest.fixture(scope="module")
def api():
    """The functions of types-nuke, each with all its overloads, and the methods of its classes, inherited ones too."""
    found = importlib.util.find_spec("nuke-stubs")
    if found is None:
        pytest.skip("types-nuke is not installed in this Python: the stand-in was NOT compared with it")
    functions, own, bases = {}, {}, {}
    for file in sorted(Path(found.submodule_search_locations[0]).glob("*.pyi")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, []).append(node)
            elif isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
                for one in filter(lambda one: isinstance(one, ast.FunctionDef), node.body):
                    own.setdefault(node.name, {}).setdefault(one.name, []).append(one)

    def methods(name):
        found = {}
        for base in bases.get(name, []):
            found.update(methods(base))
        return {**found, **own.get(name, {})}

    return functions, {name: methods(name) for name in bases}


def in_nuke(overloads, skipped):
    """The fewest and the most positional arguments that Nuke takes."""
    limits = []
    for one in overloads:
        names = [*one.args.posonlyargs, *one.args.args][skipped:]
        needed = len(names) - len(one.args.defaults)
        limits.append((0, math.inf) if one.args.vararg else (max(needed, 0), len(names)))
    return min(low for low, _ in limits), max(high for _, high in limits)


def in_standin(function):
    """The same for the stand-in."""
    own = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    plain = [one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
    open_ended = any(one.kind is one.VAR_POSITIONAL for one in own)
    return sum(one.default is one.empty for one in plain), math.inf if open_ended else len(plain)


def kinder(name, function, overloads, skipped):
    """How a function of the stand-in is kinder than Nuke's."""
    if overloads is None:
        return [f"Nuke has no {name}"]
    (low, high), (nukes_low, nukes_high) = in_standin(function), in_nuke(overloads, skipped)
    found = [f"{name} is content with {low} arguments, Nuke needs {nukes_low}"] if low < nukes_low else []
    return [*found, f"{name} takes {high} arguments, Nuke {nukes_high}"] if high > nukes_high else found


def test_no_function_takes_what_nuke_would_not(api):
    functions, _ = api
    ours = {
        name: one for name, one in vars(nuke).items() if inspect.isfunction(one) and one.__module__ != "nuke._session"
    }
    wrong = [
        line
        for name, one in ours.items()
        if not name.startswith(("_", "standin"))
        for line in kinder(name, one, functions.get(name), 0)
    ]
    assert not wrong


def test_no_method_takes_what_nuke_would_not(api):
    _, classes = api
    wrong = []
    for name, cls in vars(nuke).items():
        if not inspect.isclass(cls) or name.startswith("_") or name in KNOWN:
            continue
        if name not in classes and issubclass(cls, Exception):
            continue
        for method, function in inspect.getmembers(cls, inspect.isfunction):
            if not method.startswith("_") and f"{name}.{method}" not in KNOWN:
                skipped = 0 if isinstance(inspect.getattr_static(cls, method), staticmethod) else 1
                wrong += kinder(f"{name}.{method}", function, classes.get(name, {}).get(method), skipped)
    assert not wrong
