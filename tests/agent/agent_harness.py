"""A machine with an agent on it: directories, a configuration, bundles, and the agent as a process of its own."""

import gzip
import io
import os
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from command_service_stub import ACCESS_KEY, HOST, REGION, SECRET_KEY
from penstock_waiting import until

SOURCE = Path(__file__).resolve().parents[2] / "agent" / "src"
PYENV = Path.home() / ".pyenv" / "versions"


def tgz(files, mode="w:gz"):
    """A tar of {name: text | bytes | (text, mode)}: the same bytes whenever it is made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, value in files.items():
            text, permissions = value if isinstance(value, tuple) else (value, 0o644)
            data = text.encode() if isinstance(text, str) else text
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = permissions
            info.mtime = 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0) if mode == "w:gz" else out.getvalue()


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            text, permissions = value if isinstance(value, tuple) else (value, 0o644)
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o100000 | permissions) << 16
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, text)
    return out.getvalue()


def script(text):
    return ("#!/bin/sh\n" + text + "\n", 0o755)


def appspec(files=(("/app", "/srv/app"),), hooks=None, extra=""):
    lines = ["version: 0.0", "os: linux"]
    if files:
        lines.append("files:")
        for source, destination in files:
            lines += [f"  - source: {source}", f"    destination: {destination}"]
    if hooks:
        lines.append("hooks:")
        for event, scripts in hooks.items():
            lines.append(f"  {event}:")
            for each in scripts:
                location, *rest = each if isinstance(each, tuple) else (each,)
                lines.append(f"    - location: {location}")
                lines += [f"      {line}" for line in rest]
    return "\n".join(lines) + "\n" + extra


class AgentProcess:
    def __init__(self, machine, python, environment):
        self.machine = machine
        self.log = open(machine.path / "agent.log", "ab")
        self.process = subprocess.Popen(
            [python, "-W", "error", "-m", "penstock_agent", "run", "--config", str(machine.config)],
            env={
                **os.environ,
                "PYTHONPATH": str(SOURCE),
                "AWS_SECRET_ACCESS_KEY": "leak-of-the-environment",
                "OTHER_COPY": "x" + SECRET_KEY,
                **environment,
            },
            stderr=self.log,
            stdout=self.log,
        )

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.log.close()
        return code

    def died(self, timeout=60):
        """Wait for the agent's own end; its return code."""
        code = self.process.wait(timeout)
        self.log.close()
        return code


class Machine:
    def __init__(self, path, service):
        self.path = path
        self.service = service
        self.root = path / "state"
        self.install_root = path / "machine"
        self.install_root.mkdir()
        self.config = path / "agent.yml"
        self.agents = []
        self.configure()

    def configure(self, **more):
        values = {
            "endpoint": self.service.url,
            "region": REGION,
            "iam_user_arn": HOST,
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "root_dir": self.root,
            "install_root": self.install_root,
            "log_level": "debug",
            **more,
        }
        lines = [f"{name}: {value}" for name, value in values.items() if value is not None]
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o600)

    def agent(self, python=sys.executable, **environment):
        started = AgentProcess(self, str(python), environment)
        self.agents.append(started)
        return started

    def close(self):
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.kill()

    def log(self):
        return (self.path / "agent.log").read_text()

    def installed(self):
        """Files below the install root: path → text, or → target for links."""
        found = {}
        for path in sorted(self.install_root.rglob("*")):
            name = "/" + str(path.relative_to(self.install_root))
            if path.is_symlink():
                found[name] = "-> " + os.readlink(path)
            elif path.is_file():
                found[name] = path.read_text()
            elif not any(path.iterdir()):
                found[name + "/"] = ""
        return found

    def wait_for(self, path):
        until(lambda: Path(path).exists())
