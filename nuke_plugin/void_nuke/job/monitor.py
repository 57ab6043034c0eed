"""One thread for each server: it alone talks to it, so that Nuke never waits."""

from __future__ import annotations

import dataclasses
import queue
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, Mapping, Optional, Sequence

from void_server.api.client import Client, Keys
from void_server.api.errors import JobCancelled, JobFailed, ServerBusy, ServerUnreachable, UnknownJob, VoidError
from void_server.api.job import Job, JobState
from void_server.api.shot import Shot

from ..node.ticket import Ticket
from ..node.tile import Step, Tile
from ..node.versions import is_version
from ..studio.pathmap import here, translated

_PAUSE = 0.5
_LONGEST_PAUSE = 8.0


@dataclass(frozen=True)
class Order:
    """A shot to submit for a node in a view (empty where there is one only), and the folder for its version.

    ``files`` are those to upload, None where the server reads them itself. ``source`` is the hash of what was exported.
    A ``preview`` is no version.
    """

    node: str
    view: str
    shot: Shot
    out: str
    source: str
    files: Optional[Mapping[str, Sequence[str]]] = None
    preview: bool = False


@dataclass(frozen=True)
class Note:
    """What to show instead of a job's own progress; ``said`` is an error's sentence, which the tile does not get."""

    step: Step
    percent: Optional[int] = None
    said: str = ""

    @property
    def tile(self) -> Tile:
        """What the tile says."""
        return Tile(self.step, self.percent)

    @property
    def sentence(self) -> str:
        """What the panel says."""
        words = self.tile.text
        return self.said or f"{words[0].upper()}{words[1:]}."


@dataclass(frozen=True)
class Update:
    """News of a node's job in one view.

    ``folder`` is where its version is, once known here; ``arrived`` says that the whole result is in it. ``error`` ends
    the matter; ``note`` is what to show instead of the job's own progress.
    """

    node: str
    view: str
    ticket: Optional[Ticket] = None
    job: Optional[Job] = None
    folder: str = ""
    arrived: bool = False
    error: Optional[VoidError] = None
    note: Optional[Note] = None


@dataclass(frozen=True)
class Line:
    """How to reach a server: address, keys, the disks under their names here and there."""

    address: str
    keys: Optional[Keys] = None
    disks: tuple[Mapping[str, str], ...] = ()
    system: str = ""

    def to_server(self, path: str) -> str:
        """A path here as the server sees it."""
        return translated(path, self.disks, here(), self.system or here())

    def folder_here(self, folder: str) -> Optional[Path]:
        """A version folder of the server's as it is here, None where its path is none to look at.

        To ask for a file on a share tells that machine who the artist is; so only shares of the path map count.
        """
        path = translated(folder, self.disks, self.system or here(), here())
        mounts = [disk[here()].replace("\\", "/").rstrip("/") for disk in self.disks if disk.get(here())]
        is_known = not path.startswith("//") or any(path.lower().startswith(f"{mount}/".lower()) for mount in mounts)
        found = Path(path)
        fits = found.is_absolute() and ".." not in found.parts and is_version(found.name)
        return found if fits and is_known else None


