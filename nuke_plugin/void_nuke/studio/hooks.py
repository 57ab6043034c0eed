"""The studio's own code: a Python file named by the settings, with any of the functions below.

::

    def output_folder(context): ...     # -> the folder for a node's versions, as text
    def submit_to_farm(context): ...    # -> a sentence for the artist
    def on_result(context): ...         # -> a sentence for the artist, or nothing

``context`` is a dictionary: script and node, for the farm also command, frames and settings, and for a result that has
arrived also version (its folder), frames and has_plate.
"""

from __future__ import annotations

from void_server.api.hooks import call, hook

__all__ = ["ON_RESULT", "OUTPUT_FOLDER", "SUBMIT_TO_FARM", "call", "hook"]

OUTPUT_FOLDER = "output_folder"
SUBMIT_TO_FARM = "submit_to_farm"
ON_RESULT = "on_result"
