"""The scheduler ``openjd``: job bundles in Open Job Description (2023-09), which Deadline Cloud and others run.

A bundle is a folder: template, parameter values, asset references. Numbers are written out, and nothing beyond the base
of the specification is used, so that any service takes it; but for the extension TASK_CHUNKING, where the site says
that its service has it: tasks that share out frames are then run several at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from ...api.errors import SettingError
from ...api.files import write_atomically
from ..job import GPU, FarmJob, Stage
from ..site import Options, Site
from .base import EVERY, MACHINE, Scheduler, Submission, environment, limits, memory_gb, task_command

BUNDLE = "openjd"
# What a running task gets to end by itself, in seconds.
_NOTICE = 60
# What a session's begin and end may take, in seconds.
_SESSION_ACTION = 180
_MEBIBYTES = 1024
# Numbers of several tasks, as a range: RFC 0001 of the specification.
_CHUNK = "CHUNK[INT]"
_FOLDER = "{{Session.WorkingDirectory}}"
# Braces that a name or a path has come as parameters: the base of the specification has no other way to write them.
_BRACES = {"{": "Open", "}": "Close"}
# What may be the name of an amount.
_AMOUNT = re.compile(r"[A-Za-z_]\w{0,63}(\.[A-Za-z_]\w{0,63})*", re.ASCII)


def _literal(text: str) -> str:
    """The text as a format string that stands for just this text."""
    if "{{" not in text and "}}" not in text:
        return text
    return re.sub("[{}]", lambda brace: f"{{{{Param.{_BRACES[brace[0]]}}}}}", text)


class OpenJDOptions(Options):
    """``chunk_seconds`` is how long several tasks together should take; 0 where a service runs them one by one."""

    chunk_seconds: int = Field(default=0, ge=0)


def template(job: FarmJob, site: Site, retries: int = 0, chunk_seconds: int = 0) -> dict[str, Any]:
    """The job template; ``retries`` is how often a task shall itself try again."""
    steps = [_step(job, stage, site, retries, chunk_seconds) for stage in job.stages]
    variables = {name: _literal(value) for name, value in environment(site).items()}
    made: dict[str, Any] = {
        "specificationVersion": "jobtemplate-2023-09",
        "name": _literal(job.title[:128]),
        "description": job.fields.comment or f"VOID: {job.subject}",
        "parameterDefinitions": [
            {"name": "FarmJob", "type": "PATH", "objectType": "FILE", "dataFlow": "IN"},
            {"name": "Folder", "type": "PATH", "objectType": "DIRECTORY", "dataFlow": "OUT"},
        ],
        "steps": steps,
    }
    if any(one["type"] == _CHUNK for step in steps for one in step["parameterSpace"]["taskParameterDefinitions"]):
        made["extensions"] = ["TASK_CHUNKING"]
    if variables:
        made["jobEnvironments"] = [{"name": "VOID", "variables": variables}]
    words = json.dumps(made)
    made["parameterDefinitions"] += [
        {"name": name, "type": "STRING", "default": brace, "userInterface": {"control": "HIDDEN"}}
        for brace, name in _BRACES.items()
        if f"{{{{Param.{name}}}}}" in words
    ]
    return made


def parameters(job: FarmJob) -> dict[str, str]:
    """The values of the template's parameters: paths, so that the scheduler maps them for other systems."""
    return {"FarmJob": str(job.file), "Folder": str(job.folder)}


def _in_format_strings(site: Site) -> Site:
    return replace(site, command=tuple(map(_literal, site.command)))


