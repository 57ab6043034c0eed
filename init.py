"""Nuke runs this in every session, with a window or without. It only adds paths and callbacks."""

import os
import sys

import nuke

_HERE = os.path.dirname(os.path.abspath(__file__))
for _folder in (_HERE, os.path.join(_HERE, "nuke_plugin")):
    if _folder not in sys.path:
        sys.path.append(_folder)

from void_nuke import startup  # noqa: E402

nuke.pluginAddPath(os.path.join(_HERE, "gizmos").replace(os.sep, "/"))
nuke.pluginAddPath(os.path.join(_HERE, "nuke_plugin", "void_nuke", "icons").replace(os.sep, "/"))
startup.register()
