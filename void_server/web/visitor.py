"""Who a request to the page comes from."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Visitor:
    """Somebody who may use the page: the name of the user who signed in, the host, the token of the page's scripts.

    ``user`` is empty where whoever has the page's key is the one who runs it.
    """

    user: str = ""
    host: str = ""
    token: str = ""


#: The visitor whose request is being answered.
visitor: ContextVar[Visitor] = ContextVar("visitor", default=Visitor())  # noqa: B039 -- nobody changes it
