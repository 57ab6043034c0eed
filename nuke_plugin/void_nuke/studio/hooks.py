"""The studio's own code: a Python file named by the settings, with any of the functions below.

::

    def output_folder(context): ...     # -> the folder for a node's versions, as text
    def submit_to_farm(context): ...    # -> a sentence for the artist
    def on_result(context): ...         # -> a sentence for the artist, or nothing

``context`` is a dictionary: script and node, for the farm also command, frames and settings, and for a result that has
arrived also version (its folder), frames and has_plate.
"""

from __future__ import annotations

import runpy
from typing import Any, Callable, Mapping, Optional

from void_server.api.errors import SettingError, VoidError

OUTPUT_FOLDER = "output_folder"
SUBMIT_TO_FARM = "submit_to_farm"
ON_RESULT = "on_result"


def hook(file: str, name: str) -> Optional[Callable[[Mapping[str, Any]], str]]:
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
