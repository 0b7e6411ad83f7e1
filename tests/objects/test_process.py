"""A server process of its own: kill -9 at each named crash point, and memory while large objects go through."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import signal
import sqlite3
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from penstock_ports import reserved_port
from penstock_starter import PENSTOCK, Started, start

from penstock.store import failpoints

MIB = 1 << 20
POINTS = [name for name in failpoints.points() if name.startswith("objects.")]


class Server:
    """`penstock up`, always on the same port and data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = reserved_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: Started | None = None

    def start(self, crash_point: str = "", *, dies: bool = False) -> None:
        """Start it and wait until it answers; one that `dies` at its crash point may do so before."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        if crash_point:
            environment["PENSTOCK_CRASH_POINT"] = crash_point
        options = [
            "--data-dir", str(self.folder / "data"),
            "--port", str(self.port), "--master-key-file", str(self.folder / "key"), "--builds", "0",
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self.process = start(PENSTOCK, "up", *options, env=environment, stdout=log, stderr=log, cwd=self.folder)
        if dies:
            return
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=60) as answer:
                if answer.status == 200:
                    return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(60) == 0

    def died(self) -> bool:
        assert self.process is not None
        return self.process.wait(60) == -signal.SIGKILL

    def client(self) -> Any:
        lines = (self.folder / "data" / "credentials").read_text().splitlines()
        values = {
            name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines if "=" in line)
        }
        return boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=values["aws_access_key_id"],
            aws_secret_access_key=values["aws_secret_access_key"],
            config=Config(retries={"total_max_attempts": 1}, signature_version="s3v4"),
        )

    def blobs(self) -> int:
        return sum(path.is_file() for path in (self.folder / "data" / "blobs").rglob("*"))

    def age(self, *, hours: int) -> None:
        """Let the stopped server's data be older by some hours, as if it had waited that long."""
        seconds = hours * 3600
        for path in (self.folder / "data" / "blobs").rglob("*"):
            if path.is_file():
                then = path.stat().st_mtime - seconds
                os.utime(path, (then, then))
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "penstock.db")) as database:
            database.execute(
                "UPDATE s3_blobs SET created = created - ?1, unreferenced = unreferenced - ?1", [seconds * 1000]
            )
            database.execute("UPDATE jobs SET due = due - ?1, until = until - ?1", [seconds * 1000])
            database.commit()

    def memory(self, what: str) -> int:
        """Bytes that the process has (VmRSS) or had at most (VmHWM)."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024
        raise AssertionError(what)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    try:
        yield server
        server.stop()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait(60)


# What a client asks for, the crash point that it passes, and whether it is then done.
SCENES: dict[str, tuple[str, bool]] = {
    "objects.bytes_durable": ("put", False),
    "objects.object_committed": ("put", True),
    "objects.copy_committed": ("copy", True),
    "objects.delete_committed": ("delete", True),
    "objects.part_durable": ("part", False),
    "objects.upload_completed": ("complete", True),
}


COLLECTOR = {"objects.blobs_given_up", "objects.strays_given_up"}


def test_every_crash_point_has_a_scene() -> None:
    assert set(POINTS) == set(SCENES) | COLLECTOR


@pytest.mark.parametrize("point", sorted(SCENES))
def test_a_killed_server_did_it_or_did_not(server: Server, point: str) -> None:
    scene, done = SCENES[point]
    server.start()
    s3 = server.client()
    s3.create_bucket(Bucket="crash")
    s3.put_object(Bucket="crash", Key="old", Body=b"old")
    upload = s3.create_multipart_upload(Bucket="crash", Key="k")["UploadId"]
    at = {"Bucket": "crash", "Key": "k", "UploadId": upload}
    part = {"PartNumber": 1, "ETag": s3.upload_part(**at, PartNumber=1, Body=b"new")["ETag"]}
    server.stop()
    before = server.blobs()

    def act() -> None:
        match scene:
            case "put":
                s3.put_object(Bucket="crash", Key="k", Body=b"new", IfNoneMatch="*")
            case "copy":
                s3.copy_object(Bucket="crash", Key="k", CopySource="crash/old")
            case "delete":
                s3.delete_object(Bucket="crash", Key="old")
            case "part":
                s3.upload_part(**at, PartNumber=2, Body=b"second")
            case "complete":
                s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [part]})

    server.start(point)
    with pytest.raises((BotoCoreError, ClientError)):
        act()
    assert server.died()
    server.start()
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="crash").get("Contents", [])]
    match scene:
        case "put" if not done:
            assert keys == ["old"]
            assert server.blobs() == before + 1  # for the collector
            act()
            assert s3.get_object(Bucket="crash", Key="k")["Body"].read() == b"new"
        case "put":
            assert s3.get_object(Bucket="crash", Key="k")["Body"].read() == b"new"
        case "copy":
            assert s3.get_object(Bucket="crash", Key="k")["Body"].read() == b"old"
        case "delete":
            assert keys == []
            act()
        case "part":
            assert [item["PartNumber"] for item in s3.list_parts(**at)["Parts"]] == [1]
            act()
            assert [item["PartNumber"] for item in s3.list_parts(**at)["Parts"]] == [1, 2]
        case "complete":
            act()  # answered as the first call would have been
            assert s3.get_object(Bucket="crash", Key="k")["Body"].read() == b"new"


@pytest.mark.parametrize("point", sorted(COLLECTOR))
def test_a_killed_collector_goes_on(server: Server, point: str) -> None:
    server.start()
    s3 = server.client()
    s3.create_bucket(Bucket="crash")
    s3.put_object(Bucket="crash", Key="kept", Body=b"kept")
    s3.put_object(Bucket="crash", Key="gone", Body=b"gone")
    s3.delete_object(Bucket="crash", Key="gone")
    server.stop()
    server.start("objects.bytes_durable")
    with pytest.raises((BotoCoreError, ClientError)):
        s3.put_object(Bucket="crash", Key="never", Body=b"never")
    assert server.died()
    assert server.blobs() == 3  # one that is referred to, one of a deleted object, one without a row
    server.age(hours=2)
    server.start(point, dies=True)
    assert server.died()
    assert server.blobs() == (3 if point == "objects.blobs_given_up" else 2)  # given up, and not unlinked yet
    server.age(hours=1)  # until the collector's next round, and the lease of the one that died
    server.start()
    deadline = time.monotonic() + 60
    while server.blobs() > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert s3.get_object(Bucket="crash", Key="kept")["Body"].read() == b"kept"


class Transfer:
    """One large PUT and GET over plain HTTP, in constant memory on this side too."""

    def __init__(self, server: Server, size: int) -> None:
        self.server, self.size = server, size
        self.block = os.urandom(MIB)
        self.s3 = server.client()

    @contextlib.contextmanager
    def _ask(self, method: str, operation: str, body: Any = None) -> Iterator[http.client.HTTPResponse]:
        url = self.s3.generate_presigned_url(operation, Params={"Bucket": "large", "Key": "object"})
        parts = urllib.parse.urlsplit(url)
        headers = {"Content-Length": str(self.size)} if body is not None else {}
        with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=120, blocksize=MIB)) as connection:
            connection.request(method, f"{parts.path}?{parts.query}", body=body, headers=headers)
            with connection.getresponse() as answer:
                yield answer

    def put(self) -> None:
        with self._ask("PUT", "put_object", (self.block for _ in range(self.size // MIB))) as answer:
            assert answer.status == 200, answer.read()

    def get(self) -> str:
        digest = hashlib.sha256()
        with self._ask("GET", "get_object") as answer:
            while chunk := answer.read(MIB):
                digest.update(chunk)
        return digest.hexdigest()

    def expected(self) -> str:
        digest = hashlib.sha256()
        for _ in range(self.size // MIB):
            digest.update(self.block)
        return digest.hexdigest()


def figures(server: Server, size: int) -> dict[str, float]:
    """Megabytes of extra memory and MB/s of a PUT and a GET."""
    server.start()
    transfer = Transfer(server, size)
    transfer.s3.create_bucket(Bucket="large")
    transfer.s3.put_object(Bucket="large", Key="object", Body=b"warm")  # models read, pools started
    transfer.s3.get_object(Bucket="large", Key="object")["Body"].read()
    rested = server.memory("VmRSS")
    highest = [rested]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.01):
            highest[0] = max(highest[0], server.memory("VmRSS"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        began = time.perf_counter()
        transfer.put()
        put = time.perf_counter() - began
        began = time.perf_counter()
        assert transfer.get() == transfer.expected()
        get = time.perf_counter() - began
    finally:
        stop.set()
        watcher.join()
    return {"extra": (highest[0] - rested) / MIB, "put": size / MIB / put, "get": size / MIB / get}


def test_an_object_goes_through_in_constant_memory(server: Server) -> None:
    measured = figures(server, 96 * MIB)
    print(measured)
    assert measured["extra"] < 32


@pytest.mark.prove
def test_500_megabytes_go_through_in_constant_memory(server: Server) -> None:
    measured = figures(server, 500 * MIB)
    print(measured)
    assert measured["extra"] < 32
