"""Fetches a build's sources under its role: pipeline artifacts, S3 objects, CodeCommit repositories."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock import children
from penstock.application import App
from penstock.builds.credential_helper import git_credentials
from penstock.builds.errors import PhaseFailed
from penstock.builds.unpacking import Bounds, UnsafeBundle, unpack
from penstock.pools import ARCHIVES, FILES
from penstock.wire.call import Session
from penstock.wire.errors import Refused, ServiceError
from penstock.zips import MAX_NAME

MAX_BUNDLE = 8 * 1024**3
_GIT_S = 3600
_GIT_MEMORY = 2 << 30  # bytes
_PIECE = 64 << 10
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """An object, and what it has to be: empty members are not compared."""

    bucket: str
    key: str
    version: str = ""
    sha256: str = ""  # hexadecimal
    name: str = ""  # of the artifact that it is

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


class Fetch:
    """Fetches for one build, on the session of its role."""

    def __init__(self, app: App, session: Session, credentials: Mapping[str, Any], region: str, scratch: Path) -> None:
        self._app = app
        self._session = session
        self._credentials = credentials
        self._region = region
        self._scratch = scratch
        self._bounds = Bounds.of(app.settings)

    async def object(self, location: Location, target: Path) -> dict[str, Any]:
        """Write an object to a file; GetObject's output. Raises PhaseFailed, even when it is not the one that was pinned."""
        request = {"Bucket": location.bucket, "Key": location.key}
        if location.version:
            request["VersionId"] = location.version
        output = await self._s3("GetObject", request)
        size, digest = 0, hashlib.sha256()

        def take(chunk: bytes) -> None:
            digest.update(chunk)
            file.write(chunk)

        with target.open("wb") as file:
            async for chunk in output["Body"]:
                size += len(chunk)
                if size > MAX_BUNDLE:
                    raise PhaseFailed(f"The source {location} is larger than {MAX_BUNDLE // 1024**3} GiB")
                await FILES.run(take, chunk)
        if location.sha256 and location.sha256 != digest.hexdigest():
            raise PhaseFailed(
                f"The artifact {location.name} ({location}) was changed since it was written, and is not used: its SHA-256 is "
                f"{digest.hexdigest()} now. Run the action that makes it again."
            )
        return output

    async def bundle(self, location: Location, target: Path) -> str:
        """Fetch and unpack a zip; the object's version id, or its ETag without quotes."""
        packed = self._scratch / f"bundle-{hashlib.sha256(str(target).encode()).hexdigest()[:12]}.zip"
        output = await self.object(location, packed)
        # It writes where everything is deleted next, even when the build is stopped.
        await ARCHIVES.finish(unpack, packed, target, self._bounds)
        await FILES.run(packed.unlink)
        return str(output.get("VersionId") or output.get("ETag", "").strip('"'))

    async def folder(self, bucket: str, prefix: str, target: Path) -> None:
        """Fetch every object below a prefix."""
        token: str | None = None
        count = size = 0
        while True:
            page = await self._s3(
                "ListObjectsV2", {"Bucket": bucket, "Prefix": prefix} | ({"ContinuationToken": token} if token else {})
            )
            for found in page.get("Contents", ()):
                name = found["Key"].removeprefix(prefix)
                parts = name.split("/")
                if not name or name.endswith("/"):
                    continue
                count += 1
                size += int(found["Size"])
                self._bounds.check(f"The source folder s3://{bucket}/{prefix}", entries=count, size=size)
                if ".." in parts or "" in parts or "\0" in name:
                    raise PhaseFailed(f"The source folder s3://{bucket}/{prefix} holds the unsafe name {name[:200]!r}")
                path = target.joinpath(*parts)
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    await self.object(Location(bucket=bucket, key=found["Key"]), path)
                    # The server's umask is for its own files; these are a build's.
                    path.chmod(0o644)
                    for folder in path.relative_to(target).parents:
                        (target / folder).chmod(0o755)
                except OSError as error:  # keys that files cannot have: too long, or both file and folder
                    raise PhaseFailed(
                        f"{error.strerror} (writing s3://{bucket}/{found['Key']} below the source directory)"
                    ) from None
            token = page.get("NextContinuationToken")
            if not token:
                break
        if not count:
            raise PhaseFailed(f"The source folder s3://{bucket}/{prefix} is empty")

    async def _s3(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._app.invoke(self._session, "s3", operation, request, region=self._region)
        except (ServiceError, Refused) as error:
            code = error.wire_code if isinstance(error, ServiceError) else type(error).__name__
            where = f"s3://{request['Bucket']}/{request.get('Key', request.get('Prefix', ''))}"
            raise PhaseFailed(f"{code}: {error.message} (reading {where})") from None

    async def repository(self, url: str, version: str, depth: int, target: Path) -> str:
        """Clone a CodeCommit repository of this installation and check out a version; the commit's id."""
        name = urlsplit(url).path.rstrip("/").rsplit("/", 1)[-1]
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", name):
            raise PhaseFailed(f"The source location {url} names no repository")
        clone = f"{self._app.public_url}/v1/repos/{name}"
        shallow = [f"--depth={depth}"] if 0 < depth <= 25 and not _COMMIT.match(version) else []
        branch = (
            ["--branch", version.removeprefix("refs/heads/").removeprefix("refs/tags/")]
            if version and not _COMMIT.match(version)
            else []
        )
        environment = self._git_environment(clone)
        failed = await _git(
            ["clone", "--quiet", "--no-checkout", *shallow, *branch, "--", clone, str(target)],
            target.parent,
            environment,
        )
        if "Remote branch" in failed and "not found" in failed:
            raise PhaseFailed(
                f"reference not found for primary source and source version {version}: the repository {name} has no such branch or "
                "tag. Name a branch, a tag, or the 40 digits of a commit"
            )
        if failed:
            raise PhaseFailed(f"git clone of {name} failed: {failed}")
        wanted = version if _COMMIT.match(version) else "HEAD"
        output = bytearray()
        failed = await _git(["rev-parse", "--verify", f"{wanted}^{{commit}}"], target, environment, output.extend)
        if failed and wanted == "HEAD":
            raise PhaseFailed(f"The repository {name} has no commits")
        if failed:
            raise PhaseFailed(f"reference not found for primary source and source version {version}: {failed}")
        commit = output.decode("ascii", "replace").strip()
        count = _Count(self._bounds, f"The commit {commit} of {name}")
        failed = await _git(["ls-tree", "-r", "-t", "-z", "--long", commit], target, environment, count.take)
        detach = ["--detach", commit] if wanted == commit else []
        failed = failed or await _git(["checkout", "--quiet", *detach], target, environment)
        if failed:
            raise PhaseFailed(f"The commit {commit} of {name} could not be checked out: {failed}")
        return commit

    def _git_environment(self, clone: str) -> dict[str, str]:
        """What git is started with: the role's credentials, which no command line shows, and no configuration but ours."""
        host = urlsplit(self._app.public_url)
        user, password = git_credentials(
            self._credentials, self._region, host.hostname or "", urlsplit(clone).path, time.time()
        )
        config = {
            f"http.{self._app.public_url}/.extraHeader": "Authorization: Basic "
            + base64.b64encode(f"{user}:{password}".encode()).decode(),
            "protocol.allow": "never",
            "protocol.http.allow": "always",
            "protocol.https.allow": "always",
        }
        ca = ca_file(self._app)
        if ca:
            config["http.sslCAInfo"] = str(ca)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(config)),
        }
        for number, (key, value) in enumerate(config.items()):
            environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return environment


