"""Running the scripts of a lifecycle event: their own session, bounded output, and an end in every case."""

from __future__ import annotations

import codecs
import os
import pwd
import re
import select
import signal
import stat
import subprocess
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from penstock_agent import log
from penstock_agent.appspec import Script
from penstock_agent.failures import (
    FAILED_AFTER_RESTART,
    SCRIPT_EXECUTABILITY,
    SCRIPT_FAILED,
    SCRIPT_MISSING,
    SCRIPT_TIMED_OUT,
    CommandFailure,
)
from penstock_agent.layout import stamp

TERM_GRACE_S = 5.0
OUTPUT_GRACE_S = 1.0
TAIL_BYTES = 16 * 1024
MAX_LINE = 4096
READ_BYTES = 64 * 1024
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")


class Output:
    """What the scripts of one event say: written to scripts.log, and the end of it kept for the service."""

    def __init__(self, path: str, limit: int) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._path = path
        self._limit = limit
        self._file = open(path, "ab", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        self._lines: Deque[str] = deque()
        self._kept = 0
        self._lock = threading.Lock()
        self.total = 0

    def write(self, lines: List[str]) -> None:
        """Add lines without their ends."""
        prefix = stamp(time.time()) + " "
        data = "".join(prefix + line + "\n" for line in lines).encode("utf-8", "replace")
        with self._lock:
            for line in lines:
                clean = _ESCAPES.sub("", line)
                self._lines.append(clean)
                size = len(clean) + 1
                self._kept += size
                self.total += size
            while self._kept > TAIL_BYTES and len(self._lines) > 1:
                self._kept -= len(self._lines.popleft()) + 1
        try:
            if self._size + len(data) > self._limit:
                self._file.close()
                os.replace(self._path, self._path + ".1")
                self._file = open(self._path, "ab", buffering=0)
                self._size = 0
            self._file.write(data)
            self._size += len(data)
        except OSError as error:
            log.warning("scripts_log.failed", path=self._path, reason=error)

    def tail(self) -> Tuple[str, int]:
        """The kept end, and how many characters there were in all."""
        with self._lock:
            return "".join(line + "\n" for line in self._lines), self.total

    def close(self) -> None:
        """No more lines."""
        self._file.close()


class _Lines:
    """Cuts a stream of bytes into lines; very long ones into pieces."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._rest = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    def feed(self, data: bytes, *, last: bool = False) -> List[str]:
        text = self._rest + self._decode(data, last).replace("\r\n", "\n").replace("\0", "\ufffd")
        parts = text.split("\n")
        self._rest = parts.pop()
        if last and self._rest:
            parts.append(self._rest)
            self._rest = ""
        while len(self._rest) > MAX_LINE:
            parts.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        lines = []
        for part in parts:
            lines.extend(part[at : at + MAX_LINE] for at in range(0, len(part), MAX_LINE)) if part else lines.append("")
        return [self._prefix + line for line in lines]


class Drain:
    """Reads on from pipes that background children of ended hooks still hold, so that they do not die of a closed pipe.

    What they say then is thrown away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._count = 0

    def take(self, descriptors: List[int]) -> None:
        """Own these descriptors from now on."""
        if not descriptors:
            return
        with self._lock:
            for descriptor in descriptors:
                self._poll.register(descriptor, select.POLLIN)
            start = self._count == 0
            self._count += len(descriptors)
        if start:
            threading.Thread(target=self._run, name="drain", daemon=True).start()

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll(5000):
                try:
                    data = os.read(descriptor, READ_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if not data:
                    with self._lock:
                        self._poll.unregister(descriptor)
                        os.close(descriptor)
                        self._count -= 1
                        if not self._count:
                            return


class Runner:
    """Runs scripts. `stopping` ends the running one; `changed` is called while it runs, about twice a second."""

    def __init__(self, output: Output, drain: Drain, stopping: threading.Event) -> None:
        self._output = output
        self._drain = drain
        self._stopping = stopping

    def run(
        self,
        script: Script,
        path: str,
        *,
        directory: str,
        environment: Dict[str, str],
        timeout_s: float,
        changed: Callable[[], None],
    ) -> None:
        """Run one script to its end.

        Raises:
            CommandFailure: missing, not executable, failed, or timed out; with the protocol's code and AWS's sentence.
        """
        self._output.write(["Script - " + script.location])
        path = self._executable(script, path)
        where = "Script at specified location: %s" % script.location
        shown = where + (" run as user %s" % script.runas if script.runas else "")
        options, environment = _identity(script, environment)
        try:
            process = _start(path, directory, environment, options)
        except (OSError, subprocess.SubprocessError) as error:
            raise CommandFailure(
                "%s failed with error %s with message %s" % (shown, type(error).__name__, error),
                code=SCRIPT_FAILED,
                script=script.location,
            ) from error
        try:
            ended = self._pump(process, time.monotonic() + timeout_s, changed)
        except BaseException:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            raise
        if ended == "stopped":
            raise CommandFailure(
                "Failed: the agent was stopped while %s ran." % script.location,
                code=FAILED_AFTER_RESTART,
                script=script.location,
            )
        if ended == "timeout":
            raise CommandFailure(
                "%s failed to complete in %d seconds" % (where, timeout_s),
                code=SCRIPT_TIMED_OUT,
                script=script.location,
            )
        code = process.returncode
        if code != 0:
            text = "exit code %d" % code if code > 0 else "signal %d" % -code
            raise CommandFailure("%s failed with %s" % (shown, text), code=SCRIPT_FAILED, script=script.location)

    def _executable(self, script: Script, path: str) -> str:
        if not os.path.isfile(path):
            raise CommandFailure(
                "Script does not exist at specified location: %s" % path, code=SCRIPT_MISSING, script=script.location
            )
        mode = os.stat(path).st_mode
        if not mode & stat.S_IXUSR or not os.access(path, os.X_OK):
            try:
                os.chmod(path, mode | 0o111)  # noqa: S103 - another user may be the one who runs it
            except OSError as error:
                raise CommandFailure(
                    "Unable to set script at specified location: %s as executable" % script.location,
                    code=SCRIPT_EXECUTABILITY,
                    script=script.location,
                ) from error
        return path

    def _pump(self, process: Any, deadline: float, changed: Callable[[], None]) -> str:
        """Until the script and its output end; "done", "timeout" or "stopped"."""
        streams = {}
        poll = select.poll()
        for stream, prefix in ((process.stdout, "[stdout]"), (process.stderr, "[stderr]")):
            descriptor = os.dup(stream.fileno())
            stream.close()
            os.set_blocking(descriptor, False)
            streams[descriptor] = _Lines(prefix)
            poll.register(descriptor, select.POLLIN)
        exit_fd = _exit_descriptor(process.pid)
        if exit_fd is not None:
            poll.register(exit_fd, select.POLLIN)
        exited_at: Optional[float] = None
        ended = "done"
        killed_at: Optional[float] = None
        news_at = time.monotonic() + 0.4
        quick = 0.002
        try:
            while True:
                now = time.monotonic()
                if exited_at is None and process.poll() is not None:
                    exited_at = now
                    if exit_fd is not None:
                        poll.unregister(exit_fd)
                if exited_at is not None and (not streams or now - exited_at > OUTPUT_GRACE_S):
                    break
                if exited_at is None and killed_at is None and (now >= deadline or self._stopping.is_set()):
                    ended = "stopped" if self._stopping.is_set() else "timeout"
                    self._output.write(["[agent]%s: ending the script" % ended])
                    _signal_group(process, signal.SIGTERM)
                    killed_at = now + TERM_GRACE_S
                if killed_at is not None and now >= killed_at:
                    _signal_group(process, signal.SIGKILL)
                    killed_at = now + 3600
                if now >= news_at:
                    news_at = now + 0.5
                    changed()
                if exited_at is not None:
                    wait = exited_at + OUTPUT_GRACE_S - now
                elif exit_fd is None:
                    # No descriptor tells of the exit: look often at first, then seldom.
                    wait, quick = quick, min(quick * 1.5, 0.05)
                else:
                    wait = min(0.5, max(deadline - now, 0.0) if killed_at is None else max(killed_at - now, 0.0))
                for descriptor, _ in poll.poll(int(max(wait, 0.0) * 1000) + 1):
                    if descriptor in streams:
                        self._read(descriptor, streams, poll)
            if ended != "done":
                _signal_group(process, signal.SIGKILL)  # whatever of the group outlived its leader
        finally:
            if exit_fd is not None:
                os.close(exit_fd)
            for lines in streams.values():
                self._output.write(lines.feed(b"", last=True))
            self._drain.take(list(streams))
        return ended

    def _read(self, descriptor: int, streams: Dict[int, _Lines], poll: Any) -> None:
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return
        lines = streams[descriptor].feed(data, last=not data)
        if lines:
            self._output.write(lines)
        if not data:
            poll.unregister(descriptor)
            os.close(descriptor)
            del streams[descriptor]


def _exit_descriptor(pid: int) -> Optional[int]:
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return opener(pid)
    except OSError:
        return None


def _signal_group(process: Any, number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _start(path: str, directory: str, environment: Dict[str, str], options: Dict[str, Any]) -> Any:
    common: Dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "cwd": directory,
        "env": environment,
        "start_new_session": True,
        "bufsize": 0,
        **options,
    }
    try:
        return subprocess.Popen([path], **common)
    except OSError as error:
        import errno

        if error.errno != errno.ENOEXEC:
            raise
        # A script without a #! line runs under sh, as from a shell.
        return subprocess.Popen(["/bin/sh", path], **common)


def _identity(script: Script, environment: Dict[str, str]) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """Popen's options and the environment for `runas`."""
    me = os.geteuid()
    name = script.runas or ("root" if script.sudo else "")
    if not name:
        return {}, environment
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise CommandFailure(
            "Script at specified location: %s cannot run as user %s: this machine has no such user"
            % (script.location, name),
            code=SCRIPT_FAILED,
            script=script.location,
        ) from None
    environment = dict(environment)
    environment.update(HOME=user.pw_dir, USER=name, LOGNAME=name, SHELL=user.pw_shell or "/bin/sh")
    if user.pw_uid == me:
        return {}, environment
    if me != 0:
        raise CommandFailure(
            "Script at specified location: %s cannot run as user %s: the agent runs as user id %d and only root may change users"
            % (script.location, name, me),
            code=SCRIPT_FAILED,
            script=script.location,
        )
    groups = os.getgrouplist(name, user.pw_gid)
    return _as_user(user.pw_uid, user.pw_gid, groups), environment


def _as_user(uid: int, gid: int, groups: List[int]) -> Dict[str, Any]:
    import sys

    if sys.version_info >= (3, 9):
        return {"user": uid, "group": gid, "extra_groups": groups}

    def change() -> None:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)

    return {"preexec_fn": change}
