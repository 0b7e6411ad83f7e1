"""Starts the supervisors of this process's sandboxes.

One process loads a supervisor's modules when the first is started, and is forked for each (`forkserver.py`). It knows nothing of this process
(no environment, no descriptors but its socket), and ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

FORKSERVER = Path(__file__).with_name("forkserver.py")
_WAIT_S = 60
_TRIES = 2  # one that died while nobody used it is found dead at the next use
_FAILED = 4


class Launcher:
    """Forks the program of one module, one at a time. Blocking; for any thread."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # a fork of this process has a launcher of its own
        atexit.register(self.close)

    def start(self, argument: Path) -> int:
        """Run the program with a path as its argument; its exit status, or 4 when it died. Raises OSError."""
        with self._lock:
            for _ in range(_TRIES):
                if self._channel is None or self._owner != os.getpid():
                    self._load()
                assert self._channel is not None
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self._channel.send(os.fsencode(argument.absolute()))
                    try:
                        answer = self._channel.recv(1)
                    except TimeoutError:
                        self._end(kill=True)
                        raise
                    if answer:
                        return answer[0]
                self._end(kill=True)
        return _FAILED

    def close(self) -> None:
        """End the process that forks them; they continue."""
        with self._lock:
            if self._owner == os.getpid():
                self._end()

    def _load(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_WAIT_S)
        self._owner = os.getpid()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(FORKSERVER), self._module],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,  # a terminal's Ctrl-C is the server's, not its sandboxes'
            )

    def _end(self, *, kill: bool = False) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            if kill:
                self._process.kill()
            self._process.wait()
        self._channel = self._process = None
