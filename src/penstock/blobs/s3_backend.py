"""Sealed blobs in a bucket of any S3-compatible store: `s3://bucket/prefix?endpoint=https://…`.

What lies there is sealed before it leaves this machine. An object is visible only when it is complete, which is what a blob needs. The
store's own errors are StoreUnavailable: the request is answered 503 and may succeed later.
"""

from __future__ import annotations

import configparser
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3.session
import botocore.config
import botocore.exceptions

from penstock.blobs.backend import Sink, Source
from penstock.store.errors import StoreUnavailable

# Bytes of a part: held in memory once for each blob that is being written; S3 wants 5 MiB and at most 10,000 parts.
_PART = 8 << 20
_ABANDONED = timedelta(days=1)  # an upload that is open for longer is a dead writer's
_PARAMETERS = frozenset({"endpoint", "region", "credentials", "profile"})
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchUpload", "NotFound"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where an object store is, and as whom it is used."""

    bucket: str
    prefix: str  # empty, or it ends with a slash
    endpoint: str  # empty: AWS's own
    region: str
    credentials: str  # a shared-credentials file; empty: wherever the AWS SDKs look
    profile: str

    @classmethod
    def parse(cls, text: str) -> Location:
        """Read `s3://bucket/prefix?endpoint=…&region=…&credentials=FILE&profile=…`. Raises ValueError with a reason."""
        parts = urlsplit(text)
        if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc):
            raise ValueError(f"{text!r} is not s3://bucket?endpoint=https://…")
        values = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := sorted(values.keys() - _PARAMETERS):
            raise ValueError(
                f"{', '.join(unknown)} is not known of an object store: {', '.join(sorted(_PARAMETERS))} are"
            )
        endpoint = values.get("endpoint", "")
        if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
            raise ValueError(f"the endpoint {endpoint!r} is no http or https address")
        prefix = parts.path.strip("/")
        return cls(
            bucket=parts.netloc,
            prefix=f"{prefix}/" if prefix else "",
            endpoint=endpoint,
            region=values.get("region") or "us-east-1",
            credentials=values.get("credentials", ""),
            profile=values.get("profile", ""),
        )


