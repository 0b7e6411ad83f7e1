"""A sandbox in the hands of its supervisor: prepared, opened, given programs to run, watched, and ended with everything in it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from penstock.sandbox import kernel, relay
from penstock.sandbox.cgroups import ControlGroups, end_groups
from penstock.sandbox.disk import Disk
from penstock.sandbox.processes import Started, reap
from penstock.sandbox.registry import runtime_named
from penstock.sandbox.removal import remove_tree
from penstock.sandbox.specification import Listener, Specification
from penstock.sandbox.starter import NotStarted, Starter

_CHUNK = 256 * 1024
_DRAIN_S = 1.0  # of going through output, between two looks at everything else
_REST_S = 5  # how long the last output may take to be read, after everything that could write it is dead


class LimitExceeded(Exception):
    """The processes used more than they may; the message is a sentence without its stop."""


class TimeOver(Exception):
    """The seconds of the sandbox are over."""


class Broken(Exception):
    """The sandbox cannot be had, or ended by itself; the message says why."""


class AnswerTooLong(Exception):
    """A program answered more than it may."""


class Sandbox:
    """One sandbox. `on_signal` is called when a signal came, and `on_output` with each chunk of what the programs print; both may raise."""

    def __init__(
        self, specification: Specification, *, on_signal: Callable[[], None], on_output: Callable[[bytes], None]
    ) -> None:
        self.specification = specification
        self._on_signal = on_signal
        self._on_output = on_output
        limits = specification.limits
        self._groups = ControlGroups(specification.directory, limits, specification.subject)
        self._deadline = time.monotonic() + limits.seconds
        self._isolation = runtime_named(specification.runtime).isolation(specification)
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    @property
    def unlimited(self) -> dict[str, str]:
        """The controllers that no control group stands for, with the reasons."""
        return self._groups.missing

    def prepare(self) -> dict[str, int]:
        """Leave the host's mounts and network; the port of each listener, by its name. Raises OSError."""
        channel = self._fork_relay()
        self._starter = Starter(self._isolation, self._groups.enter)
        self._isolation.prepare()
        # Who asks for a certain port goes first: another could get it as a free one.
        listeners = sorted(self.specification.network.listeners, key=lambda one: one.port == 0)
        ports = {one.name: _listen(one, channel) for one in listeners}
        self._channel = channel  # while it is open, the relay serves
        return ports

    def open(self, *, files: Sequence[str] = ()) -> None:
        """Hand the folders over and make the sandbox. `files` are paths outside of it that count as its own. Raises OSError, Broken."""
        self._isolation.hand_over()
        self._output, self._output_w = os.pipe()
        namespaces = self._isolation.begin(self._output_w)
        kernel.hide_memory()
        try:
            self._starter.open(namespaces)
        except NotStarted as error:
            raise Broken(str(error)) from error
        os.set_blocking(self._output, False)
        folders, skipped = self._isolation.written()
        specification = self.specification
        self._disk = Disk(
            [*folders, *files], skipped=skipped, limit=specification.limits.disk, subject=specification.subject
        )

    def run(self, argv: list[str], *, answer_limit: int = 0) -> tuple[int, bytes]:
        """Run a program; its exit code as a shell has it, and what it wrote to descriptor 5, of which there may be `answer_limit` bytes.

        Raises LimitExceeded, TimeOver, Broken, AnswerTooLong.
        """
        answer, answering = os.pipe()
        self._starter.start(argv, output=self._output_w, descriptors={5: answering} if answer_limit else {})
        os.close(answering)
        os.set_blocking(answer, False)
        answered = bytearray()
        ending = self._starter.fileno()
        watched = [self._output, answer, ending]
        ready: list[int] = []
        code, failure = 0, ""
        try:
            while ending not in ready:
                ready = self._wait(watched)
                if self._output in ready:
                    self._drain(until=time.monotonic() + _DRAIN_S)
                if answer in ready and not self._answered(answer, answered, answer_limit):
                    watched.remove(answer)
            if answer in watched:
                self._answered(answer, answered, answer_limit)
            code = self._starter.ended()
        except NotStarted as error:
            failure = str(error)
        finally:
            os.close(answer)
        self._drain()
        if not self._isolation.standing():
            failure = "its first process was killed, or memory ran out"
        if failure:
            exceeded = self.exceeded()
            if exceeded:
                raise LimitExceeded(exceeded[0].upper() + exceeded[1:])
            raise Broken(failure)
        return code if code >= 0 else 128 - code, bytes(answered)

    def exceeded(self) -> str:
        """What the kernel refused or ended since the last call for want of memory or processes; "" when nothing."""
        return self._groups.exceeded()

    def check_disk(self) -> None:
        """End the sandbox that fills more of the disk than it may, and give its space back. Raises LimitExceeded."""
        reason = self._disk.verdict(os.getpid())
        if not reason:
            return
        self._isolation.kill()
        self._isolation.let_go()
        for path in map(Path, self._disk.folders):
            with contextlib.suppress(OSError):
                if path.is_dir():
                    remove_tree(path)
                else:
                    path.unlink()
        raise LimitExceeded(reason)

    def read(self, descriptor: int) -> bytes:
        """Wait for bytes of a descriptor; b"" at its end. Raises LimitExceeded, TimeOver."""
        while descriptor not in self._wait([descriptor]):
            pass
        return os.read(descriptor, 65536)

    def kill(self) -> None:
        """End every process, and pass on what they still had to say."""
        self._isolation.kill()
        end_groups(self.specification.directory)
        os.close(self._output_w)
        deadline = time.monotonic() + _REST_S
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self._output], [], [], 0.2)
            if ready and not self._drain():
                break
        os.close(self._output)

    def enter(self) -> None:
        """See files as the processes saw them: for a child that reads what they left. Raises OSError."""
        self._isolation.enter()

    def _fork_relay(self) -> socket.socket:
        """The relay's process: forked before any namespace is left, so that it stays in the host's network."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            Started(pid)  # which ends with all others
            theirs.close()
            return ours
        try:
            ours.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kernel.die_with_parent(signal.SIGKILL)
            relay.serve(theirs, relay.Endpoints(self.specification))
        finally:
            os._exit(0)

    def _wait(self, descriptors: list[int]) -> list[int]:
        """Wait until one can be read or a child ended; which can. Raises LimitExceeded, TimeOver."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeOver
        watched = [*descriptors, self._wake_r, *self._disk.descriptors]
        ready, _, _ = select.select(watched, [], [], min(left, self._disk.pause()))
        if self._wake_r in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_r, 4096)
            reap()
            self._on_signal()
        self.check_disk()
        return ready

    def _answered(self, answer: int, answered: bytearray, limit: int) -> bool:
        """Take what a program answered; False at its end. Raises AnswerTooLong."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(answer, 65536):
                answered += chunk
                if len(answered) > limit:
                    raise AnswerTooLong
            return False
        return True

    def _drain(self, *, until: float = math.inf) -> bool:
        """Pass on all output that there is now, or what can be until then; False at its end."""
        try:
            # A program that never stops printing must not keep a stop waiting, nor may output that takes long to go through.
            for _ in range(256):
                if time.monotonic() >= until:
                    break
                data = os.read(self._output, _CHUNK)
                if not data:
                    return False
                self._on_output(data)
        except BlockingIOError:
            pass
        return True


def _listen(one: Listener, channel: socket.socket) -> int:
    """Open a listener where this process is by now, and hand it to the relay; its port."""
    family = socket.AF_INET6 if ":" in one.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # Without SO_REUSEADDR: of a free port two could get the same with it, and the second to listen fails.
        listener.bind((one.address, one.port))
        listener.listen(128)
        socket.send_fds(channel, [one.name.encode()], [listener.fileno()])
        return int(listener.getsockname()[1])
