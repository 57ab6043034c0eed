"""Text from outside -- of a server, a file, a job, a folder -- made fit to be shown in Nuke.

Nuke runs TCL, and through it Python and the shell, out of text: "Tcl can be used in most string knobs" and square
brackets embed it (learn.foundry.com, Converting Expressions Between Scripting Languages). A backslash before a bracket
is no help. Foundry's autolabel.py, as public copies of it show, takes ``nuke.value("label")``, where one such backslash
is gone already, and hands it to ``nuke.tcl("subst", label)``; and before a bracket whose text already ends with a
backslash, one more makes it a command. So nothing is escaped: the characters go. Windows of Nuke's and Qt's labels read
HTML (public scripts put ``<b>`` and ``<img>`` into nuke.message), so its brackets go, too.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

from void_server.api.errors import SettingError

#: More than this nobody reads in a window, and Nuke would stand still over it.
LONGEST = 2000
_INSTEAD = {"[": "(", "]": ")", "{": "(", "}": ")", "<": "(", ">": ")", "\\": "/", '"': "'", "`": "'", "$": ""}
# what Nuke evaluates in the name of a file, with the signs that stand for frame and view
_NOT_IN_FOLDERS = {*_INSTEAD, "%", "#"}


def plain(text: str, longest: int = LONGEST) -> str:
    """One line without anything that TCL, HTML or a terminal would take for more than text, cut if it is long."""
    return _cut(" ".join(_harmless(text[: 2 * longest]).split()), longest)


def lines(text: str) -> str:
    """The same for text of several lines, which stay as they are set."""
    return _cut("\n".join(map(_harmless, text[: 2 * LONGEST].split("\n"))), LONGEST)


def _harmless(text: str) -> str:
    return "".join(_INSTEAD.get(character, character) if _is_seen(character) else " " for character in text)


def _is_seen(character: str) -> bool:
    """Whether it is neither a control character, nor one that turns the order of others round, nor half of one."""
    return not unicodedata.category(character).startswith("C")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]} ..."


def check_folder(folder: Path) -> Path:
    """The folder. Raises :class:`SettingError` where Nuke would not take its path as it is."""
    path = folder.as_posix()
    wrong = next((character for character in path if character in _NOT_IN_FOLDERS or not _is_seen(character)), None)
    if wrong is not None:
        # in words: where this is shown, the character itself is none that may be
        named = unicodedata.name(wrong, f"character {ord(wrong)}").lower()
        raise SettingError(
            f"The output folder {path} contains a character that Nuke would evaluate in a file name ({named}); "
            "set another output folder on this node, or change the template in the VOID settings."
        )
    return folder
