"""Jobs of the nodes in this Nuke: submitted, followed, and brought back into the nodes. Uses nuke, on its main thread.

Only :func:`_news` and :func:`start_server` are called from other threads.
"""

from __future__ import annotations

import threading
import traceback
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Sequence

import nuke

from void_server.api.errors import JobCancelled, VoidError
from void_server.api.job import Job, JobState

from ..node import knobs as k
from ..node import ranges, versions
from ..node.messages import note
from ..node.node import VoidNode, all_nodes, find
from ..node.tile import Step, Tile, of_version
from ..studio import settings
from . import freshness, handover, local_server
from .monitor import Line, Monitor, Note, Order, Update

_monitors: dict[str, Monitor] = {}
_latest: dict[str, dict[str, Update]] = {}
_arrived = threading.Event()
_drain_pending = threading.Lock()
#: How often it is seen whether a render is over, in seconds.
_AFTER_RENDER = 0.5
#: Called on the main thread after news; panels add themselves.
listeners: list[Callable[[], None]] = []


def line_to(address: str) -> Line:
    """How to reach the server at ``address`` with the settings as they are."""
    now = settings.load()
    return Line(address, now.keys, tuple(now.path_map), now.server_system)


def start_server(address: str, outs: Sequence[str]) -> bool:
    """Start a server where ``address`` is one of this machine; whether there is one soon. Any thread may call it.

    All that needs a server comes here: a press, a job that is resumed or followed. Raises :class:`ServerUnreachable`.
    """
    return local_server.start(settings.load(), address, outs)


def monitor(address: str) -> Monitor:
    """The monitor of a server, made anew where settings have changed since."""
    line = line_to(address)
    found = _monitors.get(address)
    if found is not None and found.line != line:
        found.close()
        found = None
    if found is None:
        found = _monitors[address] = Monitor(line, _news, partial(start_server, address))
    return found


def monitors() -> list[Monitor]:
    """All monitors that there are."""
    return list(_monitors.values())


def _news() -> None:
    """News came in, in a thread: have them taken on the main thread, once for however many there are."""
    _arrived.set()
    if nuke.GUI and _drain_pending.acquire(blocking=False):
        nuke.executeInMainThread(_drain_once)


def _drain_once() -> None:
    _drain_pending.release()
    if nuke.executing():
        # a result that is shown in the middle of a render would swap the picture between two of its frames
        again = threading.Timer(_AFTER_RENDER, _news)
        again.daemon = True
        again.start()
    else:
        drain()


def drain() -> None:
    """Bring all news into the nodes."""
    _arrived.clear()
    for found in monitors():
        for update in found.take():
            try:
                _bring(update)
            except Exception:  # one node that fails must not keep news from the others
                nuke.tprint(traceback.format_exc())
    for listener in listeners:
        listener()


def latest(identity: str) -> dict[str, Update]:
    """What is known of a node's jobs, by view."""
    return _latest.get(identity, {})


def submit(void: VoidNode, orders: list[Order], address: str) -> None:
    """Submit orders, one for each view, and show that they are on their way."""
    _latest[void.id] = {order.view: Update(order.node, order.view, note=Note(Step.SUBMITTING)) for order in orders}
    void.set_tickets([])
    void.show(k.WAITING, "Submitting the job.", Tile(Step.SUBMITTING))
    for order in orders:
        monitor(address).submit(order)


def cancel(void: VoidNode) -> None:
    """Stop a node's jobs."""
    servers = {ticket.view: ticket.server for ticket in void.tickets}
    for view in latest(void.id) or servers:
        for found in monitors():
            if servers.get(view, found.line.address) == found.line.address:
                found.cancel(void.id, view)
    void.show(void.state, "Stopping the job.", Tile(Step.STOPPING))


def resume(void: VoidNode) -> None:
    """Go on with a node's jobs that have failed or were stopped."""
    _latest[void.id] = {}
    for ticket in void.tickets:
        _latest[void.id][ticket.view] = Update(void.id, ticket.view, ticket, note=Note(Step.GOING_ON))
        monitor(ticket.server).resume(void.id, ticket)
    void.show(k.WAITING, "Resuming the job.", Tile(Step.WAITING))


def follow(void: VoidNode) -> None:
    """Find a node's jobs again, after its script was opened."""
    for ticket in void.tickets:
        _latest.setdefault(void.id, {})[ticket.view] = Update(void.id, ticket.view, ticket, note=Note(Step.ASKING))
        monitor(ticket.server).follow(void.id, ticket)
    if void.tickets:
        void.show(k.WAITING, "Asking the server for the job's progress.", Tile(Step.WAITING))


def follow_all() -> None:
    """Find the jobs of all nodes in the script."""
    for void in all_nodes():
        follow(void)
        if not void.tickets and void.state in (k.WAITING, k.RUNNING):
            void.show(k.IDLE, "The script was closed before the job was submitted; start it again.")


def forget_all() -> None:
    """Follow nothing any more; the jobs go on, and the script finds them when it is opened again."""
    for found in monitors():
        found.close()
    _monitors.clear()
    _latest.clear()


def wait(void: VoidNode, told: Callable[[str], None]) -> None:
    """Wait for a node's jobs here, where there is no window; ``told`` gets what changes. Raises what ended them."""
    last = ""
    while True:
        _arrived.wait(timeout=1.0)
        drain()
        status = void.text(k.STATUS)
        if status != last:
            last = status
            told(status)
        updates = latest(void.id).values()
        if all(_over(update) for update in updates):
            error = next(filter(None, map(_error_of, updates)), None)
            if error:
                raise error
            if void.state == k.FAILED:
                raise VoidError(void.text(k.STATUS))
            return


