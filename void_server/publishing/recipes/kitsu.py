"""Kitsu, through gazu: a comment on the task, with the movie, or the contact sheet, as its preview."""

from __future__ import annotations

import os
from typing import Any

from ..publication import Publication
from . import Recipe, Target, needed, refused, unknown

#: The status that a published version puts its task in: by default "waiting for approval".
STATUS = "KITSU_STATUS"


class Kitsu(Recipe):
    """Needs KITSU_SERVER (``https://kitsu.studio/api``) and KITSU_TOKEN, that of a bot."""

    title, module, extra = "Kitsu", "gazu", "kitsu"

    def publish(self, publication: Publication, target: Target) -> str:
        """See :class:`Recipe`."""
        import requests
        from gazu.client import KitsuClient
        from gazu.exception import GazuException

        said = needed({name: os.environ.get(name) for name in ("KITSU_SERVER", "KITSU_TOKEN")}, self.title)
        client = KitsuClient(said["KITSU_SERVER"])
        client.access_token = said["KITSU_TOKEN"]
        try:
            return self._publish(client, publication, target)
        except (GazuException, requests.RequestException) as error:
            raise refused(self.title, said["KITSU_SERVER"], repr(error)) from error

    def _publish(self, client: Any, publication: Publication, target: Target) -> str:
        import gazu

        def known(found: Any, what: str, name: str, option: str) -> Any:
            if not found:
                raise unknown(self.title, what, name, option)
            return found

        project = known(
            gazu.project.get_project_by_name(target.project, client=client), "project", target.project, "--project"
        )
        sequence = known(
            gazu.shot.get_sequence_by_name(project, target.sequence, client=client),
            "sequence",
            target.sequence,
            "--sequence",
        )
        shot = known(gazu.shot.get_shot_by_name(sequence, target.shot, client=client), "shot", target.shot, "--shot")
        kind = known(gazu.task.get_task_type_by_name(target.task, client=client), "task type", target.task, "--task")
        task = known(gazu.task.get_task_by_entity(shot, kind, client=client), "task", target.task, "--task")
        name = os.environ.get(STATUS) or "wfa"
        status = known(gazu.task.get_task_status_by_short_name(name, client=client), "status", name, f"${STATUS}")
        movie = bool(publication.said["movie"])
        sheet = publication.file("contact_sheet")
        comment = gazu.task.add_comment(
            task, status, publication.note, attachments=[str(sheet)] if movie else None, client=client
        )
        picture = publication.file("movie") if movie else sheet
        preview = gazu.task.add_preview(task, comment, str(picture), client=client)
        return f"Kitsu has preview {preview['id']} on {target.shot} {target.task}."


RECIPE = Kitsu
