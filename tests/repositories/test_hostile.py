"""Clients that leave, objects that lie, and what is left of either: nothing."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import subprocess
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from penstock_waiting import until


def raw(live, path: str, headers: dict[str, str], body: bytes = b"", method: str = "POST") -> socket.socket:
    """A request by hand, on a socket that the test may close when it likes."""
    where = urlsplit(live.url)
    keys = live.keys()
    pair = base64.b64encode(f"{keys['aws_access_key_id']}:{keys['aws_secret_access_key']}".encode()).decode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {where.netloc}", f"Authorization: Basic {pair}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection = socket.create_connection((where.hostname, where.port), timeout=60)
    connection.sendall("\r\n".join((*lines, "", "")).encode() + body)
    return connection


def folder_of(live, name: str) -> Path:
    made = live.client("codecommit").get_repository(repositoryName=name)["repositoryMetadata"]["repositoryId"]
    return live.data_dir / "git" / "111111111111" / "us-east-1" / f"{made}.git"


def children_on(folder: Path) -> list[str]:
    """Command lines of processes that work on a repository."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes()
        except OSError:
            continue
        if str(folder).encode() in line:
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def large(work) -> str:
    (work.path / "noise").write_bytes(os.urandom(30 << 20))
    return work.commit("large")


def intents_of(live):
    from penstock.repositories.records import intents

    return live.run(live.app.store.read(lambda conn: conn.execute(intents.select()).all()))


def test_a_client_that_leaves_in_the_middle_of_a_push(live, repository, events_of):
    name, _ = repository
    headers = {"Content-Type": "application/x-git-receive-pack-request", "Content-Length": "1000000"}
    connection = raw(live, f"/v1/repos/{name}/git-receive-pack", headers, b"0" * 5000)
    connection.close()
    until(lambda: not list((live.data_dir / "tmp").glob("git-*")))
    assert events_of(name) == []
    assert intents_of(live) == []
    assert not list(folder_of(live, name).glob("objects/pack/*"))


def test_a_client_that_leaves_in_the_middle_of_a_clone(live, repository, working):
    name, url = repository
    work = working()
    commit = large(work)
    work("push", "-q", url, "main")
    folder = folder_of(live, name)
    wish = f"want {commit} side-band-64k ofs-delta\n".encode()
    body = b"%04x" % (len(wish) + 4) + wish + b"00000009done\n"
    headers = {"Content-Type": "application/x-git-upload-pack-request", "Content-Length": str(len(body))}
    connection = raw(live, f"/v1/repos/{name}/git-upload-pack", headers, body)
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    assert children_on(folder), "git is not waiting for its slow reader"
    connection.close()
    until(lambda: not children_on(folder), why=lambda: children_on(folder))


def test_objects_that_would_hurt_a_checkout_are_refused(live, repository, working, events_of):
    name, url = repository
    work = working()
    work.commit("one")

    def write(kind: str, content: bytes) -> str:
        made = subprocess.run(
            ["git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"],
            cwd=work.path, env=work.environment, input=content, capture_output=True, check=True,
        )  # fmt: skip
        return made.stdout.decode().strip()

    blob = bytes.fromhex(write("blob", b"[core]\n"))
    for entry in (b"100644 .git\0", b"100644 ..\0", b"100644 a/b\0"):
        tree = write("tree", entry + blob)
        person = b"Ann <ann@example.org> 1 +0000"
        commit = write(
            "commit", b"tree " + tree.encode() + b"\nauthor " + person + b"\ncommitter " + person + b"\n\nbad\n"
        )
        done = work("push", url, f"{commit}:refs/heads/bad", check=False)
        assert done.returncode != 0, entry
        assert "fsck" in done.stderr or "unpack" in done.stderr, done.stderr
    assert events_of(name) == []
    assert intents_of(live) == []
    work("push", "-q", url, "main")
    assert len(events_of(name)) == 1


