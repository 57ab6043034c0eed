"""The command ``void``."""

from .app import app
from .main import main

__all__ = ["app", "main"]