class Monitor:
    """Submits orders to one server and follows their jobs, in a thread of its own.

    ``changed`` is called from that thread when there is news; :meth:`take` then gives it. ``start_server`` is called
    from that thread with the folders of the jobs when nothing answers: at a submission, at a resume, and once in each
    silence for jobs that are followed, as a server of this machine ends when it was idle. It returns whether there is
    a server soon.
    """

    def __init__(self, line: Line, changed: Callable[[], None], start_server: Callable[[Sequence[str]], bool]) -> None:
        self.line = line
        self._changed, self._start_server = changed, start_server
        self._tasks: queue.Queue[Callable[[Client], None]] = queue.Queue()
        self._lock = threading.Lock()
        self._news: dict[tuple[str, str], Update] = {}
        self._followed: dict[tuple[str, str], Ticket] = {}
        self._last: dict[tuple[str, str], Job] = {}
        self._stopped: set[tuple[str, str]] = set()
        self._listing = False
        self._listed: Optional[list[Job]] = None
        self._pause = _PAUSE
        self._started_in_silence = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"VOID {line.address}", daemon=True)
        self._thread.start()

    # -- from any thread

    def submit(self, order: Order) -> None:
        """Submit an order, and follow its job."""
        self._stopped.discard((order.node, order.view))
        self._tasks.put(lambda client: self._submit(client, order))

    def follow(self, node: str, ticket: Ticket) -> None:
        """Follow a job that was submitted before."""
        self._tasks.put(lambda _: self._followed.update({(node, ticket.view): ticket}))

    def cancel(self, node: str, view: str) -> None:
        """Stop a node's job, also while its frames are still on their way to the server."""
        self._stopped.add((node, view))
        self._tasks.put(lambda client: self._cancel(client, (node, view)))

    def resume(self, node: str, ticket: Ticket) -> None:
        """Go on with a job that has failed or was stopped."""
        self._stopped.discard((node, ticket.view))
        self._tasks.put(lambda client: self._resume(client, node, ticket))

    def cancel_job(self, job: str) -> None:
        """Stop any job of the server."""
        self._tasks.put(lambda client: self._quietly(lambda: client.cancel(job)))

    def resume_job(self, job: str) -> None:
        """Go on with any job of the server."""
        self._tasks.put(lambda client: self._quietly(lambda: client.resume(job)))

    def list_jobs(self, wanted: bool) -> None:
        """Keep a list of all jobs of the server for :meth:`jobs`, or stop doing so."""
        self._listing = wanted
        self._tasks.put(lambda _: None)

    def jobs(self) -> Optional[list[Job]]:
        """All jobs of the server, the newest first; None while it does not answer."""
        with self._lock:
            return self._listed

    def take(self) -> list[Update]:
        """The latest news of each node and view since the last call."""
        with self._lock:
            news, self._news = list(self._news.values()), {}
        return news

    def close(self) -> None:
        """Let the thread end, which is not waited for; jobs go on at the server."""
        self._closing.set()
        self._tasks.put(lambda _: None)

    # -- in the thread

    def _run(self) -> None:
        with Client(self.line.address, keys=self.line.keys, timeout=4.0) as client:
            while not self._closing.is_set():
                idle = not self._followed and not self._listing
                try:
                    task = self._tasks.get(timeout=None if idle else self._pause)
                except queue.Empty:
                    task = self._look
                try:
                    task(client)
                except Exception as error:  # a thread that ended here would leave its nodes waiting for good
                    for (node, view), ticket in list(self._followed.items()):
                        self._end(Update(node, view, ticket, error=_of_ours(error)))

    @contextmanager
    def _ending(self, node: str, view: str, ticket: Optional[Ticket] = None) -> Iterator[None]:
        """Whatever goes wrong inside ends the matter for that node."""
        try:
            yield
        except VoidError as error:
            self._end(Update(node, view, ticket, error=error))
        except OSError as error:
            # what was exported is gone again, or cannot be read
            failure = JobFailed(f"{error.filename} cannot be sent ({error.strerror}); press Remove again.")
            self._end(Update(node, view, ticket, error=failure))
        except Exception as error:  # as in _run
            self._end(Update(node, view, ticket, error=_of_ours(error)))

    def _post(self, update: Update) -> None:
        with self._lock:
            self._news[update.node, update.view] = update
        self._changed()

    def _end(self, update: Update) -> None:
        key = update.node, update.view
        self._followed.pop(key, None)
        self._last.pop(key, None)
        self._post(update)

    def _submit(self, client: Client, order: Order) -> None:
        key = order.node, order.view
        with self._ending(*key):
            self._reach(client, Update(order.node, order.view), order.out)
            if key in self._stopped:
                raise JobCancelled("Stopped before it was submitted.")
            if order.files is None:
                shot = order.shot.with_paths(self.line.to_server)
                job = client.submit(shot, self.line.to_server(order.out))
            else:
                job = client.submit_files(order.shot, order.files, partial(self._sent, key, Step.SENDING))
            upload = order.files is not None
            ticket = Ticket(job.id, self.line.address, order.view, order.out, upload, order.source, order.preview)
            self._followed[key] = ticket
            self._tell(key, ticket, job)
            if key in self._stopped:
                self._cancel(client, key)

    def _reach(self, client: Client, update: Update, out: str) -> None:
        """Make sure that the server answers; start one where that is possible, and let ``update`` say so."""
        try:
            client.hello()
        except ServerUnreachable:
            if not self._start_server([out]):
                raise
            self._post(dataclasses.replace(update, note=Note(Step.STARTING)))
            for attempt in range(10):
                try:
                    client.hello()
                    return
                except ServerUnreachable:
                    if attempt == 9 or self._closing.is_set():
                        raise

    def _sent(self, key: tuple[str, str], step: Step, done: int, total: int) -> None:
        if key in self._stopped or self._closing.is_set():
            raise JobCancelled("Stopped while frames were being transferred.")
        self._post(Update(*key, ticket=self._followed.get(key), note=Note(step, _percent(done, total))))

    def _cancel(self, client: Client, key: tuple[str, str]) -> None:
        ticket = self._followed.get(key)
        if ticket:
            self._quietly(lambda: client.cancel(ticket.job))

    def _resume(self, client: Client, node: str, ticket: Ticket) -> None:
        with self._ending(node, ticket.view, ticket):
            self._reach(client, Update(node, ticket.view, ticket), ticket.out)
            key = node, ticket.view
            self._followed[key] = ticket
            if client.status(ticket.job).state is JobState.DONE:
                # only its result has not arrived here yet
                self._look_at(client, key, ticket)
            else:
                self._tell(key, ticket, client.resume(ticket.job))

    def _quietly(self, ask: Callable[[], object]) -> None:
        """Ask for what may have happened by itself; the next look shows how things stand."""
        try:
            ask()
        except VoidError as error:
            for node, view in self._followed:
                self._post(Update(node, view, self._followed[node, view], note=Note(Step.TROUBLE, said=str(error))))

    def _look(self, client: Client) -> None:
        """See how all followed jobs stand."""
        try:
            for key, ticket in list(self._followed.items()):
                self._look_at(client, key, ticket)
            if self._listing:
                listed = client.jobs()
                with self._lock:
                    changed, self._listed = listed != self._listed, listed
                if changed:
                    self._changed()
            self._pause, self._started_in_silence = _PAUSE, False
        except VoidError as error:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            with self._lock:
                self._listed = None
            note = self._revived() if isinstance(error, ServerUnreachable) else Note(Step.TROUBLE, said=str(error))
            for key, ticket in self._followed.items():
                self._post(Update(*key, ticket=ticket, note=note))
                self._last.pop(key, None)

    def _revived(self) -> Note:
        """Start a server for the jobs that are followed; one that does not stay is not started again and again."""
        if not self._followed or self._started_in_silence:
            return Note(Step.UNREACHABLE)
        self._started_in_silence = True
        try:
            started = self._start_server([ticket.out for ticket in self._followed.values()])
        except VoidError as error:
            return Note(Step.TROUBLE, said=str(error))
        self._pause = _PAUSE
        return Note(Step.STARTING if started else Step.UNREACHABLE)

    def _look_at(self, client: Client, key: tuple[str, str], ticket: Ticket) -> None:
        try:
            job = client.status(ticket.job)
        except UnknownJob as error:
            self._end(Update(*key, ticket=ticket, error=error))
            return
        if job == self._last.get(key):
            return
        if job.state is JobState.DONE and ticket.upload:
            try:
                folder = client.download(ticket.job, ticket.out, partial(self._sent, key, Step.FETCHING))
            except OSError as error:
                failure = JobFailed(f"The result cannot be written to {ticket.out}: {error}; then press Resume.")
                self._end(Update(*key, ticket=ticket, error=failure))
                return
            except (ServerUnreachable, ServerBusy):
                # fetched later, where it stopped
                raise
            except VoidError as error:
                self._end(Update(*key, ticket=ticket, error=error))
                return
            self._end(Update(*key, ticket=ticket, job=job, folder=folder, arrived=True))
            return
        self._tell(key, ticket, job)

    def _tell(self, key: tuple[str, str], ticket: Ticket, job: Job) -> None:
        self._last[key] = job
        folder = "" if ticket.upload else _version_here(ticket, job)
        update = Update(*key, ticket=ticket, job=job, folder=folder, arrived=job.state is JobState.DONE)
        if job.state.ended:
            self._end(update)
        else:
            self._post(update)


def _of_ours(error: Exception) -> VoidError:
    """What the artist hears of an error that nobody foresaw."""
    return VoidError(
        f"The plugin itself failed ({error!r}). Press Copy diagnostics on the tab Info and send it to support.",
        "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    )


def _version_here(ticket: Ticket, job: Job) -> str:
    """The job's version below the folder that was asked for; where that is, is not the server's to say.

    Empty where the server names no version.
    """
    name = job.folder.replace("\\", "/").rpartition("/")[2]
    return str(Path(ticket.out) / name) if is_version(name) else ""


def _percent(done: int, total: int) -> int:
    return min(100, 100 * done // max(total, 1))
