"""Running a studio's own functions, which lie in a Python file that its settings name."""

from __future__ import annotations

import runpy
from typing import Any, Callable, Mapping, Optional

from .errors import SettingError, VoidError


def hook(file: str, name: str) -> Optional[Callable[[Mapping[str, Any]], Any]]:
    """The studio's function ``name``, None where there is none. Raises :class:`SettingError`."""
    if not file:
        return None
    try:
        found = runpy.run_path(file).get(name)
    except Exception as error:  # whatever the studio's file raises is the studio's to mend
        raise SettingError(f"The hooks file {file} cannot be run: {error!r}; correct it or take it out.") from error
    if found is not None and not callable(found):
        raise SettingError(f"{name} in the hooks file {file} is not a function.")
    return found


def call(file: str, name: str, context: Mapping[str, Any]) -> Optional[str]:
    """What the studio's function answers, empty for nothing; None where there is none. Raises :class:`SettingError`."""
    function = hook(file, name)
    if function is None:
        return None
    try:
        answer = function(context)
    except VoidError:
        raise
    except Exception as error:  # as above
        raise SettingError(f"{name} in the hooks file {file} failed: {error!r}.") from error
    return "" if answer is None else str(answer)
