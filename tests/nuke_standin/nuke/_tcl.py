"""Words of the TCL in which Nuke's scripts are written."""

import re

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class TclError(RuntimeError):
    """Text that Nuke could not read."""


def read_word(text, at):
    """The word that begins at or after ``at`` on the same line, and where it ends; None at the line's end.

    Gives (kind, word, end), kind being brace, quote or bare. In quotes and bare words an open bracket without a
    backslash would be run as a command: an error here, as our files must not hold any.
    """
    while at < len(text) and text[at] in " \t":
        at += 1
    if at >= len(text) or text[at] in "\n;":
        return None
    if text[at] == "{":
        depth, start = 0, at + 1
        while at < len(text):
            if text[at] == "\\":
                at += 1
            elif text[at] == "{":
                depth += 1
            elif text[at] == "}":
                depth -= 1
                if not depth:
                    return "brace", text[start:at], at + 1
            at += 1
        raise TclError("missing close-brace")
    if text[at] == '"':
        end = at + 1
        while end < len(text) and text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        if end >= len(text):
            raise TclError("missing close-quote")
        return "quote", unescape(text[at + 1 : end]), end + 1
    end = at
    while end < len(text) and text[end] not in " \t\n;":
        end += 2 if text[end] == "\\" else 1
    return "bare", unescape(text[at:end]), end


def unescape(text):
    result, at = [], 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            result.append(_ESCAPES.get(text[at + 1], text[at + 1]))
            at += 2
            continue
        if text[at] == "[":
            raise TclError(f"unescaped bracket in {text[max(0, at - 20) : at + 20]!r}: Nuke would run it as a command")
        result.append(text[at])
        at += 1
    return "".join(result)


def split(text):
    """The words of a list, as (kind, word)."""
    words, at = [], 0
    text = text.replace("\n", " ")
    while (word := read_word(text, at)) is not None:
        words.append(word[:2])
        at = word[2]
    return words


def quote(text):
    """``text`` as one word of a script."""
    if text and not re.search(r'[\s"\\\[\]{}$;#]', text):
        return text
    special = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "[": "\\[", "]": "\\]", "{": "\\{", "}": "\\}", "$": "\\$"}
    return '"' + "".join(special.get(c, c) for c in text) + '"'
