"""Flow Production Tracking (once ShotGrid), through shotgun_api3: a Version with movie and thumbnail, and a Note."""

from __future__ import annotations

import os
from typing import Any

from ..publication import Publication
from . import Recipe, Target, needed, refused, unknown

_VARIABLES = ("FLOW_SERVER", "FLOW_SCRIPT", "FLOW_KEY")


class Flow(Recipe):
    """Needs FLOW_SERVER (``https://studio.shotgrid.autodesk.com``), FLOW_SCRIPT and FLOW_KEY, those of a script."""

    title, module, extra = "Flow", "shotgun_api3", "flow"

    def connect(self, server: str, script: str, key: str) -> Any:
        """A client that is logged in."""
        import shotgun_api3

        return shotgun_api3.Shotgun(server, script_name=script, api_key=key)

    def publish(self, publication: Publication, target: Target) -> str:
        """See :class:`Recipe`."""
        from shotgun_api3 import ShotgunError

        said = needed({name: os.environ.get(name) for name in _VARIABLES}, self.title)
        try:
            return self._publish(self.connect(*said.values()), publication, target)
        except (ShotgunError, OSError) as error:
            raise refused(self.title, said["FLOW_SERVER"], error) from error

    def _publish(self, flow: Any, publication: Publication, target: Target) -> str:
        def known(kind: str, what: str, name: str, option: str, filters: list[Any]) -> dict[str, Any]:
            found = flow.find_one(kind, filters, filter_operator="all")
            if not found:
                raise unknown(self.title, what, name, option)
            return {"type": found["type"], "id": found["id"]}

        project = known("Project", "project", target.project, "--project", [["name", "is", target.project]])
        inside = ["project", "is", project]
        shot = known("Shot", "shot", target.shot, "--shot", [inside, ["code", "is", target.shot]])
        of_shot = ["entity", "is", shot]
        task = known("Task", "task", target.task, "--task", [inside, of_shot, ["content", "is", target.task]])
        first, last = publication.said["range"]
        version = flow.create(
            "Version",
            {
                "project": project,
                "entity": shot,
                "sg_task": task,
                "code": f"{target.shot} {target.product} {publication.version.folder.name}",
                "description": publication.note,
                "sg_path_to_frames": publication.plates,
                "sg_first_frame": first,
                "sg_last_frame": last,
                "frame_range": f"{first}-{last}",
                "frame_count": last - first + 1,
            },
        )
        flow.upload_thumbnail("Version", version["id"], str(publication.thumbnail))
        if publication.said["movie"]:
            flow.upload("Version", version["id"], str(publication.file("movie")), field_name="sg_uploaded_movie")
        links = [{"type": "Version", "id": version["id"]}, shot]
        note = flow.create(
            "Note",
            {
                "project": project,
                "subject": publication.said["name"],
                "content": publication.note,
                "note_links": links,
                "tasks": [task],
            },
        )
        flow.upload("Note", note["id"], str(publication.file("contact_sheet")), field_name="attachments")
        return f"Flow has version {version['id']} on {target.shot} {target.task}."


RECIPE = Flow
