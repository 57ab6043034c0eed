"""Pairs as data sets for others: VOID's published training form, CopyCat's sequences, and suites to evaluate with.

Each pair is written whole or not at all: its file of rights comes last. What is there is never written again, so that
an export goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..source import PairSource
from . import copycat, published, rights, suite
from .approved import approved_shots
from .rights import Rights

__all__ = ["FORMS", "Rights", "approved_shots", "export"]

#: Writes a pair into a data set's folder; returns notes for whoever exports.
Form = Callable[[PairSource, Path], list[str]]
FORMS: dict[str, Form] = {"void": published.write, "copycat": copycat.write, "suite": suite.write}
#: What is written once all pairs are there.
_LAST: dict[str, Callable[[Path, Iterable[str]], None]] = {"void": published.write_list}


def export(out: Path, form: str, pairs: Iterable[tuple[PairSource, Rights]]) -> Iterator[tuple[str, list[str]]]:
    """Write each pair to the data set in ``out``; yields its name and notes for whoever exports.

    Raises :class:`~void_server.api.errors.InputError` where a pair cannot be read, or another of its name is there.
    """
    names = []
    for pair, known in pairs:
        names.append(pair.name)
        if rights.is_finished(out, form, pair):
            yield pair.name, ["is there already"]
            continue
        notes = FORMS[form](pair, out)
        if known.lacking:
            notes.append(f"does not state its {' and '.join(known.lacking)}")
        rights.note(out, form, pair, known)
        yield pair.name, notes
    rights.write_table(out)
    if form in _LAST:
        _LAST[form](out, rights.exported(out))
