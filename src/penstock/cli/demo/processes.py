"""The processes of the demo: one server and three agents, each a host with a folder and a port of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from penstock.cli.terminal import step

_START_SECONDS = 120
_STOP_SECONDS = 20
_PORT = 8470
_PORTS = range(10_000, 32_768)  # below those that Linux gives to connections
HOSTS = ("web-1", "web-2", "web-3")


class DemoError(Exception):
    """The demo cannot continue."""


@dataclass(frozen=True)
class Host:
    """One local host of the demo."""

    name: str
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """Where its web application answers."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def root(self) -> Path:
        """What stands for the host's root directory."""
        return self.folder / "root"


class Processes:
    """Starts, remembers and stops the demo's processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "server"
        self._state_file = folder / "demo.json"

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The three hosts."""
        ports = self._state().get("ports", {})
        return tuple(Host(name, self.folder / "hosts" / name, ports.get(name, 0)) for name in HOSTS)

    @property
    def keys(self) -> dict[str, dict[str, str]]:
        """Access keys by user name; the demo made them."""
        return self._state().get("keys", {})

    def remember(self, **values: Any) -> None:
        """Keep facts for the encore, readable by this user only."""
        state = self._state() | values
        descriptor = os.open(self._state_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(state, option=orjson.OPT_INDENT_2))

    def recall(self, name: str) -> Any:
        """A fact that was kept."""
        return self._state().get(name)

    def runs(self) -> bool:
        """Whether every process of an earlier demo still runs."""
        processes = self._state().get("processes", {})
        return set(processes) == {"server", *HOSTS} and all(_alive(**process) for process in processes.values())

    def start(self, *, port: int | None) -> None:
        """Stop and remove what an earlier demo left, then start the server."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in HOSTS:
            (self.folder / "hosts" / name).mkdir(parents=True)
        self.folder.chmod(0o700)
        self.remember(ports=dict(zip(HOSTS, _free_ports(len(HOSTS)), strict=True)), processes={})
        self.start_server((_PORT if _is_free(_PORT) else 0) if port is None else port)

    def start_server(self, port: int) -> None:
        """Start `penstock up` on the demo's data and wait until it answers."""
        began = time.monotonic()
        command = ["up", "--data-dir", str(self.data_dir), "--port", str(port), "--allow-unisolated-builds"]
        command += ["--master-key-file", str(self.folder / "master.key")]
        ready = self._spawn("server", [sys.executable, "-m", "penstock.cli.main", *command], wait_for="penstock ready ")
        self.remember(url=ready.split()[2])
        step(f"penstock up: {ready.split()[2]} answers after {time.monotonic() - began:.1f} s")

    def start_agent(self, host: Host, config: dict[str, Any]) -> None:
        """Start the agent of a host with this configuration."""
        path = host.folder / "agent.yml"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(config, option=orjson.OPT_INDENT_2))  # JSON is YAML
        self._spawn(host.name, [sys.executable, "-m", "penstock_agent", "run", "--config", str(path)])

    def stop(self) -> None:
        """End what this demo started: agents, their applications, the server."""
        processes = self._state().get("processes", {})
        for name in (*HOSTS, "server"):
            if (process := processes.get(name)) and _alive(**process):
                _end(process["pid"])
        for host in self.hosts:
            with contextlib.suppress(OSError, ValueError):
                pid = int((host.root / "run" / "hello-web.pid").read_text())
                if str(host.port) in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                    _end(pid)
        if processes:
            self.remember(processes={})
            step("stopped what an earlier demo had left running")

    def _spawn(self, name: str, command: list[str], *, wait_for: str = "") -> str:
        log = self.folder / f"{name}.log"
        out = self.folder / f"{name}.out"
        with log.open("ab") as errors, out.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True, cwd=self.folder
            )
        processes = dict(self._state().get("processes", {}))
        self.remember(processes=processes | {name: {"pid": process.pid, "started": _start_time(process.pid)}})
        if not wait_for:
            return ""
        for line in _lines(out, process, seconds=_START_SECONDS):
            if line.startswith(wait_for):
                return line
        raise DemoError(f"{name} did not start; its log ends:\n{log.read_text()[-2000:]}")

    def _state(self) -> dict[str, Any]:
        with contextlib.suppress(FileNotFoundError):
            return orjson.loads(self._state_file.read_bytes())
        return {}


def fetch(url: str, *, seconds: float = 2) -> tuple[int, str]:
    """Status and text of a page; status 0 when nothing answers."""
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except OSError as error:
        return 0, str(error)


def _lines(path: Path, process: subprocess.Popen[bytes], *, seconds: float) -> Iterator[str]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        yield from path.read_text().splitlines()
        if process.poll() is not None:
            return
        time.sleep(0.02)


def _start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat: with it a pid that was used again is not taken for ours."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _alive(pid: int, started: str) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return stat[19] == started and stat[0] != "Z"


def _end(pid: int) -> None:
    started = _start_time(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + _STOP_SECONDS
        while _alive(pid, started):
            if time.monotonic() > ends:
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.05)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_ports(count: int) -> list[int]:
    """Free ports for applications, which take them when they are released: by then the kernel may have given one of its own to a connection."""
    return list(itertools.islice(filter(_is_free, random.sample(_PORTS, len(_PORTS))), count))
