"""A STAND-IN for OpenCue's scheduler, for tests, between OpenCue's real client and its real RQD.

Cuebot itself wants Java and Postgres. This takes the job's specification as cuebot's documentation describes it, keeps
the order of layers, and has RQD launch one frame at a time. Run as a program: PORT RQD_PORT LOG_FOLDER.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .slurm_cluster import free_port

_NAME = re.compile(r"[\w.-]{3,}")
_RETRIES = 1


def lacking() -> str:
    """Why this cannot be run here; empty if it can."""
    if find_spec("outline") is None:
        return "pyoutline is not installed (pip install opencue-pyoutline)"
    return "" if _rqd() else "RQD is not installed (pip install opencue-rqd, in an environment of its own)"


def _rqd() -> str | None:
    return os.environ.get("OPENCUE_RQD") or shutil.which("rqd")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The stand-in and an RQD, until the block ends; gives the scheduler's address."""
    port, rqd_port = free_port(), free_port()
    settings = {
        "RQD_GRPC_PORT": rqd_port,
        "CUEBOT_GRPC_PORT": port,
        "OVERRIDE_CUEBOT": "127.0.0.1",
        "OVERRIDE_HOSTNAME": "localhost",
        "OVERRIDE_NIMBY": False,
        "RQD_USE_PATH_ENV_VAR": True,
        "RQD_CREATE_USER_IF_NOT_EXISTS": False,
    }
    configuration = folder / "rqd.conf"
    configuration.write_text("[Override]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    programs = [
        [sys.executable, "-m", "tests.farm.opencue_scheduler", str(port), str(rqd_port), str(folder)],
        [str(_rqd()), "-c", str(configuration)],
    ]
    started = []
    for name, program in zip(("scheduler", "rqd"), programs, strict=True):
        with open(folder / f"{name}.log", "w") as log:
            options: dict[str, Any] = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": Path(__file__).parents[2]}
            started.append(subprocess.Popen(program, **options))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


@dataclass
class Frame:
    """One task of a layer."""

    number: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: str = "WAITING"
    failures: int = 0


@dataclass
class Layer:
    """A layer with its frames, and the layers that come before."""

    name: str
    command: str
    variables: dict[str, str]
    frames: list[Frame]
    gpus: str
    after: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return all(frame.state == "SUCCEEDED" for frame in self.frames)

    def count(self, state: str) -> int:
        return sum(frame.state == state for frame in self.frames)


@dataclass
class Job:
    """A job as it was launched."""

    name: str
    show: str
    shot: str
    user: str
    paused: bool
    layers: dict[str, Layer]
    comments: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


def read(specification: str) -> list[Job]:
    """The jobs of a specification. Raises ValueError with cuebot's words for what it refuses."""
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", specification))
    show, shot, user = (root.findtext(name) or "" for name in ("show", "shot", "user"))
    if user == "root" or root.findtext("uid") == "0":
        raise ValueError("Cannot launch jobs as root.")
    jobs = []
    for job in root.findall("job"):
        name = job.get("name") or ""
        if not _NAME.fullmatch(name):
            raise ValueError("The job name must be at least 3 characters, letters, numbers, underscores.")
        layers = {layer.name: layer for layer in map(_layer, job.iter("layer"))}
        for depend in root.iter("depend"):
            if depend.get("type") != "LAYER_ON_LAYER":
                raise ValueError(f"this stand-in knows no depend {depend.get('type')}")
            layers[(depend.findtext("deplayer") or "")].after.append(depend.findtext("onlayer") or "")
        paused = job.findtext("paused") in ("True", "1", "true")
        jobs.append(Job(f"{show}-{shot}-{user}_{name}".lower(), show, shot, user, paused, layers))
    return jobs


