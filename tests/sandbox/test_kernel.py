"""What is asked of the kernel, word for word, and what its tables of processes say."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from penstock_waiting import until

from penstock.sandbox import kernel, processes
from penstock.sandbox.processes import start


class Library:
    """The C library: remembers calls, and answers 0, or the error that a call is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.errors: dict[tuple[Any, ...], int] = {}

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            said = (name, *(getattr(each, "value", each) for each in arguments))
            if said[:2] == ("prctl", 22):  # what it points to is gone behind the call
                length, program = struct.unpack("@HP", ctypes.string_at(said[3], struct.calcsize("@HP")))
                said = (*said[:3], ctypes.string_at(program, 8 * length), *said[4:])
            self.calls.append(said)
            if said[:3] in self.errors:
                ctypes.set_errno(self.errors[said[:3]])
                return -1
            return 0

        return call


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(kernel, "_libc", made)
    return made


@pytest.mark.parametrize(
    ("ask", "call"),
    [
        (lambda: kernel.unshare(kernel.NEWNS | kernel.NEWNET), ("unshare", 0x40020000)),
        (lambda: kernel.unshare(kernel.NEWUSER), ("unshare", 0x10000000)),
        (lambda: kernel.mount("/a", "/b", flags=kernel.MS_BIND), ("mount", b"/a", b"/b", None, 0x1000, None)),
        (
            lambda: kernel.mount("o", "/b", "overlay", kernel.MS_RDONLY, "x=y"),
            ("mount", b"o", b"/b", b"overlay", 1, b"x=y"),
        ),
        (
            lambda: kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE),
            ("mount", b"", b"/", None, 0x44000, None),
        ),
        (lambda: kernel.unmount("/b"), ("umount2", b"/b", 2)),
        (lambda: kernel.die_with_parent(9), ("prctl", 1, 9, 0, 0, 0)),
        (kernel.adopt_orphans, ("prctl", 36, 1, 0, 0, 0)),
        (kernel.hide_memory, ("prctl", 4, 0, 0, 0, 0)),
        (lambda: kernel.join_namespace(7), ("setns", 7, 0)),
        (lambda: kernel.confine(b""), ("prctl", 38, 1, 0, 0, 0)),
    ],
)
def test_calls_as_the_kernel_has_them(library, ask, call):
    ask()
    assert library.calls == [call]
    library.errors[call[:3]] = errno.EPERM
    with pytest.raises(OSError, match="Operation not permitted") as refused:
        ask()
    assert refused.value.errno == errno.EPERM


def test_a_mount_that_fails_names_its_kind_and_place(library):
    library.errors["mount", b"/a", b"/b"] = errno.EINVAL
    with pytest.raises(OSError, match="mount bind on /b: Invalid argument"):
        kernel.mount("/a", "/b", flags=kernel.MS_BIND)
    with pytest.raises(OSError, match="mount overlay on /b: Invalid argument"):
        kernel.mount("/a", "/b", "overlay")


def test_a_filter_is_given_with_its_length(library):
    kernel.confine(b"12345678" * 3)
    assert library.calls == [("prctl", 38, 1, 0, 0, 0), ("prctl", 22, 2, b"12345678" * 3, 0, 0)]
    library.errors["prctl", 22, 2] = errno.EACCES
    with pytest.raises(OSError, match="seccomp: Permission denied"):
        kernel.confine(b"12345678")


def test_capabilities_are_given_up_one_by_one_until_the_kernel_knows_no_more(library):
    library.errors["prctl", 24, 41] = errno.EINVAL
    kernel.bound_capabilities(1 << 0 | 1 << 7)
    dropped = [number for number in range(42) if number not in (0, 7)]
    assert library.calls == [*(("prctl", 24, number, 0, 0, 0) for number in dropped), ("prctl", 47, 4, 0, 0, 0)]
    library.calls.clear()
    library.errors["prctl", 24, 3] = errno.EPERM
    with pytest.raises(OSError, match="capabilities cannot be given up"):
        kernel.bound_capabilities(0)
    library.errors.clear()
    library.calls.clear()
    kernel.bound_capabilities(0)
    assert len(library.calls) == 65


