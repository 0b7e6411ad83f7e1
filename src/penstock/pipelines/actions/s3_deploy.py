"""S3 deploy: puts an artifact, or its files, into a bucket. AWS: action-reference-S3Deploy."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from mimetypes import MimeTypes
from typing import IO, Any, ClassVar
from urllib.parse import quote

from penstock.pipelines.actions.provider import Action, Failed, Outcome, Provider, Running, Succeeded
from penstock.pipelines.model import MINUTE, ActionType, ActionTypeId, Property
from penstock.pools import FILES
from penstock.wire.call import Output
from penstock.wire.errors import AccessDenied, ServiceError, passes
from penstock.zips import BadZip, Entry, ZipReader, check_readable, printable

_TIME = 90 * MINUTE
_LARGEST = 7 * 1024**3  # bytes of an artifact. AWS: limits
_FILES = 100_000  # entries of an artifact. AWS: limits
_UNPACKED = 16 * 1024**3  # bytes
_RATIO = 400  # unpacked to packed
_PLAUSIBLE = 10 * 1024**2  # bytes that any artifact may unpack to, however small it is
_LARGEST_FILE = 5 * 1024**3  # bytes that PutObject takes
_LONGEST_KEY = 1024  # bytes
_AT_ONCE = 8  # files
_WHOLE = 1 << 20  # bytes up to which a file is read in one piece
_SHOWN_S = 5  # between two times that a deployment says how far it is
_LOOKED_AT = 200  # entries between two turns of the event loop
_ACLS = (
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
)


def _refuse(action: Mapping[str, Any]) -> str | None:
    configuration = action.get("configuration", {})
    if configuration.get("Extract") == "false" and "ObjectKey" not in configuration:
        return f"Action configuration for action '{action['name']}' is missing required configuration 'ObjectKey'"
    return None


class _NotDeployed(Exception):
    """Why nothing more is put."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class S3Deploy(Provider):
    """Answers when everything lies in the bucket. A second start puts the same again."""

    types = (
        ActionType(
            id=ActionTypeId(category="Deploy", owner="AWS", provider="S3"),
            properties=(
                Property(name="BucketName", description="The bucket", required=True, key=True),
                Property(
                    name="Extract",
                    description="Whether to put the artifact's files instead of the artifact",
                    required=True,
                    values=("true", "false"),
                ),
                Property(name="ObjectKey", description="The object, or the folder of the files"),
                Property(name="KMSEncryptionKeyARN", description="The key that encrypts the objects"),
                Property(name="CannedACL", description="The access list of the objects", values=_ACLS),
                Property(name="CacheControl", description="The objects' Cache-Control header"),
            ),
            inputs=(1, 1),
            outputs=(0, 0),
            timeout=_TIME,
            works_on="s3:bucket",
            refuse=_refuse,
        ),
    )
    takes_long: ClassVar = True

    async def start(self, action: Action) -> Outcome:
        """GetObject of the artifact, PutObject of what it is or holds."""
        key = _key(action)
        extracts = action.flag("Extract")
        if not (key or extracts):
            return Failed(code="ConfigurationError", message="ObjectKey is empty: it must name the object to write.")
        folder = f"{key.rstrip('/')}/" if key.rstrip("/") else ""
        try:
            async with asyncio.timeout((action.started + _TIME - action.now) / 1000):
                if extracts:
                    await _put_files(action, folder)
                else:
                    await _put_artifact(action, key)
        except TimeoutError:
            return Failed(
                code="JobFailed", message=f"The deployment took longer than {_TIME // MINUTE} minutes. Retry the stage."
            )
        except _NotDeployed as error:
            return Failed(code=error.code, message=str(error))
        bucket = action.configuration["BucketName"]
        return Succeeded(external_id=f"{bucket}/{key}" if key else bucket, summary="Deployment Succeeded")


def _key(action: Action) -> str:
    """The object, or the folder of the files: the same for every start of an action, with its own time and id in the places for them."""
    when = datetime.fromtimestamp(action.started / 1000, UTC).strftime("%Y-%m-%d_%H-%M-%S")
    return action.configuration.get("ObjectKey", "").replace("{datetime}", when).replace("{uuid}", action.id)


# --- reading the artifact ---------------------------------------------------------------------------------------------


async def _artifact(action: Action) -> Output:
    """GetObject of the artifact as it was pinned; its `Body` is compared by whoever reads it. Raises _NotDeployed."""
    artifact = action.inputs[0]
    request = {"Bucket": artifact.bucket, "Key": artifact.key}
    if artifact.immutable:
        request["VersionId"] = artifact.version_id
    found = await _s3(action, "GetObject", request, "read the artifact")
    if not artifact.sha256 and artifact.etag and artifact.etag != found.get("ETag", "").strip('"'):
        await found["Body"].aclose()
        raise _changed(action)
    return found


