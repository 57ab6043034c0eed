"""What a process of the server's may use: memory, files, processes, and, on Linux, which folders and system calls.

Unlike the checks of :mod:`void_server.api.confinement` nothing in the process gets round these, whatever a library of
it does: the kernel enforces them, and they last for as long as the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..api import policy
from ..api.home import home
from .system_calls import forbid_system_calls

#: No file that a job writes is larger, in bytes; nor are there more processes and threads of its user.
FILE_SIZE, PROCESSES = 64 << 30, 4096

# What every process needs to run; of /dev it gets what harms nobody, and GPUs.
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/nix", "/proc", "/sys", "/run/systemd/resolve")
_DEVICES = ("null", "zero", "full", "random", "urandom", "shm", "dri", "kfd", "nvidia*", "dxg")
# Variables that name what is read, and may be a list.
_NAMING = (
    "PYTHONPATH", "LD_LIBRARY_PATH", "PATH", "VOID_WEIGHTS", "SAM2_WEIGHTS", "OCIO", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "CUDA_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME",
)  # fmt: skip
_CACHES = ("huggingface", "torch")
# Folders of weights, by their variables, and the caches of compiled kernels, which would lie in the user's home.
_WEIGHTS = ("VOID_WEIGHTS", "SAM2_WEIGHTS")
_KERNELS = {"CUDA_CACHE_PATH": "cuda", "TRITON_CACHE_DIR": "triton", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
_OF_HOME = ("gemini.key", "local.key", "policy.json")
# Triton's C compiler; other names begin with these letters.
_COMPILER = "CC"
# Variables that a worker needs, by their beginnings. Secrets are among them only where it is the worker that uses them.
_NEEDED = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_", "TZ", "TERM", "PYTHON", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "OCIO",
    "VOID_WEIGHTS", "VOID_HOME", "VOID_USER", "VOID_POLICY", "VOID_NO_CLOUD", "VOID_ALLOWED_HOSTS", "VOID_GEMINI_",
    "VOID_LOCAL_", "VOID_REASONER_", "VOID_PREVIEW_", "SAM2_WEIGHTS", "GEMINI_", "GOOGLE_API_KEY", "OMP_", "MKL_",
    "OPENBLAS_", "OPENCV_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "NCCL_", "TORCH_", "TORCHINDUCTOR_", "PYTORCH_",
    "HF_HOME", "HF_HUB_", "TRANSFORMERS_", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "PROGRAM", "NUMBER_OF_PROCESSORS", "PROCESSOR_", "COVERAGE_", "PYTEST_",
)  # fmt: skip


def environment(more: Iterable[str] = ()) -> dict[str, str]:
    """The server's variables that a worker gets: those that it needs, and ``more``; no secret that is only here."""
    wanted = {_COMPILER, *more}
    return {name: value for name, value in os.environ.items() if name in wanted or name.upper().startswith(_NEEDED)}


def temporary(folder: str) -> dict[str, str]:
    """The variables that send what libraries write for themselves to ``folder``, where a worker may write."""
    return {"TMPDIR": folder, **{name: os.path.join(folder, part) for name, part in _KERNELS.items()}}


@dataclass(frozen=True)
class Sandbox:
    """Limits of a process: the paths that it may ``read``, and ``write``, beside what it needs to run; ``memory`` in
    bytes, to which the weights' files are added where it ``maps_weights``.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]
    memory: int
    maps_weights: bool = False

    def to_json(self) -> str:
        """As text, for the command line of a process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Sandbox:
        """What :meth:`to_json` made."""
        data = json.loads(text)
        return cls(tuple(data["read"]), tuple(data["write"]), int(data["memory"]), bool(data["maps_weights"]))

    def enter(self) -> str:
        """Confine this process, and those that it starts, for good. Returns what cannot be enforced here, else ""."""
        limit_resources(self.memory + (_mapped() if self.maps_weights else 0))
        if sys.platform != "linux":
            return "Landlock is Linux's; reading and writing are held back by VOID alone"
        lacking = _landlock([*needed_to_run(), *self.read], self.write), forbid_system_calls()
        return "; ".join(filter(None, lacking))


def as_user(owner: tuple[int, int] | None) -> dict[str, Any]:
    """What has subprocess.Popen start a process as this user and group, and in no other group; None is our own."""
    return {} if owner is None else {"user": owner[0], "group": owner[1], "extra_groups": []}


