"""The filter of system calls, interpreted as the kernel interprets it."""

from __future__ import annotations

import struct

import pytest

from penstock.sandbox import seccomp
from penstock.sandbox.seccomp import ARCHITECTURES, EAFNOSUPPORT, ENOSYS, EOPNOTSUPP, EPERM, REFUSED, program

CLONE_NEWUSER, CLONE_NEWTIME, CLONE_FS, SIGCHLD = 0x10000000, 0x80, 0x200, 17


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """The errno that a call gets; 0 when it is let through."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *padded)
    code = list(struct.iter_unpack("=HBBI", program(machine)))
    assert len(code) < 4096  # BPF_MAXINSNS
    accumulator = at = 0
    while True:
        op, then, otherwise, value = code[at]
        at += 1
        if op == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif op == 0x06:
            assert value & 0xFFFF0000 in (0x7FFF0000, 0x00050000)
            return value & 0xFFFF
        else:
            test = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[op]
            at += then if test else otherwise


@pytest.fixture(params=list(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def column(machine: str, numbers: tuple[int, int]) -> int:
    return numbers[list(ARCHITECTURES).index(machine)]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_whatever_the_arguments(machine: str, name: str):
    number = column(machine, REFUSED[name])
    if number >= 0:
        assert verdict(machine, number) == verdict(machine, number, 2**64 - 1) == EPERM


def test_every_ordinary_call_passes(machine: str):
    special = {column(machine, getattr(seccomp, f"_{name}")) for name in ("CLONE3", "SOCKET", "FALLOCATE")}
    refused = {column(machine, numbers) for numbers in REFUSED.values()} | special
    assert not [number for number in range(500) if number not in refused and verdict(machine, number)]


def test_namespaces_are_refused_and_threads_are_not(machine: str):
    clone, unshare = column(machine, seccomp._CLONE), column(machine, seccomp._UNSHARE)
    for bit in range(64):
        expected = EPERM if 1 << bit & 0x7E020000 else 0
        assert verdict(machine, clone, 1 << bit) == expected
        assert verdict(machine, unshare, 1 << bit) == (EPERM if 1 << bit == CLONE_NEWTIME else expected)
    assert verdict(machine, clone, 0x003D0F00) == 0  # what libc's threads ask for
    assert verdict(machine, clone, SIGCHLD) == 0
    assert verdict(machine, unshare, CLONE_FS) == 0
    assert verdict(machine, clone, CLONE_NEWUSER | SIGCHLD) == EPERM
    assert verdict(machine, column(machine, seccomp._CLONE3)) == ENOSYS


def test_sockets_of_families_that_no_namespace_holds_apart(machine: str):
    number = column(machine, seccomp._SOCKET)
    opened = [family for family in range(64) if verdict(machine, number, family) == 0]
    assert opened == [1, 2, 10, 16]
    assert verdict(machine, number, 40) == EAFNOSUPPORT


def test_tracing_and_typing(machine: str):
    ptrace, ioctl = column(machine, seccomp._PTRACE), column(machine, seccomp._IOCTL)
    for request in (16, 0x4206):  # ATTACH, SEIZE
        assert [verdict(machine, ptrace, request, pid) for pid in (0, 1, 2, 3, 4000)] == [EPERM, EPERM, EPERM, 0, 0]
    assert verdict(machine, ptrace, 0) == 0  # TRACEME
    assert verdict(machine, ioctl, 1, 0x5412) == verdict(machine, ioctl, 1, 0x541C) == EPERM
    assert verdict(machine, ioctl, 1, 0xFFFFFFFF00005412) == EPERM  # the kernel looks at the low half only
    assert verdict(machine, ioctl, 1, 0x5401) == 0


def test_no_space_is_taken_without_writing(machine: str):
    """A burst of it takes the disk in less time than lies between two looks at it."""
    fallocate, ioctl = column(machine, seccomp._FALLOCATE), column(machine, seccomp._IOCTL)
    keep_size, punch_hole, collapse, zero, insert, unshare = (1 << bit for bit in (0, 1, 3, 4, 5, 6))
    for mode in (0, keep_size, zero, zero | keep_size, insert, unshare, 1 << 40):
        assert verdict(machine, fallocate, 3, mode) == EOPNOTSUPP
    assert verdict(machine, fallocate, 3, punch_hole | keep_size) == verdict(machine, fallocate, 3, collapse) == 0
    for size, number in ((48, 40), (48, 42), (48, 57)):  # _IOW('X', number, struct space_resv)
        assert verdict(machine, ioctl, 3, 1 << 30 | size << 16 | ord("X") << 8 | number) == EPERM


def test_other_abis_are_shut():
    for number in (0, 59, 101):
        assert verdict("x86_64", number, architecture=0x40000003) == EPERM  # i386
        assert verdict("x86_64", 0x40000000 | number) == EPERM  # x32
        assert verdict("aarch64", number, architecture=0x40000028) == EPERM  # arm


def test_a_machine_that_it_does_not_know():
    with pytest.raises(ValueError, match="riscv64"):
        program("riscv64")
