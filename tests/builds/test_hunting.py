"""A hostile build looks for credentials everywhere it can reach, and finds its role's session only."""

from __future__ import annotations

import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from penstock_builder import Builder, commands

from penstock.builds.settings import BuildSettings

pytestmark = pytest.mark.needs("bubblewrap")

HUNT = r"""
import os, socket, subprocess, sys
marks = sys.argv[1].encode().split(b",")
found = set()
def look(where, data):
    for mark in marks:
        if mark in data:
            found.add(f"{where}: {mark.decode()[:8]}")
# every file that can be read, whatever it is called
for folder, folders, files in os.walk("/"):
    if folder in ("/proc", "/usr", "/opt", "/dev", "/sys"):
        folders[:] = [] if folder != "/proc" else [f for f in folders if f.isdigit()]
        if folder != "/proc": continue
    if folder.startswith("/proc/"):
        folders[:] = [f for f in folders if f in ("fd", "task")]
        files = ["environ", "cmdline", "maps"] if folder.count("/") == 2 else []
    if ".venv" in folder or ".pyenv" in folder: folders[:] = []; continue
    for name in files:
        path = os.path.join(folder, name)
        try:
            if os.path.isfile(path) and os.path.getsize(path) < 2_000_000 or folder.startswith("/proc"):
                with open(path, "rb") as file: look(path, file.read(2_000_000))
        except OSError: pass
# descriptors that were left open
for name in os.listdir("/proc/self/fd"):
    try: look("fd " + name, os.readlink("/proc/self/fd/" + name).encode())
    except OSError: pass
look("environment", "\n".join(f"{k}={v}" for k, v in os.environ.items()).encode())
# what uid 0 could change of the kernel; nothing is written, opening is enough
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger", "/proc/mtrr", "/sys/kernel/uevent_helper"):
    try: os.close(os.open(path, os.O_WRONLY)); found.add("may write " + path)
    except OSError: pass
nested = "exec 3>>/proc/sys/kernel/core_pattern && echo may write from a nested namespace"
for flags in ("-Urmpf --mount-proc", "-Urm", "-m", "-n"):
    out = subprocess.run(["unshare", *flags.split(), "sh", "-c", nested], capture_output=True, text=True).stdout
    if out: found.add(flags + " " + out)
# loopback
open_ports = []
for port in range(1, 65536):
    with socket.socket() as probe:
        probe.settimeout(0.2)
        if probe.connect_ex(("127.0.0.1", port)) == 0 and probe.getsockname() != probe.getpeername(): open_ports.append(port)
print("PORTS", len(open_ports), flush=True)
for port in map(int, sys.argv[2].split(",")):
    print("FORBIDDEN", port, port in open_ports)
for host in ("169.254.169.254", "10.0.0.1"):
    with socket.socket() as probe:
        probe.settimeout(1)
        print("REACHED" if probe.connect_ex((host, 80)) == 0 else "REFUSED", host)
def mount():
    import ctypes
    if ctypes.CDLL(None).mount(b"none", b"/mnt", b"tmpfs", 0, None): raise OSError
for call in (lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)), mount):
    try: call(); print("DONE")
    except OSError: print("DENIED")
print("FOUND", sorted(found), flush=True)
"""


@pytest.fixture
def database() -> Iterator[int]:
    """A service on loopback that trusts whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_build_finds_nothing_but_its_session(live_factory, database: int, tmp_path: Path):
    canary = f"canary-{uuid.uuid4().hex}"
    (tmp_path / "elsewhere.txt").write_text(canary)
    hidden = Path("/etc") / f"penstock-test-{uuid.uuid4().hex[:8]}.key" if os.geteuid() == 0 else None
    if hidden:
        hidden.touch(mode=0o600)
        hidden.write_text(canary)
    try:
        with live_factory(components=(BuildSettings(runtime="bubblewrap", allow_unisolated=True),)) as live:
            builder = Builder(live)
            keys = live.keys()
            other = builder.start(builder.project(commands(f"echo {canary} > neighbour; sleep 600")))
            builder.until(other, lambda build: build["currentPhase"] == "BUILD")
            master = (
                (tmp_path / "data-master.key").read_text().split()[-1]
                if (tmp_path / "data-master.key").exists()
                else canary
            )
            marks = ",".join([canary, keys["aws_secret_access_key"], master[-24:]])
            # What is looked for stands reversed in the script, so that the script does not find itself.
            spec = commands(
                f"{sys.executable} - <<'HUNTER'\nimport sys\nsys.argv[1:] = [''.join(reversed({marks[::-1]!r})), '{database}']\n{HUNT}\nHUNTER",
            )
            build = builder.ended(builder.start(builder.project(spec)))
            log = builder.log(build["id"])
            assert build["buildStatus"] == "SUCCEEDED", log
            answers = log[log.rindex("PORTS") :].splitlines()
            assert answers[0] == "PORTS 3"  # the endpoint, its session, the way out
            assert f"FORBIDDEN {database} False" in answers
            assert "REFUSED 169.254.169.254" in answers
            assert answers.count("DENIED") == 2
            assert "FOUND []" in answers, [a for a in answers if "FOUND" in a]
            builder.codebuild.stop_build(id=other)
            builder.ended(other)
    finally:
        if hidden:
            hidden.unlink()
