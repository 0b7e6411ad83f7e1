"""The system calls that a sandbox's processes may not make, as a classic BPF program for seccomp. Pure; for x86_64 and aarch64.

A refused call fails with EPERM, so a program can report it and continue; nothing is killed for it. The exceptions:
`clone3` says ENOSYS, because its flags lie in memory where a filter cannot look (libc then uses `clone`), a socket family that no
network namespace holds apart (vsock reaches the hypervisor) is EAFNOSUPPORT, and disk space that is taken without writing is EOPNOTSUPP,
as on file systems that do not have it: programs write then, which takes so long that a disk can be watched. Calls of another ABI than the machine's own (i386, x32)
are refused, since their numbers mean something else.
"""

from __future__ import annotations

import struct

EPERM = 1
ENOSYS = 38
EAFNOSUPPORT = 97
EOPNOTSUPP = 95

NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NEWTIME = 0x80  # of unshare; in clone the same bits are the signal of the child's end
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_FIRST_OWN_PID = 3
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: they type into a terminal for whoever sits there
_FREEING = 0x02 | 0x08  # FALLOC_FL_PUNCH_HOLE, FALLOC_FL_COLLAPSE_RANGE
_RESERVING = (
    0x40305828,
    0x4030582A,
    0x40305839,
)  # FS_IOC_RESVSP, FS_IOC_RESVSP64, FS_IOC_ZERO_RANGE: fallocate(2) by another way

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Numbers on x86_64 and on aarch64 (-1: that machine has no such call). Source: the kernel's syscall_64.tbl and asm-generic/unistd.h.
REFUSED = {
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "create_module": (174, -1),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "uselib": (134, -1),
    "sysfs": (139, -1),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
}
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_UNSHARE = (272, 97)
_PTRACE = (101, 117)
_IOCTL = (16, 29)
_SOCKET = (41, 198)
_FALLOCATE = (285, 47)
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data; the low half of argument n is at 16 + 8 n on these machines


def program(machine: str) -> bytes:
    """The filter for `machine` (as os.uname() names it), an array of struct sock_filter. Raises ValueError for one that it does not know."""
    if machine not in ARCHITECTURES:
        raise ValueError(f"there is no filter of system calls for machines of type {machine}")
    column = list(ARCHITECTURES).index(machine)
    code = [
        _op(_LOAD, _ARCH),
        _op(_EQUAL, ARCHITECTURES[machine], 1, 0),
        _fail(EPERM),
        _op(_LOAD, _NUMBER),
        _op(_AT_LEAST, _X32, 0, 1),
        _fail(EPERM),
        *_on(_CLONE3[column], [_fail(ENOSYS)]),
        *_on(_CLONE[column], _checked(0, [(_ANY_BIT, NAMESPACE_FLAGS)], refuse=EPERM)),
        *_on(_UNSHARE[column], _checked(0, [(_ANY_BIT, NAMESPACE_FLAGS | _NEWTIME)], refuse=EPERM)),
        *_on(_PTRACE[column], _TRACING),
        *_on(_IOCTL[column], _checked(1, [(_EQUAL, request) for request in (*_TERMINAL, *_RESERVING)], refuse=EPERM)),
        *_on(_FALLOCATE[column], _checked(1, [(_ANY_BIT, _FREEING)], refuse=-EOPNOTSUPP)),
        *_on(_SOCKET[column], _checked(0, [(_EQUAL, family) for family in _FAMILIES], refuse=-EAFNOSUPPORT)),
    ]
    for numbers in REFUSED.values():
        if numbers[column] >= 0:
            code += _on(numbers[column], [_fail(EPERM)])
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _fail(error: int) -> bytes:
    return _op(_RETURN, _ERRNO | error)


def _op(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _argument(number: int) -> bytes:
    return _op(_LOAD, 16 + 8 * number)


# A sandbox may trace its own processes (leak checkers and debuggers do), but not the two first ones, which hold it.
_TRACING = [
    _argument(0),
    _op(_EQUAL, _PTRACE_ATTACH, 1, 0),
    _op(_EQUAL, _PTRACE_SEIZE, 0, 2),
    _argument(1),
    _op(_AT_LEAST, _FIRST_OWN_PID, 0, 1),
    _op(_RETURN, _ALLOW),
    _fail(EPERM),
]


def _on(number: int, then: list[bytes]) -> list[bytes]:
    """Do `then`, which ends in a verdict, for one system call."""
    return [_op(_EQUAL, number, 0, len(then)), *then]


def _checked(argument: int, tests: list[tuple[int, int]], *, refuse: int) -> list[bytes]:
    """Refuse a call whose argument passes one of the tests, allow it otherwise; with a negative error the other way round."""
    hit, miss = (_fail(refuse), _op(_RETURN, _ALLOW)) if refuse > 0 else (_op(_RETURN, _ALLOW), _fail(-refuse))
    jumps = [_op(test, value, len(tests) - index, 0) for index, (test, value) in enumerate(tests)]
    return [_argument(argument), *jumps, miss, hit]
