"""Namespaces of their own for broken programs.

A place that decides which processes an agent ends, or which folder it removes, decides wrongly when it is broken, and its tests run
that. So broken programs see no process but those of their own run, no network but a loopback of their own, and write nowhere but in a
folder that goes with them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from breaking import ROOT

_APART = "MUTANTS_APART"


def go_apart() -> None:
    """Begin this program again in namespaces, unless it is in them. Ends it with a sentence where they cannot be had."""
    if _APART in os.environ:
        return
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        sys.exit(
            "bubblewrap (bwrap) is not installed: programs that are broken on purpose are run in its namespaces only."
        )
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        Path(folder).chmod(0o1777)  # it is /tmp inside, and PostgreSQL runs as another user there
        command = [
            bubblewrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", folder, "/tmp",  # noqa: S108 - what is there inside
            "--ro-bind", str(ROOT), str(ROOT), "--ro-bind", sys.prefix, sys.prefix,
            "--unshare-pid", "--unshare-ipc", "--unshare-net", "--die-with-parent", "--new-session", "--setenv", _APART, "1",
            "--setenv", "HYPOTHESIS_STORAGE_DIRECTORY", "/tmp/hypothesis",  # noqa: S108 - what it finds no place for is a warning, and so a failure
            *(["--cap-add", "ALL"] if os.geteuid() == 0 else []),
            sys.executable, *sys.argv,
        ]  # fmt: skip
        sys.exit(subprocess.run(command, check=False).returncode)
