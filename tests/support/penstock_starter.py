"""Starts Python programs as processes of their own by forking one that has imported them already.

    server = start(PENSTOCK, "up", "--data-dir", "data", stdout=subprocess.PIPE, stderr=log)
    server.kill()
    done = run(AWS, "s3", "ls", env=environment)

Importing is four fifths of a start, and the suite starts programs some thousand times. For each program, one process per test process
imports it, opens nothing, and forks for every start. What comes out is a process as any other: with its own session, standard streams,
environment, folder, umask, `sys.argv` and command line in /proc; it ends by itself, with the exit code and the last words of any other, and
is signalled by its pid. Only what the interpreter reads before it runs (`PYTHON…`, `LD_…`) cannot differ, and is refused.
tests/cli/test_starts.py holds all of this, beside true starts.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self

from penstock.app import COMPONENTS

_AT_EXEC = ("PYTHON", "LD_")  # variables that are read before a program runs
_ROOM = 8192  # bytes that a command line may have in /proc
# Modules that look at the environment when they are imported. A fork has an environment of its own, and imports them again.
READ_AGAIN = ("penstock.store.failpoints", "awscli")


@dataclass(frozen=True)
class Program:
    """What is run (a module as by `python -m`, or a script by its path), and what is imported for it beforehand."""

    target: str
    imports: tuple[str, ...]


# With what a server imports for the first page, document or host that it is asked for.
_FIRST_ASKED = ("jinja2", "yaml", "jwt.api_jws", "cryptography.hazmat.primitives.serialization.pkcs7")
PENSTOCK = Program("penstock.cli.main", ("penstock.cli.serve", "penstock.cli.clients", *COMPONENTS, *_FIRST_ASKED))
AWS = Program(str(Path(sys.executable).with_name("aws")), ("awscli.clidriver", "awscli.handlers"))


class Started:
    """A started process; what tests use of `subprocess.Popen`, under the same names."""

    def __init__(self, starter: _Starter, pid: int, stdout: IO[Any] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._starter = starter
        self._pidfd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code when it has ended; TimeoutExpired after `timeout` seconds."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            poller = select.poll()
            poller.register(self._pidfd, select.POLLIN)
            if poller.poll(None if timeout is None else timeout * 1000):
                self.returncode = os.waitstatus_to_exitcode(self._starter.ask({"reap": self.pid}))
                os.close(self._pidfd)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal it; nothing happens when it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(
    program: Program,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.DEVNULL,
    stderr: int | IO[Any] = subprocess.DEVNULL,
    text: bool = False,
    umask: int = -1,
) -> Started:
    """Start a program. The streams are files or descriptors; `stdout` may be subprocess.PIPE."""
    chosen = dict(os.environ if env is None else env)
    for name in chosen.keys() | os.environ.keys():
        if name.startswith(_AT_EXEC) and name != "PYTHONPATH" and chosen.get(name) != os.environ.get(name):
            raise ValueError(f"{name} is read when an interpreter starts, before a fork: use subprocess for this start")
    with _Streams() as streams:
        descriptors = [streams.descriptor(stream, writing=at > 0) for at, stream in enumerate((stdin, stdout, stderr))]
        request = {
            "target": program.target,
            "arguments": arguments,
            "env": chosen,
            "cwd": str(cwd or Path.cwd()),
            "umask": umask,
        }
        starter = _starter(program.imports)
        pid = starter.ask(request, descriptors)
        reading = streams.reading
    return Started(starter, pid, None if reading is None else open(reading, "r" if text else "rb"))  # noqa: SIM115


def run(
    program: Program,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    timeout: float = 60,
    umask: int = -1,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its exit code and what it wrote."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(program, *arguments, env=env, cwd=cwd, stdin=stdin, stdout=out, stderr=err, umask=umask)
        try:
            process.wait(timeout)
        finally:
            process.kill()
            code = process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([program.target, *arguments], code, out.read(), err.read())


class _Streams:
    """Descriptors for a child's streams; our copies are closed at the end."""

    def __init__(self) -> None:
        self.reading: int | None = None
        self._ours: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._ours:
            os.close(descriptor)

    def descriptor(self, stream: int | IO[Any], *, writing: bool) -> int:
        if not isinstance(stream, int):
            return stream.fileno()
        if stream == subprocess.DEVNULL:
            self._ours.append(os.open(os.devnull, os.O_RDWR))
        elif stream == subprocess.PIPE and writing and self.reading is None:
            self.reading, ours = os.pipe()
            self._ours.append(ours)
        else:
            return stream
        return self._ours[-1]


