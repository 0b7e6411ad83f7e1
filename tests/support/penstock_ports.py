"""Ports that stay a test's own while the server on them is dead."""

from __future__ import annotations

import socket


def reserved_port() -> int:
    """A port of 127.0.0.1 that the kernel gives to nobody else until this process ends.

    A number that was merely free a moment ago goes to any connection or server that starts meanwhile, most likely while a server is killed
    and started again. A socket that is bound but does not listen keeps it: with SO_REUSEADDR, which servers set as well, a second one may
    bind to the port and listen, and a client that finds none listening is refused.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    holder.detach()  # open as long as the process
    return port
