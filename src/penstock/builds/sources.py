"""Fetches a build's sources under its role: pipeline artifacts, S3 objects, CodeCommit repositories."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import hashlib
import hmac
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from penstock.builds.errors import PhaseFailed
from penstock.builds.unpacking import Bounds, unpack
from penstock.room import App
from penstock.wire.call import Session
from penstock.wire.errors import Refused, ServiceError

MAX_BUNDLE = 8 * 1024**3
_MAX_FOLDER_KEYS = 10_000
_GIT_S = 3600
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


class Fetch:
    """Fetches for one build, on the session of its role."""

    def __init__(self, app: App, session: Session, credentials: Mapping[str, Any], region: str, scratch: Path) -> None:
        self._app = app
        self._session = session
        self._credentials = credentials
        self._region = region
        self._scratch = scratch
        self._bounds = Bounds.of(app.settings)

    async def object(self, bucket: str, key: str, version: str | None, target: Path) -> dict[str, Any]:
        """Write an object to a file; GetObject's output. Raises PhaseFailed in words."""
        request = {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})
        output = await self._s3("GetObject", request)
        size = 0
        with target.open("wb") as file:
            async for chunk in output["Body"]:
                size += len(chunk)
                if size > MAX_BUNDLE:
                    raise PhaseFailed(f"The source s3://{bucket}/{key} is larger than {MAX_BUNDLE // 1024**3} GiB")
                await asyncio.to_thread(file.write, chunk)
        return output

    async def bundle(self, bucket: str, key: str, version: str | None, target: Path) -> str:
        """Fetch and unpack a zip; the object's version id, or its ETag without quotes."""
        packed = self._scratch / f"bundle-{hashlib.sha256(str(target).encode()).hexdigest()[:12]}.zip"
        output = await self.object(bucket, key, version, packed)
        unpacking = asyncio.ensure_future(asyncio.to_thread(unpack, packed, target, self._bounds))
        try:
            await asyncio.shield(unpacking)
        except asyncio.CancelledError:
            # A thread cannot be stopped, and it writes where everything is deleted next.
            await asyncio.wait((unpacking,))
            raise
        await asyncio.to_thread(packed.unlink)
        return str(output.get("VersionId") or output.get("ETag", "").strip('"'))

    async def folder(self, bucket: str, prefix: str, target: Path) -> None:
        """Fetch every object below a prefix."""
        token: str | None = None
        count = 0
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
                if count > _MAX_FOLDER_KEYS or ".." in parts or "" in parts or "\0" in name:
                    raise PhaseFailed(f"The source folder s3://{bucket}/{prefix} holds too much or an unsafe name")
                path = target.joinpath(*parts)
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    await self.object(bucket, found["Key"], None, path)
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
        failed = await self._git(
            ["clone", "--quiet", *shallow, *branch, "--", clone, str(target)], target.parent, clone
        )
        if failed:
            raise PhaseFailed(f"git clone of {name} failed: {failed}")
        if _COMMIT.match(version):
            failed = await self._git(["checkout", "--quiet", "--detach", version], target, clone)
            if failed:
                raise PhaseFailed(f"reference not found for primary source and source version {version}: {failed}")
        head = await asyncio.create_subprocess_exec(
            "git", "rev-parse", "HEAD", cwd=target, env=_git_environment({}), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await head.communicate()
        if head.returncode:
            raise PhaseFailed(f"The repository {name} has no commits")
        return output.decode().strip()

    async def _git(self, arguments: list[str], folder: Path, clone: str) -> str:
        """Run git with the role's credentials, which no command line shows; "" or its complaint."""
        host = urlsplit(self._app.public_url)
        user, password = git_credentials(
            self._credentials, self._region, host.hostname or "", urlsplit(clone).path, time.time()
        )
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        config = {
            f"http.{self._app.public_url}/.extraHeader": f"Authorization: Basic {basic}",
            "protocol.allow": "never",
            "protocol.http.allow": "always",
            "protocol.https.allow": "always",
        }
        ca = ca_file(self._app)
        if ca:
            config["http.sslCAInfo"] = str(ca)
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=folder,
            env=_git_environment(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, errors = await asyncio.wait_for(process.communicate(), _GIT_S)
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        words = " ".join(errors[-2000:].decode("utf-8", "replace").split()).replace(basic, "***")
        return (words or f"exit status {process.returncode}") if process.returncode else ""


def _git_environment(config: Mapping[str, str]) -> dict[str, str]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    for number, (key, value) in enumerate(config.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def git_credentials(credentials: Mapping[str, Any], region: str, host: str, path: str, now: float) -> tuple[str, str]:
    """User and password as AWS's credential helper makes them: the key (and token), and a signature of the request.

    `host` has no port; `now` is wall time in seconds, since signatures are judged by it. AWS: "The AWS CLI credential helper". The password is a time stamp and a SigV4 signature of `GIT <path>`.
    """
    stamp = dt.datetime.fromtimestamp(now, tz=dt.UTC).strftime("%Y%m%dT%H%M%S")
    scope = f"{stamp[:8]}/{region}/codecommit/aws4_request"
    canonical = f"GIT\n{path}\n\nhost:{host}\n\nhost\n"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials['SecretAccessKey']}".encode()
    for part in (stamp[:8], region, "codecommit", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    user = credentials["AccessKeyId"]
    if credentials.get("SessionToken"):
        user += f"%{credentials['SessionToken']}"
    return user, f"{stamp}Z{signature}"


def ca_file(app: App) -> Path | None:
    """The certificate of the installation's own authority, when it has one."""
    path = app.settings.data_dir / "tls" / "ca.pem"
    return path if app.settings.tls and path.exists() else None


def split_location(location: str) -> tuple[str, str]:
    """`bucket/key`, `arn:aws:s3:::bucket/key` or `s3://bucket/key` → bucket, key."""
    location = re.sub(r"\Aarn:[^:]*:s3:::", "", location).removeprefix("s3://")
    bucket, _, key = location.partition("/")
    return bucket, key
