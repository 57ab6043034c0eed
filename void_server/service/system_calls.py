"""Forbid a process the system calls that no job needs, by seccomp: so a fault of the kernel in one is out of reach.

Those are for whoever looks after a machine or debugs others' processes: on mounts, modules, keys, name spaces, clocks.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

# The numbers that a system gives its calls (asm/unistd.h); from 424 on they are the same everywhere.
_EVERYWHERE = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_getfd": 438, "mount_setattr": 442,
    "quotactl_fd": 443,
}  # fmt: skip
FORBIDDEN = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "mount": 165, "umount2": 166,
        "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308, "kexec_load": 246, "kexec_file_load": 320,
        "init_module": 175, "finit_module": 313, "delete_module": 176, "bpf": 321, "perf_event_open": 298,
        "userfaultfd": 323, "add_key": 248, "request_key": 249, "keyctl": 250, "open_by_handle_at": 304, "acct": 163,
        "quotactl": 179, "reboot": 169, "swapon": 167, "swapoff": 168, "settimeofday": 164, "clock_settime": 227,
        "iopl": 172, "ioperm": 173, **_EVERYWHERE,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "mount": 40, "umount2": 39,
        "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268, "kexec_load": 104, "kexec_file_load": 294,
        "init_module": 105, "finit_module": 273, "delete_module": 106, "bpf": 280, "perf_event_open": 241,
        "userfaultfd": 282, "add_key": 217, "request_key": 218, "keyctl": 219, "open_by_handle_at": 265, "acct": 89,
        "quotactl": 60, "reboot": 142, "swapon": 224, "swapoff": 225, "settimeofday": 170, "clock_settime": 112,
        **_EVERYWHERE,
    },
}  # fmt: skip
# By machine: how the kernel names it, and the number of clone, whose flags may ask for name spaces.
_MACHINES = {"x86_64": (0xC000003E, 56), "aarch64": (0xC00000B7, 220)}
_CLONE3, _NEW_NAME_SPACES, _OTHER_ABI = 435, 0x7E020000, 0x40000000

# linux/bpf_common.h and linux/seccomp.h: instructions, places in what the kernel says of a call, and answers
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_STEP = 8
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2


def forbid_system_calls() -> str:
    """Have those calls fail in this process and all that it starts, for good, with a lack of permission.

    Returns what keeps the kernel from it, else "". To be called before there are other threads.
    """
    machine = platform.machine()
    if machine not in FORBIDDEN:
        return f"system calls are not filtered on {machine}"
    libc = ctypes.CDLL(None, use_errno=True)
    steps = _program(machine)
    program = ctypes.create_string_buffer(steps, len(steps))
    described = struct.pack("HP", len(steps) // _STEP, ctypes.addressof(program))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.prctl(_SET_SECCOMP, _FILTER, described, 0, 0):
        return f"system calls cannot be filtered here ({os.strerror(ctypes.get_errno())})"
    return ""


def _program(machine: str) -> bytes:
    """The filter for Berkeley's packet filter, which the kernel runs for each call."""
    own, clone = _MACHINES[machine]
    no_permission = _step(_ANSWER, _FAIL | errno.EPERM)
    steps = [_step(_LOAD, _MACHINE), _step(_EQUAL, own, 1, 0), no_permission, _step(_LOAD, _NUMBER)]
    # the same calls by other numbers
    steps += [_step(_AT_LEAST, _OTHER_ABI, 0, 1), no_permission]
    for number in FORBIDDEN[machine].values():
        steps += [_step(_EQUAL, number, 0, 1), no_permission]
    # its flags are out of a filter's sight; the C library takes clone where there is no other
    steps += [_step(_EQUAL, _CLONE3, 0, 1), _step(_ANSWER, _FAIL | errno.ENOSYS)]
    steps += [_step(_EQUAL, clone, 0, 3), _step(_LOAD, _FIRST_ARGUMENT)]
    steps += [_step(_ANY_BIT, _NEW_NAME_SPACES, 0, 1), no_permission, _step(_ANSWER, _ALLOW)]
    return b"".join(steps)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    """An instruction; the last two are how many to skip after a comparison."""
    return struct.pack("HBBI", code, if_so, if_not, value)
