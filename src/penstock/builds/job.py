"""What a build's supervisor is given to do: the sandbox, the environment, the commands, and the artifacts."""

from __future__ import annotations

import ipaddress
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.application import App
from penstock.builds import commands, credential_helper, uploads
from penstock.builds.buildspec import PHASES, Buildspec
from penstock.builds.compute import limits_of
from penstock.builds.download import Sources
from penstock.builds.environment import PORTS_IN, Place, build_environment
from penstock.builds.errors import PhaseFailed
from penstock.builds.logship import LOG_LIMIT
from penstock.builds.references import hidden
from penstock.builds.request import BuildRequest
from penstock.builds.session import RoleSession
from penstock.builds.settings import BuildSettings
from penstock.builds.sources import ca_file
from penstock.builds.unserved import without_effect
from penstock.sandbox import registry
from penstock.sandbox.specification import Folder, Layout, Limits, Listener, Network, Specification

_HELPER = "git-credential-helper.py"


def check(request: BuildRequest, spec: Buildspec, sources: Sources, say: Callable[[str], None]) -> None:
    """Refuse what the buildspec asks for and cannot have here; say in the log what it holds and what has no effect. Raises PhaseFailed."""
    if any(spec.user(phase.name) for phase in spec.phases) and not request.choice.offer.runs_as:
        able = " or ".join(runtime.name for runtime in registry.every() if runtime.isolates)
        raise PhaseFailed(f"run-as needs the {able} runtime of a server that runs as root", code="INVALID_INPUT")
    say("Processing environment variables")
    for line in without_effect(request.document, request.private):
        say(line)
    for warning in spec.warnings:
        say(f"The buildspec has a key without effect. {warning}")
    for section in spec.unserved:
        say(f"The section {section} of the buildspec has no effect: it is not served yet")
    if spec.phase("install").runtime_versions:
        say("Skipping install of runtimes. Runtime version selection is not supported by this build image")
    say(f"Moving to directory {sources.directories['']}")
    say(f"Phases found in YAML: {len(spec.phases)}")
    for phase in spec.phases:
        say(f" {phase.name.upper()}: {len(phase.commands)} commands")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Makes a supervisor's job. Blocking: it lays files beside the build."""

    app: App
    request: BuildRequest
    role: RoleSession
    sources: Sources
    spec: Buildspec
    referenced: Mapping[str, str]  # variable → value, of those from Parameter Store and Secrets Manager
    layout: Layout
    seconds: float  # until the supervisor ends the build by itself

    def to_json(self) -> dict[str, Any]:
        """The content of job.json."""
        request, spec = self.request, self.spec
        token = secrets.token_urlsafe(32)
        place, network = self._network(token)
        version = {"resolvedSourceVersion": self.sources.version} if self.sources.version else {}
        document = {**request.document, **version}
        artifacts, missing = uploads.chosen(request, spec)
        exports = commands.exports if request.commands is not None else _exports
        environment = build_environment(
            build=document,
            spec_variables=spec.variables,
            referenced=self.referenced,
            sources=self.sources.directories,
            place=place,
            start_ms=request.started,
            log_path=document.get("logs", {}).get("streamName", request.key.uuid),
        )
        text = " ".join(
            (*(f for s in artifacts for f in (*s.files, *s.exclude_paths)), *(s.base_directory for s in artifacts))
        )
        return {
            "sandbox": self._sandbox(network, limits_of(document["environment"], seconds=self.seconds)).to_json(),
            "source": self.sources.directories[""],
            "masked": hidden([token, *self.role.secrets, *self.referenced.values()]),
            "environment": environment,
            "ports_in": [name for name in PORTS_IN if name in environment],
            "version": spec.version,
            "shell": spec.shell,
            "log_limit": LOG_LIMIT,
            "phases": [
                {
                    "name": name.upper(),
                    "commands": list(spec.phase(name).commands),
                    "finally": list(spec.phase(name).finally_),
                    "user": spec.user(name),
                    "on_failure": spec.phase(name).on_failure.value,
                }
                for name in PHASES
            ],
            "exported": [n for n in spec.exported_variables if exports(n) and n not in self.referenced],
            "references": _variables_in(text),
            "artifacts": [asdict(artifact) for artifact in artifacts],
            "missing_artifacts": missing,
            "compress": any(uploads.destination_of(request, artifact.identifier).zipped for artifact in artifacts),
        }

    def _sandbox(self, network: Network, limits: Limits) -> Specification:
        request = self.request
        runtime = request.choice.runtime
        assert runtime is not None
        tree = request.workspace.tree
        return Specification(
            runtime=runtime.name,
            program=runtime.program(),
            subject="build",
            directory=str(request.workspace.path),
            user=request.user,
            folders=(
                Folder(path=str(tree / "readonly"), inside=f"{request.inside}/readonly"),
                Folder(path=str(tree / "output"), inside=f"{request.inside}/output", writable=True),
            ),
            layout=self.layout,
            limits=limits,
            network=network,
        )

    def _network(self, token: str) -> tuple[Place, Network]:
        """How the build reaches the server, and what listens for it."""
        request = self.request
        public = urlsplit(self.app.public_url)
        host, port = public.hostname or "127.0.0.1", public.port or (443 if public.scheme == "https" else 80)
        mode = request.choice.network
        listeners = [Listener(name="credentials", address="127.0.0.1")]
        endpoint = self.app.public_url
        hosts: tuple[str, ...] = ()
        if mode != "host":
            six = host == "::1"
            listeners.append(Listener(name="endpoint", address="::1" if six else "127.0.0.1", port=port))
            if not _is_address(host):
                hosts = (host,)
            elif not six and host != "127.0.0.1":
                endpoint = f"{public.scheme}://127.0.0.1:{port}"
        if mode == "egress":
            listeners.append(Listener(name="egress", address="127.0.0.1"))
        network = Network(
            mode=mode,
            target_host=host,
            target_port=port,
            listeners=tuple(listeners),
            private=self.app.settings.of(BuildSettings).private_networks,
            hosts=hosts,
            token=token,
        )
        return self._place(endpoint, network), network

    def _place(self, endpoint: str, network: Network) -> Place:
        """What the build's environment says of its surroundings; the files that it names are laid down."""
        request = self.request
        readonly = request.workspace.tree / "readonly"
        ca = ca_file(self.app)
        if ca:
            _lay_open(ca, readonly / "ca.pem")
        git = self.spec.git_credential_helper
        if git:
            _lay_open(Path(credential_helper.__file__), readonly / _HELPER)
        home = "/root"
        if not request.moves_folders:
            home = f"{request.inside}/output/home"
            folder = request.workspace.output / "home"
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        return Place(
            region=request.key.region,
            endpoint=endpoint,
            network=network.mode,
            secret=network.token,
            home=home,
            ca_file=f"{request.inside}/readonly/ca.pem" if ca else "",
            credential_helper=f"{request.inside}/readonly/{_HELPER}" if git else "",
            more_path=f"{sys.prefix}/bin",
        )


def _exports(name: str) -> bool:
    return not name.startswith("AWS_")


def _lay_open(source: Path, target: Path) -> None:
    """Copy a file that the build's users may read."""
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _variables_in(text: str) -> list[str]:
    found = re.findall(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", text)
    return list(dict.fromkeys(braced or bare for braced, bare in found))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
