"""Nuke's expressions: C-like, over numbers or whole pictures."""

import re

import numpy as np

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][-+]?\d+)?)|(?P<tcl>\[[^\]]*\])|(?P<name>\$?[A-Za-z_][\w.]*)"
    r"|(?P<op>&&|\|\||==|!=|<=|>=|[-+*/<>!?:(),]))"
)
_FUNCTIONS = {
    "min": np.minimum,
    "max": np.maximum,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "fmod": np.fmod,
    "int": np.trunc,
    "clamp": lambda x, low=0.0, high=1.0: np.clip(x, low, high),
}
_LEVELS = [["||"], ["&&"], ["==", "!="], ["<", "<=", ">", ">="], ["+", "-"], ["*", "/"]]
_OPERATIONS = {
    "||": lambda a, b: (np.not_equal(a, 0) | np.not_equal(b, 0)) * 1.0,
    "&&": lambda a, b: (np.not_equal(a, 0) & np.not_equal(b, 0)) * 1.0,
    "==": lambda a, b: np.equal(a, b) * 1.0,
    "!=": lambda a, b: np.not_equal(a, b) * 1.0,
    "<": lambda a, b: np.less(a, b) * 1.0,
    "<=": lambda a, b: np.less_equal(a, b) * 1.0,
    ">": lambda a, b: np.greater(a, b) * 1.0,
    ">=": lambda a, b: np.greater_equal(a, b) * 1.0,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}


def evaluate(text, lookup, tcl):
    """The value of an expression; ``lookup`` gives names their values, ``tcl`` evaluates what stands in brackets."""
    tokens, position = [], 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise ValueError(f"expression {text!r} cannot be read at {text[position:]!r}")
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        position = match.end()
    if not tokens:
        return 0.0
    value, rest = _ternary(tokens, lookup, tcl)
    if rest:
        raise ValueError(f"expression {text!r} goes on after its end: {rest}")
    return value


def _ternary(tokens, lookup, tcl):
    condition, tokens = _binary(tokens, 0, lookup, tcl)
    if tokens and tokens[0][1] == "?":
        yes, tokens = _ternary(tokens[1:], lookup, tcl)
        tokens = _expect(":", tokens)
        no, tokens = _ternary(tokens, lookup, tcl)
        return np.where(np.not_equal(condition, 0), yes, no), tokens
    return condition, tokens


def _binary(tokens, level, lookup, tcl):
    if level == len(_LEVELS):
        return _unary(tokens, lookup, tcl)
    value, tokens = _binary(tokens, level + 1, lookup, tcl)
    while tokens and tokens[0][0] == "op" and tokens[0][1] in _LEVELS[level]:
        operation = _OPERATIONS[tokens[0][1]]
        other, tokens = _binary(tokens[1:], level + 1, lookup, tcl)
        value = operation(value, other)
    return value, tokens


def _unary(tokens, lookup, tcl):
    if not tokens:
        raise ValueError("expression ends too early")
    (kind, text), rest = tokens[0], tokens[1:]
    if text in ("-", "!"):
        value, rest = _unary(rest, lookup, tcl)
        return (-value if text == "-" else np.equal(value, 0) * 1.0), rest
    if text == "(":
        value, rest = _ternary(rest, lookup, tcl)
        return value, _expect(")", rest)
    if kind == "number":
        return float(text), rest
    if kind == "tcl":
        return float(tcl(text[1:-1])), rest
    if kind != "name":
        raise ValueError(f"expression has {text!r} where a value should be")
    if rest and rest[0][1] == "(":
        return _call(text, rest[1:], lookup, tcl)
    return lookup(text), rest


def _call(name, tokens, lookup, tcl):
    arguments = []
    while tokens[0][1] != ")":
        value, tokens = _ternary(tokens, lookup, tcl)
        arguments.append(value)
        if tokens[0][1] == ",":
            tokens = tokens[1:]
    if name not in _FUNCTIONS:
        raise ValueError(f"the stand-in does not know the function {name}")
    return _FUNCTIONS[name](*arguments), tokens[1:]


def _expect(text, tokens):
    if not tokens or tokens[0][1] != text:
        raise ValueError(f"expression lacks {text!r}")
    return tokens[1:]
