"""What a build needs before its first command: the role's session, its sources, its buildspec, and the supervisor's job."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from penstock.builds import credential_helper, sources, uploads
from penstock.builds.buildspec import PHASES, ArtifactSpec, Buildspec, BuildspecError, is_inline, parse
from penstock.builds.compute import limits_of
from penstock.builds.environment import PORTS_IN, Place, build_environment, references
from penstock.builds.errors import PhaseFailed
from penstock.builds.layout import layout_of
from penstock.builds.sources import Fetch, Location, split_location
from penstock.builds.specfile import YAML_ERROR, read_below, read_text
from penstock.builds.unserved import without_effect
from penstock.pools import FILES
from penstock.sandbox import registry
from penstock.sandbox.specification import Folder, Layout, Limits, Listener, Network, Specification
from penstock.wire.call import Session

if TYPE_CHECKING:
    from penstock.builds.conductor import Conductor

INSIDE = "/codebuild"
"""Where a build sees its folders, as on AWS, under a runtime that moves folders."""

LOG_LIMIT = 256 * 1024**2
SERVICE = "codebuild.amazonaws.com"


class Provision:
    """Prepares one build; holds the session that its worker acts with."""

    def __init__(self, build: Conductor, user: int) -> None:
        self._build = build
        self._app = build.app
        self._workspace = build.workspace
        self._user = user
        self._moves = build.choice.runtime is not None and build.choice.runtime.moves_folders
        self._inside = INSIDE if self._moves else str(build.workspace.tree)
        self._secret = secrets.token_urlsafe(32)
        self.assumed = False
        self.session: Session
        self.credentials: dict[str, Any] = {}
        self.expires = 0  # ms UTC
        self.directories: dict[str, str] = {}  # identifier → source directory as the build sees it

    async def assume(self) -> None:
        """Take the project's role. Raises AccessDenied."""
        self.session, self.credentials = await self._app.identity.assume(
            role_arn=self._build.document["serviceRole"],
            service=SERVICE,
            session_name=f"AWSCodeBuild-{self._build.key.uuid}",
            region=self._build.key.region,
            account=self._build.key.account,
            source_arn=self._build.key.project_arn,
        )
        self.expires = _milliseconds(self.credentials["Expiration"])
        self.assumed = True

    def write_credentials(self) -> None:
        """Lay the session down where the supervisor's credentials door reads it."""
        content = {
            "AccessKeyId": self.credentials["AccessKeyId"],
            "SecretAccessKey": self.credentials["SecretAccessKey"],
            "Token": self.credentials["SessionToken"],
            "Expiration": dt.datetime.fromtimestamp(self.expires / 1000, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": self._build.document["serviceRole"],
        }
        self._workspace.write_private("credentials.json", orjson.dumps(content))

    def say(self, text: str) -> None:
        """A line of the build's log, while no supervisor writes it."""
        self._workspace.say(text, self._app.clock.now())
        self._build._dirty.set()  # noqa: SLF001

    # --- the job --------------------------------------------------------------------------------------------------

    async def job(self) -> dict[str, Any]:
        """DOWNLOAD_SOURCE: fetch, read the buildspec, and word the supervisor's job. Raises PhaseFailed."""
        build, document = self._build, self._build.document
        self.say("Waiting for DOWNLOAD_SOURCE")
        self.say("Phase is DOWNLOAD_SOURCE")
        self.say(f"Runtime {build.choice.name}: {build.choice.offer.message}")
        self.say(
            f"The image {document['environment']['image']} is recorded, not pulled: this runtime uses the host's programs"
        )
        await self._sources()
        self.say(f"CODEBUILD_SRC_DIR={self.directories['']}")
        spec = await self._buildspec()
        declared = document["environment"].get("environmentVariables", ())
        unserved = references(spec.parameter_store | spec.secrets_manager, declared)  # type: ignore[operator]
        if unserved:
            raise PhaseFailed(
                f"{', '.join(unserved)}: values from Parameter Store and Secrets Manager are not served yet",
                code="INVALID_INPUT",
            )
        users = {spec.user(phase.name) for phase in spec.phases}
        if any(users) and not build.choice.offer.runs_as:
            able = " or ".join(runtime.name for runtime in registry.every() if runtime.isolates)
            raise PhaseFailed(f"run-as needs the {able} runtime of a server that runs as root", code="INVALID_INPUT")
        self.say("Processing environment variables")
        for line in without_effect(document, build.private):
            self.say(line)
        for warning in spec.warnings:
            self.say(f"The buildspec has a key without effect. {warning}")
        for section in spec.unserved:
            self.say(f"The section {section} of the buildspec has no effect: it is not served yet")
        if spec.phase("install").runtime_versions:
            self.say("Skipping install of runtimes. Runtime version selection is not supported by this build image")
        self.say(f"Moving to directory {self.directories['']}")
        self.say(f"Phases found in YAML: {len(spec.phases)}")
        for phase in spec.phases:
            self.say(f" {phase.name.upper()}: {len(phase.commands)} commands")
        return self._job(spec, await FILES.run(layout_of, self._app.settings))

    def _job(self, spec: Buildspec, layout: Layout) -> dict[str, Any]:
        build, document = self._build, self._build.document
        state = build.state
        runs_for = ((state.runs_until or 0) - self._app.clock.now()) / 1000
        # The worker ends it in time by its own clock; this is the limit for a build whose worker does not come back.
        limits = limits_of(document["environment"], seconds=max(runs_for, 1) + 30)
        place, network = self._network(git=spec.git_credential_helper)
        sandbox = self._sandbox(layout, network, limits)
        artifacts, missing = self._artifacts(spec)
        environment = build_environment(
            build=document,
            spec_variables=spec.variables,
            sources=self.directories,
            place=place,
            start_ms=int(document["startTime"] * 1000),
            log_path=document.get("logs", {}).get("streamName", build.key.uuid),
        )
        text = " ".join(
            (*(f for s in artifacts for f in (*s.files, *s.exclude_paths)), *(s.base_directory for s in artifacts))
        )
        return {
            "sandbox": sandbox.to_json(),
            "source": self.directories[""],
            "masked": [self._secret, self.credentials["SecretAccessKey"], self.credentials["SessionToken"]],
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
            "exported": [n for n in spec.exported_variables if not n.startswith("AWS_")],
            "references": _variables_in(text),
            "artifacts": [asdict(artifact) for artifact in artifacts],
            "missing_artifacts": missing,
            "compress": any(self._zips(artifact) for artifact in artifacts),
        }

    def _sandbox(self, layout: Layout, network: Network, limits: Limits) -> Specification:
        runtime = self._build.choice.runtime
        assert runtime is not None
        tree = self._workspace.tree
        return Specification(
            runtime=runtime.name,
            program=runtime.program(),
            subject="build",
            directory=str(self._workspace.path),
            user=self._user,
            folders=(
                Folder(path=str(tree / "readonly"), inside=f"{self._inside}/readonly"),
                Folder(path=str(tree / "output"), inside=f"{self._inside}/output", writable=True),
            ),
            layout=layout,
            limits=limits,
            network=network,
        )

    def _network(self, *, git: bool) -> tuple[Place, Network]:
        """How the build reaches the server, and what listens for it."""
        build = self._build
        public = urlsplit(self._app.public_url)
        host, port = public.hostname or "127.0.0.1", public.port or (443 if public.scheme == "https" else 80)
        mode = build.choice.network
        listeners = [Listener(name="credentials", address="127.0.0.1")]
        endpoint = self._app.public_url
        hosts: list[str] = []
        if mode != "host":
            six = host == "::1"
            listeners.append(Listener(name="endpoint", address="::1" if six else "127.0.0.1", port=port))
            if not _is_address(host):
                hosts = [host]
            elif not six and host != "127.0.0.1":
                endpoint = f"{public.scheme}://127.0.0.1:{port}"
        if mode == "egress":
            listeners.append(Listener(name="egress", address="127.0.0.1"))
        network = Network(
            mode=mode,
            target_host=host,
            target_port=port,
            listeners=tuple(listeners),
            private=self._app.settings.build_private_networks,
            hosts=tuple(hosts),
            token=self._secret,
        )
        ca = sources.ca_file(self._app)
        if ca:
            _lay_open(ca, self._workspace.tree / "readonly" / "ca.pem")
        helper = "git-credential-helper.py"
        if git:
            _lay_open(Path(credential_helper.__file__), self._workspace.tree / "readonly" / helper)
        place = Place(
            region=build.key.region,
            endpoint=endpoint,
            network=mode,
            secret=self._secret,
            home="/root" if self._moves else f"{self._inside}/output/home",
            ca_file=f"{self._inside}/readonly/ca.pem" if ca else "",
            credential_helper=f"{self._inside}/readonly/{helper}" if git else "",
            more_path=f"{sys.prefix}/bin",
        )
        if not self._moves:
            home = self._workspace.output / "home"
            home.mkdir(exist_ok=True)
            home.chmod(0o755)
        return place, network

    # --- sources --------------------------------------------------------------------------------------------------

    def _directory(self, identifier: str, number: int, below: str = "src") -> Path:
        """The folder of a source on this disk; as the build sees it, it is kept by its identifier."""
        name = f"src{(int(self._build.key.uuid[:8], 16) + number * 7919) % 900_000_000 + 100_000_000}"
        path = self._workspace.output
        for part in Path(name, below).parts:
            path /= part
            path.mkdir(exist_ok=True)
            path.chmod(0o755)  # whatever the server's umask is
        self.directories[identifier] = f"{self._inside}/output/{name}/{below}"
        return path

    async def _sources(self) -> None:
        build, document = self._build, self._build.document
        self.directories = {}
        fetch = Fetch(self._app, self.session, self.credentials, build.key.region, self._workspace.path)
        context = build.private.get("pipelineContext")
        if context:
            primary = context.get("primarySource") or context["inputArtifacts"][0]["name"]
            inputs = sorted(context["inputArtifacts"], key=lambda artifact: artifact["name"] != primary)
            for number, artifact in enumerate(inputs):
                location = artifact["location"]
                target = self._directory("" if number == 0 else artifact["name"], number)
                pinned = Location(
                    bucket=location["bucket"],
                    key=location["key"],
                    version=location.get("versionId", ""),
                    etag=location.get("eTag", ""),
                    sha256=location.get("sha256", ""),
                    name=artifact["name"],
                )
                await fetch.bundle(pinned, target)
            self._resolved(inputs[0].get("revision", ""))
            return
        versions = {v["sourceIdentifier"]: v["sourceVersion"] for v in document.get("secondarySourceVersions", ())}
        resolved = await self._source(fetch, document["source"], document.get("sourceVersion", ""), "", 0)
        self._resolved(resolved)
        for number, source in enumerate(document.get("secondarySources", ()), 1):
            identifier = source["sourceIdentifier"]
            await self._source(fetch, source, versions.get(identifier, ""), identifier, number)

    def _resolved(self, version: str) -> None:
        if version:
            self._build.patch["resolvedSourceVersion"] = version
            self._build.document["resolvedSourceVersion"] = version

    async def _source(self, fetch: Fetch, source: dict[str, Any], version: str, identifier: str, number: int) -> str:
        match source["type"]:
            case "NO_SOURCE":
                self._directory(identifier, number)
                return ""
            case "S3":
                bucket, key = split_location(source["location"])
                if key.endswith("/") or not key:
                    await fetch.folder(bucket, key, self._directory(identifier, number))
                    return ""
                location = Location(bucket=bucket, key=key, version=version)
                return await fetch.bundle(location, self._directory(identifier, number))
            case "CODECOMMIT":
                name = urlsplit(source["location"]).path.rstrip("/").rsplit("/", 1)[-1]
                target = self._directory(identifier, number, f"src/{name}")
                return await fetch.repository(source["location"], version, int(source.get("gitCloneDepth", 0)), target)
            case kind:
                raise PhaseFailed(f"Sources of type {kind} are not served yet")

    async def _buildspec(self) -> Buildspec:
        given = self._build.document["source"].get("buildspec", "").strip()
        if given and is_inline(given):
            where, text = f"{self._inside}/readonly/buildspec.yml", given
        elif given.startswith(("arn:", "s3://")):
            bucket, key = split_location(given)
            if not given.startswith("arn:") or ":" in bucket or not bucket or not key:
                raise PhaseFailed(
                    f"The buildspec {given[:200]} is not the ARN of an object. Name one as arn:aws:s3:::BUCKET/KEY",
                    code=YAML_ERROR,
                )
            fetch = Fetch(self._app, self.session, self.credentials, self._build.key.region, self._workspace.path)
            path = self._workspace.path / "buildspec.yml"
            await fetch.object(Location(bucket=bucket, key=key), path)
            where, text = given, await FILES.run(read_text, path, given)
        else:
            name = given or "buildspec.yml"
            where = f"{self.directories['']}/{name}"
            if self._build.document["source"]["type"] == "NO_SOURCE":
                raise PhaseFailed("YAML file does not exist", code=YAML_ERROR)
            root = self._workspace.output / Path(self.directories[""]).relative_to(f"{self._inside}/output")
            text = await FILES.run(read_below, root, name, where)
        self.say(f"YAML location is {where}")
        try:
            return parse(text)
        except BuildspecError as error:
            raise PhaseFailed(str(error), code=YAML_ERROR) from None

    # --- artifacts ------------------------------------------------------------------------------------------------

    def _artifacts(self, spec: Buildspec) -> tuple[list[ArtifactSpec], str]:
        """What is to be packed, and the words of the failure when something wanted is not in the buildspec."""
        by_name = {artifact.identifier: artifact for artifact in spec.secondary_artifacts}
        context = self._build.private.get("pipelineContext")
        if context:
            names = [output["name"] for output in context.get("outputArtifacts", ())]
            chosen: list[ArtifactSpec] = []
            for name in names:
                found = by_name.get(name) or (spec.artifacts if len(names) == 1 else None)
                if found is None:
                    return [], f"no artifacts are declared in the buildspec for the output artifact {name}"
                chosen.append(_named(found, name))
            return chosen, ""
        chosen = []
        if self._build.private["artifacts"]["type"] == "S3":
            if spec.artifacts is None:
                return [], "no artifacts are declared in the buildspec"
            chosen.append(spec.artifacts)
        for wanted in self._build.private.get("secondaryArtifacts", ()):
            found = by_name.get(wanted["artifactIdentifier"])
            if found is None:
                return [], f"no secondary artifact {wanted['artifactIdentifier']} is declared in the buildspec"
            if wanted["type"] == "S3":
                chosen.append(found)
        return chosen, ""

    def objects(self) -> uploads.Objects:
        """S3 under the session of the role."""
        return uploads.Objects(self._app, self.session, self._build.key.region)

    def destination(self, packed: uploads.Packed) -> uploads.Destination:
        """Where an artifact goes."""
        private = self._build.private
        context = private.get("pipelineContext")
        if context:
            return uploads.pipeline_destinations(context["outputArtifacts"])[packed.identifier]
        declared = next(
            (a for a in private.get("secondaryArtifacts", ()) if a["artifactIdentifier"] == packed.identifier),
            private["artifacts"],
        )
        return uploads.destination(
            declared,
            project=self._build.document["projectName"],
            build_id=self._build.key.id,
            spec_name=packed.name,
        )

    def _zips(self, artifact: ArtifactSpec) -> bool:
        return self.destination(uploads.Packed(identifier=artifact.identifier, file=Path(), name="")).zipped


def _named(spec: ArtifactSpec, name: str) -> ArtifactSpec:
    return replace(spec, identifier=name)


def _lay_open(source: Path, target: Path) -> None:
    """Copy a file that the build's users may read."""
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _variables_in(text: str) -> list[str]:
    import re  # noqa: PLC0415

    found = re.findall(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", text)
    return list(dict.fromkeys(braced or bare for braced, bare in found))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _milliseconds(when: Any) -> int:
    if isinstance(when, dt.datetime):
        return int(when.timestamp() * 1000)
    if isinstance(when, str):
        return int(dt.datetime.fromisoformat(when).timestamp() * 1000)
    return int(float(when) * 1000)
