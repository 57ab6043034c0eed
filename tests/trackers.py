"""Production tracking systems on this machine, as far as the recipes' real clients ask them, strictly: whatever is not
known here is answered as not found, and fails the test.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Tracker:
    """A server: ``made`` lists what clients created, ``files`` what they sent, ``wrong`` what nothing here answers."""

    url: str = ""
    made: list[tuple[str, Any]] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused: bool = False

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        """The answer's JSON; None where there is none such."""
        raise NotImplementedError


class Kitsu(Tracker):
    """Zou, Kitsu's server; its interface is documented at https://api-docs.kitsu.cloud."""

    KNOWN: dict[str, dict[str, str]] = {  # noqa: RUF012 -- never changed
        "projects": {"id": "p1", "name": "Show"},
        "sequences": {"id": "s1", "name": "sq010", "project_id": "p1"},
        "shots": {"id": "h1", "name": "sh010", "sequence_id": "s1"},
        "task-types": {"id": "k1", "name": "Compositing"},
        "tasks": {"id": "t1", "name": "main", "task_type_id": "k1", "entity_id": "h1"},
        "task-status": {"id": "w1", "short_name": "wfa"},
    }

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        """See :class:`Tracker`."""
        if headers["Authorization"] != "Bearer secret":
            return None
        kind = re.fullmatch(r"/api/data/([\w-]+?)(?:/all)?", path)
        if method == "GET" and kind and kind[1] in self.KNOWN:
            one = self.KNOWN[kind[1]]
            return [one] if all(one.get(name) == value for name, value in query.items()) else []
        if method == "POST" and path == "/api/actions/tasks/t1/comment":
            self.made.append(("comment", body))
            return {"id": "c1"}
        if method == "POST" and path == "/api/actions/tasks/t1/comments/c1/add-preview":
            self.made.append(("preview", json.loads(body)))
            return {"id": "v1"}
        if method == "POST" and path == "/api/pictures/preview-files/v1":
            self.files.append((path, body))
            return {"id": "v1"}
        return None


class Ayon(Tracker):
    """AYON's server; its REST interface is documented at https://docs.ayon.dev/docs/dev_api_ref, GraphQL beside it."""

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        """See :class:`Tracker`."""
        del query
        if path in ("/", "/api/info"):
            return {"version": "1.10.0"}
        if headers.get("X-Api-Key") != "secret" and headers.get("Authorization") != "Bearer secret":
            return None
        fixed: dict[str, Any] = {
            "/api/users/me": {"name": "bot", "data": {"isService": True}, "attrib": {}},
            "/api/attributes": {"attributes": []},
            "/api/projects/Show": {"name": "Show", "code": "sh", "data": {}, "attrib": {}},
        }
        if method == "GET" and path in fixed:
            return fixed[path]
        if method == "POST" and path == "/graphql":
            return self._graphql(json.loads(body))
        created = re.fullmatch(r"/api/projects/Show/(products|versions|representations)", path)
        if method == "POST" and created:
            self.made.append((created[1], json.loads(body)))
            return {"id": json.loads(body).get("id") or f"{len(self.made):032x}"}
        if method == "POST" and re.fullmatch(r"/api/projects/Show/version/\w+/activities", path):
            self.made.append(("activities", json.loads(body)))
            return {"id": "a1"}
        if method == "POST" and re.fullmatch(r"/api/projects/Show/(thumbnails|versions/\w+/reviewables)", path):
            self.files.append((path, body))
            return {"id": "f1"}
        return None

    @staticmethod
    def _graphql(asked: dict[str, Any]) -> Any:
        said, text = asked["variables"], asked["query"]
        found: dict[str, tuple[bool, dict[str, Any]]] = {
            "folders": (said.get("folderPaths") == ["/sq010/sh010"], {"id": "f" * 32}),
            "tasks": (said.get("taskNames") == ["comp"], {"id": "b" * 32}),
            "products": (False, {}),
            "versions": (True, {"version": 3, "active": True}),
        }
        name = next(name for name in found if f"{name}(" in text)
        known, node = found[name]
        page = {"hasNextPage": False, "endCursor": ""}
        return {"data": {"project": {name: {"edges": [{"node": node}] if known else [], "pageInfo": page}}}}


