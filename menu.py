"""Nuke runs this after init.py in sessions with a window. It only adds menus."""

from nuke_plugin import startup

startup.add_menus()