def test_capabilities_that_are_kept_are_in_effect_and_not_inherited(library):
    kernel.keep_capabilities(1 << 33 | 1 << 5)
    [(name, header, sets)] = library.calls
    assert (name, struct.unpack("=Ii", header)) == ("capset", (0x20080522, 0))
    assert struct.unpack("=6I", sets) == (32, 32, 0, 2, 2, 0)


def row(state: str, *, flags: int = 0, start: int = 77, name: bytes = b"a) b") -> bytes:
    """A row of /proc/PID/stat."""
    behind = [state, "1", "1", "1", "0", "-1", str(flags), *["0"] * 12, str(start), "0"]
    return b"5 (" + name + b") " + " ".join(behind).encode()


@pytest.mark.parametrize(
    ("content", "started", "alive"),
    [
        (row("S"), "77", True),
        (row("R", flags=0x400000), "77", True),
        (row("S", flags=0x400004), "77", False),
        (row("Z"), "", False),
        (row("X"), "", False),
        (b"", "", False),
    ],
)
def test_a_process_that_only_waits_to_be_reaped_is_none(monkeypatch, content, started, alive):
    monkeypatch.setattr(kernel, "open", lambda path, _mode: io.BytesIO(content), raising=False)
    assert (kernel.process_start(5), kernel.is_alive(5)) == (started, alive)
    monkeypatch.undo()
    assert (kernel.process_start(2**22 + 1), kernel.is_alive(2**22 + 1)) == ("", False)


# --- processes --------------------------------------------------------------------------------------------------------


def printed(*argv: str, **more: Any) -> tuple[int, str]:
    """The exit code of a program and all that it printed."""
    reading, writing = os.pipe()
    options: dict[str, Any] = {"descriptors": {}, "env": {"PATH": os.defpath}, "cwd": "/"} | more
    child = start(list(argv), output=writing, **options)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    code = child.wait()
    assert child.wait() == code
    assert child.pid not in processes._started
    child.kill()  # harmless by now: the number may be another's
    return code, said


def test_a_program_is_given_what_it_is_given_and_no_more(tmp_path):
    reading, writing = os.pipe()
    script = (
        'echo out; echo err >&2; cat; pwd; echo "$A-$B"; echo said >&7; ps -o sid= -p $$ | grep -qw $$; echo $?; exit 3'
    )
    env = {"PATH": os.defpath, "A": "b"}
    assert printed("sh", "-c", script, descriptors={7: writing}, env=env, cwd=str(tmp_path)) == (
        3, f"out\nerr\n{tmp_path}\nb-\n0\n",
    )  # fmt: skip
    os.close(writing)
    assert os.read(reading, 100) == b"said\n"
    os.close(reading)


def test_descriptors_that_change_places_stay_apart():
    first, second = os.memfd_create("first"), os.memfd_create("second")
    code, _ = printed(
        "bash", "-c", f"echo one >&{second}; echo two >&{first}", descriptors={second: first, first: second}
    )
    assert code == 0
    assert [os.pread(each, 100, 0) for each in (first, second)] == [b"one\n", b"two\n"]
    for each in (first, second):
        os.close(each)


def test_why_a_program_did_not_start():
    code, said = printed("no-such-program")
    assert code == 127
    assert said.startswith("cannot start no-such-program: [Errno 2] No such file or directory")

    def refuse() -> None:
        raise OSError("not confined")

    assert printed("true", before=refuse) == (127, "cannot start true: not confined\n")
    assert printed("sh", "-c", "kill -9 $$") == (-9, "")


