"""The commands for whoever runs a server: the server itself, and its keys."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from ..api.errors import ServerRefused, SettingError
from ..interruption import Interrupted
from ..service.roles import Role
from ..web.at import At
from .app import app
from .frame import App, print_json
from .options import Address, AsJson, a_folder

WebCertificate = Annotated[
    Path | None, typer.Option(help="The page's certificate (PEM): it speaks TLS, and the server's users sign in.")
]
WebKey = Annotated[Path | None, typer.Option(help="The secret key of that certificate (PEM).")]
keys_app = App(help="Keys for servers that other machines can reach.")


@app.command()
def serve(
    address: Annotated[str | None, typer.Option(help="Where to listen, such as tcp://*:5690.")] = None,
    root: Annotated[
        list[Path] | None, typer.Option(help="A folder in which jobs may read and write. Repeatable.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="The number of jobs to run at the same time; by default one for each GPU.")
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(
            help="One worker for each of these GPUs, such as 0,2; 0+1,2+3: two GPUs for each job. Default: all."
        ),
    ] = None,
    require_keys: Annotated[bool, typer.Option(help="Require keys on this machine too.")] = False,
    idle_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this many minutes without a job or a request.")
    ] = None,
    queue_limit: Annotated[int, typer.Option(min=1, help="The most jobs that one user may have waiting.")] = 1000,
    frame_limit: Annotated[
        int, typer.Option(min=1, help="The most frames that one user's waiting jobs may have.")
    ] = 100_000,
    upload_limit: Annotated[float, typer.Option(min=0, help="The most GB of uploads kept of one user.")] = 500.0,
    result_limit: Annotated[
        float, typer.Option(min=0, help="The GB of results from which on one user submits no more.")
    ] = 2000.0,
    disk_limit: Annotated[
        float | None, typer.Option(min=0, help="The GB of all uploads and results from which on nobody submits more.")
    ] = None,
    worker_memory: Annotated[
        float | None, typer.Option(min=1, help="The GB of memory that a worker may use; by default its share of 90 %.")
    ] = None,
    worker_patience: Annotated[
        float, typer.Option(min=1, help="The minutes without progress after which a worker is replaced.")
    ] = 30.0,
    worker_user: Annotated[str | None, typer.Option(help="The system's user to run workers as; needs root.")] = None,
    worker_env: Annotated[
        list[str] | None, typer.Option(help="A variable of the environment that workers get too. Repeatable.")
    ] = None,
    worker_read: Annotated[
        list[Path] | None, typer.Option(help="A folder that workers may read, such as of LUTs or weights. Repeatable.")
    ] = None,
    web: Annotated[
        str | None, typer.Option(help="Show a page in the browser too, at this address, such as 127.0.0.1:8090.")
    ] = None,
    web_certificate: WebCertificate = None,
    web_key: WebKey = None,
    log: Annotated[Path | None, typer.Option(help="Log to this file instead of standard error.")] = None,
    log_level: Annotated[str, typer.Option(help="What to log: debug, info, warning or error.")] = "info",
) -> None:
    """Run a server until Ctrl-C. Without --root it takes uploads only."""
    import signal

    from ..api.client import default_address
    from ..service.server import ServerConfig
    from ..service.server import serve as run
    from ..web.beside import page_beside

    config = ServerConfig(
        address=address or default_address(),
        roots=tuple(folder.expanduser().absolute() for folder in root or []),
        workers=workers or 1,
        gpus=gpus_of_workers(gpus, workers),
        require_keys=require_keys,
        idle_minutes=idle_minutes,
        queue_limit=queue_limit,
        frame_limit=frame_limit,
        upload_limit=int(upload_limit * 10**9),
        result_limit=int(result_limit * 10**9),
        disk_limit=None if disk_limit is None else int(disk_limit * 10**9),
        worker_memory=None if worker_memory is None else int(worker_memory * 2**30),
        worker_patience=worker_patience,
        worker_user=worker_user,
        worker_environment=tuple(worker_env or ()),
        worker_read=tuple(folder.expanduser().absolute() for folder in worker_read or []),
        log=log.expanduser().absolute() if log else None,
        log_level=log_level,
    )
    if not web and (web_certificate or web_key):
        raise SettingError("--web-certificate and --web-key are for the page; give --web HOST:PORT too.")
    at = _page_at(web, web_certificate, web_key) if web else None
    if at and at.certificate and not config.needs_keys:
        raise SettingError("Nobody could sign in at the page, as this server knows no users; give --require-keys too.")
    keys = _ring().of_page() if at and at.certificate else None
    with page_beside(at, keys) if at else nullcontext(None) as start_page:

        def ready(bound: str) -> None:
            print(f"listening at {bound}", flush=True)
            if start_page:
                print(f"open {start_page(bound)}", flush=True)

        ended_by = run(config, ready)
    if ended_by == signal.SIGINT:
        raise Interrupted(ended_by, "The server has stopped; its jobs continue when it is started again.")


@app.command()
def web(
    server: Address = None,
    at: Annotated[
        str, typer.Option(help="Where the page is; beyond this machine it needs a certificate.")
    ] = "127.0.0.1:8090",
    web_certificate: WebCertificate = None,
    web_key: WebKey = None,
) -> None:
    """Show a server in the browser until Ctrl-C: its jobs, their results, and a way to try it without Nuke."""
    from ..api.client import Client, Keys, default_address

    place, address = _page_at(at, web_certificate, web_key), server or default_address()
    with Client(address, timeout=5) as client:
        rights = client.hello().rights
    if place.certificate and "act_for" not in rights:
        raise ServerRefused(
            "Nobody could sign in at the page: it needs a server with keys (--require-keys), and a key that was "
            "allowed with --role page (VOID_KEY)."
        )
    from ..web.serving import serve as serve_page

    serve_page(place, address, Keys.from_environment(), lambda opened: print(f"open {opened}", flush=True))


@app.command()
def token() -> None:
    """Print a token with which you sign in to a server's page within five minutes, made with your key (VOID_KEY)."""
    from ..api.client import Keys
    from ..service.tokens import new_token

    keys = Keys.from_environment()
    if keys is None:
        raise SettingError("VOID_KEY and VOID_SERVER_KEY are not set; they name your secret key and the server's key.")
    print(new_token(keys))


