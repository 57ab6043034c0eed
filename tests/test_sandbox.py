"""What workers can do beyond their job, whatever a job makes of them: nothing, as far as the kernel goes."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
import platform
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import test_service
from tests.test_faults import HERE, within
from tests.test_service import RunningServer, ended, shot_of, wait_for
from void_server.api import Client, Job, JobState, policy, version
from void_server.api.errors import JobFailed, ServerRefused, SettingError
from void_server.api.home import home, made
from void_server.quadmask.analysts import asking, gemini, local, privacy
from void_server.service.audit import AuditLog
from void_server.service.config import ServerConfig
from void_server.service.inspection import MEMORY, Inspector
from void_server.service.requests import Requests
from void_server.service.sandbox import Sandbox, environment, make_gpu_nodes, needed_to_run
from void_server.service.server import Server
from void_server.service.store import FILE, Store
from void_server.service.system_calls import FORBIDDEN
from void_server.service.transfer import Upload, Uploads
from void_server.service.workers import WorkerPool

pytestmark = pytest.mark.slow
no_server_stays = test_service.no_server_stays

LANDLOCK = sys.platform == "linux" and ctypes.CDLL(None).syscall(444, None, 0, 1) >= 3
kernel_confines = pytest.mark.skipif(not LANDLOCK, reason="no Landlock here: NOT tested")

Running = Callable[..., Job]


@pytest.fixture
def job_of(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Has a server run a job whose pipeline does what is given; the job as it ended."""

    def run(body: str, **config: object) -> Job:
        (tmp_path / "odd").mkdir(exist_ok=True)
        (tmp_path / "odd" / "odd_pipeline.py").write_text(
            "import os, signal, subprocess, sys, time\nfrom pathlib import Path\n"
            "from void_server.api.errors import JobFailed\n\n"
            "def inspect(shot):\n    pass\n\n"
            f"def run(job_id, shot, folder, report):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n    return ()\n"
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "odd"), os.environ.get("PYTHONPATH", "")]))
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        server = RunningServer(shot, root, pipeline="odd_pipeline", **config)
        with Client(server.address) as client:
            return ended(client, client.submit(shot_of(shot), str(root / "out")))

    return run


def told(job: Job) -> str:
    """What a job failed with."""
    assert job.error is not None
    return str(job.error)


@kernel_confines
def test_a_worker_reads_and_writes_nothing_but_what_jobs_may(job_of: Running, tmp_path: Path) -> None:
    """Also not through a process of its own, which knows nothing of VOID's checks."""
    secret = home() / "keys" / "server.key_secret"
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text("secret")
    (tmp_path / "outside").mkdir()
    job = job_of(f"""
        tried = []
        for path in ({str(secret)!r}, {str(home() / FILE)!r}):
            try:
                tried.append(open(path, "rb").read())
            except PermissionError:
                tried.append("denied")
        try:
            Path({str(tmp_path / "outside" / "new")!r}).write_text("x")
        except PermissionError:
            tried.append("denied")
        tried.append(subprocess.run(["cat", {str(secret)!r}], capture_output=True, text=True).stdout)
        (folder / "mine").write_text("x")
        os.rename(folder / "mine", folder / "still_mine")
        os.makedirs(folder / "plate")
        os.rename(folder / "still_mine", folder / "plate" / "moved")
        raise JobFailed(repr(tried))
    """)
    assert told(job) == "['denied', 'denied', 'denied', '']"


