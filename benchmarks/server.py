"""How does a server answer under load? Many clients, a long queue, and clients that behave badly. Prints tables.

    python benchmarks/server.py [--clients 200] [--jobs 2000] [--seconds 60] [--megabytes 512]
        [--parts jobs files crowd] [--bad flooding,never_reading dying ...]

With ``--bad`` the crowd is measured once with each of these groups of clients that behave badly, instead of all.

Everything stays on the loopback interface of this machine, and is bounded in number and time. The engine does nothing
but compute for a few milliseconds, so what is measured is the server. Aims: p99 of status below 100 ms while workers
compute, files at 70 % of the rate of plain ZeroMQ, less than 100 ms per job beyond the engine, no growing memory.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil
import zmq
import zmq.asyncio
import zmq.auth

from void_server.api import Client, Keys, Shot
from void_server.api.errors import VoidError
from void_server.api.files import CHUNK, digest_of
from void_server.api.job import new_id
from void_server.api.messages import pack, unpack
from void_server.service.keys import KeyRing
from void_server.service.roles import Role

#: What the workers run: it computes for as long as the prompt says, in milliseconds, and tells how long it took.
ENGINE = """
import json, time
from void_server.api.job import Progress

def inspect(shot):
    pass

def run(job_id, shot, folder, report):
    begin = time.time()
    while (done := (time.time() - begin) / (int(shot.prompt) / 1e3)) < 1:
        report(Progress("computing", None, done, None))
        sum(range(2000))
    (folder / "engine.json").write_text(json.dumps({"begin": begin, "end": time.time()}))
    return ()
"""
SERVER = """
import json, sys
from pathlib import Path
from void_server.service.server import ServerConfig, serve
root = Path(sys.argv[1])
serve(ServerConfig("tcp://127.0.0.1:*", (root,), root / "state", workers=int(sys.argv[2]), require_keys=True,
                   queue_limit=100_000, pipeline="engine", log=root / "server.log"),
      lambda address: print(address, flush=True))
"""
#: Milliseconds that a job computes.
WORK = 20
USERS = 20
PARTS = ("jobs", "files", "crowd")
#: Megabytes of a frame: 2K, RGBA in floats.
FRAME = 32


def percentiles(seconds: Sequence[float]) -> str:
    """The median, the 99th percentile and the maximum, in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return "none"
    at = [ordered[int(share * (len(ordered) - 1))] * 1e3 for share in (0.5, 0.99, 1.0)]
    return f"p50 {at[0]:7.1f} ms   p99 {at[1]:7.1f} ms   most {at[2]:7.1f} ms   ({len(ordered)})"


@dataclass(frozen=True)
class Place:
    """A running server: its address, the folder with its root and state, its process, a key for each user."""

    address: str
    root: Path
    pid: int
    keys: dict[str, Keys]

    def client(self, user: str) -> Client:
        return Client(self.address, keys=self.keys[user], timeout=60)

    def shot(self, milliseconds: int = WORK) -> Shot:
        return Shot(str(self.root / "plate.0001.exr"), str(self.root / "roto.0001.exr"), prompt=str(milliseconds))

    def out(self, user: str) -> str:
        return str(self.root / "out" / user)

    def engine(self, folder: str) -> dict[str, float]:
        """When the engine began a job, and when it ended."""
        return dict(json.loads((Path(folder) / "engine.json").read_text()))


@contextmanager
def served(workers: int) -> Iterator[Place]:
    """Run a server in a folder of its own, in a process of its own."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary).resolve()
        (root / "engine.py").write_text(ENGINE)
        for name in ("plate.0001.exr", "roto.0001.exr"):
            (root / name).write_text(name)
        ring = KeyRing(root / "state")
        keys = {}
        for name in ["probe", *(f"user{number}" for number in range(USERS))]:
            public, secret = ring.new(name, root)
            ring.allow(public, Role.ADMIN if name == "probe" else Role.ARTIST)
            keys[name] = Keys(str(secret), str(ring.server_public))
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, "-c", SERVER, str(root), str(workers)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            try:
                yield Place(process.stdout.readline().strip(), root, process.pid, keys)
            finally:
                process.terminate()
                process.wait(60)


class Memory(threading.Thread):
    """Looks at the resident memory of a process every second; ``seen`` are megabytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process, self._over = psutil.Process(pid), threading.Event()
        self.seen: list[float] = []

    def run(self) -> None:
        while not self._over.wait(1):
            self.seen.append(self._process.memory_info().rss / 2**20)

    def stop(self) -> None:
        self._over.set()
        self.join()