def alive(void: VoidNode) -> bool:
    """Whether a job of the node is under way."""
    return any(not _over(update) for update in latest(void.id).values())


def _over(update: Update) -> bool:
    return update.error is not None or update.arrived or (update.job is not None and _gave_up(update.job))


def _gave_up(job: Job) -> bool:
    return job.state is JobState.FAILED or job.state.stopped


def _error_of(update: Update) -> Optional[VoidError]:
    if update.error:
        return update.error
    if update.job and update.job.state is JobState.FAILED:
        return update.job.error or VoidError("The job failed; see its log in VOID Jobs.")
    if update.job and update.job.state.stopped:
        return JobCancelled("Stopped. Finished frames are kept; Resume continues from there.")
    return None


def _bring(update: Update) -> None:
    void = find(update.node)
    if void is None:
        return
    views = _latest.setdefault(update.node, {})
    before = views.get(update.view)
    # a note comes without the job's state, which still holds
    views[update.view] = update
    if update.ticket and update.ticket not in void.tickets:
        others = [ticket for ticket in void.tickets if ticket.view != update.view]
        void.set_tickets([*others, update.ticket])
    if before == update:
        return
    if any(not _over(one) for one in views.values()):
        void.show(*_progress(views))
        return
    error = next(filter(None, map(_error_of, views.values())), None)
    if error is None:
        _finish(void, views)
    elif isinstance(error, JobCancelled):
        void.show(k.STOPPED, str(error))
    else:
        void.show(k.FAILED, str(error))
        if nuke.GUI:
            # no window: the artist is at something else by now
            note(f"{void.name}: {error}")


def _progress(views: dict[str, Update]) -> tuple[str, str, Tile]:
    """State, status and tile of jobs that are under way."""
    running = [update for update in views.values() if not _over(update)]
    jobs = [update.job for update in views.values() if update.job]
    first = running[0]
    if first.note:
        return (k.RUNNING if first.ticket else k.WAITING), first.note.sentence, first.note.tile
    job = first.job
    if job is None or job.state is JobState.QUEUED:
        return k.WAITING, "Queued on the server.", Tile(Step.QUEUED)
    percent = int(100 * sum(one.progress.fraction for one in jobs) / len(views))
    words = [job.progress.stage or "Starting"]
    if job.progress.frame is not None:
        words.append(f"frame {job.progress.frame}")
    if job.progress.seconds_left is not None:
        words.append(f"{_duration(job.progress.seconds_left)} left")
    if len(views) > 1:
        words.append(f"view {first.view}")
    sending = f" Sending {job.progress.sending}." if job.progress.sending else ""
    return k.RUNNING, f"{', '.join(words)}, {percent} %.{sending}", Tile(percent=percent)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes >= 2 else f"{max(1, round(seconds))} s"


def _finish(void: VoidNode, views: dict[str, Update]) -> None:
    """Show the version that has arrived."""
    update = next(iter(views.values()))
    void.set_tickets([])
    if not update.folder:
        void.show(
            k.FAILED, "The server did not say which version it wrote; make sure server and plugin are the same release."
        )
        return
    folder = Path(update.folder)
    if update.view:
        # each view has a version folder of its own, below the one that the artist sees
        folder = folder.parents[1]
    source = " ".join(sorted({one.ticket.source for one in views.values() if one.ticket}))
    result = versions.result_in(folder)
    if result is None:
        void.show(
            k.FAILED,
            f"The result is not in {folder}; is that disk mounted on this machine? "
            "Set the path map in the VOID settings to translate the server's paths.",
        )
        return
    if update.ticket and update.ticket.preview:
        _show_preview(void, result, update)
        return
    try:
        void.show_result(result, source)
    except VoidError as error:
        void.show(k.FAILED, str(error))
        return
    warnings = [warning for update in views.values() if update.job for warning in update.job.warnings]
    if void.text(k.VIEW) in (k.PREVIEW_VIEW, k.ROTO_VIEW):
        # a preview must not be taken for what was asked for
        void.node[k.VIEW].setValue(0)
    what = "Done" if result.has_plate else "The quadmask is ready; set view to quadmask to check it"
    status = f"{what}: {result.name}, frames {ranges.text(result.frames)}."
    told = handover.tell_result(void, result)
    void.show(k.DONE, " ".join(filter(None, [status, told, *warnings])), of_version(result))


def _show_preview(void: VoidNode, result: versions.Result, update: Update) -> None:
    """Show a preview that has arrived; what the node has for a version stays as it is."""
    file, view = (result.plate, k.PREVIEW_VIEW) if result.has_plate else (result.roto, k.ROTO_VIEW)
    try:
        void.show_preview(file, result.first, result.last, view)
    except VoidError as error:
        status = str(error)
    else:
        warnings = update.job.warnings if update.job else ()
        frames = ranges.text(result.frames)
        status = " ".join([f"Preview at a reduced size, frames {frames}. No render gets it.", *warnings])
    shown = void.shown
    void.show(k.DONE if shown else k.IDLE, status, of_version(shown) if shown else Tile())
    # the job's own states have taken the place of what was known of the version
    freshness.look(void)