class Ftrack(Tracker):
    """ftrack's server, as far as what its client asks tells it: one store of entities, which it queries and adds to."""

    #: Attributes by type of entity: lists in brackets, references to another type by its name.
    TYPES: dict[str, str] = {  # noqa: RUF012 -- never changed
        "Project": "id name",
        "Sequence": "id name project_id parent:Project",
        "Shot": "id name project_id parent:Sequence assets[Asset]",
        "Task": "id name parent_id",
        "AssetType": "id name",
        "User": "id username",
        "Asset": "id name context_id parent:Shot type:AssetType",
        "AssetVersion": "id asset:Asset task:Task comment version thumbnail_id components[Component] notes[Note]",
        "Component": "id name",
        "FileComponent": "id name size file_type version:AssetVersion container:SequenceComponent",
        "SequenceComponent": "id name size file_type padding version:AssetVersion members[FileComponent]",
        "Location": "id name",
        "ComponentLocation": "id component:Component location:Location component_id location_id resource_identifier",
        "Note": "id content author:User recipients[Recipient]",
        "NoteComponent": "id note_id component_id",
        "Job": "id status",
    }

    def __init__(self) -> None:
        super().__init__()
        sequence = {"__entity_type__": "Sequence", "id": "s1", "name": "sq010"}
        self.entities: list[dict[str, Any]] = [
            {"__entity_type__": "Project", "id": "p1", "name": "Show"},
            sequence,
            {"__entity_type__": "Shot", "id": "h1", "name": "sh010", "project_id": "p1", "parent": sequence},
            {"__entity_type__": "Task", "id": "t1", "name": "comp", "parent_id": "h1"},
            {"__entity_type__": "AssetType", "id": "y1", "name": "Upload"},
            {"__entity_type__": "User", "id": "u1", "username": "bot"},
            {"__entity_type__": "Job", "id": "j1", "status": "queued"},
        ]

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes, headers: Any) -> Any:
        """See :class:`Tracker`."""
        del query
        if method == "PUT" and path.startswith("/upload/"):
            self.files.append((path.removeprefix("/upload/"), body))
            return {}
        if (method, path) != ("POST", "/api") or (headers["ftrack-user"], headers["ftrack-api-key"]) != ("bot", "key"):
            return None
        said = [self._did(one) for one in json.loads(body)]
        return None if None in said else said

    def _did(self, asked: dict[str, Any]) -> Any:
        action = asked["action"]
        if action == "query_server_information":
            return {"version": "4.13.0"}
        if action == "query_schemas":
            return [self._schema(name, said) for name, said in self.TYPES.items()]
        if action == "query":
            return self._found(asked["expression"])
        if action == "create" and set(asked["entity_data"]) - {"__entity_type__"} <= self._names(asked["entity_type"]):
            made = dict(asked["entity_data"])
            if asked["entity_type"] == "AssetVersion":
                made["version"] = 1 + sum(one["__entity_type__"] == "AssetVersion" for one in self.entities)
            # as the server relates them
            for one in ("component", "location", "parent"):
                if one in made:
                    made["context_id" if one == "parent" else f"{one}_id"] = made[one]["id"]
            self.entities.append(made)
            self.made.append((asked["entity_type"], made))
            return {"action": "create", "data": made}
        if action == "update":
            (one,) = (one for one in self.entities if [one["id"]] == asked["entity_key"])
            one.update(asked["entity_data"])
            return {"action": "update", "data": asked["entity_data"] | {"id": one["id"]}}
        if action == "get_upload_metadata":
            return {"url": f"{self.url}/upload/{asked['file_name']}", "headers": {"X-Size": str(asked["file_size"])}}
        if action == "encode_media":
            self.made.append(("encode_media", asked))
            return {"job_id": "j1"}
        return None

    def _names(self, kind: str) -> set[str]:
        return set(re.findall(r"(?:^|\s)(\w+)", self.TYPES[kind]))

    def _schema(self, name: str, said: str) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for attribute, reference, listed in re.findall(r"(?:^|\s)(\w+)(?::(\w+)|\[(\w+)\])?", said):
            kind = {"version": "integer", "size": "number", "padding": "integer"}.get(attribute, "string")
            plain = {"type": "array", "items": {"$ref": listed}} if listed else {"type": kind}
            properties[attribute] = {"$ref": reference} if reference else plain
        properties["id"]["default"] = "{uid}"
        return {"id": name, "primary_key": ["id"], "properties": properties, "default_projections": ["id"]}

    def _found(self, expression: str) -> Any:
        """What a query in ftrack's language finds: equality and membership, joined by and, as the client asks."""
        read = re.fullmatch(r"select ([\w, ]+) from (\w+)(?: where (.+?))?(?: offset \d+ limit \d+)?", expression)
        assert read is not None, expression
        wanted, kind, where = read[1].split(", "), read[2], read[3] or ""
        value = r'"(?:\\.|[^"\\])*"|\([^)]*\)|[\w-]+'
        conditions = re.findall(rf"([\w.]+) (?:is|in) ({value})", where)
        assert " and ".join(where.split(" and ")) == where
        assert len(conditions) == len(where.split(" and ")) * bool(where), where

        def fits(one: dict[str, Any]) -> bool:
            for name, said in conditions:
                found: Any = one
                for part in name.split("."):
                    found = (found or {}).get(part)
                among = [json.loads(said)] if said[0] == '"' else re.findall(r"[\w-]+", said)
                if found not in among:
                    return False
            return one["__entity_type__"] == kind

        kept = {"__entity_type__", "id", *wanted}
        assert kept <= {"__entity_type__"} | self._names(kind), expression
        data = [{name: one.get(name) for name in kept} for one in filter(fits, self.entities)]
        return {"action": "query", "data": data, "metadata": {"next": {"offset": None}}}


@contextmanager
def tracker(kind: type[Tracker]) -> Iterator[Tracker]:
    """A running server of that kind."""
    served = kind()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                body = self._chunks()
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            said = None if served.refused else served.answer(self.command, parts.path, query, body, self.headers)
            if said is None and not served.refused:
                served.wrong.append(f"{self.command} {self.path}")
            data = json.dumps(said if said is not None else {"detail": "no"}).encode()
            self.send_response(500 if served.refused else 404 if said is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _chunks(self) -> bytes:
            read = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                read += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return read

        do_GET = do_POST = do_PUT = do_PATCH = respond  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
