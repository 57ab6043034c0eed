"""The TCL in which Nuke's scripts are written, and that it runs out of text in knobs."""

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


_ONE_LETTER = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CODED = re.compile(r"x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|([0-7]{1,3})")
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|((?:\w|::)+(?:\([^)]*\))?))")


def substitute(text, run):
    """``text`` as TCL's ``subst`` makes it: backslashes, variables and commands, from left to right.

    ``run`` gets the words of each command and gives its result. Like TCL this runs what stands before a fault, also
    the whole commands of brackets that are never closed, before it raises :class:`TclError`.
    """
    return _Reader(text, run).until("")[0]


class _Reader:
    def __init__(self, text, run):
        self.text, self.run, self.at = text, run, 0

    def until(self, ends):
        """What comes before one of the characters ``ends``, or before the end, substituted; and that character."""
        made = []
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in ends:
                return "".join(made), character
            if character == "\\":
                made.append(self.backslash())
            elif character == "[":
                self.at += 1
                made.append(self.script())
            elif character == "$":
                made.append(self.variable())
            else:
                made.append(character)
                self.at += 1
        return "".join(made), ""

    def backslash(self):
        rest = self.text[self.at + 1 :]
        if not rest:
            self.at += 1
            return "\\"
        if coded := _CODED.match(rest):
            self.at += 1 + coded.end()
            return chr(int(coded[1] or coded[2] or "0", 16) if coded[3] is None else int(coded[3], 8))
        if rest[0] == "\n":
            self.at += 1 + re.match(r"\n[ \t]*", rest).end()
            return " "
        self.at += 2
        return _ONE_LETTER.get(rest[0], rest[0])

    def variable(self):
        found = _VARIABLE.match(self.text, self.at)
        if found is None:
            self.at += 1
            return "$"
        raise TclError(f"can't read {(found[1] or found[2])!r}: no such variable")

    def script(self):
        """The result of the commands up to a closing bracket."""
        words, result = [], ""
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in " \t":
                self.at += 1
            elif character in ";\n]":
                self.at += 1
                if words:
                    result = self.run(words)
                words = []
                if character == "]":
                    return result
            elif character == "#" and not words:
                while self.at < len(self.text) and self.text[self.at] != "\n":
                    self.at += 2 if self.text[self.at] == "\\" else 1
            elif character == "{":
                _, word, self.at = read_word(self.text, self.at)
                words.append(word)
            elif character == '"':
                self.at += 1
                word, end = self.until('"')
                if not end:
                    raise TclError('missing "')
                self.at += 1
                words.append(word)
            else:
                words.append(self.until(" \t;\n]")[0])
        raise TclError("missing close-bracket")
