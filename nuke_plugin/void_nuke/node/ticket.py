"""What a node must remember of a job to find it again, after Nuke was closed too."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

_FLAGS = ("upload", "preview")


@dataclass(frozen=True)
class Ticket:
    """A submitted job: its id, the server that has it, the view it is for, and where its result comes.

    ``view`` is empty where there is one view only. With ``upload`` the result is fetched into ``out``. ``source`` is
    the hash of the plate and the roto that were exported. A ``preview`` is no version.
    """

    job: str
    server: str
    view: str
    out: str
    upload: bool
    source: str = ""
    preview: bool = False

    @property
    def text(self) -> str:
        """The ticket as one word without anything that Nuke would evaluate."""
        values = dataclasses.asdict(self)
        return urlencode({**values, **{name: int(values[name]) for name in _FLAGS}})


def parse(text: str) -> list[Ticket]:
    """The tickets in a knob's text."""
    tickets = []
    for word in text.split():
        values = dict(parse_qsl(word, keep_blank_values=True))
        upload, preview = (values.pop(name, "0") == "1" for name in _FLAGS)
        tickets.append(Ticket(upload=upload, preview=preview, **values))
    return tickets


def joined(tickets: list[Ticket]) -> str:
    """The text of several tickets."""
    return " ".join(ticket.text for ticket in tickets)
