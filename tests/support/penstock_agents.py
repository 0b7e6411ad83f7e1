"""Real agents beside a live server: processes of their own, each below a root directory of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

AGENT_SOURCE = Path(__file__).resolve().parents[2] / "agent" / "src"


class Agent:
    """One agent process. `config` is the file that `aws deploy register` wrote."""

    def __init__(self, folder: Path, endpoint: str, config: Path, ca_file: Path | None = None) -> None:
        self.folder = folder
        self.root = folder / "root"  # where the host's files are installed, as DESTDIR does
        self.log = folder / "agent.log"
        self.root.mkdir(parents=True)
        self.config = folder / "agent.yml"
        self.config.write_text(
            f"endpoint: {endpoint}\non_premises_config: {config}\nroot_dir: {folder / 'state'}\ninstall_root: {self.root}\n"
            + (f"ca_file: {ca_file}\n" if ca_file else "")
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock_agent", "run", "--config", str(self.config)],
                env=environment | {"PYTHONPATH": str(AGENT_SOURCE)},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(60)


@contextlib.contextmanager
def agents(live, folder: Path, *names: str, tags: str = "Key=role,Value=web"):
    """Registers hosts with the AWS CLI and runs their agents."""
    started: list[Agent] = []
    try:
        for name in names:
            home = folder / name
            home.mkdir(parents=True)
            live.aws("deploy", "register", "--instance-name", name, "--tags", tags, "--region", "us-east-1", cwd=home)
            config = home / "codedeploy.onpremises.yml"
            assert config.exists(), "aws deploy register wrote no file"
            agent = Agent(home / "agent", live.url, config, live.running_app.ca_file)
            agent.start()
            started.append(agent)
        yield started
    finally:
        for agent in started:
            agent.stop()


def bundle(folder: Path, version: str, *, fails: str = "") -> Path:
    """A bundle that installs one file and notes the hooks that ran."""
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(version)
    hooks = []
    for event in ("ApplicationStop", "BeforeInstall", "AfterInstall", "ApplicationStart", "ValidateService"):
        script = folder / f"{event}.sh"
        ending = f"echo {event} of {version} is broken >&2; exit 7" if event == fails else "exit 0"
        script.write_text(f'#!/bin/sh\necho "{event} {version}"\n{ending}\n')
        script.chmod(0o755)
        hooks.append(f"  {event}:\n    - location: {event}.sh\n      timeout: 30\n")
    (folder / "appspec.yml").write_text(
        "version: 0.0\nos: linux\nfiles:\n  - source: index.html\n    destination: /srv/site\n"
        "file_exists_behavior: OVERWRITE\nhooks:\n" + "".join(hooks)
    )
    return folder
