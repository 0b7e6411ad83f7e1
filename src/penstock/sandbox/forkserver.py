"""Starts the program of a module with the standard library and that module's own imports only: `python -I -S …/forkserver.py MODULE [ARGUMENT]`.

The module has a function `main(argument) -> int`. Without an argument this process loads the module, and forks it for each message on its
input, a socket: the message is the argument, and the answer is one byte, the exit status. A new interpreter and its imports would be half of
what a short program takes.

The packages above the module are not executed, so that nothing of the server is loaded with it, and no other package can be imported: this
process, run without `site`, has no folder of installed packages.
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType

_FAILED = 4  # the exit status of a program that raised
_ARGUMENT_LIMIT = 65536


def _load(name: str) -> ModuleType:
    """Import a module without running the code of the packages that it lies in."""
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    parts = name.split(".")[:-1]
    for depth in range(1, len(parts) + 1):
        package = ModuleSpec(".".join(parts[:depth]), None, is_package=True)
        package.submodule_search_locations = [os.path.join(source, *parts[:depth])]
        sys.modules[package.name] = module_from_spec(package)
    return importlib.import_module(name)


def _serve(main: Callable[[str], int]) -> int:
    """Fork the program for each argument, until the server is gone."""
    gc.collect()
    gc.freeze()  # what all of them share is not written to, so it stays shared
    channel = socket.socket(fileno=0)
    while argument := channel.recv(_ARGUMENT_LIMIT):
        pid = os.fork()
        if not pid:
            code = _FAILED
            try:
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 0)
                os.close(null)
                code = main(os.fsdecode(argument))
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        channel.send(bytes([code if code >= 0 else _FAILED]))
    return 0


if __name__ == "__main__":
    _main = _load(sys.argv[1]).main
    os._exit(_main(sys.argv[2]) if sys.argv[2:] else _serve(_main))
