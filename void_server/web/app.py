"""The page's addresses, and what answers at each."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import math
import zipfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .. import __version__
from ..api import notices
from ..api.errors import AccessDenied, InputError, ServerError, SettingError, UnknownJob, VoidError
from ..api.files import is_plain_name, temporary_beside
from ..api.job import Job
from ..api.loopback import LOOPBACK
from ..api.settings import declarations
from ..api.shot import Settings, title
from ..api.version import MATTES, PATCH, PLATE, QUADMASK, ROTO
from ..imaging.sequence import IMAGE_SUFFIXES, MOVIE_SUFFIXES
from .asking import Asking
from .darkroom import Darkroom
from .events import news
from .guard import REPORT_POLICY, Door, Guard
from .intake import take_in, take_sample
from .metrics import metrics
from .pictures import frame_picture, movie
from .removal import Removal
from .results import Results
from .shots import Brought, Shots
from .viewing import Viewing, colour_of
from .visitor import visitor

_STATIC = Path(__file__).with_name("static")
#: No request but a file has more bytes, and no exposure more stops.
_MOST_JSON, _MOST_STOPS = 2**22, 12
_RATE = 24
_MOST_NOTICES = 20
_HOUR = 3600.0
_DOWNLOADS = (PLATE, PATCH, MATTES, QUADMASK, ROTO)


class Page:
    """Everything that the page answers with. ``folder`` is where it keeps shots, and copies of results."""

    def __init__(self, asking: Asking, folder: Path) -> None:
        self._asking = asking
        self._shots = Shots(folder / "shots")
        self._results = Results(asking, folder / "results")
        self._darkroom = Darkroom([folder])
        self._local = any(f"//{host}:" in asking.address for host in LOOPBACK)
        self._viewing = Viewing(self._shots, self._results, self._darkroom, local=self._local)
        self._removal = Removal(asking, self._shots, self._results, self._darkroom)

    def app(self, hosts: tuple[str, ...], door: Door) -> Guard:
        """The whole as an ASGI application, known under these ``hosts`` to those who come in by its ``door``."""
        routes = [
            Route("/", self._index),
            Route("/api/hello", self._hello),
            Route("/api/events", partial(self._events, door)),
            Route("/api/notices", self._notices),
            Route("/api/shots", self._list_shots),
            Route("/api/shots", self._new_shot, methods=["POST"]),
            Route("/api/samples", self._new_sample, methods=["POST"]),
            Route("/api/shots/{shot}", self._shot),
            Route("/api/shots/{shot}", self._remove_shot, methods=["DELETE"]),
            Route("/api/shots/{shot}/files/{name}", self._file, methods=["PUT"]),
            Route("/api/shots/{shot}/ready", self._ready, methods=["POST"]),
            Route("/api/shots/{shot}/frames/{frame:int}", self._frame),
            Route("/api/shots/{shot}/mask", self._mask, methods=["POST"]),
            Route("/api/shots/{shot}/jobs", self._remove, methods=["POST"]),
            Route("/api/jobs/{job}", self._job),
            Route("/api/jobs/{job}/view", self._view),
            Route("/api/jobs/{job}/cancel", self._cancel, methods=["POST"]),
            Route("/api/jobs/{job}/resume", self._resume, methods=["POST"]),
            Route("/api/jobs/{job}/again", self._again, methods=["POST"]),
            Route("/api/jobs/{job}/priority", self._prioritise, methods=["POST"]),
            Route("/api/jobs/{job}/{layer}/{frame:int}", self._picture),
            Route("/api/jobs/{job}/report", self._report),
            Route("/api/jobs/{job}/contact_sheet", self._contact_sheet),
            Route("/api/jobs/{job}/download/movie", self._movie),
            Route("/api/jobs/{job}/download/{what}", self._download),
            Route("/metrics", self._metrics),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        handlers: Any = {VoidError: _told, OSError: _told}
        return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=self._life), hosts, door)

    @contextlib.asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        housekeeping = asyncio.create_task(self._look_after())
        try:
            yield
        finally:
            housekeeping.cancel()
            self._darkroom.close()
            self._asking.close()

    async def _look_after(self) -> None:
        while True:
            await asyncio.to_thread(self._shots.clear)
            await asyncio.to_thread(self._results.clear)
            await asyncio.sleep(_HOUR)

    # The page and the server

    async def _index(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def _hello(self, _: Request) -> Response:
        info = await self._asking.ask(lambda client: client.hello())
        if self._local:
            # where the server reads plates, they may be shown
            self._darkroom.allow([Path(root) for root in info.roots])
        kinds = {"engines": info.engines, "reasoners": info.reasoners}
        return JSONResponse(
            {
                "token": visitor.get().token,
                "user": info.user,
                "rights": info.rights,
                "signed_in": bool(visitor.get().user),
                "version": __version__,
                "server": {"address": self._asking.address, "version": info.version},
                "common": [one.to_dict() for one in declarations(Settings) if one.name != "until"],
                "offered": {
                    kind: [
                        {
                            "name": name,
                            "title": title(name),
                            "settings": [one.to_dict() for one in info.settings[kind].get(name, ())],
                        }
                        for name in names
                    ]
                    for kind, names in kinds.items()
                },
                "suffixes": [*IMAGE_SUFFIXES, *MOVIE_SUFFIXES],
            }
        )

    async def _events(self, door: Door, _: Request) -> Response:
        still_in = partial(door.still_in, visitor.get())
        return StreamingResponse(news(self._asking, self._listed, still_in), media_type="text/event-stream")

    async def _notices(self, _: Request) -> Response:
        """What the farm has told; it is of everybody's jobs, so for those alone who may see these."""
        info = await self._asking.ask(lambda client: client.hello())
        seen = await asyncio.to_thread(notices.latest, _MOST_NOTICES) if "see_all" in info.rights else []
        return JSONResponse(seen)

    async def _metrics(self, _: Request) -> Response:
        try:
            jobs, workers = await self._asking.ask(lambda client: (client.jobs(), client.workers()))
        except ServerError:
            data = metrics(None, None)
        else:
            data = metrics(jobs, workers)
        return Response(data, media_type="text/plain; version=0.0.4; charset=utf-8")

    # Shots that people bring

    async def _list_shots(self, _: Request) -> Response:
        return JSONResponse([_told_of(shot) for shot in await asyncio.to_thread(self._shots.all)])

    async def _new_shot(self, _: Request) -> Response:
        return JSONResponse({"id": self._shots.new()}, 201)

    async def _new_sample(self, _: Request) -> Response:
        made = self._shots.new()
        with self._given_up(made):
            taken = await self._darkroom.develop(take_sample, self._shots.folder(made))
        return JSONResponse(_told_of(self._shots.keep(made, "Sample shot", taken, sample=True)), 201)

    async def _shot(self, request: Request) -> Response:
        return JSONResponse(_told_of(self._shots.get(request.path_params["shot"])))

    async def _remove_shot(self, request: Request) -> Response:
        await asyncio.to_thread(self._shots.remove, request.path_params["shot"])
        return Response(status_code=204)

    async def _file(self, request: Request) -> Response:
        """Write a file of a shot as it comes in."""
        shot, name = request.path_params["shot"], request.path_params["name"]
        if not name.lower().endswith((*IMAGE_SUFFIXES, *MOVIE_SUFFIXES)):
            raise InputError(f"{name:.200} is neither a movie nor a picture; bring EXR, PNG, TIFF or a movie.")
        size = request.headers.get("content-length", "")
        if not size.isdecimal():
            raise InputError("The size of the file is not known; bring it with a browser.")
        place = await asyncio.to_thread(self._shots.place_for, shot, name, int(size))
        part = temporary_beside(place)
        try:
            with part.open("xb") as file:
                async for chunk in request.stream():
                    await asyncio.to_thread(file.write, chunk)
            part.replace(place)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            part.unlink(missing_ok=True)
        return Response(status_code=204)

    async def _ready(self, request: Request) -> Response:
        """Take a shot in, all of whose files are here."""
        shot = request.path_params["shot"]
        name = str((await _json(request)).get("name", "")) or "shot"
        folder = self._shots.folder(shot)
        with self._given_up(shot):
            taken = await self._darkroom.develop(take_in, self._shots.given(shot), folder)
        return JSONResponse(_told_of(self._shots.keep(shot, name[:200], taken)))

    @contextlib.contextmanager
    def _given_up(self, shot: str) -> Iterator[None]:
        """Remove a shot that cannot be taken in."""
        try:
            yield
        except BaseException:
            self._shots.remove(shot)
            raise

    async def _frame(self, request: Request) -> Response:
        shot = self._shots.get(request.path_params["shot"])
        frame = request.path_params["frame"]
        if frame not in shot.frames:
            raise UnknownJob(f"The shot has no frame {frame}.")
        space = request.query_params.get("colorspace", shot.colorspace)
        path = self._shots.plate(shot.id, frame)
        return _picture(await self._darkroom.develop(frame_picture, path, space, None, _stops(request)), "image/jpeg")

    async def _mask(self, request: Request) -> Response:
        shot = self._shots.get(request.path_params["shot"])
        return JSONResponse(self._described(await self._removal.mask(shot, await _json(request))), 201)

    async def _remove(self, request: Request) -> Response:
        shot = self._shots.get(request.path_params["shot"])
        return JSONResponse(self._described(await self._removal.remove(shot, await _json(request))), 201)

    # Jobs

    def _listed(self, jobs: Iterable[Job]) -> list[dict[str, Any]]:
        """Jobs as pages know them: with the name of the shot, and the shot where it was brought here."""
        shots = self._shots.by_job()
        found = [(job, shots.get(job.id)) for job in jobs]
        return [
            {
                **job.to_dict(),
                "name": shot.name if shot else Path(job.shot.plate).name,
                "brought": shot.id if shot else "",
            }
            for job, shot in found
        ]

    def _described(self, job: Job) -> dict[str, Any]:
        return self._listed([job])[0]

    async def _asked(self, request: Request) -> Job:
        job_id = request.path_params["job"]
        return await self._asking.ask(lambda client: client.status(job_id))

    async def _job(self, request: Request) -> Response:
        return JSONResponse(self._described(await self._asked(request)))

    async def _view(self, request: Request) -> Response:
        return JSONResponse(await self._viewing.of(await self._asked(request)))

    async def _cancel(self, request: Request) -> Response:
        job_id = request.path_params["job"]
        return JSONResponse(self._described(await self._asking.ask(lambda client: client.cancel(job_id))))

    async def _resume(self, request: Request) -> Response:
        job_id = request.path_params["job"]
        return JSONResponse(self._described(await self._asking.ask(lambda client: client.resume(job_id))))

    async def _prioritise(self, request: Request) -> Response:
        job_id, priority = request.path_params["job"], (await _json(request)).get("priority")
        if not isinstance(priority, int):
            raise SettingError("The priority is no number; load the page again.")
        job = await self._asking.ask(lambda client: client.prioritise(job_id, priority))
        return JSONResponse(self._described(job))

    async def _again(self, request: Request) -> Response:
        """Have the server do once more what it did for somebody who named files that it can reach."""
        job = await self._asked(request)
        again = await self._asking.ask(lambda client: client.submit(job.shot, str(Path(job.folder).parent)))
        return JSONResponse(self._described(again), 201)

    async def _picture(self, request: Request) -> Response:
        layer, frame = request.path_params["layer"], request.path_params["frame"]
        return _picture(*await self._viewing.picture(await self._asked(request), layer, frame, _stops(request)))

    async def _report(self, request: Request) -> Response:
        job = await self._asked(request)
        file = await self._results.file(job, self._results.folder(job.id).report)
        # whatever the report holds may do nothing here
        return FileResponse(file, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    async def _contact_sheet(self, request: Request) -> Response:
        job = await self._asked(request)
        file = await self._results.file(job, self._results.folder(job.id).contact_sheet)
        return FileResponse(file, media_type="image/png")

    async def _download(self, request: Request) -> Response:
        job, what = await self._asked(request), request.path_params["what"]
        if what not in _DOWNLOADS:
            raise InputError(f"There is no {what!r:.40} to download; there are {', '.join(_DOWNLOADS)}.")
        files = await self._results.files(job, f"{what}/")
        if not files:
            raise InputError(f"Job {job.id} has made no {what}.")
        target = temporary_beside(files[0].parent.parent / f"{what}.zip")
        await asyncio.to_thread(_zip, files, target)
        return _attachment(target, f"{self._named(job)}_{what}.zip", "application/zip")

    async def _movie(self, request: Request) -> Response:
        job = await self._asked(request)
        files = await self._viewing.result_plates(job)
        target = temporary_beside(files[0].parent.parent / "movie.mp4")
        await self._darkroom.develop(movie, files, target, *colour_of(job.shot), _RATE)
        return _attachment(target, f"{self._named(job)}.mp4", "video/mp4")

    def _named(self, job: Job) -> str:
        """What downloads of a job are called."""
        name = Path(self._described(job)["name"]).stem.rstrip(".#%0d")
        return f"{name if is_plain_name(name) else 'void'}_{job.id}"


def _told(_: Request, error: Exception) -> Response:
    """An error as the page shows it."""
    status = 500
    for kind, number in ((UnknownJob, 404), (AccessDenied, 403), (InputError, 400), (ServerError, 502)):
        if isinstance(error, kind):
            status = number
            break
    kind_name = type(error).__name__
    detail = error.detail if isinstance(error, VoidError) else ""
    return JSONResponse({"error": str(error), "kind": kind_name, "detail": detail}, status)


def _told_of(shot: Brought) -> dict[str, Any]:
    return dataclasses.asdict(shot)


async def _json(request: Request) -> dict[str, Any]:
    """The table that a request brings. Raises :class:`SettingError` for anything else."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_JSON:
            raise SettingError("The page sent more than it ever does; load it again.")
    try:
        data = json.loads(body or b"{}")
    except ValueError as error:
        raise SettingError(f"What the page sent cannot be read ({error}); load it again.") from error
    if not isinstance(data, dict):
        raise SettingError("What the page sent is no table; load it again.")
    return data


def _stops(request: Request) -> float:
    """By how many stops a picture is to be brighter. Raises :class:`SettingError` for what is no number of them."""
    try:
        stops = float(request.query_params.get("stops", "0"))
    except ValueError:
        stops = math.nan
    if not abs(stops) <= _MOST_STOPS:
        raise SettingError(f"The exposure is no number from -{_MOST_STOPS} to {_MOST_STOPS} stops.")
    return stops


def _picture(data: bytes, kind: str) -> Response:
    # frames of a shot and of a finished job stay what they are, and scrubbing goes back and forth
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=3600"})


def _attachment(file: Path, name: str, kind: str) -> Response:
    """A file to keep, which is removed once it was sent."""
    return FileResponse(file, filename=name, media_type=kind, background=BackgroundTask(file.unlink, missing_ok=True))


def _zip(files: Sequence[Path], target: Path) -> None:
    # EXR is compressed already
    with zipfile.ZipFile(target, "x", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, f"{file.parent.name}/{file.name}")