def test_signals_that_the_server_heeds_are_a_programs_own(monkeypatch):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        for number in before:
            assert printed("sh", "-c", f"kill -{number} $$; echo lives") == (-number, "")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def forked(work: Callable[[], object]) -> None:
    """Run a part of a test in a child, since it ends or reaps every process below its own."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the parent says that it failed
            sys.stderr.write(f"{error!r}\n")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def started(*argv: str) -> processes.Started:
    return start(list(argv), output=2, descriptors={}, env={"PATH": os.defpath}, cwd="/")


def test_every_child_that_ended_is_noted():
    def work() -> None:
        processes._started.clear()
        ended, running = started("sh", "-c", "exit 5"), started("sleep", "60")
        os.fork() or os._exit(0)  # one that nobody knows
        until(lambda: processes.reap() and ended.code is not None)
        assert (ended.code, running.code, ended.wait()) == (5, None, 5)
        assert list(processes._started.values()) == [running]
        running.kill()
        until(lambda: not processes.reap())
        assert (running.code, processes._started) == (-9, {})

    forked(work)


def test_all_descendants_end_those_included_that_left_their_session():
    def work() -> None:
        processes._started.clear()
        kernel.adopt_orphans()
        started("sh", "-c", "setsid sleep 60 & (sleep 60 & exec sleep 60) & exec sleep 60")
        until(lambda: len(processes.descendants(os.getpid())) == 4)
        processes.end_descendants()
        assert processes.descendants(os.getpid()) == []
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
            raise AssertionError("one is left")

    forked(work)


def test_descendants_are_those_below_and_alive(monkeypatch):
    rows = {
        "10": row("S", name=b"x y"), "11": b"11 (b) S 10 ", "12": b"12 (c) Z 11 ", "13": b"13 (d) R 12 ", "14": b"14 (e) S 2 ",
        "15": b"15 (f) S 11 ", "16": b"half", "self": b"",
    }  # fmt: skip

    def read(path: str, _mode: str) -> Any:
        name = path.split("/")[2]
        if rows[name] == b"half":
            raise FileNotFoundError(path)
        return io.BytesIO(rows[name])

    monkeypatch.setattr(processes, "open", read, raising=False)
    monkeypatch.setattr(processes.os, "listdir", lambda _path: list(rows))
    assert processes.descendants(10) == [11, 15]
    assert processes.descendants(1) == [10, 11, 15]
    assert processes.descendants(12) == [13]


def test_processes_are_ended_by_an_argument_of_theirs(tmp_path):
    def naming(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sh", "-c", "sleep 60; :", "name", *arguments])

    wanted = str(tmp_path / "root")
    ours = [naming("--bind", wanted), naming(wanted)]
    others = [naming(f"{wanted}s"), naming(str(tmp_path)), naming(f"--bind={wanted}")]
    try:
        for child in (*ours, *others):  # a process shows its parent's arguments until it has its own
            until(lambda child=child: b"sleep 60; :" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
        processes.end_naming(wanted)
        assert [child.wait(60) for child in ours] == [-signal.SIGKILL] * 2
        assert [child.poll() for child in others] == [None] * 3
    finally:
        for child in (*ours, *others):
            child.kill()
            child.wait()


def test_who_asks_is_not_ended_by_its_own_argument(monkeypatch):
    killed: list[Any] = []
    monkeypatch.setattr(processes, "open", lambda *_: io.BytesIO(b"a\0/root\0"), raising=False)
    monkeypatch.setattr(processes.os, "listdir", lambda _path: ["5", "6", "x", str(os.getpid())])
    monkeypatch.setattr(processes.os, "kill", lambda *said: killed.append(said))
    processes.end_naming("/root")
    assert killed == [(5, signal.SIGKILL), (6, signal.SIGKILL)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_all_processes_of_a_user_end_and_nobody_elses(monkeypatch):
    user = 1_900_000_000 + os.getpid()
    ours = subprocess.Popen(["sleep", "60"])
    theirs = [subprocess.Popen(["sleep", "60"], user=user, group=user, extra_groups=[]) for _ in range(2)]
    processes.end_user(user)
    assert [child.wait(60) for child in theirs] == [-signal.SIGKILL] * 2
    assert ours.poll() is None
    ours.kill()
    ours.wait()


def test_dying_processes_are_searched_for_after_a_moment_only(monkeypatch):
    """Those that the supervisor started end by themselves nearly always: the machine's processes are not looked through for that."""
    now, searched, killed, left = [0.0], [], [], [3]

    def reap() -> bool:
        left[0] -= 0 if not killed else 1
        return left[0] > 0

    def sleep(seconds: float) -> None:
        assert seconds == 0.0005
        now[0] += 0.01

    def descendants(pid: int) -> list[int]:
        searched.append(now[0])
        assert pid == os.getpid()
        return [7]

    monkeypatch.setattr(processes, "_started", {1: SimpleNamespace(kill=lambda: None)})
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(processes, "reap", reap)
    monkeypatch.setattr(processes, "descendants", descendants)
    monkeypatch.setattr(processes.os, "kill", lambda *said: killed.append(said))
    processes.end_descendants()
    assert searched[0] == pytest.approx(0.03)
    assert set(killed) == {(7, signal.SIGKILL)}
