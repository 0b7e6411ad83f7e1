"""The artifacts of a build: packed by a child that sees only what the build saw."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from penstock.builds.supervisor import packing
from penstock.sandbox import kernel
from penstock.sandbox.processes import Started


def packed_name(index: int) -> str:
    """The file of an artifact in the build's directory, by its place in the list."""
    return f"packed-{index}.zip"


def pack_artifact(
    spec: dict[str, Any],
    path: str,
    *,
    source: str,
    compress: bool,
    enter: Callable[[], None],
    read: Callable[[int], bytes],
    say: Callable[[str], None],
) -> str:
    """Pack one artifact into the file `path`; why that failed, or "".

    `enter` makes the child see the build's files only; `read` waits for bytes of a descriptor, b"" at its end, and ends the packing by raising.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            signal.set_wakeup_fd(-1)
            os.close(reading)
            _pack_in_child(spec, path, writing, source=source, compress=compress, enter=enter)
        finally:
            os._exit(0)
    packer = Started(pid)
    os.close(writing)
    failure = "the artifacts could not be packed: see the log of the server"
    try:
        for record in _records(reading, read):
            if "say" in record:
                say(record["say"])
            else:
                failure = str(record["failure"])
    except BaseException:
        packer.kill()
        raise
    finally:
        os.close(reading)
        packer.wait()
    return failure


def _records(reading: int, read: Callable[[int], bytes]) -> Iterator[dict[str, Any]]:
    """What the child reports, until it ends."""
    held = b""
    while chunk := read(reading):
        *lines, held = (held + chunk).split(b"\n")
        yield from map(json.loads, lines)


def filled(spec: dict, variables: dict) -> dict:
    """An artifact's specification with the variables of its paths filled in."""
    return spec | {
        "base_directory": _expanded(spec["base_directory"], variables),
        "files": [_expanded(pattern, variables) for pattern in spec["files"]],
        "exclude_paths": [_expanded(pattern, variables) for pattern in spec["exclude_paths"]],
    }


def _pack_in_child(
    spec: dict, path: str, answers: int, *, source: str, compress: bool, enter: Callable[[], None]
) -> None:
    def report(**record: object) -> None:
        os.write(answers, json.dumps(record).encode() + b"\n")

    target = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+b")
    failure = ""
    try:
        enter()
        kernel.die_with_parent(signal.SIGKILL)  # after a change of user, which takes it back
        # From here on every path is the build's: a module or codec that Python still looked for would be its code.
        sys.meta_path.clear()
        packing.pack(
            target,
            spec,
            source=source,
            compress=compress,
            say=lambda text: report(say=text),
        )
        target.flush()
        os.fsync(target.fileno())
    except packing.PackingFailed as failed:
        failure = str(failed)
    except OSError as error:
        failure = f"the artifacts could not be packed: {error.strerror}"
    except Exception as error:  # noqa: BLE001 - the phase fails, with a reason
        traceback.print_exc()
        failure = f"the artifacts could not be packed: {error}"
    report(failure=failure)
    sys.stderr.flush()


def _expanded(text: str, variables: dict) -> str:
    """`$NAME` and `${NAME}` filled in; unset ones become nothing."""
    return re.sub(
        r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", lambda found: variables.get(found.group(1) or found.group(2), ""), text
    )