class Cpu:
    """The processor time, in seconds, that a server and its children have used since this was made, by what used it."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before = self._now()

    def used(self) -> dict[str, float]:
        return {what: seconds - self._before.get(what, 0.0) for what, seconds in self._now().items()}

    def _now(self) -> dict[str, float]:
        own = self._process.cpu_times()
        found = {"server": own.user + own.system, "its loop": 0.0, "its ZeroMQ": 0.0}
        for thread in self._process.threads():
            try:
                name = Path(f"/proc/{self._process.pid}/task/{thread.id}/comm").read_text().strip()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended since
            what = "its ZeroMQ" if name.startswith("ZMQ") else "its loop" if thread.id == self._process.pid else ""
            if what:
                found[what] += thread.user_time + thread.system_time
        found["workers and inspections"] = own.children_user + own.children_system
        for child in self._process.children():
            # what has ended since is counted with the server's children
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                found["workers and inspections"] += sum(
                    (times.user, times.system, times.children_user, times.children_system)
                )
        return found


def cpu_of(processes: Sequence[multiprocessing.Process]) -> float:
    """The processor time of these processes so far, in seconds."""
    total = 0.0
    for one in processes:
        # one that failed has ended before
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(one.pid).cpu_times()
            total += times.user + times.system
    return total


class Probe(threading.Thread):
    """A well-behaved user who asks for the status of a job, ten times a second; ``seconds`` is how long each took."""

    def __init__(self, place: Place) -> None:
        super().__init__(daemon=True)
        self._place, self._over = place, threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        with self._place.client("probe") as client:
            job = client.submit(self._place.shot(), self._place.out("probe"))
            while not self._over.wait(0.1):
                begin = time.perf_counter()
                client.status(job.id)
                self.seconds.append(time.perf_counter() - begin)

    def stop(self) -> list[float]:
        self._over.set()
        self.join()
        return self.seconds


# Single jobs


def overhead(place: Place, jobs: int) -> tuple[list[float], list[float]]:
    """Seconds of jobs, one after the other, beyond the engine: from submission to result, and from the queue alone."""
    whole, queued = [], []
    with place.client("probe") as client:
        for _ in range(jobs):
            begin = time.time()
            job = client.submit(place.shot(), place.out("probe"))
            accepted = time.time()
            *_, last = client.watch(job.id)
            end = time.time()
            engine = place.engine(last.folder)
            took = engine["end"] - engine["begin"]
            whole.append(end - begin - took)
            queued.append(end - min(accepted, engine["begin"]) - took)
    return whole, queued


# The crowd


@dataclass
class Told:
    """What a crowd has measured, in seconds."""

    submission: list[float] = field(default_factory=list)
    status: list[float] = field(default_factory=list)
    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    # the processor time of the crowd itself
    cpu: float = 0.0


class Member:
    """One of many clients in one loop: with its own connection, a request at a time."""

    def __init__(self, context: zmq.asyncio.Context, place: Place, user: str, told: Told) -> None:
        self._socket = connected(context, place, user)
        self._place, self._user, self._told, self._number = place, user, told, 0

    async def ask(self, verb: str, **body: Any) -> tuple[dict[str, Any], float]:
        """An answer, and the seconds that it took."""
        self._number += 1
        begin = time.perf_counter()
        await self._socket.send(pack(self._number, verb=verb, body=body))
        while True:
            message = unpack(await self._socket.recv())
            if message["id"] == self._number:
                break
            self._told.events += 1
        if "error" in message:
            self._told.refused[message["error"]["message"]] += 1
        return message, time.perf_counter() - begin

    async def live(self, jobs: int, until: float) -> None:
        """Submit ``jobs``, then follow the last one, and ask for its status once a second."""
        job_id = ""
        for _ in range(jobs):
            if time.time() > until:
                break
            job_id = new_id()
            body = {"shot": self._place.shot().to_dict(), "out": self._place.out(self._user)}
            _, seconds = await self.ask("submit", id=job_id, **body)
            self._told.submission.append(seconds)
        while job_id and time.time() < until:
            await self.ask("watch", job=job_id)
            message, seconds = await self.ask("status", job=job_id)
            self._told.status.append(seconds)
            if message.get("body", {}).get("state") in ("done", "failed"):
                break
            await asyncio.sleep(1)
        self._socket.close(linger=0)


def connected(context: zmq.Context[Any], place: Place, user: str, **options: int) -> Any:
    """A socket that is connected with a user's key."""
    socket = context.socket(zmq.DEALER)
    keys = place.keys[user]
    socket.curve_serverkey, _ = zmq.auth.load_certificate(keys.server)
    socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(keys.secret)
    for name, value in options.items():
        setattr(socket, name, value)
    socket.connect(place.address)
    return socket


