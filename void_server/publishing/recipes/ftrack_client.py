"""What talks to ftrack: a program by itself, for whichever Python has ftrack's client. Imports nothing of ours.

Takes what is to be published as JSON from the standard input. Its last line of output is JSON, too: ``told`` a
sentence, ``unknown`` what ftrack does not know (kind, name, option), or ``refused``, why it did not take it.
"""

from __future__ import annotations

import json
import sys
from typing import Any


class Unknown(Exception):
    """ftrack knows no such name: what it is, the name, and the option that gave it."""


def main() -> None:
    """Publish what the standard input says."""
    import ftrack_api
    import requests

    said = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        # frames stay where they are, so no plug-in has to say where they belong
        with ftrack_api.Session(plugin_paths=[]) as session:
            answer = {"told": publish(session, said)}
    except Unknown as error:
        answer = {"unknown": error.args}
    except (ftrack_api.exception.Error, requests.RequestException, TypeError, KeyError, ValueError) as error:
        # a server that is none makes the client raise whatever comes of its answer
        answer = {"refused": str(error) or repr(error)}
    print(f"\n{json.dumps(answer)}")


def publish(session: Any, said: dict[str, Any]) -> str:
    """Create an asset's next version on a task: frames, media, thumbnail and note. Raises :class:`Unknown`."""
    import ftrack_api

    def known(query: str, *unknown: str) -> Any:
        found = session.query(f"select id from {query}").first()
        if not found:
            raise Unknown(*unknown)
        return found

    project = known(f"Project where name is {_quoted(said['project'])}", "project", said["project"], "--project")
    *_, above = said["sequence"].split("/")
    inside = f" and parent.name is {_quoted(above)}" if above else ""
    in_project = f"and project_id is {project['id']}{inside}"
    shot = known(
        f"Shot where name is {_quoted(said['shot'])} {in_project}", "shot", said["shot"], "--shot or --sequence"
    )
    of_shot = f"and parent_id is {shot['id']}"
    task = known(f"Task where name is {_quoted(said['task'])} {of_shot}", "task", said["task"], "--task")
    kind = known(
        f"AssetType where name is {_quoted(said['type'])}", "type of assets", said["type"], "$FTRACK_ASSET_TYPE"
    )
    user = known(f"User where username is {_quoted(session.api_user)}", "user", session.api_user, "$FTRACK_API_USER")
    product = said["product"]
    asset = session.query(
        f"select id from Asset where name is {_quoted(product)} and context_id is {shot['id']}"
    ).first() or session.create("Asset", {"name": product, "type": kind, "parent": shot})
    version = session.create("AssetVersion", {"asset": asset, "task": task, "comment": said["note"]})
    session.commit()
    unmanaged = session.get("Location", ftrack_api.symbol.UNMANAGED_LOCATION_ID)
    version.create_component(sequence(said["plates"], *said["range"]), {"name": "main"}, location=unmanaged)
    version.create_thumbnail(said["thumbnail"])
    note = version.create_note(said["note"], author=user)
    if said["movie"]:
        server = session.get("Location", ftrack_api.symbol.SERVER_LOCATION_ID)
        sheet = session.create_component(said["contact_sheet"], {"name": "contact_sheet"}, location=server)
        session.create("NoteComponent", {"note_id": note["id"], "component_id": sheet["id"]})
    session.commit()
    version.encode_media(said["movie"] or said["contact_sheet"])
    number = session.query(f"select version from AssetVersion where id is {version['id']}").one()["version"]
    return f"ftrack has version {number} of {product} on {said['shot']} {said['task']}."


def _quoted(name: str) -> str:
    """A name in a query."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def sequence(plates: str, first: int, last: int) -> str:
    """The frames as ftrack's client reads a sequence: it wants the width that the files' numbers have, which is 4 at
    least, and none below zero.

    Where they have more than one width it gets the pattern alone.
    """
    width = max(4, len(str(first)))
    if first < 0 or width != max(4, len(str(last))):
        return plates
    return f"{plates.replace('%04d', f'%0{width}d')} [{first}-{last}]"


if __name__ == "__main__":
    main()
