"""``python -m void_server.cli``: the command ``void``."""

from . import main

main()
