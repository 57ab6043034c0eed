"""What a node must remember of a job to find it again, after Nuke was closed too."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode


@dataclass(frozen=True)
class Ticket:
    """A submitted job: its id, the server that has it, the view it is for, and where its result comes.

    ``view`` is empty where there is one view only. With ``upload`` the result is fetched into ``out``. ``source`` is
    the hash of the plate and the roto that were exported.
    """

    job: str
    server: str
    view: str
    out: str
    upload: bool
    source: str = ""

    @property
    def text(self) -> str:
        """The ticket as one word without anything that Nuke would evaluate."""
        values = dataclasses.asdict(self)
        return urlencode({**values, "upload": int(self.upload)})


def parse(text: str) -> list[Ticket]:
    """The tickets in a knob's text."""
    tickets = []
    for word in text.split():
        values = dict(parse_qsl(word, keep_blank_values=True))
        upload = values.pop("upload") == "1"
        tickets.append(Ticket(upload=upload, **values))
    return tickets


def joined(tickets: list[Ticket]) -> str:
    """The text of several tickets."""
    return " ".join(ticket.text for ticket in tickets)
