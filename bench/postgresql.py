"""A private PostgreSQL, fsync on, thrown away afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from bench.run import Unavailable


def programs() -> Path:
    """The folder of PostgreSQL's server programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise Unavailable("PostgreSQL's server programs are not installed")
    return Path(initdb).resolve().parent


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database."""
    bin_dir = programs()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        folder = Path(name)
        who: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = next(one for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
        initdb = [
            str(bin_dir / "initdb"),
            "-D",
            str(folder / "data"),
            "-U",
            "penstock",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **who)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            str(bin_dir / "postgres"),
            "-D",
            str(folder / "data"),
            "-p",
            str(port),
            "-k",
            str(folder),
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **who)
        url = f"postgresql://penstock@127.0.0.1:{port}/postgres"
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    psycopg.connect(url, connect_timeout=5).close()
                    break
                except psycopg.OperationalError:
                    if time.monotonic() > deadline or process.poll() is not None:
                        raise Unavailable(f"PostgreSQL does not start: {(folder / 'log').read_text()[-500:]}") from None
                    time.sleep(0.05)
            yield url
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(30)
