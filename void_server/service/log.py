"""The server's log: a line for each event, with who caused it; text from outside cannot forge one."""

from __future__ import annotations

import logging
import sys
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ..api.errors import SettingError, VoidError

LEVELS = ("debug", "info", "warning", "error")
_LONGEST = 2000
_SIZE, _KEPT = 10 * 2**20, 3


def cleaned(text: str) -> str:
    """``text`` on one line of limited length, without control characters."""
    line = "".join(c if c.isprintable() else "?" for c in text[:_LONGEST])
    return line if len(text) <= _LONGEST else f"{line} ..."


def _clean(record: logging.LogRecord) -> bool:
    """Clean a record of all text from outside."""
    record.msg, record.args = cleaned(record.getMessage()), ()
    if record.exc_info:
        # indented, as a traceback ends with a text of any number of lines
        lines = "".join(traceback.format_exception(*record.exc_info)).splitlines()
        record.exc_text = "\n".join(f"    {cleaned(line)}" for line in lines)
    return True


def start(file: Path | None, level: str) -> None:
    """Log this process to ``file``, or to standard error. Raises :class:`SettingError` if that fails."""
    if level not in LEVELS:
        raise SettingError(f"Unknown log level {level!r}; choose from {', '.join(LEVELS)}.")
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = RotatingFileHandler(
                file, maxBytes=_SIZE, backupCount=_KEPT, encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise SettingError(f"The log {file} cannot be written ({error.strerror}); choose another.") from error
    handler.addFilter(_clean)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("void_server").setLevel(level.upper())


def log_error(logger: logging.Logger, level: int, what: str, error: VoidError) -> None:
    """Log an error, with the traceback that may have come along."""
    logger.log(level, "%s: %s: %s", what, type(error).__name__, error)
    for line in error.detail.splitlines():
        logger.log(level, "    %s", line)
