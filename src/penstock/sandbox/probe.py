"""Looks for the server's files from a sandbox, before any is trusted with foreign code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from penstock.sandbox.registry import runtime_named
from penstock.sandbox.specification import Folder, Layout, Limits, Network, Specification
from penstock.sandbox.starter import Starter

_SHOWS = 9  # the exit status of a search that found something
_SEARCH = """\
for path; do
  if [ -d "$path" ]; then found=$(ls -A "$path") || continue; else [ -s "$path" ] && found=content || found=; fi
  [ -z "$found" ] || { echo "$path of the server shows in the sandbox" >&2; exit 9; }
done
"""
"""Fails when one of the paths that it is given is there and not empty."""
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to."""

    reason: str  # why no sandbox can be used; "" when one can
    shows: bool = False  # a path of the server was seen


def search(runtime: str, *, program: str, network: str, layout: Layout) -> Found:
    """Make a sandbox, look for the hidden paths in it, and end it. Runs child processes."""
    with tempfile.TemporaryDirectory(prefix="penstock-probe-") as folder:
        specification = Specification(
            runtime=runtime,
            program=program,
            subject="probe",
            directory=folder,
            user=0,
            folders=(Folder(path=os.path.join(folder, "own"), inside="/sandbox", writable=True),),
            layout=layout,
            limits=Limits(memory=1 << 30, cpus=1, processes=100, disk=1 << 30, seconds=_TIMEOUT_S),
            network=Network(mode=network),
        )
        forkserver = Path(__file__).with_name("forkserver.py")
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(forkserver), __name__, json.dumps(specification.to_json())],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    if done.returncode == 0:
        return Found("")
    reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
    return Found(reason, shows=done.returncode == _SHOWS)


def main(argument: str) -> int:
    """The search, in a supervisor: the exit status of its script, whose errors are this process's."""
    specification = Specification.from_json(json.loads(argument))
    for folder in specification.folders:
        os.makedirs(folder.path)
    isolation = runtime_named(specification.runtime).isolation(specification)
    starter = Starter(isolation, lambda: None)
    isolation.prepare()
    starter.open(isolation.begin(2))
    starter.start(["/bin/sh", "-c", _SEARCH, "search", *specification.layout.hidden], output=2, descriptors={})
    code = starter.ended()
    isolation.kill()
    return code