def limit_resources(memory: int) -> None:
    """Limit this process's memory, files and processes, where the platform can."""
    if sys.platform == "win32":
        return
    import resource

    limits = {
        # What may be written to, not address space: CUDA reserves far more of that than it uses, without the right to
        # write; what it shares with the driver, pinned memory too, does not count here.
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: FILE_SIZE,
        resource.RLIMIT_NPROC: PROCESSES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _mapped() -> int:
    """The bytes of weights' files. torch maps them as if it would write to them, so they count, but use no memory."""
    folders = [Path(named).expanduser() for name in _WEIGHTS if (named := os.environ.get(name))]
    files = [file for folder in folders for file in folder.rglob("*.safetensors")]
    return sum(os.path.getsize(file) for file in files if os.path.isfile(file))


def give_way(steps: int) -> None:
    """Have this process, and those that it starts, go behind the server where both want a core.

    The more ``steps``, as ``nice`` counts them, the less it gets then; where nobody else wants it, it has all.
    """
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(steps)


def make_gpu_nodes(devices: Path = Path("/dev")) -> None:
    """Have NVIDIA's driver make the device files that CUDA needs, where it has not yet.

    CUDA does so itself at its first use after the machine has started, by a program that gains privileges. A confined
    process may not start that one, and may use only the devices that are there when it is confined.
    """
    if (devices / "nvidiactl").exists() and not (devices / "nvidia-uvm").exists():
        # without it, or where it fails, CUDA says what it lacks
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["nvidia-modprobe", "-u", "-c", "0"], check=False, timeout=30)


@cache
def needed_to_run() -> tuple[str, ...]:
    """What this interpreter, its packages and the plug-ins read; found once for a process and those split off it."""
    listed = [part for name in _NAMING for part in os.environ.get(name, "").split(os.pathsep)]
    named = [os.path.expanduser(part) for part in listed]
    # a configuration of colours reads what lies beside it
    named += [os.path.dirname(os.environ.get("OCIO", "")), _around(os.environ.get(policy.ENVIRONMENT, ""))]
    named += [_around(shutil.which(os.environ.get(_COMPILER, "")) or "")]
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    caches = [os.path.join(cache, name) for name in _CACHES]
    own = [str(home() / name) for name in _OF_HOME]
    return (*_SYSTEM, sys.prefix, sys.base_prefix, *sys.path, *named, *caches, *own, *_packages())


def _around(file: str) -> str:
    """A file's folder, so that what replaces the file counts, and what lies beside it; the file alone where keys may.

    Empty for no file.
    """
    folder = Path(file).absolute().parent
    return file if not file or home().absolute().is_relative_to(folder) else str(folder)


def _packages() -> list[str]:
    """The folders of this package and of those with plug-ins, which need not lie where Python looks by itself."""
    names = {"void_server"}
    for group in ("engines", "reasoners", "segmenters"):
        names |= {point.module.partition(".")[0] for point in entry_points(group=f"void_server.{group}")}
    found = (find_spec(name) for name in names)
    return [place for spec in found if spec for place in spec.submodule_search_locations or [spec.origin or ""]]


# Landlock (linux/landlock.h): the rights by their bits, those of the fifth version of its interface
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE, _IOCTL = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
_READING = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
#: Making and removing files, folders and links; no devices, sockets or pipes.
_CHANGING = _WRITE_FILE | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 12 | 1 << 13 | _TRUNCATE
_ALL = (1 << 16) - 1
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
#: With the third version files can be shortened by those alone that may write them.
_OLDEST = 3
_SCOPED = 3
_NO_NEW_PRIVILEGES = 38


def _landlock(reading: Iterable[str], writing: Iterable[str]) -> str:
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, 0, _VERSION)
    if version < _OLDEST:
        return "this kernel has no Landlock, or one before version 3; reading and writing are held back by VOID alone"
    handled = _ALL if version >= 5 else _ALL & ~_IOCTL
    attributes = struct.pack("QQQ", handled, 0, _SCOPED)[: 24 if version >= 6 else 8]
    rules = libc.syscall(_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        return f"Landlock does not work here ({os.strerror(ctypes.get_errno())})"
    try:
        for path in dict.fromkeys(reading):
            _allow(libc, rules, path, _READING & handled)
        for path in dict.fromkeys(writing):
            _allow(libc, rules, path, (_READING | _CHANGING) & handled)
        for pattern in _DEVICES:
            for device in Path("/dev").glob(pattern):
                _allow(libc, rules, str(device), (_READING | _CHANGING | _IOCTL) & handled & ~_EXECUTE)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if libc.syscall(_RESTRICT, rules, 0):
            return f"Landlock does not work here ({os.strerror(ctypes.get_errno())})"
    finally:
        os.close(rules)
    return ""


def _allow(libc: ctypes.CDLL, rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC) if path else -1
    except OSError:
        return  # what is not there needs no right
    if place < 0:
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        libc.syscall(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
