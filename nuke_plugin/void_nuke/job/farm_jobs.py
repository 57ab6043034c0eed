"""Jobs on the farm as the panel lists jobs: by the frames that are there, as no server knows of them."""

from __future__ import annotations

import os
from typing import Optional

from void_server.api.errors import SettingError
from void_server.api.job import Job, JobState, Progress
from void_server.api.shot import Shot

from ..node.versions import Result, read_manifest


def job_of(result: Result) -> Optional[Job]:
    """A version that is on its way as a job, None where it is finished, or gone.

    Its progress is the share of frames that are there, of all views.
    """
    if result.finished:
        return None
    kind = "plate" if result.has_plate else "quadmask"
    wanted = there = 0
    try:
        for folder in result.folders:
            described = read_manifest(folder / "farm.json")
            wanted += len(described["frames"])
            made = folder / kind
            # hidden ones are half written
            there += sum(name.startswith("void_") for name in os.listdir(made)) if made.is_dir() else 0
        status = os.stat(result.folders[0] / "farm.json")
        return Job(
            id=str(described["id"]),
            state=JobState.RUNNING,
            shot=Shot.from_dict(described["shot"]),
            folder=result.folders[0].as_posix(),
            created=status.st_mtime,
            updated=status.st_mtime,
            progress=Progress(f"{there} of {wanted} frames", None, there / wanted, None),
        )
    except (OSError, ValueError, LookupError, TypeError, SettingError):
        return None