def _page_at(text: str, chain: Path | None, key: Path | None) -> At:
    """Where the page is to be. Raises :class:`SettingError`, also where what it needs is not installed."""
    from ..web.at import check_installed

    check_installed()
    return At.parse(text, *(file and file.expanduser().absolute() for file in (chain, key)))


def gpus_of_workers(wanted: str | None, workers: int | None) -> tuple[str, ...]:
    """The GPUs that each worker sees; none where workers are counted instead, or there is no GPU.

    Raises :class:`SettingError` for those that are not here, or that this process was not given.
    """
    if workers is not None:
        if wanted is not None:
            raise SettingError("There is one worker for each GPU; give --gpus or --workers, not both.")
        return ()
    here = _visible_gpus()
    if wanted is None:
        return here
    if not here:
        raise SettingError("No GPU was found (nvidia-smi); leave out --gpus.")
    if wanted == "all":
        return here
    places = [[number.strip() for number in place.split("+")] for place in wanted.split(",")]
    named = [number for place in places for number in place]
    if not set(named) <= set(here) or len(set(named)) < len(named):
        raise SettingError(
            f"--gpus is {wanted!r}; name each GPU once by its number, here {', '.join(here)}, or give all."
        )
    return tuple(",".join(place) for place in places)


def _visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by what CUDA_VISIBLE_DEVICES calls them where a scheduler has set it."""
    from ..engines.void.memory import cards
    from ..service.config import GPUS

    here = tuple(str(card.index) for card in cards())
    given = os.environ.get(GPUS)
    if given is None or not here:
        return here
    # as CUDA reads it, what comes after an invalid name does not count
    named = [name.strip() for name in given.split(",")]
    return tuple(takewhile(lambda name: name in here or name.startswith(("GPU-", "MIG-")), named))


@app.command()
def audit(as_json: AsJson = False) -> None:
    """Show who did what on this machine's servers, and check that nobody changed the record."""
    from ..api.home import home
    from ..service.audit import AuditLog

    for entry in AuditLog(home()).entries():
        if as_json:
            print_json(entry)
        else:
            when = datetime.fromtimestamp(entry["time"]).astimezone().isoformat(timespec="seconds")
            about = entry.get("job", ""), entry.get("folder", "")
            print(f"{when}  {entry['who']:<16} {entry['where']:<16} {entry['what']:<8} {' '.join(filter(None, about))}")


@keys_app.command("new")
def keys_new(
    name: Annotated[str, typer.Argument(help="The client's name; also the name of the files.")],
    folder: Annotated[Path, typer.Option(callback=a_folder, help="Where to put the files.")] = Path(),
) -> None:
    """Make a key pair for a client."""
    public, secret = _ring().new(name, folder)
    print(f"{secret}  keep it, and set VOID_KEY to its path")
    print(f"{public}  give it to whoever runs the server, for: void keys allow {public.name}")


@keys_app.command("allow")
def keys_allow(
    file: Annotated[Path, typer.Argument(help="The client's public key file.")],
    role: Annotated[
        Role,
        typer.Option(
            help="artist: own jobs. viewer: sees all. supervisor: both, and priorities. "
            "admin: also stops others' jobs. page: for the page."
        ),
    ] = Role.ARTIST,
) -> None:
    """Let a client use the server of this machine."""
    ring = _ring()
    name = ring.allow(file, role)
    print(f"{name} is allowed as {role.value}; the client sets VOID_SERVER_KEY to a copy of {ring.server_public}")


@keys_app.command("revoke")
def keys_revoke(name: Annotated[str, typer.Argument(help="The client's name.")]) -> None:
    """Let a client in no more, from this moment."""
    _ring().revoke(name)
    print(f"{name} is no longer allowed")


@keys_app.command("signing")
def keys_signing() -> None:
    """Print the public key with which you sign and approve versions; made at the first use. For the policy's file."""
    from ..api.home import home
    from ..signing import SigningKey

    print(SigningKey(home()).public)


@keys_app.command("list")
def keys_list() -> None:
    """List the clients that are allowed."""
    ring = _ring()
    for client in ring.allowed().values():
        print(f"{client.name:<24} {client.role.value:<12} {client.public}")


def _ring() -> Any:
    from ..api.home import home
    from ..service.keys import KeyRing

    return KeyRing(home())
