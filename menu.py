"""Nuke runs this after init.py in sessions with a window. It only adds menus."""

from void_nuke import startup

startup.add_menus()
