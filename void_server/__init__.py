"""Removal of objects, and of all that they did to the scene, from shots: the server side of VOID for Nuke."""

__version__ = "0.1.0"