def pack_of_one(kind: int, content: bytes) -> bytes:
    """A pack with one object: 1 is a commit, 2 a tree, 3 a file."""
    size, first = len(content) >> 4, kind << 4 | len(content) & 15
    head = bytearray()
    while size:
        head.append(first | 128)
        first, size = size & 127, size >> 7
    head.append(first)
    pack = b"PACK" + struct.pack(">LL", 2, 1) + bytes(head) + zlib.compress(content, 9)
    return pack + hashlib.sha1(pack, usedforsecurity=False).digest()


def test_a_small_push_that_unpacks_to_much_memory_fails_alone(live, repository, working, events_of, monkeypatch):
    name, url = repository
    monkeypatch.setattr(live.app.mounts["/v1/repos/"].changes.git, "max_memory", 96 << 20)
    content = b"tree " + b"0" * 40 + b"\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\n" + b"a" * (200 << 20)
    commit = hashlib.sha1(b"commit %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    line = f"{'0' * 40} {commit} refs/heads/bomb\0report-status side-band-64k".encode()
    body = b"%04x" % (len(line) + 4) + line + b"0000" + pack_of_one(1, content)
    assert len(body) < 1 << 20
    headers = {"Content-Type": "application/x-git-receive-pack-request", "Content-Length": str(len(body))}
    with raw(live, f"/v1/repos/{name}/git-receive-pack", headers, body) as connection:
        answer = b""
        while b"ng refs/heads/bomb" not in answer:
            piece = connection.recv(4096)
            assert piece, answer
            answer += piece
    assert b"memory" in answer, answer
    assert events_of(name) == []
    work = working()
    work.commit("one")
    work("push", "-q", url, "main")
    assert len(events_of(name)) == 1


def test_hooks_and_configuration_of_a_repository_are_not_obeyed(live, repository, working, tmp_path):
    name, url = repository
    folder = folder_of(live, name)
    proof = tmp_path / "proof"
    (folder / "hooks").mkdir(exist_ok=True)
    for hook in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction"):
        (folder / "hooks" / hook).write_text(f"#!/bin/sh\necho {hook} >> {proof}\n")
        (folder / "hooks" / hook).chmod(0o755)
    work = working()
    work.commit("one")
    work("push", "-q", url, "main")
    assert not proof.exists()


def test_a_large_push_in_chunks(live, repository, working, events_of):
    name, url = repository
    work = working()
    large(work)
    work("-c", "http.postBuffer=65536", "push", "-q", url, "main")
    assert len(events_of(name)) == 1
    work("clone", "-q", url, "copy")
    assert (work.path / "copy" / "noise").read_bytes() == (work.path / "noise").read_bytes()


@pytest.mark.parametrize("header", ["version=9", "version=2:evil", "x" * 1000, "version=2\x7f"])
def test_strange_protocol_headers(live, repository, header):
    name, _ = repository
    path = f"/v1/repos/{name}/info/refs?service=git-upload-pack"
    connection = raw(live, path, {"Git-Protocol": header, "Connection": "close"}, method="GET")
    assert connection.recv(100).split()[1] in (b"200", b"400")
    connection.close()


def test_a_push_has_a_limit(live, repository, working, events_of, monkeypatch):
    name, url = repository
    monkeypatch.setattr(live.app.mounts["/v1/repos/"].changes.git, "max_push", 1 << 20)
    work = working()
    work.commit("small")
    work("push", "-q", url, "main")
    large(work)
    done = work("push", url, "main", check=False)
    assert done.returncode != 0
    assert "a push may have 1 MiB at most" in done.stderr
    assert len(events_of(name)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"0016command=bundle-uri\n0000",  # a command of protocol v2 that is not served
        b"0001" * 50,
        b"0014command=ls-refs\n00010009xxxxx0000",
        b"zzzz",
        b"0032want 1111111111111111111111111111111111111111\n0000",
    ],
)
def test_a_fetch_that_git_cannot_read_is_the_clients_fault(live, repository, body):
    headers = {"content-type": "application/x-git-upload-pack-request", "git-protocol": "version=2"}
    with raw(live, f"/v1/repos/{repository}/git-upload-pack", headers, body) as connection:
        status = connection.makefile("rb").readline()
    assert b" 400 " in status, status
