"""All errors that users of this package meet, and how they travel.

Each message is a sentence that an artist can act on: what is wrong, with which file, frame or setting, and what to do.

::

    VoidError
    ├── InputError              the request is wrong; another request would do
    │   ├── SequenceError       a sequence, a frame or a movie cannot be found or does not fit the others
    │   ├── ImageError          a file cannot be read as the image that it should be
    │   ├── ColourError         a colour space or an OCIO configuration is not known
    │   ├── SettingError        a setting has an impossible value, or what it asks for is not installed here
    │   ├── AccessDenied        a path or a key that the server does not allow
    │   └── UnknownJob          there is no job of this id
    ├── JobError
    │   ├── JobFailed           the job could not be finished; what it had finished is kept
    │   └── JobCancelled        somebody stopped it; what it had finished is kept
    └── ServerError
        ├── ServerUnreachable   nothing answers at the address
        ├── ServerRefused       the server cannot start as it was asked to
        └── ProtocolError       a message that is broken, too large, or of another version of the protocol
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
    """The request is wrong; a corrected one would do."""


class SequenceError(InputError):
    """A sequence, a frame or a movie cannot be found, or does not fit the others."""


class ImageError(InputError):
    """A file cannot be read as the image that it should be."""


class ColourError(InputError):
    """A colour space or an OCIO configuration is not known."""


class SettingError(InputError):
    """A setting has an impossible value, or what it asks for is not installed here."""


class AccessDenied(InputError):
    """A path or a key that the server does not allow."""


class UnknownJob(InputError):
    """There is no job of this id."""


class JobError(VoidError):
    """A job ended without its result."""


class JobFailed(JobError):
    """The job could not be finished; what it had finished is kept."""


class JobCancelled(JobError):
    """Somebody stopped the job; what it had finished is kept."""


class ServerError(VoidError):
    """The way to the server, or the server itself, is at fault."""


class ServerUnreachable(ServerError):
    """Nothing answers at the address."""


class ServerRefused(ServerError):
    """The server cannot start as it was asked to."""


class ProtocolError(ServerError):
    """A message that is broken, too large, or of another version of the protocol."""


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