class _Count:
    """Counts a tree that is listed, before it is checked out: one of few bytes can have more entries than a disk."""

    def __init__(self, bounds: Bounds, what: str) -> None:
        self._bounds = bounds
        self._what = what
        self._held = b""
        self._entries = self._size = 0

    def take(self, chunk: bytes) -> None:
        """A piece of the output of `git ls-tree -r -t -z --long`. Raises UnsafeBundle as soon as it is too much."""
        *lines, self._held = (self._held + chunk).split(b"\0")
        for line in (*lines, self._held):
            if len(line) > MAX_NAME + 100:
                raise UnsafeBundle(f"{self._what} has a path that is too long for a file")
        self._entries += len(lines)
        for line in lines:
            fields, _, path = line.partition(b"\t")
            content = fields.rsplit(b" ", 1)[-1]
            self._size += len(path) + (int(content) if content.isdigit() else 0)
        self._bounds.check(self._what, entries=self._entries, size=self._size)


async def _git(
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str],
    take: Callable[[bytes], object] = lambda _chunk: None,
) -> str:
    """Run git with bounds on its memory, time and output; "" or its complaint. `take` is given the output piece by piece.

    However this ends, git and what it started are gone then.
    """
    process = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        'umask 022 && ulimit -d "$0" && exec git "$@"',
        str(_GIT_MEMORY >> 10),
        *arguments,
        cwd=folder,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    complaining = asyncio.ensure_future(_beginning(process.stderr))
    try:
        async with asyncio.timeout(_GIT_S):
            while chunk := await process.stdout.read(_PIECE):
                take(chunk)
            complaint_bytes = await complaining
            await process.wait()
    except TimeoutError:
        return f"it took longer than {_GIT_S // 60} minutes"
    finally:
        complaining.cancel()
        await children.end(process)
    text = " ".join(complaint_bytes.decode("utf-8", "replace").split())
    return (text or f"exit status {process.returncode}") if process.returncode else ""


async def _beginning(stream: asyncio.StreamReader) -> bytes:
    """The first 2,000 bytes; the rest is read and thrown away, so that git does not wait for us."""
    kept = b""
    while chunk := await stream.read(_PIECE):
        kept = (kept + chunk)[:2000]
    return kept


def ca_file(app: App) -> Path | None:
    """The certificate of the installation's own authority, when it has one."""
    path = app.settings.data_dir / "tls" / "ca.pem"
    return path if app.settings.tls and path.exists() else None


def split_location(location: str) -> tuple[str, str]:
    """`bucket/key`, `arn:aws:s3:::bucket/key` or `s3://bucket/key` → bucket, key."""
    location = re.sub(r"\Aarn:[^:]*:s3:::", "", location).removeprefix("s3://")
    bucket, _, key = location.partition("/")
    return bucket, key
