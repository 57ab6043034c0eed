"""What the client of a key may do."""

from __future__ import annotations

import enum


class Right(enum.Enum):
    """Something that a client may do beyond asking who the server is; its value completes "may not"."""

    SUBMIT = "submit jobs"
    SEE_ALL = "see the jobs of others"
    PRIORITISE = "give jobs more than the normal priority, or change that of others' jobs"
    ADMINISTER = "stop or resume the jobs of others"
    ACT_FOR = "act for users that have signed in"


class Role(enum.Enum):
    """A set of rights under a name. Everybody sees, stops, resumes and fetches what he has submitted himself.

    ``page`` is for the page in the browser, which does what users who signed in there may.
    """

    ARTIST = "artist"
    VIEWER = "viewer"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"
    PAGE = "page"

    @property
    def rights(self) -> frozenset[Right]:
        """What this role may do."""
        return _RIGHTS[self]


_RIGHTS = {
    Role.ARTIST: frozenset({Right.SUBMIT}),
    Role.VIEWER: frozenset({Right.SEE_ALL}),
    Role.SUPERVISOR: frozenset({Right.SUBMIT, Right.SEE_ALL, Right.PRIORITISE}),
    Role.ADMIN: frozenset(Right) - {Right.ACT_FOR},
    Role.PAGE: frozenset({Right.SEE_ALL, Right.ACT_FOR}),
}