@kernel_confines
def test_a_shot_is_looked_at_by_a_process_that_writes_nothing_and_reads_only_what_jobs_may(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "luts").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "luts" / "lut").write_text("lut")
    (tmp_path / "odd" / "odd_pipeline.py").write_text(
        "from pathlib import Path\nfrom void_server.api.errors import JobFailed\n"
        "def inspect(shot):\n"
        "    tried = []\n"
        f"    for act in (lambda: Path({str(tmp_path / 'secret')!r}).read_text(),\n"
        f"                lambda: Path({str(tmp_path / 'luts' / 'lut')!r}).read_text(),\n"
        "                lambda: Path(shot.plate, 'new').write_text('x')):\n"
        "        try:\n"
        "            tried.append(act())\n"
        "        except PermissionError:\n"
        "            tried.append('denied')\n"
        "    raise JobFailed(repr(tried))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "odd"), os.environ.get("PYTHONPATH", "")]))
    root = tmp_path / "root"
    root.mkdir()
    config = ServerConfig(HERE, (shot, root), pipeline="odd_pipeline", worker_read=(tmp_path / "luts",))

    def work(address: str) -> None:
        with Client(address) as client, pytest.raises(JobFailed, match=re.escape("['denied', 'lut', 'denied']")):
            client.submit(shot_of(shot), str(root / "out"))

    within(Server(config), work)


@pytest.mark.skipif(platform.machine() not in FORBIDDEN, reason="no filter for this machine: NOT tested")
def test_a_worker_makes_no_system_call_that_only_administrators_and_debuggers_need(job_of: Running) -> None:
    """Without the filter root may make these, and some of them everybody; threads and processes work as ever."""
    job = job_of(f"""
        import ctypes, errno, threading
        libc = ctypes.CDLL(None, use_errno=True)
        allowed = []
        calls = dict({FORBIDDEN[platform.machine()]!r})
        # with these numbers nothing happens where they are let through; what follows says why
        for name, number in calls.items():
            if name in ("reboot", "settimeofday", "clock_settime", "swapon", "swapoff"):
                continue
            if libc.syscall(number, -1, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() != errno.EPERM:
                allowed.append(name)
        # a process in name spaces of its own would be root there, and may mount
        clone = {{"x86_64": 56, "aarch64": 220}}[{platform.machine()!r}]
        if not libc.syscall(clone, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0):
            os._exit(0)
        allowed += ["clone"] * (ctypes.get_errno() != errno.EPERM)
        done = []
        thread = threading.Thread(target=done.append, args=(1,))
        thread.start()
        thread.join()
        unshare = f"import ctypes; print(ctypes.CDLL(None).syscall({{calls['unshare']}}, 0x10000000))"
        child = subprocess.run([sys.executable, "-c", unshare], capture_output=True, text=True)
        raise JobFailed(repr((allowed, done, child.stdout)))
    """)
    assert told(job) == r"([], [1], '-1\n')"


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_the_numbers_of_forbidden_system_calls_are_the_systems(machine: str, header: str) -> None:
    if not Path(header).is_file():
        pytest.skip(f"no {header} here: NOT tested")
    numbers = dict(re.findall(r"__NR3?\d*_(\w+)\s+(\d+)\s", Path(header).read_text()))
    for name, number in FORBIDDEN[machine].items():
        assert numbers[name] == str(number), name


def test_what_is_the_same_for_all_shots_is_found_before_the_first_is_looked_at(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds that come at once wait for each other."""
    (tmp_path / "odd_pipeline.py").write_text(
        "from void_server.api.errors import JobFailed\nfrom void_server.service.sandbox import needed_to_run\n"
        "def inspect(shot):\n    raise JobFailed(repr(needed_to_run.cache_info()))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    inspector = Inspector("odd_pipeline", sandbox=Sandbox((str(shot),), (), MEMORY))
    try:
        # in a process of its own for each shot, so one that had to look itself would say so
        for _ in range(2):
            with pytest.raises(JobFailed, match=r"hits=1, misses=1"):
                asyncio.run(inspector.inspect(shot_of(shot), None))
    finally:
        inspector.stop()


@kernel_confines
def test_a_worker_cannot_end_the_server(job_of: Running) -> None:
    job = job_of("""
        try:
            os.kill(os.getppid(), 0)
        except PermissionError:
            raise JobFailed("may not")
    """)
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 6:
        pytest.skip("this kernel's Landlock knows no signals")
    assert told(job) == "may not"


def test_a_worker_has_none_of_the_servers_secrets(
    job_of: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUDIO_DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("STUDIO_LICENCE", "host")
    for name in ("VOID_KEY", "VOID_SERVER_KEY"):
        monkeypatch.setenv(name, str(tmp_path))
    assert not {"STUDIO_DATABASE_PASSWORD", "AWS_SECRET_ACCESS_KEY", "VOID_KEY", "VOID_SERVER_KEY"} & set(environment())
    for name in ("VOID_KEY", "VOID_SERVER_KEY"):
        monkeypatch.delenv(name)
    job = job_of(
        "raise JobFailed(' '.join(sorted(n for n in os.environ if n.startswith(('STUDIO', 'AWS')))))",
        worker_environment=["STUDIO_LICENCE"],
    )
    assert told(job) == "STUDIO_LICENCE"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has several heaps")
def test_the_threads_of_a_worker_share_one_heap(job_of: Running) -> None:
    """That which listens to the server is there before any job; with a heap of its own a job takes more memory."""
    job = job_of("""
        import ctypes
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        file = os.path.join(os.environ["TMPDIR"], "heaps")
        stream = ctypes.c_void_p(libc.fopen(file.encode(), b"w"))
        libc.malloc_info(0, stream)
        libc.fclose(stream)
        raise JobFailed(str(open(file).read().count("<heap nr")))
    """)
    assert told(job) == "1"


def test_a_worker_has_limits(job_of: Running) -> None:
    job = job_of(
        """
        import resource
        names = ("RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_CORE")
        limits = [resource.getrlimit(getattr(resource, name))[1] for name in names]
        (privileges,) = (line for line in open("/proc/self/status") if "NoNewPrivs" in line)
        raise JobFailed(f"{limits} {privileges.strip()}")
        """,
        worker_memory=3 << 30,
    )
    limits = [int(limit) for limit in re.findall(r"\d+", told(job))]
    assert limits[0] == 3 << 30
    assert limits[1] <= 64 << 30
    assert limits[2] <= 4096
    assert limits[3] == 0
    assert not LANDLOCK or told(job).endswith("\t1")


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts what is mapped on Linux alone")
def test_weights_that_are_larger_than_a_workers_memory_can_be_mapped(
    job_of: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch maps them: privately, as if to write. That counts for the limit, though it uses no memory."""
    weights = tmp_path / "weights" / "base" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    with open(weights, "wb") as file:
        file.truncate(3 << 30)
    monkeypatch.setenv("VOID_WEIGHTS", str(tmp_path / "weights"))
    job = job_of(
        f"""
        import mmap
        with open({str(weights)!r}, "rb") as file:
            held = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
        assert held[:4] == bytes(4)
        """,
        worker_memory=2 << 30,
    )
    assert job.state is JobState.DONE, told(job)


@kernel_confines
def test_libraries_keep_their_kernels_where_a_worker_may_write(
    job_of: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "shared"))
    job = job_of("""
        for name in ("CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
            Path(os.environ[name]).mkdir()
            (Path(os.environ[name]) / "kernel").write_text("x")
    """)
    assert job.state is JobState.DONE, told(job)


@kernel_confines
def test_a_worker_runs_the_c_compiler_that_its_server_is_told_of(
    job_of: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `void doctor` expects; the compiler reads what lies beside it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "part").write_text("made")
    (tools / "cc").write_text(f"#!/bin/sh\ncat {tools}/part\n")
    (tools / "cc").chmod(0o755)
    monkeypatch.setenv("CC", str(tools / "cc"))
    job = job_of('raise JobFailed(subprocess.check_output([os.environ["CC"]], text=True))')
    assert told(job) == "made"


def test_a_compiler_beside_voids_keys_is_read_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.touch(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("VOID_HOME", str(tmp_path / "home"))
    read = needed_to_run.__wrapped__()
    assert str(compiler) in read
    assert str(tmp_path) not in read


def test_the_server_has_the_driver_make_what_a_confined_worker_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    tool = tmp_path / "nvidia-modprobe"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {devices}/nvidia-uvm\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    make_gpu_nodes(devices)
    assert not list(devices.iterdir()), "no driver here"
    (devices / "nvidiactl").touch()
    for _ in range(2):
        make_gpu_nodes(devices)
    assert (devices / "nvidia-uvm").read_text() == "-u -c 0\n", "once"
    tool.unlink()
    (devices / "nvidia-uvm").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    make_gpu_nodes(devices)


@kernel_confines
def test_processes_of_one_job_meet_and_talk_in_a_sandbox(tmp_path: Path) -> None:
    """As those on several GPUs do, through gloo: a file to meet in, and the loopback interface."""
    pytest.importorskip("torch")
    write = tmp_path / "may write"
    write.mkdir()
    code = f"""
import sys
from pathlib import Path
from void_server.service.sandbox import Sandbox
assert Sandbox((), ({str(write)!r},), 8 << 30).enter() == ""
import torch
from void_server.engines.void.team import Group
rank = int(sys.argv[1])
group = Group.join(rank, 2, torch.device("cpu"), Path({str(write / "meeting")!r}))
made = group.shared_out([lambda: torch.tensor([1.0 + rank])] * 2, [torch.zeros(1)] * 2)
print([float(one) for one in made])
"""
    own = {**os.environ, "TMPDIR": str(write)}
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(rank)], stdout=subprocess.PIPE, text=True, env=own)
        for rank in range(2)
    ]
    try:
        assert [process.communicate(timeout=240)[0] for process in both] == ["[1.0, 2.0]\n"] * 2
    finally:
        for process in both:
            process.kill()
            process.wait()