def _layer(layer: ElementTree.Element) -> Layer:
    name = layer.get("name") or ""
    for word in (name, *(layer.findtext("tags") or "").replace(" ", "").split("|")):
        if not _NAME.fullmatch(word):
            raise ValueError(f"The layer name or tag {word!r} must be at least 3 characters.")
    first, _, last = (layer.findtext("range") or "").partition("-")
    frames = [Frame(number) for number in range(int(first), int(last or first) + 1)]
    variables = {key.get("name") or "": key.text or "" for key in layer.iterfind("env/key")}
    return Layer(name, layer.findtext("cmd") or "", variables, frames, layer.findtext("gpus") or "0")


class Scheduler:
    """Keeps the jobs, answers the client, and gives RQD its frames."""

    def __init__(self, rqd_port: int, logs: Path) -> None:
        import grpc
        from opencue_proto import rqd_pb2_grpc

        self.lock = threading.RLock()
        self.jobs: list[Job] = []
        self.ready = False
        self._logs = logs
        self._rqd = rqd_pb2_grpc.RqdInterfaceStub(grpc.insecure_channel(f"127.0.0.1:{rqd_port}"))

    def step(self) -> None:
        """Launch the next frame, if none is running."""
        with self.lock:
            frames = [
                (job, layer, frame) for job in self.jobs for layer in job.layers.values() for frame in layer.frames
            ]
            if not self.ready or any(frame.state == "RUNNING" for _, _, frame in frames):
                return
            for job, layer, frame in frames:
                free = not job.paused and all(job.layers[name].done for name in layer.after)
                if frame.state == "WAITING" and free:
                    frame.state = "RUNNING"
                    self._launch(job, layer, frame)
                    return

    def _launch(self, job: Job, layer: Layer, frame: Frame) -> None:
        from opencue_proto import rqd_pb2

        name = f"{frame.number:04d}-{layer.name}"
        command = layer.command
        words = {"#IFRAME#": str(frame.number), "#ZFRAME#": f"{frame.number:04d}", "#LAYER#": layer.name}
        for token, value in words.items():
            command = command.replace(token, value)
        variables = {**layer.variables, "CUE_JOB": job.name, "CUE_LAYER": layer.name, "CUE_IFRAME": str(frame.number)}
        request = rqd_pb2.RunFrame(
            resource_id=str(uuid.uuid4()),
            job_id=job.id,
            job_name=job.name,
            frame_id=frame.id,
            frame_name=name,
            layer_id=layer.name,
            command=command,
            user_name=job.user,
            log_dir=str(self._logs),
            show=job.show,
            shot=job.shot,
            num_cores=100,
            ignore_nimby=True,
            environment=variables,
            start_time=int(time.time() * 1000),
            os="Linux",
        )
        self._rqd.LaunchFrame(rqd_pb2.RqdStaticLaunchFrameRequest(run_frame=request))

    def ended(self, frame_id: str, exit_status: int) -> None:
        """A frame is over; one that failed is tried again, once."""
        with self.lock:
            for job in self.jobs:
                for frame in (frame for layer in job.layers.values() for frame in layer.frames):
                    if frame.id == frame_id and frame.state == "RUNNING":
                        frame.failures += exit_status != 0
                        again = "WAITING" if frame.failures <= _RETRIES else "DEAD"
                        frame.state = "SUCCEEDED" if exit_status == 0 else again

    def kill(self, job: Job, reason: str) -> None:
        """End a job, and the frame of it that runs."""
        from opencue_proto import rqd_pb2

        with self.lock:
            for frame in (frame for layer in job.layers.values() for frame in layer.frames):
                if frame.state == "RUNNING":
                    self._rqd.KillRunningFrame(
                        rqd_pb2.RqdStaticKillRunningFrameRequest(frame_id=frame.id, message=reason)
                    )
                if frame.state != "SUCCEEDED":
                    frame.state = "DEAD"

    def named(self, name: str) -> Job | None:
        """The job of that name."""
        return next((job for job in self.jobs if job.name == name), None)

    def pending(self, name: str) -> bool:
        """Whether a job of that name is not over yet."""
        job = self.named(name)
        return job is not None and not all(layer.done for layer in job.layers.values())


