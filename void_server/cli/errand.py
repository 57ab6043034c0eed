"""What a command does with one job: has it begun, follows it to its end, brings its result to where it belongs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..api.client import Client
from ..api.errors import InputError, JobError, JobFailed, ServerBusy, ServerUnreachable, UnknownJob, VoidError
from ..api.job import Job, JobState
from ..interruption import Interrupted, no_more
from .console import ByteProgress, JobProgress
from .deliveries import Delivery

#: A server that says nothing for so many seconds is waited for, as it may be restarted.
_PATIENCE = 20.0


@dataclass
class Errand:
    """One job of a command's.

    ``server`` is the address that the user named, empty where there was none. With a ``delivery`` the result is
    fetched.
    """

    client: Client
    job_id: str
    progress: bool
    server: str = ""
    delivery: Delivery | None = None
    _job: Job | None = field(default=None, init=False)

    @property
    def job(self) -> Job | None:
        """The job as it was last heard of; None before it has begun."""
        return self._job

    def run(self, begin: Callable[[], Job]) -> tuple[Job, Path]:
        """Begin the job, and see it through; the job and the folder of its result.

        Raises the error with which the job ended, :class:`ServerUnreachable` with how to go on once the server is gone,
        :class:`Interrupted` after stopping the job.
        """
        try:
            self._job = begin()
            job = self._follow(self._job)
        except Interrupted as stop:
            raise stop.saying(self._stop()) from None
        if job.state.stopped:
            raise JobError(self._kept(job))
        if isinstance(job.error, InputError):
            # the command was right, or the job would not have begun
            raise JobFailed(f"{job.error} Then continue with: {self._again}", job.error.detail) from job.error
        if job.error:
            raise job.error
        return job, self.bring(job)

    def bring(self, job: Job) -> Path:
        """The folder of a finished job's result, fetched where it has to be. Raises as :meth:`run`."""
        if self.delivery is None:
            return Path(job.folder)
        go_on = f"The download is not complete; continue with: void fetch {job.id}"
        try:
            with ByteProgress("Downloading", self.progress) as on_bytes:
                folder = self.client.download(job.id, self.delivery.out, on_bytes)
        except Interrupted as stop:
            no_more()
            raise stop.saying(go_on) from None
        except (ServerUnreachable, ServerBusy) as error:
            raise type(error)(f"{error} {go_on}") from error
        except JobFailed as error:
            raise JobFailed(f"{error} {go_on}") from error
        except OSError as error:
            raise JobFailed(f"The result cannot be written to {self.delivery.out} ({error}). {go_on}") from error
        self.delivery.arrived(folder)
        return Path(folder)

    def _follow(self, job: Job) -> Job:
        try:
            with JobProgress(job, self.progress) as shown:
                for now in self.client.watch(job.id, patience=_PATIENCE):
                    self._job = now
                    shown.update(now)
        except ServerUnreachable as error:
            how = "may still be running there; follow it with" if self.server else "is kept; continue with"
            raise ServerUnreachable(f"{error} Job {job.id} {how}: {self._again}") from error
        return self._job or job

    @property
    def _again(self) -> str:
        return f"void resume {self.job_id}{self._at}"

    @property
    def _at(self) -> str:
        # a delivery knows its server
        return f" --server {self.server}" if self.server and not self.delivery else ""

    def _stop(self) -> str:
        """Stop the job as the command is ended, and wait until it is; a second signal ends the wait. What to say."""
        try:
            self._end_job()
        except Interrupted:
            pass
        except UnknownJob:
            if self.delivery:
                self.delivery.drop()
            return "Stopped before the job began; nothing was written."
        except VoidError as error:
            # a server of the command's own ends with it, and its job too
            if self.server:
                return (
                    f"{error} Job {self.job_id} may still be running there; stop it with: void cancel "
                    f"{self.job_id}{self._at}"
                )
        finally:
            no_more()
        return self._kept(self._job)

    def _end_job(self) -> None:
        if self.progress:
            print("stopping the job; press Ctrl-C again to stop waiting", file=sys.stderr)
        try:
            self.client.cancel(self.job_id, interrupted=True)
        except UnknownJob:
            raise
        except InputError:
            pass  # it ended by itself just now
        *_, self._job = self.client.watch(self.job_id, patience=_PATIENCE)

    def _kept(self, job: Job | None) -> str:
        if job and job.state is JobState.DONE:
            there = f"fetch its result with: void fetch {job.id}" if self.delivery else f"its result is in {job.folder}"
            return f"Job {job.id} finished before it could be stopped; {there}"
        if job and job.state is JobState.FAILED:
            return f"Job {job.id} failed before it could be stopped: {job.error}"
        where = f" in {job.folder}" if job and not self.delivery else ""
        return f"Stopped; finished frames are kept{where}. Continue with: {self._again}"