def _changed(action: Action) -> _NotDeployed:
    artifact = action.inputs[0]
    return _NotDeployed(
        "RevisionOutOfSync",
        f"The artifact {artifact.name} (s3://{artifact.bucket}/{artifact.key}) was changed after the pipeline had written "
        "it, and is not deployed. Run the action that makes it again.",
    )


async def _fetch(action: Action, file: IO[bytes]) -> int:
    """Write the artifact to a file of ours; its bytes. What is deployed comes from that file. Raises _NotDeployed."""
    found = await _artifact(action)
    digest, size = sha256(), 0

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        file.write(chunk)

    async with aclosing(found["Body"]) as body:
        async for chunk in body:
            size += len(chunk)
            if size > _LARGEST:
                raise _NotDeployed("ConfigurationError", f"The artifact is larger than {_LARGEST // 1024**3} GiB.")
            await FILES.run(take, chunk)
    await FILES.run(file.flush)
    wanted = action.inputs[0].sha256
    if wanted and wanted != digest.hexdigest():
        raise _changed(action)
    return size


# --- putting objects ----------------------------------------------------------------------------------------------------


async def _put_artifact(action: Action, key: str) -> None:
    found = await _artifact(action)
    wanted = action.inputs[0].sha256
    pinned = {"ChecksumSHA256": b64encode(bytes.fromhex(wanted)).decode()} if wanted else {}
    async with aclosing(found["Body"]) as body:
        await _put(action, key, body, **pinned)


async def _put_files(action: Action, folder: str) -> None:
    """Put every file of the artifact, when all of them may be put."""
    with tempfile.TemporaryFile(dir=action.scratch or None) as file:
        size = await _fetch(action, file)
        try:
            progress = _Progress(action)
            readers = [await FILES.run(ZipReader, _Place(file)) for _ in range(_AT_ONCE)]
            total = await _check(readers[0], folder, size)
            windows = _windows(readers, folder)
            while bodies := await FILES.run(next, windows, None):
                puts = [_put(action, key, body) for key, body in bodies.items()]
                for result in await asyncio.gather(*puts, return_exceptions=True):
                    if isinstance(result, BaseException):
                        raise result
                await progress.add(sum(_size(body) for body in bodies.values()), total)
        except BadZip as error:
            raise _NotDeployed(
                "ConfigurationError",
                f"The artifact {action.inputs[0].name} cannot be unpacked: {error}. Deploy an artifact that is a zip archive, "
                "or set Extract to false.",
            ) from None


async def _put(action: Action, key: str, body: Any, **more: str) -> None:
    configuration = action.configuration
    request = {
        "Bucket": configuration["BucketName"],
        "Key": key,
        "Body": body,
        "ContentType": content_type(key),
        **more,
    }
    if "CacheControl" in configuration:
        request["CacheControl"] = configuration["CacheControl"]
    if "CannedACL" in configuration:
        request["ACL"] = configuration["CannedACL"]
    if "KMSEncryptionKeyARN" in configuration:
        request |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": configuration["KMSEncryptionKeyARN"]}
    await _s3(action, "PutObject", request, f"write {key[:200]}")


async def _s3(action: Action, operation: str, request: dict[str, Any], what: str) -> Output:
    """An operation of S3. Raises _NotDeployed, and what may pass."""
    try:
        return await action.invoke("s3", operation, request)
    except AccessDenied as error:
        raise _NotDeployed(
            "PermissionError",
            f"The provided role does not have permissions to {what} (s3://{request['Bucket']}). Underlying error: {error}",
        ) from None
    except ServiceError as error:
        if passes(error):
            raise
        if error.wire_code == "BadDigest" and "ChecksumSHA256" in request:
            raise _changed(action) from None
        raise _NotDeployed(
            "PermissionError" if error.status == 403 else "ConfigurationError",
            f"{error.message} (Service: Amazon S3; Status Code: {error.status}; Error Code: {error.wire_code}; could not {what}, "
            f"bucket {request['Bucket']})",
        ) from None


# --- the files of an artifact ----------------------------------------------------------------------------------------------