class S3Backend:
    """Objects `prefix` + id of one bucket. Its versioning should be off, or what is removed stays as an old version."""

    def __init__(self, location: Location, *, connections: int) -> None:
        self.location = location
        self._connections = connections
        self._client: Any = None

    def prepare(self) -> None:
        """Connect, so that a wrong address or key is an error at the start. Raises StoreUnavailable."""
        with self._asking():
            self._client = _client(self.location, self._connections)
            self._client.head_bucket(Bucket=self.location.bucket)

    def create(self, blob: str) -> Sink:
        """Begin an object."""
        return _Upload(self, blob)

    def open(self, blob: str) -> Source:
        """Open an object, which is asked for at the first read. Raises FileNotFoundError there."""
        return _Stream(self, blob)

    def remove(self, blob: str) -> None:
        """Delete an object."""
        self.call("delete_object", blob)

    def older_than(self, age_s: float) -> Iterator[str]:
        """Ids by the store's own times. Uploads that a dead writer left open are taken back on the way."""
        now = datetime.now(UTC)
        limit = now - timedelta(seconds=age_s)
        where = {"Bucket": self.location.bucket, "Prefix": self.location.prefix}
        with self._asking():
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**where):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < now - _ABANDONED:
                        self._client.abort_multipart_upload(
                            Bucket=self.location.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
            for page in self._client.get_paginator("list_objects_v2").paginate(**where):
                for found in page.get("Contents", ()):
                    blob = found["Key"].removeprefix(self.location.prefix)
                    if found["LastModified"] < limit and "/" not in blob:  # what lies deeper has another place
                        yield blob

    def call(self, operation: str, blob: str, **more: Any) -> Any:
        """Run an operation on a blob's object. Raises FileNotFoundError, EOFError (it ends before the range) and StoreUnavailable."""
        with self._asking():
            return getattr(self._client, operation)(
                Bucket=self.location.bucket, Key=self.location.prefix + blob, **more
            )

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except botocore.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING and error.operation_name != "HeadBucket":
                raise FileNotFoundError(str(error)) from error
            if code == "InvalidRange":
                raise EOFError(str(error)) from error
            raise StoreUnavailable(f"The object store {self._place()} refuses: {error}") from error
        except botocore.exceptions.BotoCoreError as error:
            raise StoreUnavailable(f"The object store {self._place()} cannot be used: {error}") from error

    def _place(self) -> str:
        return f"s3://{self.location.bucket} at {self.location.endpoint or 'AWS'}"


def _session(location: Location) -> boto3.session.Session:
    """Of the keys in the credentials file; without one, of whatever the AWS SDKs find."""
    if not location.credentials:
        return boto3.session.Session(profile_name=location.profile or None)
    profile = location.profile or "default"
    known = configparser.RawConfigParser()
    try:
        known.read_string(Path(location.credentials).read_text(encoding="utf-8"))
        keys = known[profile]
        return boto3.session.Session(
            aws_access_key_id=keys["aws_access_key_id"],
            aws_secret_access_key=keys["aws_secret_access_key"],
            aws_session_token=keys.get("aws_session_token"),
        )
    except (OSError, ValueError, KeyError, configparser.Error) as error:
        raise StoreUnavailable(
            f"The credentials file of the object store, {location.credentials}, has no usable profile {profile} ({error})"
        ) from error


def _client(location: Location, connections: int) -> Any:
    config = botocore.config.Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=connections,
        signature_version="s3v4",
        s3={"addressing_style": "path" if location.endpoint else "auto"},
        # Blobs verify themselves; not every store knows the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return _session(location).client(
        "s3", region_name=location.region, endpoint_url=location.endpoint or None, config=config
    )


class _Upload:
    def __init__(self, backend: S3Backend, blob: str) -> None:
        self._backend = backend
        self._blob = blob
        self._held = bytearray()
        self._upload = ""
        self._parts: list[dict[str, Any]] = []

    def write(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._held += piece
        if len(self._held) >= _PART:
            self._send()

    def commit(self) -> None:
        if not self._upload:
            self._backend.call("put_object", self._blob, Body=bytes(self._held))
            return
        if self._held:
            self._send()
        self._backend.call(
            "complete_multipart_upload", self._blob, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
        )

    def discard(self) -> None:
        self._held.clear()
        with contextlib.suppress(StoreUnavailable, FileNotFoundError):
            if self._upload:
                self._backend.call("abort_multipart_upload", self._blob, UploadId=self._upload)
            self._backend.remove(self._blob)  # it may be complete already

    def _send(self) -> None:
        if not self._upload:
            self._upload = self._backend.call("create_multipart_upload", self._blob)["UploadId"]
        number = len(self._parts) + 1
        answer = self._backend.call(
            "upload_part", self._blob, UploadId=self._upload, PartNumber=number, Body=bytes(self._held)
        )
        self._held.clear()
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})


class _Stream:
    """Reads that follow each other are one GET; another offset begins a new one."""

    def __init__(self, backend: S3Backend, blob: str) -> None:
        self._backend = backend
        self._blob = blob
        self._body: Any = None
        self._at = 0

    def read(self, offset: int, length: int) -> bytes:
        if self._body is None or offset != self._at:
            self.close()
            try:
                self._body = self._backend.call("get_object", self._blob, Range=f"bytes={offset}-")["Body"]
            except EOFError:
                return b""
            self._at = offset
        try:
            found = self._body.read(length)
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            self.close()
            raise StoreUnavailable(f"The object store ended in the middle of blob {self._blob}: {error}") from error
        self._at += len(found)
        return found

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
