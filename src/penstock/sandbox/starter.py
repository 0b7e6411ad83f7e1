"""The process that starts a sandbox's programs.

A process that moves into a control group waits until the kernel has seen every processor idle for a moment: milliseconds for each group.
So one process of the supervisor's moves there while the sandbox is being made, and forks each program, which is born under the limits. It
stays outside of the sandbox: the processes inside cannot see it, and it learns from the kernel how a program ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable

from penstock.sandbox import kernel
from penstock.sandbox.processes import PATH, Started, start
from penstock.sandbox.runtime import Isolation

_ORDER_LIMIT = 64 * 1024


class NotStarted(Exception):
    """No program can be started; the message says why."""


class Starter:
    """Starts programs, one at a time. Made before any namespace is left."""

    def __init__(self, isolation: Isolation, enter_groups: Callable[[], None]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid:
            theirs.close()
            self._process = Started(pid)
            return
        try:
            self._ours.close()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            kernel.die_with_parent(signal.SIGKILL)
            _serve(theirs, isolation, enter_groups)
        finally:
            os._exit(0)

    def fileno(self) -> int:
        """What can be read when a program has ended."""
        return self._ours.fileno()

    def open(self, namespaces: list[int]) -> None:
        """Let it into the sandbox, whose namespaces these descriptors are. Raises NotStarted."""
        self._order({"argv": [], "numbers": []}, namespaces)
        self.ended()

    def start(self, argv: list[str], *, output: int, descriptors: dict[int, int]) -> None:
        """Start a program, as `processes.start` does, inside. Raises NotStarted."""
        self._order({"argv": argv, "numbers": list(descriptors)}, [output, *descriptors.values()])

    def ended(self) -> int:
        """Wait for the end of what was started; its exit code, negative for a signal. Raises NotStarted."""
        try:
            answer = self._ours.recv(_ORDER_LIMIT)
        except ConnectionResetError:
            answer = b""
        if not answer:
            raise NotStarted("the process that starts its programs was killed, or memory ran out")
        found = json.loads(answer)
        if "error" in found:
            raise NotStarted(found["error"])
        return found["code"]

    def _order(self, order: dict, descriptors: list[int]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # `ended` says so
            socket.send_fds(self._ours, [json.dumps(order).encode()], descriptors)


def _serve(channel: socket.socket, isolation: Isolation, enter_groups: Callable[[], None]) -> None:
    """Start what is asked for, until nobody asks any more. The first order is to enter the sandbox."""
    error = ""
    try:
        enter_groups()
    except OSError as failed:
        error = f"it cannot be put under its limits: {failed.strerror}"
    inside = False
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, _ORDER_LIMIT, 16)
        if not data:
            return
        order = json.loads(data)
        code = 0
        if not error:
            try:
                if inside:
                    output, *more = descriptors
                    # From the fork to its program, a program is seen from inside.
                    code = start(
                        order["argv"],
                        output=output,
                        descriptors=dict(zip(order["numbers"], more, strict=True)),
                        env={"PATH": PATH},
                        cwd="/",
                        before=isolation.confine,
                    ).wait()
                else:
                    kernel.hide_memory()
                    isolation.approach(descriptors)
                    inside = True
            except OSError as failed:
                error = f"its sandbox cannot be entered: {failed.strerror}"
        if inside and order["argv"]:
            for descriptor in descriptors:
                os.close(descriptor)
        channel.send(json.dumps({"error": error} if error else {"code": code}).encode())