def _step(job: FarmJob, stage: Stage, site: Site, retries: int, chunk_seconds: int) -> dict[str, Any]:
    words = "{{Param.FarmJob}}", stage.name, "{{Task.Param.Task}}", "openjd"
    command = task_command(
        _in_format_strings(site), *words, retries=retries, path_map="{{Session.PathMappingRulesFile}}"
    )
    action: dict[str, Any] = {
        "command": command[0],
        "args": command[1:],
        # the task catches the signal, keeps its finished frames and goes on from them when it runs again
        "cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": _NOTICE},
    }
    chunked = chunk_seconds > 0 and stage.tasks > 1 and bool(stage.frames)
    if job.fields.timeout_minutes:
        # a chunk is as many tasks as fit into its time
        action["timeout"] = 60 * job.fields.timeout_minutes + (chunk_seconds if chunked else 0)
    numbers: dict[str, Any] = {"name": "Task", "type": "INT", "range": f"0-{stage.tasks - 1}"}
    if chunked:
        how = {"defaultTaskCount": 1, "targetRuntimeSeconds": chunk_seconds, "rangeConstraint": "CONTIGUOUS"}
        numbers |= {"type": _CHUNK, "chunks": how}
    step: dict[str, Any] = {
        "name": stage.name,
        "hostRequirements": {"amounts": _amounts(job, stage, site)},
        "parameterSpace": {"taskParameterDefinitions": [numbers]},
        "script": {"actions": {"onRun": action}},
    }
    if stage.kind == GPU and stage.tasks > 1:
        step["stepEnvironments"] = [_session(site)]
    if stage.after:
        step["dependencies"] = [{"dependsOn": name} for name in stage.after]
    return step


def _session(site: Site) -> dict[str, Any]:
    """A process that loads the model once for all of a session's tasks."""
    command = _in_format_strings(site).command
    actions = {
        action: {
            "command": command[0],
            "args": [*command[1:], "farm", "session", what, _FOLDER],
            "timeout": _SESSION_ACTION,
        }
        for action, what in (("onEnter", "begin"), ("onExit", "end"))
    }
    return {"name": "Model", "script": {"actions": actions}}


def _amounts(job: FarmJob, stage: Stage, site: Site) -> list[dict[str, Any]]:
    fields = job.fields
    amounts = [("amount.worker.vcpu", fields.cores), ("amount.worker.memory", memory_gb(job, stage) * _MEBIBYTES)]
    if stage.kind == GPU:
        amounts += [("amount.worker.gpu", fields.gpus), ("amount.worker.gpu.memory", fields.gpu_memory_gb * _MEBIBYTES)]
    amounts += [(f"amount.{limit}", count) for limit, count in limits(job.fields, stage, site).items()]
    return [{"name": name, "min": count} for name, count in amounts]


def write_bundle(job: FarmJob, site: Site, retries: int = 0, chunk_seconds: int = 0) -> Path:
    """Write the bundle of :func:`template` below the job's folder; returns its folder."""
    folder = job.folder / BUNDLE
    folder.mkdir(exist_ok=True)
    named = job.inputs
    assets = {
        "inputs": {
            "filenames": sorted({str(path) for path in (job.file, *named) if path.is_file()}),
            "directories": sorted({str(path if path.is_dir() else path.parent) for path in named}),
        },
        "outputs": {"directories": [str(job.folder)]},
        "referencedPaths": [],
    }
    for name, content in (
        ("template", template(job, site, retries, chunk_seconds)),
        (
            "parameter_values",
            {"parameterValues": [{"name": name, "value": value} for name, value in parameters(job).items()]},
        ),
        ("asset_references", {"assetReferences": assets}),
    ):
        write_atomically(folder / f"{name}.json", json.dumps(content, indent=2))
    return folder


class OpenJobDescription(Scheduler):
    """Writes the bundle; whoever takes OpenJD bundles runs it, ``openjd run`` among them."""

    expresses = EVERY | MACHINE | {"limits", "timeout_minutes"}
    options: ClassVar[type[Options]] = OpenJDOptions
    gives_numbers = False

    def submit(self, job: FarmJob, site: Site, group: str, made: Submission, *, dry_run: bool) -> None:
        """See :class:`void_server.farm.schedulers.base.Scheduler`; nobody takes it, so the command is all."""
        del group, dry_run
        given = [word for name, value in parameters(job).items() for word in ("-p", f"{name}={value}")]
        own = OpenJDOptions.model_validate(site.options.get("openjd", {}))
        # whoever runs it may know no retries
        bundle = write_bundle(job, site, job.fields.retries, own.chunk_seconds)
        made.commands.append(["openjd", "run", str(bundle / "template.json"), *given])

    def check_limits(self, taken: Mapping[str, int]) -> None:
        """A limit is an amount, whose name has letters, digits and underscores."""
        for limit in taken:
            if not _AMOUNT.fullmatch(limit):
                raise SettingError(f"OpenJD has no limit {limit!r}; its name may have letters, digits, _ and dots.")

    def cancel(self, ids: Mapping[str, str], site: Site) -> None:
        """Whoever runs the bundle stops it."""
        raise SettingError("An OpenJD bundle is stopped where it runs.")