def crowd(place: Place, clients: int, jobs: int, until: float, told: Any) -> None:
    """Many clients of the users in turn, in a process of its own; what they measured goes into the queue ``told``."""

    async def all_at_once() -> Told:
        together = Told()
        with zmq.asyncio.Context() as context:
            context.max_sockets = clients + 10
            members = [Member(context, place, f"user{number % USERS}", together) for number in range(clients)]
            share = [jobs // clients + (number < jobs % clients) for number in range(clients)]
            await asyncio.gather(*(m.live(count, until) for m, count in zip(members, share, strict=True)))
        return together

    result = asyncio.run(all_at_once())
    result.cpu = time.process_time()
    told.put(result)


# Clients that behave badly, each in a process of its own until ``over``


def never_reading(place: Place, job_id: str, over: Event) -> None:
    """Asks for pieces of a result on ten connections, and reads none of the answers."""
    with zmq.Context() as context:
        sockets = [connected(context, place, "user0", rcvhwm=1, rcvbuf=2**16, linger=0) for _ in range(10)]
        number = 0
        while not over.wait(0.01):
            number += 1
            body = {"job": job_id, "path": LARGE, "offset": 0}
            for socket in sockets:
                if socket.poll(0, zmq.POLLOUT):
                    socket.send(pack(number, verb="result.chunk", body=body))
        context.destroy(linger=0)


def flooding(place: Place, job_id: str, over: Event) -> None:
    """Asks for lists without waiting for answers."""
    del job_id
    with zmq.Context() as context:
        socket = connected(context, place, "user0", linger=0)
        number = 0
        while not over.is_set():
            number += 1
            socket.send(pack(number, verb="jobs", body={}))
            while socket.poll(1):
                socket.recv()
        context.destroy(linger=0)


def dying(place: Place, job_id: str, over: Event) -> None:
    """Connects, watches a job, and is gone, again and again."""
    with zmq.Context() as context:
        while not over.wait(0.02):
            socket = connected(context, place, "user0", linger=0)
            socket.send(pack(1, verb="watch", body={"job": job_id}))
            socket.poll(100)
            socket.close()


MISBEHAVIOUR: dict[str, Callable[[Place, str, Event], None]] = {
    one.__name__: one for one in (never_reading, flooding, dying)
}
LARGE = "large.bin"


# Files


def plain(folder: Path, keys: Keys, files: Sequence[Path], *, checked: bool = False) -> float:
    """Bytes a second from one process to a file of another over plain ZeroMQ, encrypted as the server does it.

    With ``checked`` each file is hashed before it is sent, so that both know which it is, and hashed as it comes; what
    came is flushed to the disk: as much as files that are kept need in any case.
    """
    total = sum(file.stat().st_size for file in files)
    ready, port = multiprocessing.Event(), multiprocessing.Value("i", 0)
    receiver = multiprocessing.Process(target=_receive, args=(folder, keys, total, ready, port, checked))
    receiver.start()
    ready.wait(30)
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        _encrypt(socket, keys)
        socket.connect(f"tcp://127.0.0.1:{port.value}")
        socket.sndhwm = 16
        begin = time.perf_counter()
        for path in files:
            if checked:
                digest_of(path)
            with open(path, "rb") as file:
                while data := file.read(CHUNK):
                    socket.send(data)
        socket.recv()
        took = time.perf_counter() - begin
    receiver.join(30)
    return total / took


def _encrypt(socket: Any, keys: Keys) -> None:
    socket.curve_serverkey, _ = zmq.auth.load_certificate(keys.server)
    socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(keys.secret)


def _receive(folder: Path, keys: Keys, size: int, ready: Event, port: Any, checked: bool) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        public = Path(keys.server)
        socket.curve_publickey, socket.curve_secretkey = zmq.auth.load_certificate(public.with_suffix(".key_secret"))
        socket.curve_server = True
        socket.rcvhwm = 16
        port.value = socket.bind_to_random_port("tcp://127.0.0.1")
        ready.set()
        found = hashlib.sha256()
        with open(folder / "received", "wb") as file:
            while file.tell() < size:
                sender, data = socket.recv_multipart()
                file.write(data)
                if checked:
                    found.update(data)
            if checked:
                file.flush()
                os.fsync(file.fileno())
        socket.send_multipart([sender, b""])
        socket.close(linger=1000)


def touch_memory(folder: Path, megabytes: int) -> None:
    """Have the system hand out and take back so much memory for files, before anything is timed.

    A virtual machine gets memory from its host when it is first written to, which takes longer than all else there is
    to a transfer, and so is to whom it happens by chance.
    """
    file = folder / "touched"
    with open(file, "wb") as writing:
        for _ in range(megabytes):
            writing.write(bytes(2**20))
    file.unlink()


@contextmanager
def spending(place: Place, told: dict[str, dict[str, float]], what: str) -> Iterator[None]:
    """Add to ``told`` the processor time in the block: of this process and those that ended, and of the server."""

    def own() -> float:
        times = os.times()
        return sum(times[:4])

    begin, server = own(), Cpu(place.pid)
    yield
    used = server.used()
    told[what] = {"client": own() - begin, **used}


def transferred(place: Place, megabytes: int, frame: int) -> None:
    """Print the rates of upload and download of a shot with frames of so many megabytes.

    Beside them are those of plain ZeroMQ, alone and with what else is needed, which are taken before and after. For
    these what is called the client's processor time is that of both sides.
    """
    cpu: dict[str, dict[str, float]] = {}
    plate = place.root / f"plate_{frame}"
    plate.mkdir()
    for number in range(megabytes // frame):
        with open(plate / f"plate.{number:04d}.exr", "wb") as file:
            for _ in range(frame):
                file.write(os.urandom(2**20))
    # what plain ZeroMQ sends is written to one file, uploads and downloads to files that stay
    touch_memory(place.root, 4 * megabytes)
    sources, keys = sorted(plate.iterdir()), place.keys["probe"]
    size = sum(source.stat().st_size for source in sources)
    with spending(place, cpu, "plain"):
        rates = [plain(place.root, keys, sources)]
    with spending(place, cpu, "hashed and flushed too"):
        checked = [plain(place.root, keys, sources, checked=True)]
    begin = time.perf_counter()
    for source in sources:
        hashlib.sha256(source.read_bytes())
    hashing = size / (time.perf_counter() - begin)
    with place.client("probe") as client:
        begin = time.perf_counter()
        roto = place.shot().roto or ""
        files = {"plate": [str(source) for source in sources], "roto": [roto]}
        with spending(place, cpu, "upload"):
            job = client.submit_files(Shot(str(plate / "plate.%04d.exr"), roto, prompt=str(WORK)), files)
        up = size / (time.perf_counter() - begin)
        *_, done = client.watch(job.id)
        shutil.copytree(plate, Path(done.folder) / "plate", copy_function=os.link)
        begin = time.perf_counter()
        with spending(place, cpu, "download"):
            client.download(job.id, str(place.root / "fetched"))
        down = size / (time.perf_counter() - begin)
    checked.append(plain(place.root, keys, sources, checked=True))
    rates.append(plain(place.root, keys, sources))
    rate, kept = sum(rates) / len(rates), sum(checked) / len(checked)
    print(
        f"{len(sources)} frames of {frame} MiB: plain ZeroMQ {rates[0] / 1e6:.0f} and {rates[1] / 1e6:.0f} MB/s, ",
        end="",
    )
    print(f"hashed and flushed too {checked[0] / 1e6:.0f} and {checked[1] / 1e6:.0f} MB/s, ", end="")
    print(f"SHA-256 {hashing / 1e6:.0f} MB/s")
    for what, told in (("upload", up), ("download", down)):
        print(f"  {what} {told / 1e6:.0f} MB/s, {told / rate:.0%}, {told / kept:.0%}")
    for what, used in cpu.items():
        print(f"  CPU ms per MiB, {what}: ", end="")
        print(", ".join(f"{who} {seconds / megabytes * 1e3:.1f}" for who, seconds in used.items()), flush=True)


# All of it


def begun(place: Place) -> list[str]:
    """Who had each job begun, in the order in which they began."""
    told = (place.root / "out").glob("user*/v*/engine.json")
    return [user for _, user in sorted((json.loads(one.read_text())["begin"], one.parents[1].name) for one in told)]


def loaded(place: Place, clients: int, jobs: int, seconds: float, misbehaving: Sequence[str]) -> None:
    """Print what a crowd and a well-behaved user measure, with clients that behave badly in these ways."""
    with place.client("user0") as client:
        *_, job = client.watch(client.submit(place.shot(), place.out("user0")).id)
    (Path(job.folder) / LARGE).write_bytes(os.urandom(8 * CHUNK))
    told, over = multiprocessing.Queue(), multiprocessing.Event()
    bad = [multiprocessing.Process(target=MISBEHAVIOUR[one], args=(place, job.id, over)) for one in misbehaving]
    good = multiprocessing.Process(target=crowd, args=(place, clients, jobs, time.time() + seconds, told))
    memory, probe, cpu = Memory(place.pid), Probe(place), Cpu(place.pid)
    before = len(begun(place))
    begin = time.time()
    for one in [*bad, good, memory, probe]:
        one.start()
    result = told.get(timeout=seconds + 120)
    took = time.time() - begin
    used = {**cpu.used(), "crowd": result.cpu, "bad clients": cpu_of(bad)}
    over.set()
    status = probe.stop()
    memory.stop()
    for one in [*bad, good]:
        one.join(30)
        if one.exitcode:
            print(f"{one.name} ended with {one.exitcode}")
    order = begun(place)[before:]
    share = Counter(order)
    with_whom = f", with clients {', '.join(misbehaving)}" if misbehaving else ""
    print(f"{clients} clients, {len(result.submission)} jobs, {took:.0f} s{with_whom}")
    print(f"  submission      {percentiles(result.submission)}")
    print(f"  status, crowd   {percentiles(result.status)}")
    print(f"  status, probe   {percentiles(status)}")
    print(f"  {result.events / took:.0f} events/s, {len(order) / took:.1f} jobs/s; memory ", end="")
    third = -(-len(memory.seen) // 3)
    most = [max(memory.seen[at : at + third]) for at in range(0, len(memory.seen), third)]
    print(", ".join(f"{one:.0f}" for one in most), "MB at most in each third")
    print("  CPU seconds: " + ", ".join(f"{what} {seconds:.1f}" for what, seconds in used.items()))
    if share:
        print(f"  jobs done of each user: {min(share.values())} to {max(share.values())}")
    for message, count in result.refused.most_common(3):
        print(f"  refused {count}: {message}")
    sys.stdout.flush()


def group(words: str) -> list[str]:
    """The clients that behave badly together, as they are named, with commas between."""
    names = words.split(",")
    if unknown := [name for name in names if name not in MISBEHAVIOUR]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}; choose from {', '.join(MISBEHAVIOUR)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--bad", nargs="*", type=group, default=[[*MISBEHAVIOUR]])
    arguments = parser.parse_args()
    with served(arguments.workers) as place:
        if "jobs" in arguments.parts:
            whole, queued = overhead(place, 30)
            print(f"a job beyond the engine: {percentiles(whole)}")
            print(f"  once it is accepted:   {percentiles(queued)}", flush=True)
        if "files" in arguments.parts:
            # a shot, and one large file, such as a movie
            transferred(place, arguments.megabytes, FRAME)
            transferred(place, arguments.megabytes, arguments.megabytes)
        for misbehaving in [[], *arguments.bad] if "crowd" in arguments.parts else []:
            try:
                loaded(place, arguments.clients, arguments.jobs, arguments.seconds, misbehaving)
            except VoidError as error:
                print(f"the server did not bear it: {error}", flush=True)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()
