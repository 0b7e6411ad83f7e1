"""The few system calls that Python 3.11's standard library does not have."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

NEWNS = 0x00020000
NEWUSER = 0x10000000
NEWNET = 0x40000000
MS_RDONLY = 0x1
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION = 0x20080522  # version 3: two words of each set
_LAST_CAPABILITY = 63  # more than any kernel has; the first that it does not know ends the loop
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_PF_EXITING = 0x4

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave namespaces of the parent. Raises OSError."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system. Raises OSError."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(kind) or None,
        ctypes.c_ulong(flags),
        os.fsencode(data) or None,
    )
    _check(result, f"mount {kind or 'bind'} on {target}")


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send a signal to this process when its parent dies."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die, so that none of them escapes."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def _prctl(option: int, value: int = 0, more: int = 0) -> int:
    return _libc.prctl(option, *(ctypes.c_ulong(word) for word in (value, more, 0, 0)))


def unmount(target: str) -> None:
    """Take a mount off, now or as soon as nothing uses it. Raises OSError."""
    _check(_libc.umount2(os.fsencode(target), ctypes.c_int(MNT_DETACH)), f"unmount {target}")


def hide_memory() -> None:
    """Keep every process that lacks CAP_SYS_PTRACE out of this one's memory and descriptors, and out of its children's until they exec."""
    _check(_prctl(_PR_SET_DUMPABLE, 0), "prctl")


def join_namespace(descriptor: int) -> None:
    """Enter a namespace that is open as a file of /proc/PID/ns. Raises OSError."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(0)), "setns")


def bound_capabilities(kept: int) -> None:
    """Let no program that is started from here on have a capability whose bit is not in `kept`. Raises OSError."""
    for number in range(_LAST_CAPABILITY + 1):
        if not kept >> number & 1 and _prctl(_PR_CAPBSET_DROP, number):
            if ctypes.get_errno() == errno.EINVAL:
                break
            raise OSError(ctypes.get_errno(), "capabilities cannot be given up")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def keep_capabilities(kept: int) -> None:
    """Give up every capability whose bit is not in `kept`. Raises OSError."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    low, high = kept & 0xFFFFFFFF, kept >> 32
    _check(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def confine(program: bytes) -> None:
    """Never gain privileges by a program's set-id bits, and obey a filter of system calls (b"" for none). Raises OSError."""
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "prctl")
    if not program:
        return
    buffer = ctypes.create_string_buffer(program, len(program))
    fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    _check(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(fprog)), "seccomp")


def loopback_up() -> None:
    """Switch on the loopback interface of the present network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(probe, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(probe, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def process_start(pid: int) -> str:
    """When a process started, as the kernel counts it; "" when it is gone (or only waits to be reaped)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def is_alive(pid: int) -> bool:
    """Whether a process is there and does not end just now: one that holds a namespace kills and outlives all others of it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return False
    return fields[0] not in (b"Z", b"X") and not int(fields[6]) & _PF_EXITING
