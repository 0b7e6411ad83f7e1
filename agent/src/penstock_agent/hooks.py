"""Running the scripts of a lifecycle event: their own session, bounded output, and an end in every case."""

from __future__ import annotations

import os
import pwd
import select
import signal
import stat
import subprocess
import threading
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from penstock_agent import processes
from penstock_agent.appspec import Script
from penstock_agent.failures import (
    FAILED_AFTER_RESTART,
    SCRIPT_EXECUTABILITY,
    SCRIPT_FAILED,
    SCRIPT_MISSING,
    SCRIPT_TIMED_OUT,
    CommandFailure,
    reason,
)
from penstock_agent.output import READ_BYTES, Drain, Lines, Output
from penstock_agent.reach import Reach
from penstock_agent.scripts import ended_by, hint, why_not_started

OUTPUT_GRACE_S = 1.0


class _Identity(NamedTuple):
    """Who runs a script: the user id, the arguments of Popen for it, and the environment."""

    uid: int
    options: Dict[str, Any]
    environment: Dict[str, str]


class Runner:
    """Runs scripts. `stopping` ends the running one; `marks` and `reach` belong to the agent's directory."""

    def __init__(
        self, output: Output, drain: Drain, stopping: threading.Event, marks: processes.Marks, reach: Reach
    ) -> None:
        self._output = output
        self._drain = drain
        self._stopping = stopping
        self._marks = marks
        self._reach = reach

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
        """Run one script to its end. `changed` is called while it runs, about twice a second.

        Raises:
            CommandFailure: missing, not executable, failed, or timed out; with the protocol's code and AWS's sentence.
        """
        self._output.write(["Script - " + script.location])
        path = self._executable(script, path)
        where = "Script at specified location: %s" % script.location
        name_text = where + (" run as user %s" % script.runas if script.runas else "")
        identity = _identity(script, environment)
        try:
            mark = self._marks.set()
            try:
                with self._reach.by(identity.uid):
                    process, ended = self._carry(mark, path, directory, identity, timeout_s, changed)
            finally:
                self._marks.clear(mark)
        except (OSError, subprocess.SubprocessError) as error:
            user = script.runas or ("root" if script.sudo else "")
            raise CommandFailure(
                "%s could not be started: %s" % (name_text, why_not_started(error, path, directory, user)),
                code=SCRIPT_FAILED,
                script=script.location,
            ) from error
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
            text = "exit code %d" % code if code > 0 else ended_by(-code)
            raise CommandFailure(
                "%s failed with %s%s" % (name_text, text, hint(path)), code=SCRIPT_FAILED, script=script.location
            )

    def _carry(
        self,
        mark: str,
        path: str,
        directory: str,
        identity: _Identity,
        timeout_s: float,
        changed: Callable[[], None],
    ) -> Tuple[Any, str]:
        """The process when it has ended, and how: "done", "timeout" or "stopped"."""
        environment = {**identity.environment, processes.VARIABLE: mark}
        process = _start(path, directory, environment, identity.options)
        try:
            return process, self._pump(process, mark, time.monotonic() + timeout_s, changed)
        except BaseException:
            _signal_group(process, signal.SIGKILL)
            process.wait()
            processes.end(mark, until=0.0)
            raise

    def _executable(self, script: Script, path: str) -> str:
        if not os.path.isfile(path):
            raise CommandFailure(
                "Script does not exist at specified location: %s" % path, code=SCRIPT_MISSING, script=script.location
            )
        mode = os.stat(path).st_mode
        # Whoever may write a script decides what its user does; the owner's right to execute it is given to all.
        wanted = (mode | 0o111 if not mode & stat.S_IXUSR or not os.access(path, os.X_OK) else mode) & ~0o022
        if wanted != mode:
            try:
                os.chmod(path, wanted)
            except OSError as error:
                raise CommandFailure(
                    "Unable to set script at specified location: %s as executable: %s"
                    % (script.location, reason(error)),
                    code=SCRIPT_EXECUTABILITY,
                    script=script.location,
                ) from error
        return path

    def _pump(self, process: Any, mark: str, deadline: float, changed: Callable[[], None]) -> str:
        """Until the script and its output end; "done", "timeout" or "stopped"."""
        streams = {}
        poll = select.poll()
        for stream, prefix in ((process.stdout, "[stdout]"), (process.stderr, "[stderr]")):
            descriptor = os.dup(stream.fileno())
            stream.close()
            os.set_blocking(descriptor, False)
            streams[descriptor] = Lines(prefix)
            poll.register(descriptor, select.POLLIN)
        exit_fd = _exit_descriptor(process.pid)
        if exit_fd is not None:
            poll.register(exit_fd, select.POLLIN)
        exited_at: Optional[float] = None
        ended = "done"
        kill_at: Optional[float] = None
        killed = False
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
                if exited_at is None and kill_at is None and (now >= deadline or self._stopping.is_set()):
                    ended = "stopped" if self._stopping.is_set() else "timeout"
                    self._output.write(["[agent]%s: ending the script" % ended])
                    processes.send(processes.members(mark, process.pid), signal.SIGTERM)
                    kill_at = now + processes.TERM_GRACE_S
                if kill_at is not None and now >= kill_at and not killed:
                    killed = True
                    _signal_group(process, signal.SIGKILL)
                if now >= news_at:
                    news_at = now + 0.5
                    changed()
                if exited_at is not None:
                    wait = exited_at + OUTPUT_GRACE_S - now
                elif exit_fd is None:
                    # No descriptor signals the exit, so poll often at first, then seldom.
                    wait, quick = quick, min(quick * 1.5, 0.05)
                else:
                    until = deadline if kill_at is None else kill_at
                    wait = min(0.5, until - now) if until > now else 0.05
                for descriptor, _ in poll.poll(int(max(wait, 0.0) * 1000) + 1):
                    if descriptor in streams:
                        self._read(descriptor, streams, poll)
            if kill_at is not None:
                processes.end(mark, session=process.pid, until=kill_at)  # whatever outlived the script
        finally:
            if exit_fd is not None:
                os.close(exit_fd)
            for lines in streams.values():
                self._output.write(lines.feed(b"", last=True))
            self._drain.take(list(streams))
        return ended

    def _read(self, descriptor: int, streams: Dict[int, Lines], poll: Any) -> None:
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
        with open(path, "rb") as file:
            if b"\0" in file.read(512):
                raise  # a program for another machine
        # A script without a #! line runs under sh, as from a shell.
        return subprocess.Popen(["/bin/sh", path], **common)


def _identity(script: Script, environment: Dict[str, str]) -> _Identity:
    """Who runs the script, for `runas` and `sudo`."""
    me = os.geteuid()
    name = script.runas or ("root" if script.sudo else "")
    if not name:
        return _Identity(me, {}, environment)
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
        return _Identity(me, {}, environment)
    if me != 0:
        raise CommandFailure(
            "Script at specified location: %s cannot run as user %s: the agent runs as user id %d and only root may change users"
            % (script.location, name, me),
            code=SCRIPT_FAILED,
            script=script.location,
        )
    groups = os.getgrouplist(name, user.pw_gid)
    return _Identity(user.pw_uid, _as_user(user.pw_uid, user.pw_gid, groups), environment)


def _as_user(uid: int, gid: int, groups: List[int]) -> Dict[str, Any]:
    import sys

    if sys.version_info >= (3, 9):
        return {"user": uid, "group": gid, "extra_groups": groups}

    def change() -> None:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)

    return {"preexec_fn": change}
