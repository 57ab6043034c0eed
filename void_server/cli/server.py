"""The server that a command asks: the one that is named, the one that has the job, or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..api.errors import ServerUnreachable
from ..api.shot import Shot


def chosen_server(server: str | None, job_id: str = "") -> str:
    """The server that the user named, for a job that was uploaded the one that has it; empty where none was."""
    import os

    from . import deliveries

    delivery = deliveries.find(job_id)
    return server or (delivery.server if delivery else "") or os.environ.get("VOID_SERVER", "")


@contextmanager
def server_for(shot: Shot, out: Path, address: str) -> Iterator[str]:
    """The server to use; an embedded one, which may use no more than the job's own folders, where none is named."""
    if address:
        yield address
        return
    from ..service.embedded import embedded_server

    named = [Path(path) for path in shot.paths().values()]
    with embedded_server(folders_of([*named, out.absolute()])) as own:
        yield own


@contextmanager
def client_for(job_id: str, server: str | None, *, embed: bool = False) -> Iterator[Any]:
    """A client of the server to ask: the named one, the one that owns the job, or the default one, if it answers.

    With ``embed`` an embedded server takes the job where nothing answers.
    """
    from ..api.client import Client, default_address
    from ..service.embedded import embedded_server

    named = chosen_server(server, job_id)
    owner = job = None
    if not named:
        with known_jobs() as store:
            owner, job = store.owner(job_id), store.find(job_id)
    with Client(named or owner or default_address(), timeout=10 if named else 2) as client:
        try:
            client.hello()
        except ServerUnreachable:
            if not (embed and job):
                if job_id and not named:
                    with known_jobs() as store:
                        store.get(job_id)
                raise
        else:
            yield client
            return
    named_paths = [Path(path) for path in job.shot.paths().values()]
    with embedded_server(folders_of([*named_paths, Path(job.folder).parent])) as own, Client(own) as client:
        yield client


@contextmanager
def known_jobs() -> Iterator[Any]:
    """The jobs that are known on this machine."""
    from ..api.home import home
    from ..service.store import Store

    store = Store(home())
    try:
        yield store
    finally:
        store.close()


def asked(job_id: str, server: str | None, ask: Callable[[Any], Any], of_store: Callable[[Any], Any]) -> Any:
    """What the server says, or, where none is named or answers, what is known on this machine."""
    try:
        with client_for(job_id, server) as client:
            return ask(client)
    except ServerUnreachable:
        if chosen_server(server, job_id):
            raise
    with known_jobs() as store:
        return of_store(store)


def folders_of(paths: Sequence[Path]) -> list[Path]:
    """The folders that hold the files, links followed, as an artist's own files may lie anywhere."""
    import os

    folders = {path if path.is_dir() else path.parent for path in paths[:-1]} | {paths[-1]}
    linked = {
        Path(os.path.realpath(file)).parent
        for folder in folders
        if folder.is_dir() and os.access(folder, os.R_OK)
        for file in folder.iterdir()
        if file.is_symlink()
    }
    return sorted(folders | linked)