# --- the process that forks -------------------------------------------------------------------------------------------


class _Starter:
    """Our end of a process that has imported a program."""

    def __init__(self, imports: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), ",".join(imports), "-" * _ROOM],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def ask(self, request: dict[str, Any], descriptors: list[int] | None = None) -> int:
        """A pid for a start, a wait status for a reaping."""
        with self._lock:
            socket.send_fds(self._control, [json.dumps(request).encode()], descriptors or [])
            answer = self._control.recv(64)
        assert answer, "the process that forks has ended; its standard error says why"
        return int(answer)

    def close(self) -> None:
        self._control.close()
        self._process.wait(60)


_starters: dict[tuple[str, ...], _Starter] = {}
_starting = threading.Lock()


def _starter(imports: tuple[str, ...]) -> _Starter:
    with _starting:
        if imports not in _starters:
            _starters[imports] = _Starter(imports)
            atexit.register(_starters[imports].close)
        return _starters[imports]


def _fork_on_request(control: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns in the children only."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not message:
            os._exit(0)
        request = json.loads(message)
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            control.send(str(status).encode())
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            _become(request, descriptors)
            return request
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(str(pid).encode())


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    os.setsid()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    if request["umask"] >= 0:
        os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["env"])
    target = request["target"]
    sys.argv = [target, *request["arguments"]]
    script = os.path.isabs(target)
    searched = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [str(Path(target).parent) if script else request["cwd"], *filter(None, searched)]
    _show_command_line([sys.executable, *([] if script else ["-m"]), *sys.argv])
    for name in READ_AGAIN:
        if name in sys.modules:
            importlib.reload(sys.modules[name])


def _show_command_line(command_line: list[str]) -> None:
    """Write it where /proc/PID/cmdline reads it: over the one that this process was started with."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end: proc(5) counts from 1, and from the pid
    line = "\0".join(command_line).encode() + b"\0"
    if len(line) > end - begin:
        raise ValueError(f"a command line of {len(line)} bytes has no room in {end - begin}")
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)


def _open_descriptors() -> set[int]:
    """All but the standard streams. The one that lists them is closed by the time of the second look."""
    with os.scandir("/proc/self/fd") as entries:
        listed = [entry.name for entry in entries]
    return {int(name) for name in listed if int(name) > 2 and os.path.lexists(f"/proc/self/fd/{name}")}


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for name in sys.argv[2].split(","):
        importlib.import_module(name)
    # A fork takes neither threads nor a loop with it, and what were open would be shared by all.
    assert threading.active_count() == 1, f"importing started threads: {threading.enumerate()}"
    opened = _open_descriptors() - {control.fileno()}
    assert not opened, f"importing left descriptors open: {opened}"
    gc.freeze()  # or each child's collector would write into, and so copy, every page of what was imported
    request = _fork_on_request(control)
    try:
        if os.path.isabs(request["target"]):
            runpy.run_path(request["target"], run_name="__main__")
        else:
            runpy.run_module(request["target"], run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        if not isinstance(ending.code, int | None):
            raise
        _end(ending.code or 0)
    _end(0)


def _end(code: int) -> NoReturn:
    """End as an interpreter does, but for taking apart what was imported: that copies every page of it, and took six times a fork."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = 120  # as the interpreter has it
    os._exit(code)


if __name__ == "__main__":
    _main()
