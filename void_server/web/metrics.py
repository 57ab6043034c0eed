"""How the server is, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from ..api.client import WorkerInfo
from ..api.job import Job, JobState


def metrics(jobs: Sequence[Job] | None, workers: Sequence[WorkerInfo] | None) -> bytes:
    """The figures in Prometheus' text format; None for both says that the server does not answer."""
    registry = CollectorRegistry()
    Gauge("void_up", "1 if the server answers, else 0.", registry=registry).set(jobs is not None)
    states = Gauge("void_jobs", "Jobs on the server's list, by state.", ["state"], registry=registry)
    counted = Counter(job.state for job in jobs or ())
    for state in JobState:
        states.labels(state.value).set(counted[state])
    at_work = Gauge("void_workers", "Workers of the server: starting, idle or busy.", ["state"], registry=registry)
    busy = Counter("starting" if not one.ready else "busy" if one.busy else "idle" for one in workers or ())
    for word in ("starting", "idle", "busy"):
        at_work.labels(word).set(busy[word])
    progress = Gauge("void_job_progress", "How far a running job is, 0 to 1.", ["job"], registry=registry)
    for job in jobs or ():
        if job.state is JobState.RUNNING:
            progress.labels(job.id).set(job.progress.fraction)
    return generate_latest(registry)