class _Place:
    """A place of one's own in a file that several read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0

    def read(self, size: int, /) -> bytes:
        """See Seekable."""
        found = os.pread(self._file.fileno(), size, self._at)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """See Seekable."""
        start = (0, self._at, os.fstat(self._file.fileno()).st_size)[whence]
        self._at = max(0, start + offset)
        return self._at


@dataclass(frozen=True, slots=True)
class _Content:
    """A file of an artifact as a streaming blob."""

    reader: ZipReader
    entry: Entry

    @property
    def length(self) -> int | None:
        """In bytes."""
        return self.entry.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self.reader.data(self.entry)
        while (chunk := await FILES.run(next, chunks, None)) is not None:
            yield chunk


def _size(body: bytes | _Content) -> int:
    return len(body) if isinstance(body, bytes) else body.entry.size


class _Progress:
    """Shows now and then how far a deployment is."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._done = 0
        self._shown = time.monotonic()

    async def add(self, done: int, total: int) -> None:
        """So many bytes more lie in the bucket."""
        self._done += done
        if self._action.report is not None and total and time.monotonic() - self._shown >= _SHOWN_S:
            self._shown = time.monotonic()
            await self._action.report(Running(percent=100 * self._done // total))


def _windows(readers: Sequence[ZipReader], folder: str) -> Iterator[dict[str, bytes | _Content]]:
    """The contents of the files that are put at a time, by their keys. Of entries with one name the last counts. Raises BadZip."""
    window: dict[str, Entry] = {}
    for key, entry in _files(readers[0], folder):
        if key in window or len(window) == len(readers):
            yield _contents(readers, window)
            window = {}
        window[key] = entry
    if window:
        yield _contents(readers, window)


def _contents(readers: Sequence[ZipReader], window: Mapping[str, Entry]) -> dict[str, bytes | _Content]:
    return {
        key: b"".join(reader.data(entry)) if entry.size <= _WHOLE else _Content(reader, entry)
        for reader, (key, entry) in zip(readers, window.items(), strict=False)
    }


def _files(reader: ZipReader, folder: str) -> Iterator[tuple[str, Entry]]:
    """Every file with the key of its object. Raises BadZip."""
    return ((_object_key(folder, entry), entry) for entry in reader.entries() if not entry.folder)


async def _check(reader: ZipReader, folder: str, packed: int) -> int:
    """Look at everything before anything is put; how many bytes it is. Raises BadZip."""
    if reader.count > _FILES:
        raise BadZip(f"it has more than {_FILES} entries")
    total = 0
    files = _files(reader, folder)
    while found := await FILES.run(lambda: list(islice(files, _LOOKED_AT))):
        for _, entry in found:
            check_readable(entry)
            if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG):
                raise BadZip(f"{printable(entry.name)} is a link or a device, which S3 does not have")
            if entry.size > _LARGEST_FILE:
                raise BadZip(f"{printable(entry.name)} is larger than {_LARGEST_FILE // 1024**3} GiB")
            total += entry.size
        if total > _UNPACKED:
            raise BadZip(f"it unpacks to more than {_UNPACKED // 1024**3} GiB")
        if total > _PLAUSIBLE and total > packed * _RATIO:
            raise BadZip(f"it unpacks to more than {_RATIO} times its size, which is not plausible")
    return total


def _object_key(folder: str, entry: Entry) -> str:
    try:
        name = entry.name.decode()
    except UnicodeDecodeError:
        raise BadZip(f"the name {printable(entry.name)} is not UTF-8, as keys of S3 are") from None
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or not parts:
        raise BadZip(f"it holds the unsafe name {printable(entry.name)}")
    key = folder + "/".join(parts)
    if len(key.encode()) > _LONGEST_KEY:
        raise BadZip(f"the key of {printable(entry.name)} would have more than {_LONGEST_KEY} bytes")
    return key


# What the machine knows of file types is not asked, so that every machine says the same.
_TYPES = MimeTypes()
for _kind, _suffixes in {
    "application/json": (".map",),
    "application/manifest+json": (".webmanifest",),
    "application/wasm": (".wasm",),
    "font/otf": (".otf",),
    "font/ttf": (".ttf",),
    "font/woff": (".woff",),
    "font/woff2": (".woff2",),
    "image/avif": (".avif",),
    "image/webp": (".webp",),
    "image/x-icon": (".ico",),
    "text/javascript": (".js", ".mjs"),
    "text/markdown": (".md",),
    "text/yaml": (".yaml", ".yml"),
    "video/webm": (".webm",),
}.items():
    for _suffix in _suffixes:
        _TYPES.add_type(_kind, _suffix)
_PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


def content_type(key: str) -> str:
    """The media type that an object's name says."""
    name = key.rpartition("/")[2]
    kind, encoding = _TYPES.guess_type(f"file:///{quote(name)}")
    if encoding is not None:
        return _PACKED.get(encoding, "binary/octet-stream")
    return kind or "binary/octet-stream"


PROVIDER = S3Deploy()
