"""AYON, through ayon-python-api: a product's version with representation, thumbnail and reviewable, and a comment."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from ..publication import Publication
from . import Recipe, Target, needed, refused, unknown

#: The type of AYON's products that a plate is one of.
_PRODUCT_TYPE = "plate"


class Ayon(Recipe):
    """Needs AYON_SERVER_URL and AYON_API_KEY, as its client does."""

    title, module, extra = "AYON", "ayon_api", "ayon"

    def publish(self, publication: Publication, target: Target) -> str:
        """See :class:`Recipe`."""
        import requests
        from ayon_api import ServerAPI, exceptions

        said = needed({name: os.environ.get(name) for name in ("AYON_SERVER_URL", "AYON_API_KEY")}, self.title)
        try:
            server = ServerAPI(said["AYON_SERVER_URL"], token=said["AYON_API_KEY"], max_retries=1)
            return self._publish(server, publication, target)
        except (
            exceptions.ServerError,
            exceptions.UrlError,
            exceptions.RequestError,
            exceptions.GraphQlQueryError,
            exceptions.MissingEntityError,
            requests.RequestException,
        ) as error:
            raise refused(self.title, said["AYON_SERVER_URL"], error) from error

    def _publish(self, server: Any, publication: Publication, target: Target) -> str:
        project, path = target.project, "/" + "/".join(filter(None, [target.sequence, target.shot]))
        if not server.get_project(project):
            raise unknown(self.title, "project", project, "--project")
        folder = server.get_folder_by_path(project, path, fields={"id"})
        if not folder:
            raise unknown(self.title, "folder", path, "--sequence and --shot")
        task = server.get_task_by_name(project, folder["id"], target.task, fields={"id"})
        if not task:
            raise unknown(self.title, "task", target.task, "--task")
        product = server.get_product_by_name(project, target.product, folder["id"], fields={"id"})
        product_id = (
            product["id"] if product else server.create_product(project, target.product, _PRODUCT_TYPE, folder["id"])
        )
        last = server.get_last_version_by_product_id(project, product_id, fields={"version", "active"})
        number = (last["version"] if last else 0) + 1
        first, end = publication.said["range"]
        version_id = server.create_version(
            project,
            number,
            product_id,
            task_id=task["id"],
            attrib={
                "comment": publication.note,
                "frameStart": first,
                "frameEnd": end,
                "fps": float(publication.fps),
                "colorSpace": publication.said["colorspace"],
                "source": str(publication.version.folder),
            },
            thumbnail_id=server.create_thumbnail(project, str(publication.thumbnail)),
        )
        frames = [Path(publication.plates % frame) for frame in range(first, end + 1)]
        server.create_representation(
            project,
            "exr",
            version_id,
            files=[_file(frame) for frame in frames if frame.is_file()],
            attrib={"path": str(frames[0]), "template": publication.plates},
        )
        picture = publication.file("movie" if publication.said["movie"] else "contact_sheet")
        server.upload_reviewable(project, version_id, str(picture))
        server.create_activity(project, version_id, "version", "comment", body=publication.note)
        return f"AYON has version {number} of {target.product} on {path}."


def _file(path: Path) -> dict[str, Any]:
    """A file of a representation, as AYON keeps it."""
    return {"id": uuid.uuid4().hex, "name": path.name, "path": str(path), "size": path.stat().st_size}


RECIPE = Ayon
