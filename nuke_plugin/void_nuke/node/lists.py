"""Lists that artists read and edit in a text knob: one entry per line, with remarks after #."""

from __future__ import annotations

from typing import Callable, TypeVar

from void_server.api.errors import SettingError

Entry = TypeVar("Entry")


def parse(text: str, what: str, read: Callable[[str], Entry]) -> list[Entry]:
    """What ``read`` makes of each line that is more than a remark.

    It raises :class:`SettingError` with what is wrong; what is raised here names the line of ``what`` besides.
    """
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        try:
            entries.append(read(words))
        except SettingError as error:
            raise SettingError(f"Line {number} of the {what}: {error}") from None
    return entries
