"""The scheduler ``opencue``: an outline with a layer for each stage, built and launched by OpenCue's own pyoutline."""

from __future__ import annotations

import importlib
import re
import secrets
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...api.errors import JobFailed, SettingError
from ...api.files import write_atomically
from ...plugins import how_to_install
from ..job import GPU, FarmJob
from ..site import Site
from .base import (
    EVERY,
    MACHINE,
    Scheduler,
    Submission,
    check_one_of_each,
    environment,
    limits,
    memory_gb,
    task_command,
    where,
)


class OpenCue(Scheduler):
    """Pool is the facility, group a tag; limits are OpenCue's limits."""

    expresses = (
        EVERY
        | MACHINE
        | {
            *("priority", "pool", "group", "gpu_group", "limits", "suspended", "timeout_minutes"),
        }
    )

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`; a dry run writes the job's specification."""
        file = job.folder / "opencue.xml"
        launcher = _launcher(job, site)
        write_atomically(file, launcher.serialize(use_pycuerun=False))
        made.commands.append(["opencue", str(file)])
        if not dry_run:
            launched = _launch(launcher)
            made.ids.update({stage.name: str(launched.name()) for stage in job.stages})
            if job.fields.comment:
                # the specification has no place for one
                with suppress(JobFailed), _explained():
                    launched.addComment("VOID", job.fields.comment)

    def check_limits(self, taken: Mapping[str, int]) -> None:
        """A task takes one of a limit."""
        check_one_of_each("OpenCue", taken)

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Kill the job; the name is enough while it is on the farm."""
        job = _job(ids)
        with _explained():
            job.kill(reason="void farm cancel")

    def states(self, ids: Mapping[str, str]) -> dict[str, str]:
        """What the layers' frames do."""
        job = _job(ids)
        with _explained():
            layers = job.getLayers()
        return {layer.name(): _counts(layer.data.layer_stats) for layer in layers}

    def ended(self, states: Mapping[str, str]) -> bool:
        """When a frame is dead and none waits or runs; what depends on it never will."""
        words = ", ".join(states.values())
        return "dead" in words and "waiting" not in words and "running" not in words

    def log(self, job: FarmJob, ids: Mapping[str, str], stage: str, task: int) -> str:
        """RQD's, as OpenCue's own programs find it."""
        if stage not in ids:
            return ""
        there = _job(ids)
        with _explained():
            folder = there.logDir()
        return str(Path(folder, f"{ids[stage]}.{task:04d}-{_name(stage)}.rqlog"))


def _module(name: str) -> Any:
    """A module of OpenCue's own packages. Raises :class:`SettingError` where they are not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingError(
            f"OpenCue's pyoutline is not installed here ({error}): {how_to_install('opencue')}"
        ) from error


def _job(ids: Mapping[str, str]) -> Any:
    """The job as OpenCue has it: all stages are layers of one."""
    api = _module("opencue.api")
    with _explained():
        return api.findJob(next(iter(ids.values())))


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what OpenCue's client raises into a sentence."""
    try:
        yield
    except Exception as error:  # pycue raises gRPC's errors as they come
        raise JobFailed(f"OpenCue refused: {error}") from error


def _counts(stats: Any) -> str:
    numbers = {
        word: getattr(stats, f"{word}_frames")
        for word in ("waiting", "depend", "running", "succeeded", "dead", "eaten")
    }
    return ", ".join(f"{number} {word}" for word, number in numbers.items() if number)


def _name(text: str) -> str:
    """A name as OpenCue takes it: three letters or more, no blanks or dashes."""
    return re.sub(r"\W+", "_", text).strip("_").lower().ljust(3, "_")


def outline_of(job: FarmJob, site: Site) -> Any:
    """The outline; needs pyoutline, and no scheduler. Raises :class:`SettingError` without it."""
    outline, shell = _module("outline"), _module("outline.modules.shell")
    fields = job.fields
    # no range here: layers that lie outside it would be left out without a word
    # a scheduler has one pending job of a name; each hand-over is another
    name = _name(f"{job.title} {job.folder.name} {secrets.token_hex(3)}")
    show, shot = _name(fields.show or "void"), _name(fields.shot or "shot")
    made = outline.Outline(name, show=show, shot=shot, user=fields.user or None)
    if fields.pool:
        made.set_facility(fields.pool)
    layers: dict[str, Any] = {}
    for stage in job.stages:
        options: dict[str, Any] = (
            {"gpus": fields.gpus, "gpu_memory": f"{fields.gpu_memory_gb}g"} if stage.kind == GPU else {}
        )
        if fields.timeout_minutes:
            options["timeout"] = fields.timeout_minutes
        # OpenCue retries once at most, so the task itself does the rest
        command = task_command(site, job.file, stage.name, "#IFRAME#", "plain", retries=fields.retries)
        layer = shell.Shell(
            _name(stage.name),
            # the words are joined as they are, for a shell
            command=[shlex.quote(word) for word in command],
            range=f"0-{stage.tasks - 1}",
            cores=fields.cores,
            memory=f"{memory_gb(job, stage)}g",
            # a host with any of the tags takes it
            tags=[where(job, stage)[1] or "general"],
            **options,
        )
        for name, value in environment(site).items():
            layer.set_env(name, value)
        if taken := limits(fields, stage, site):
            layer.set_limits(list(taken))
        for before in stage.after:
            layer.depend_all(layers[before])
        made.add_layer(layer)
        layers[stage.name] = layer
    return made


def _launcher(job: FarmJob, site: Site) -> Any:
    made = outline_of(job, site)
    launcher = _module("outline.cuerun").OutlineLauncher(made, user=job.fields.user or None)
    for flag, value in (("priority", job.fields.priority), ("pause", job.fields.suspended), ("maxretries", 1)):
        launcher.set_flag(flag, value)
    made.setup()
    return launcher


def _launch(launcher: Any) -> Any:
    """Hand the outline to the scheduler; the job there."""
    with _explained():
        (job,) = launcher.launch(use_pycuerun=False)
        return job
