"""The command ``void``."""

from .main import app, main

__all__ = ["app", "main"]
