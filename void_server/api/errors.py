"""All errors of this package, and how they travel between client and server.

Each message is a sentence that an artist can act on: what is wrong, with which file, frame or setting, and what to do.

::

    VoidError
    ├── InputError              the request is wrong; correct it and try again
    │   ├── SequenceError       a sequence, frame or movie is missing or does not match the others
    │   ├── ImageError          a file is not the image it should be
    │   ├── ColourError         an unknown colour space or OCIO configuration
    │   ├── SettingError        a setting has an invalid value, or needs something that is not installed
    │   ├── AccessDenied        the server does not allow a path or a key
    │   ├── NotPermitted        the studio's policy does not allow it
    │   └── UnknownJob          there is no job with this id
    ├── JobError
    │   ├── JobFailed           the job failed; finished frames are kept
    │   └── JobCancelled        somebody stopped the job; finished frames are kept
    └── ServerError
        ├── ServerUnreachable   nothing answers at the address
        ├── ServerBusy          the user asks for more than a share of the server's time; ask again later
        ├── ServerRefused       the server cannot start with this configuration
        └── ProtocolError       a message is malformed, too large, or of another protocol version
"""

from __future__ import annotations

from typing import Any, Mapping


class VoidError(Exception):
    """Base of all errors raised on purpose. ``str()`` is the sentence; ``detail`` is for the log."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    def to_dict(self) -> dict[str, str]:
        """The error as plain data, for messages and manifests."""
        return {"kind": type(self).__name__, "message": str(self), "detail": self.detail}


class InputError(VoidError):
    """The request is wrong; correct it and try again."""


class SequenceError(InputError):
    """A sequence, frame or movie is missing or does not match the others."""


class ImageError(InputError):
    """A file is not the image it should be."""


class ColourError(InputError):
    """An unknown colour space or OCIO configuration."""


class SettingError(InputError):
    """A setting has an invalid value, or needs something that is not installed."""


class AccessDenied(InputError):
    """The server does not allow a path or a key."""


class NotPermitted(InputError):
    """The studio's policy does not allow it."""


class UnknownJob(InputError):
    """There is no job with this id."""


class JobError(VoidError):
    """A job ended without its result."""


class JobFailed(JobError):
    """The job failed; finished frames are kept."""


class JobCancelled(JobError):
    """Somebody stopped the job; finished frames are kept."""


class ServerError(VoidError):
    """The server, or the connection to it, failed."""


class ServerUnreachable(ServerError):
    """Nothing answers at the address."""


class ServerBusy(ServerError):
    """Too many requests are open, or they take more than their user's share of the server's time; ask again later."""


class ServerRefused(ServerError):
    """The server cannot start with this configuration."""


class ProtocolError(ServerError):
    """A message is malformed, too large, or of another protocol version."""


def _tree(root: type[VoidError]) -> dict[str, type[VoidError]]:
    classes = {root.__name__: root}
    for child in root.__subclasses__():
        classes.update(_tree(child))
    return classes


_KINDS = _tree(VoidError)


def from_dict(data: Any) -> VoidError:
    """Rebuild an error that :meth:`VoidError.to_dict` made; an unknown kind becomes :class:`VoidError`."""
    if not isinstance(data, Mapping):
        return ProtocolError("The other side failed without saying why; see the server's log.")
    kind = _KINDS.get(str(data.get("kind")), VoidError)
    return kind(str(data.get("message", "unknown error")), str(data.get("detail", "")))
