"""The commands for jobs that were submitted before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..api.errors import InputError, ServerUnreachable, SettingError
from ..api.job import HIGHEST, Job, JobState
from .app import app
from .frame import print_json
from .options import (
    Address,
    AsJson,
    JobId,
    NoProgress,
    absolute,
)
from .outcome import conclude
from .server import asked, chosen_server, client_for, known_jobs


@app.command()
def jobs(
    server: Address = None,
    watch: Annotated[bool, typer.Option("--watch", help="Keep updating the list until Ctrl-C.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Show only this many, newest first.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Clear ended jobs from the list.")] = False,
    as_json: AsJson = False,
) -> None:
    """List jobs: those of the server, or, where none is named or answers, those that were done on this machine."""
    import time

    from .console import show_jobs

    def listed() -> list[Job]:
        return list(asked("", server, lambda client: client.jobs(limit), lambda store: store.all(limit)))

    if clear:
        count = asked("", server, lambda client: client.clear_jobs(), lambda store: store.clear())
        if as_json:
            print_json({"cleared": count})
        else:
            print(f"{count} jobs cleared from the list; their results stay")
        return

    if as_json:
        if watch:
            raise SettingError("--watch is for people, --json for programs; leave one out.")
        print_json({"jobs": [job.to_dict() for job in listed()]})
        return
    show_jobs(listed())
    while watch:
        time.sleep(2)
        show_jobs(listed(), again=True)


@app.command()
def status(job_id: JobId, server: Address = None, as_json: AsJson = False) -> None:
    """Show how a job stands: its state, progress, folder and error."""
    from .console import show_job

    job = asked(job_id, server, lambda client: client.status(job_id), lambda store: store.get(job_id))
    if as_json:
        print_json(job.to_dict())
    else:
        show_job(job)


@app.command()
def cancel(job_id: JobId, server: Address = None) -> None:
    """Stop a job; its finished frames stay. Where no server has it, none will take it up."""
    named = chosen_server(server, job_id)
    try:
        with client_for(job_id, server) as client:
            client.cancel(job_id)
            *_, job = client.watch(job_id)
    except ServerUnreachable:
        if named:
            raise
        with known_jobs() as store:
            job = store.cancel(job_id)
    at = f" --server {server}" if server else ""
    go_on = f"; continue with: void resume {job.id}{at}" if job.state.stopped else ""
    print(f"{job.id} {job.state.value}{go_on}")


@app.command()
def prioritise(
    job_id: JobId,
    priority: Annotated[int, typer.Argument(min=0, max=HIGHEST, help="Higher goes first; all jobs are given 50.")],
    server: Address = None,
) -> None:
    """Have a waiting job go before others, or after them; above 50 only for supervisors and admins."""
    with client_for(job_id, server) as client:
        job = client.prioritise(job_id, priority)
    print(f"{job.id} has the priority {job.priority}")


@app.command()
def resume(job_id: JobId, server: Address = None, no_progress: NoProgress = False) -> None:
    """Go on with a job that was stopped or failed, or follow one that runs; finished frames are not made again."""
    from . import deliveries
    from .errand import Errand

    delivery = deliveries.find(job_id)
    with client_for(job_id, server, embed=True) as client:
        errand = Errand(client, job_id, not no_progress, chosen_server(server, job_id), delivery)
        job = client.status(job_id)
        if delivery and job.state is JobState.DONE:
            if delivery.folder:
                raise InputError(f"Job {job_id} is done; its result is in {delivery.folder}.")
            result = errand.bring(job)
        else:
            job, result = errand.run(lambda: client.resume(job_id))
    conclude(job, result)


@app.command()
def fetch(
    job_id: JobId,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for the result; the job's own by default.")
    ] = None,
    server: Address = None,
    no_progress: NoProgress = False,
) -> None:
    """Download the result of a finished job, or go on downloading it."""
    from . import deliveries
    from .errand import Errand

    named, delivery = chosen_server(server, job_id), deliveries.find(job_id)
    with client_for(job_id, server, embed=True) as client:
        job = client.status(job_id)
        if out:
            delivery = deliveries.Delivery(job_id, absolute(str(out)), named)
            delivery.keep()
        if delivery is None:
            raise InputError(f"Job {job_id} was not uploaded from here; give the folder for its result with -o.")
        if delivery.folder and Path(delivery.folder).is_dir():
            raise InputError(f"The result is in {delivery.folder} already; -o fetches it to another folder.")
        result = Errand(client, job_id, not no_progress, named, delivery).bring(job)
    conclude(job, result)


@app.command()
def clean(
    older: Annotated[str, typer.Option(help="Remove jobs that ended this long ago: 30d, 12h, 4w.")] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
) -> None:
    """Remove old jobs that have ended from VOID's own folder, with uploads and results in it; yours stay."""
    from rich.filesize import decimal

    from ..api.home import home
    from . import cleaning

    with known_jobs() as store:
        found = list(cleaning.leftovers(home(), store, cleaning.age(older)))
        freed = cleaning.size(found)
        if not dry_run:
            found = [leftover for leftover in found if cleaning.remove(leftover, store)]
    for leftover in found:
        print(leftover.what)
    print(f"{decimal(freed)} {'would be' if dry_run else 'are'} free in {home()}")
