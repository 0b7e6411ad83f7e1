"""Reads log files for a server: `python -m penstock.logfiles`, with a socket as its standard input.

Each message on the socket (`PLAIN` or, where what is read may be sealed, `SEALED`) brings a connection, for which this process forks one that reads a request from it, answers, and ends. The
request is a frame: four bytes of length, then JSON. The answer is two: what the server reads, and the events, which it hands on as they are.
That of a query begins with frames of how far it is, and has one more for each part of its results. Before all of them may come frames that ask for a segment of a stream, each of which the
server answers with a frame.
A search ends with its connection, so with the caller that waits for it, or with the server.

Reading is Python's own work; within the server it would take turns with the event loop. Here it has processes of its own, at a
lower priority, which may write no file and have limits on memory and processor time. They are given nothing but paths, and data keys.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import traceback
from pathlib import Path

import orjson

from penstock.logfiles import sealed, segments
from penstock.logfiles.search import answer

PLAIN, SEALED = b"p", b"s"
FRAME = struct.Struct("!I")
_NICENESS = 10
_MEMORY = 512 * 1024**2  # bytes of address space
_PROCESSOR_S = 20
_QUERY_S = 3_600


def main() -> int:
    """Fork a process for each connection, until the server is gone."""
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes away what has ended
    gc.collect()
    gc.freeze()  # what all of them share is not written to, so it stays shared
    channel = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not message:
            return 0
        if message == SEALED:
            sealed.load()
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # no process can be had now: the caller sees its connection end
                if not os.fork():
                    try:
                        channel.close()
                        _serve(socket.socket(fileno=descriptor))
                    finally:
                        os._exit(0)
            os.close(descriptor)


def _serve(connection: socket.socket) -> None:
    (length,) = FRAME.unpack(_received(connection, FRAME.size))
    request = orjson.loads(_received(connection, length))
    segments.SEGMENTS.source = functools.partial(_segment, connection)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    querying = request.get("kind") == "query"
    longest = _QUERY_S if querying else _PROCESSOR_S
    resource.setrlimit(resource.RLIMIT_CPU, (longest, longest))
    contents: list[bytes] = []
    try:
        if querying:
            found = answer(request, lambda statistics: _send(connection, orjson.dumps({"progress": statistics})))
            parts = found.pop("parts", [])
            contents = [content for _, _, content in parts]
            found["parts"] = [(first, rows) for first, rows, _ in parts]
        else:
            found = answer(request)
            contents = [orjson.dumps(found.pop("events"))]
    except MemoryError:
        found = {"too_large": True}
    except segments.Unreadable as error:
        found = {"unreadable": str(error)}
    except Exception:  # noqa: BLE001 - the server logs it
        found = {"failed": traceback.format_exc()}
    found.pop("events", None)
    for content in (orjson.dumps(found), *(contents or ([] if querying else [b""]))):
        _send(connection, content)


def _segment(connection: socket.socket, path: Path, offset: int) -> bytes:
    """Ask the server for a segment."""
    _send(connection, orjson.dumps({"segment": [str(path), offset]}))
    (length,) = FRAME.unpack(_received(connection, FRAME.size))
    return _received(connection, length)


def _send(connection: socket.socket, content: bytes) -> None:
    connection.sendall(FRAME.pack(len(content)))
    connection.sendall(content)


def _received(connection: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = connection.recv(min(length - len(content), 1 << 20))
        if not piece:
            os._exit(0)
        content += piece
    return bytes(content)


def _end_with(connection: socket.socket) -> None:
    """Wait for the other end to close, and end the process then."""
    # What comes over the connection meanwhile is for the other thread.
    with contextlib.suppress(OSError, ValueError):
        poller = select.poll()
        poller.register(connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        poller.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
