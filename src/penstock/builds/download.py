"""DOWNLOAD_SOURCE: a build's sources and its buildspec, fetched under its role."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.application import App
from penstock.builds import commands
from penstock.builds.buildspec import Buildspec, BuildspecError, is_inline, parse
from penstock.builds.errors import PhaseFailed
from penstock.builds.request import BuildRequest
from penstock.builds.session import RoleSession
from penstock.builds.sources import Fetch, Location, split_location
from penstock.builds.specfile import YAML_ERROR, read_below, read_text
from penstock.pools import FILES


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What was fetched."""

    # By identifier ("" is the primary), as the build sees them.
    directories: Mapping[str, str] = field(default_factory=dict)
    version: str = ""  # that the primary source was resolved to; "" when it has none


class Download:
    """Fetches for one build. `say` adds a line to its log."""

    def __init__(self, app: App, request: BuildRequest, role: RoleSession, say: Callable[[str], None]) -> None:
        self._request = request
        self._workspace = request.workspace
        self._say = say
        self._fetch = Fetch(app, role.session, role.credentials, request.key.region, request.workspace.path)

    async def sources(self) -> Sources:
        """Fetch every source into a folder of its own. Raises PhaseFailed."""
        context = self._request.pipeline
        if context:
            return await self._of_pipeline(context)
        document = self._request.document
        versions = {v["sourceIdentifier"]: v["sourceVersion"] for v in document.get("secondarySourceVersions", ())}
        wanted = [("", document["source"], document.get("sourceVersion", ""))]
        for source in document.get("secondarySources", ()):
            identifier = source["sourceIdentifier"]
            wanted.append((identifier, source, versions.get(identifier, "")))
        directories: dict[str, str] = {}
        resolved: list[str] = []
        for number, (identifier, source, version) in enumerate(wanted):
            target, directories[identifier] = self._directory(number, _below(source))
            resolved.append(await self._source(source, version, target))
        return Sources(directories=directories, version=resolved[0])

    async def _of_pipeline(self, context: Mapping[str, Any]) -> Sources:
        primary = context["primarySource"]
        if not primary:
            return Sources(directories={"": self._directory(0)[1]})
        inputs = sorted(context["inputArtifacts"], key=lambda artifact: artifact["name"] != primary)
        directories: dict[str, str] = {}
        for number, artifact in enumerate(inputs):
            location = artifact["location"]
            target, directories["" if number == 0 else artifact["name"]] = self._directory(number)
            pinned = Location(
                bucket=location["bucket"],
                key=location["key"],
                version=location.get("versionId", ""),
                sha256=location.get("sha256", ""),
                name=artifact["name"],
            )
            await self._fetch.bundle(pinned, target)
        return Sources(directories=directories, version=inputs[0].get("revision", ""))

    def _directory(self, number: int, below: str = "src") -> tuple[Path, str]:
        """Make the folder of a source; where it is on this disk, and as the build sees it."""
        name = f"src{(int(self._request.key.uuid[:8], 16) + number * 7919) % 900_000_000 + 100_000_000}"
        path = self._workspace.output
        for part in Path(name, below).parts:
            path /= part
            path.mkdir(exist_ok=True)
            path.chmod(0o755)  # whatever the server's umask is
        return path, f"{self._request.inside}/output/{name}/{below}"

    async def _source(self, source: Mapping[str, Any], version: str, target: Path) -> str:
        """Fetch one source; the version that it was resolved to."""
        match source["type"]:
            case "NO_SOURCE":
                return ""
            case "S3":
                bucket, key = split_location(source["location"])
                if key.endswith("/") or not key:
                    await self._fetch.folder(bucket, key, target)
                    return ""
                return await self._fetch.bundle(Location(bucket=bucket, key=key, version=version), target)
            case "CODECOMMIT":
                depth = int(source.get("gitCloneDepth", 0))
                return await self._fetch.repository(source["location"], version, depth, target)
            case kind:
                raise PhaseFailed(f"Sources of type {kind} are not served yet")

    async def buildspec(self, sources: Sources) -> Buildspec:
        """Read and parse the buildspec that the project names, or make that of commands without a project. Raises PhaseFailed."""
        if self._request.commands is not None:
            return commands.spec_of(self._request.commands)
        where, text = await self._text(sources)
        self._say(f"YAML location is {where}")
        try:
            return parse(text)
        except BuildspecError as error:
            raise PhaseFailed(str(error), code=YAML_ERROR) from None

    async def _text(self, sources: Sources) -> tuple[str, str]:
        """Where the buildspec is, and its text."""
        request = self._request
        given = request.document["source"].get("buildspec", "").strip()
        if given and is_inline(given):
            return f"{request.inside}/readonly/buildspec.yml", given
        if given.startswith(("arn:", "s3://")):
            bucket, key = split_location(given)
            if not given.startswith("arn:") or ":" in bucket or not bucket or not key:
                raise PhaseFailed(
                    f"The buildspec {given[:200]} is not the ARN of an object. Name one as arn:aws:s3:::BUCKET/KEY",
                    code=YAML_ERROR,
                )
            path = self._workspace.path / "buildspec.yml"
            await self._fetch.object(Location(bucket=bucket, key=key), path)
            return given, await FILES.run(read_text, path, given)
        name = given or "buildspec.yml"
        where = f"{sources.directories['']}/{name}"
        if request.document["source"]["type"] == "NO_SOURCE":
            raise PhaseFailed("YAML file does not exist", code=YAML_ERROR)
        root = self._workspace.output / Path(sources.directories[""]).relative_to(f"{request.inside}/output")
        return where, await FILES.run(read_below, root, name, where)


def _below(source: Mapping[str, Any]) -> str:
    """Where a source lies in its folder: a repository below a folder of its own name."""
    if source["type"] != "CODECOMMIT":
        return "src"
    name = urlsplit(source["location"]).path.rstrip("/").rsplit("/", 1)[-1]
    return f"src/{name}"