def serve(port: int, rqd_port: int, logs: Path) -> None:
    """Answer client and RQD until killed."""
    import grpc
    from opencue_proto import comment_pb2, cue_pb2, cue_pb2_grpc, job_pb2, job_pb2_grpc, report_pb2, report_pb2_grpc

    scheduler = Scheduler(rqd_port, logs)

    class Jobs(job_pb2_grpc.JobInterfaceServicer):  # type: ignore[misc]
        def LaunchSpecAndWait(self, request: Any, context: Any) -> Any:  # noqa: N802
            try:
                jobs = read(request.spec)
                for job in jobs:
                    if scheduler.pending(job.name):
                        raise ValueError(f"The job {job.name} is already pending")
            except ValueError as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))
            with scheduler.lock:
                scheduler.jobs += jobs
            made = [job_pb2.Job(id=job.id, name=job.name) for job in jobs]
            return job_pb2.JobLaunchSpecAndWaitResponse(jobs=job_pb2.JobSeq(jobs=made))

        def FindJob(self, request: Any, context: Any) -> Any:  # noqa: N802
            job = scheduler.named(request.name)
            if job is None:
                context.abort(grpc.StatusCode.NOT_FOUND, f"no job {request.name}")
            return job_pb2.JobFindJobResponse(job=job_pb2.Job(id=job.id, name=job.name))

        def GetLayers(self, request: Any, _: Any) -> Any:  # noqa: N802
            job = scheduler.named(request.job.name)
            layers = [
                job_pb2.Layer(
                    name=layer.name,
                    layer_stats=job_pb2.LayerStats(
                        total_frames=len(layer.frames),
                        waiting_frames=layer.count("WAITING"),
                        running_frames=layer.count("RUNNING"),
                        dead_frames=layer.count("DEAD"),
                        succeeded_frames=layer.count("SUCCEEDED"),
                    ),
                )
                for layer in (job.layers.values() if job else [])
            ]
            return job_pb2.JobGetLayersResponse(layers=job_pb2.LayerSeq(layers=layers))

        def AddComment(self, request: Any, _: Any) -> Any:  # noqa: N802
            job = scheduler.named(request.job.name)
            if job:
                job.comments.append(request.new_comment.message)
            return job_pb2.JobAddCommentResponse()

        def GetComments(self, request: Any, _: Any) -> Any:  # noqa: N802
            job = scheduler.named(request.job.name)
            comments = [comment_pb2.Comment(message=text) for text in (job.comments if job else [])]
            return job_pb2.JobGetCommentsResponse(comments=comment_pb2.CommentSeq(comments=comments))

        def Kill(self, request: Any, _: Any) -> Any:  # noqa: N802
            job = scheduler.named(request.job.name)
            if job:
                scheduler.kill(job, request.reason)
            return job_pb2.JobKillResponse()

    class Reports(report_pb2_grpc.RqdReportInterfaceServicer):  # type: ignore[misc]
        def ReportRqdStartup(self, *_: Any) -> Any:  # noqa: N802
            scheduler.ready = True
            return report_pb2.RqdReportRqdStartupResponse()

        def ReportStatus(self, *_: Any) -> Any:  # noqa: N802
            return report_pb2.RqdReportStatusResponse()

        def ReportRunningFrameCompletion(self, request: Any, _: Any) -> Any:  # noqa: N802
            told = request.frame_complete_report
            scheduler.ended(told.frame.frame_id, told.exit_status)
            return report_pb2.RqdReportRunningFrameCompletionResponse()

    class Cue(cue_pb2_grpc.CueInterfaceServicer):  # type: ignore[misc]
        def GetSystemStats(self, *_: Any) -> Any:  # noqa: N802
            return cue_pb2.CueGetSystemStatsResponse()

    server = grpc.server(ThreadPoolExecutor(8))
    job_pb2_grpc.add_JobInterfaceServicer_to_server(Jobs(), server)
    report_pb2_grpc.add_RqdReportInterfaceServicer_to_server(Reports(), server)
    cue_pb2_grpc.add_CueInterfaceServicer_to_server(Cue(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    while True:
        scheduler.step()
        time.sleep(0.1)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
