"""One build of nine `true` commands with a live log, beside one Buildbot build of nine ShellCommands, one after the other."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.installation import build, project, role, runtime, runtime_options, until
from bench.peers import environment
from bench.run import Row
from bench.served import served

COMMANDS = 9
RUNS = 10

_MASTER = """
from buildbot.plugins import schedulers, steps, util, worker

factory = util.BuildFactory([steps.ShellCommand(command=["true"], name="step%d" % number) for number in range(NINE)])
c = BuildmasterConfig = {
    "workers": [worker.Worker("bench", "bench")],
    "protocols": {"pb": {"port": "tcp:WORKER_PORT:interface=127.0.0.1"}},
    "builders": [util.BuilderConfig(name="bench", workernames=["bench"], factory=factory)],
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["bench"])],
    "www": {"port": "tcp:WEB_PORT:interface=127.0.0.1", "plugins": {}},
    "db": {"db_url": "sqlite:///state.sqlite"},
    "buildbotNetUsageData": None,
}
"""


def measure() -> list[Row]:
    ours: list[float] = []
    theirs: list[float] = []
    with served(*runtime_options()) as server, buildbot() as url:
        client = server.clients()
        project(client, "nine", ["true"] * COMMANDS, role(client, "codebuild"))
        codebuild = client("codebuild")
        build(codebuild, "nine")
        _force(url)
        for _ in range(RUNS):
            ours.append(build(codebuild, "nine") * 1000)
            theirs.append(_force(url) * 1000)
    p50, peer = statistics.median(ours), statistics.median(theirs)
    kind = runtime()
    return [
        Row(
            what=f"build of {COMMANDS} `true` with live log ({kind}), against Buildbot with {COMMANDS} steps, {RUNS} runs",
            measured=f"{peer / p50:.1f}× faster (p50 {p50:.0f} ms against {peer:.0f})",
            bar="≥ 5×",
            met=peer / p50 >= 5,
        )
    ]


def _force(url: str) -> float:
    """Seconds from forcing a build until it is seen complete."""
    began = time.monotonic()
    asked = {"jsonrpc": "2.0", "method": "force", "id": 1, "params": {"builderid": 1}}
    request_id = _json(f"{url}/api/v2/forceschedulers/force", asked)["result"][0]
    page = f"{url}/api/v2/buildrequests/{request_id}"
    until(lambda: _json(page)["buildrequests"][0]["complete"], every=0.01, what="Buildbot's build")
    took = time.monotonic() - began
    result = _json(page)["buildrequests"][0]["results"]
    if result != 0:
        raise RuntimeError(f"Buildbot's build ended as {result}")
    return took


def _json(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@contextlib.contextmanager
def buildbot() -> Iterator[str]:
    """A master and a local worker on SQLite; the master's address."""
    bin_dir = environment()
    ports = []
    for _ in range(2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        master, worker = Path(name) / "master", Path(name) / "worker"
        commands = (
            [str(bin_dir / "buildbot"), "create-master", str(master)],
            [str(bin_dir / "buildbot-worker"), "create-worker", str(worker), f"127.0.0.1:{ports[0]}", "bench", "bench"],
        )
        for command in commands:
            subprocess.run(command, check=True, capture_output=True)
        config = (
            _MASTER.replace("NINE", str(COMMANDS))
            .replace("WORKER_PORT", str(ports[0]))
            .replace("WEB_PORT", str(ports[1]))
        )
        (master / "master.cfg").write_text(config)
        url = f"http://127.0.0.1:{ports[1]}"
        started = [
            subprocess.Popen(
                [str(bin_dir / "twistd"), "--nodaemon", "--no_save", "--pidfile=", "-y", "buildbot.tac"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for folder in (master, worker)
        ]
        try:
            until(lambda: _connected(url), every=0.1, what="Buildbot's start")
            yield url
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(20)


def _connected(url: str) -> bool:
    try:
        workers = _json(f"{url}/api/v2/workers")["workers"]
    except OSError:
        return False
    return bool(workers and workers[0]["connected_to"])