def test_a_job_that_takes_too_much_memory_ends_with_a_sentence(job_of: Running) -> None:
    job = job_of("held = bytearray(2 << 30)", worker_memory=1 << 30)
    assert "ran out of memory" in told(job)


GROWING = """
    (folder / f"attempt_{os.getpid()}").touch()
    children = [subprocess.Popen([sys.executable, "-c", "held = bytes(1) * (200 << 20); input()"],
                                 stdin=subprocess.PIPE) for _ in range(4)]
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("body", "limits", "message"),
    [
        (GROWING, {"worker_memory": 600 << 20}, "used more than the 0.6 GB of memory it may, as did the one before"),
        (
            '(folder / f"attempt_{os.getpid()}").touch()\ntime.sleep(600)',
            {"worker_patience": 0.02},
            "did not say how far it is for 0.02 minutes, as did the one before",
        ),
    ],
)
def test_a_worker_that_grows_or_hangs_is_ended_and_another_tries_once(
    job_of: Running, body: str, limits: dict[str, float], message: str
) -> None:
    job = job_of(body, workers=2, **limits)
    assert job.state is JobState.FAILED
    assert message in told(job)
    assert len(list(Path(job.folder).glob("attempt_*"))) == 2


def test_a_worker_leaves_no_temporary_files(job_of: Running) -> None:
    job = job_of("""
        import tempfile
        file = tempfile.NamedTemporaryFile(delete=False)
        raise JobFailed(file.name)
    """)
    assert Path(told(job)).is_file()
    RunningServer.started[-1].stop()
    wait_for(lambda: not Path(told(job)).exists())


def nobody_runs_python() -> bool:
    """Whether this process may become another user that may run this interpreter."""
    try:
        return subprocess.run([sys.executable, "-c", "import msgpack"], user="nobody", check=False).returncode == 0
    except (PermissionError, ValueError):
        return False


def test_what_a_killed_server_left_behind_goes_with_the_next(job_of: Running) -> None:
    body = "raise JobFailed(os.environ['TMPDIR'])"
    left = Path(told(job_of(body)))
    killed = RunningServer.started[-1]
    for process in (*killed.workers(), killed.process):
        process.kill()
    killed.process.communicate()
    assert left.is_dir()
    living = Path(told(job_of(body)))
    for folder in (left, living):
        # as if both had been there for long
        os.utime(folder, (1.0, 1.0))
    job_of(body)
    assert not left.exists()
    assert living.is_dir()


@pytest.mark.skipif(not nobody_runs_python(), reason="root, and a Python for all, are needed: NOT tested")
def test_workers_run_as_another_user(shot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a folder that this user reaches, which pytest's are not."""
    nobody = pwd.getpwnam("nobody")
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        place.chmod(0o755)
        plate = shutil.copytree(shot, place / "shot")
        (place / "odd_pipeline.py").write_text(
            "import os\nfrom void_server.api.errors import JobFailed\n"
            "def inspect(shot):\n    assert os.getuid() and not os.getgroups()\n"
            "def run(job_id, shot, folder, report):\n"
            "    (folder / 'result').write_text('x')\n"
            "    open(shot.plate + '/' + os.listdir(shot.plate)[0], 'rb').close()\n"
            "    return [f'{os.getuid()} {os.getgid()} {os.getgroups()}']\n"
        )
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
        server = RunningServer(place, pipeline="odd_pipeline", worker_user="nobody")
        with Client(server.address) as client:
            job = ended(client, client.submit(shot_of(plate), str(place / "out")))
        assert job.warnings == (f"{nobody.pw_uid} {nobody.pw_gid} []",)
        assert (Path(job.folder) / "result").stat().st_uid == nobody.pw_uid
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="root is needed: NOT tested")
def test_what_is_uploaded_is_for_the_workers_user_and_for_nobody_else(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state folder must be passable for that user, and so is for all others."""
    nobody = pwd.getpwnam("nobody")
    config = ServerConfig("tcp://127.0.0.1:*", state=tmp_path, worker_user="nobody")
    pool = WorkerPool(config, lambda *_: None, lambda *_: None, lambda *_: None)
    pool.task = lambda work: work.close()  # type: ignore[method-assign]
    pool.start()
    uploads = Uploads(made(tmp_path / "uploads"))
    asked = Requests.__new__(Requests)
    asked._config, asked._uploads, asked._owner_of_work = config, uploads, config.owner_of_work
    content = b"frame"
    digest = hashlib.sha256(content).hexdigest()
    uploads.chunk(Upload(digest, len(content), "ann"), 0, content)
    files = {role: [["x.exr", digest]] for role in ("plate", "roto")}
    link, ways = os.link, []

    def seen(source: Path, target: Path) -> None:
        ways.append([(one.stat().st_uid, one.stat().st_mode & 0o777) for one in target.parents])
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", seen)
        for _ in ("the first time", "once that user has the folder"):
            given, _, _ = asked._admit("0123456789ab", shot_of(shot), {"files": files}, "ann", threading.Event())
    # where root writes, that user neither writes nor looks
    assert len(ways) == 4
    assert all((0, 0o700) in way and (nobody.pw_uid, 0o700) not in way for way in ways)
    job = tmp_path / "jobs" / "0123456789ab"
    assert (job.stat().st_uid, job.stat().st_mode & 0o777) == (nobody.pw_uid, 0o700)
    assert job.parent.stat().st_mode & 0o777 == 0o711
    assert Path(given.plate).stat().st_mode & 0o004
    Store(tmp_path).close()
    AuditLog(tmp_path).add("ann", "here", "submit")
    for name in ("uploads", FILE, "audit.jsonl", "audit.key"):
        assert not (tmp_path / name).stat().st_mode & 0o077, name


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="root is needed: NOT tested")
def test_a_python_that_the_workers_user_may_not_run_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(python))
    nobody = pwd.getpwnam("nobody")
    with pytest.raises(ServerRefused, match=f"may not run {python}; install Python and VOID where"):
        Inspector("json", owner=(nobody.pw_uid, nobody.pw_gid))


def test_only_root_gives_workers_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ServerRefused, match="Only a server that runs as root"):
        _ = ServerConfig(worker_user="nobody").owner_of_work
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SettingError, match="There is no user 'no such user'"):
        _ = ServerConfig(worker_user="no such user").owner_of_work


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_weights_give_an_inspection_no_more_memory(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_pipeline.py").write_text(
        "import resource\nfrom void_server.api.errors import JobFailed\n"
        "def inspect(shot):\n    raise JobFailed(f'at most {resource.getrlimit(resource.RLIMIT_DATA)[0]}')\n"
    )
    (tmp_path / "weights").mkdir()
    with open(tmp_path / "weights" / "model.safetensors", "wb") as file:
        file.truncate(3 << 30)
    monkeypatch.setenv("VOID_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    root = tmp_path / "root"
    root.mkdir()

    def work(address: str) -> None:
        with Client(address) as client, pytest.raises(JobFailed, match=f"at most {MEMORY}$"):
            client.submit(shot_of(shot), str(root / "out"))

    within(Server(ServerConfig(HERE, (shot, root), pipeline="odd_pipeline")), work)


def test_of_voids_variables_a_worker_gets_those_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = (
        *("VOID_SMTP_PASSWORD", "VOID_C2PA_KEY", "VOID_KEY", "VOID_SERVER_KEY", "VOID_STUDIO_SECRET", "HF_TOKEN"),
        "CCTV_PASSWORD",
    )
    needed = (
        *("VOID_WEIGHTS", "VOID_HOME", "VOID_USER", privacy.FORBIDDEN, privacy.ALLOWED, policy.ENVIRONMENT),
        *(gemini.ENVIRONMENT_MODEL, gemini.ENVIRONMENT_URL, version.PREVIEW_MOVIE, version.PREVIEW_FPS),
        *(local.ENVIRONMENT_URL, local.ENVIRONMENT_MODEL, local.ENVIRONMENT_BOXES, local.KEY),
        *(asking.variable("requests"), "HF_HOME", "HF_HUB_OFFLINE", "CC"),
    )
    for name in (*secret, *needed):
        monkeypatch.setenv(name, "x")
    assert set(needed) <= set(environment())
    assert not set(secret) & set(environment())
    assert "VOID_STUDIO_SECRET" in environment(["VOID_STUDIO_SECRET"])
