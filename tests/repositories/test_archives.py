"""Archives of commits: what was committed, all of it, and nothing that cannot be counted first."""

from __future__ import annotations

import io
import os
import subprocess
import time
import zipfile
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from penstock_git import Clone

from penstock.repositories import archives
from penstock.repositories.archives import Bounds
from penstock.repositories.errors import CommitTooLargeException
from penstock.repositories.git import Git


def tree(work: Clone, *lines: bytes) -> str:
    """A tree of lines as `git mktree` reads them."""
    made = subprocess.run(
        ["git", "mktree", "-z", "--missing"],
        cwd=work.path,
        env=work.environment,
        input=b"\0".join((*lines, b"")),
        capture_output=True,
        check=True,
    )
    return made.stdout.decode().strip()


def bomb(work: Clone, *, empty: bool) -> str:
    """A commit of 16^12 entries in a dozen small objects."""
    if empty:
        below, kind = tree(work), b"040000 tree"
    else:
        (work.path / "x").write_text("x")
        below, kind = work("hash-object", "-w", "x").stdout.strip(), b"100644 blob"
    for _ in range(12):
        below = tree(work, *(kind + b" %s\t%02d" % (below.encode(), number) for number in range(16)))
        kind = b"040000 tree"
    return work("commit-tree", "-m", "bomb", below).stdout.strip()


def names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sorted(archive.namelist())


def test_attributes_do_not_thin_out_or_change_a_source(live, repository, working):
    name, url = repository
    work = working()
    files = {
        ".gitattributes": b"/tests export-ignore\n*.txt export-subst ident text eol=crlf\nlatin working-tree-encoding=ISO-8859-1\n",
        "tests/t.py": b"1\n",
        "subst.txt": b"$Format:%H$ $Id$\nsecond\n",
        "latin": "caf\u00e9\n".encode(),
    }
    for path, content in files.items():
        (work.path / path).parent.mkdir(exist_ok=True)
        (work.path / path).write_bytes(content)
    (work.path / "out").symlink_to("/etc/passwd")
    work("-c", "core.attributesFile=/dev/null", "add", "-A", check=False)
    for path, content in files.items():  # as they are, whatever the attributes make of them in a working copy
        blob = subprocess.run(
            ["git", "hash-object", "-w", "--no-filters", "--stdin"], cwd=work.path, env=work.environment, input=content,
            capture_output=True, check=True,
        ).stdout.decode().strip()  # fmt: skip
        work("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    work("commit", "-q", "-m", "all")
    commit = work("rev-parse", "HEAD").stdout.strip()
    work("push", "-q", url, "main")
    s3 = live.client("s3")
    s3.create_bucket(Bucket="archives-with-attributes")
    live.client("penstock").upload_repository_archive(
        repositoryName=name, commitId=commit, bucketName="archives-with-attributes", objectKey="s.zip"
    )
    content = s3.get_object(Bucket="archives-with-attributes", Key="s.zip")["Body"].read()
    assert names(content) == [".gitattributes", "latin", "out", "subst.txt", "tests/", "tests/t.py"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {path: archive.read(path) for path in files} == files
        assert archive.read("out") == b"/etc/passwd"


@pytest.mark.parametrize("empty", [False, True])
def test_a_tree_that_cannot_be_counted_is_refused_at_once(live, repository, working, empty: bool):
    name, url = repository
    work = working()
    work("push", "-q", url, f"{bomb(work, empty=empty)}:refs/heads/main")
    commit = work("ls-remote", url, "main").stdout.split()[0]
    live.client("s3").create_bucket(Bucket=f"archives-bomb-{empty}".lower())
    started = time.monotonic()
    with pytest.raises(ClientError) as refused:
        live.client("penstock").upload_repository_archive(
            repositoryName=name, commitId=commit, bucketName=f"archives-bomb-{empty}".lower(), objectKey="s.zip"
        )
    assert refused.value.response["Error"] == {
        "Code": "CommitTooLargeException",
        "Message": f"The commit {commit} has more than 200000 files and folders. The server's option --source-entries raises this limit",
    }
    assert time.monotonic() - started < 30


async def test_limits_are_reached_at_their_number(working, tmp_path: Path):
    work = working()
    work.commit("12345", "a/b")
    commit = work.commit("12345", "c")
    git, folder = Git(tmp_path), work.path / ".git"
    await archives.count(git, folder, commit, Bounds(entries=3, size=15))  # a, a/b and c, and the bytes of their names
    with pytest.raises(CommitTooLargeException, match="more than 2 files and folders"):
        await archives.count(git, folder, commit, Bounds(entries=2, size=100))
    with pytest.raises(CommitTooLargeException, match="--source-gib raises"):
        await archives.count(git, folder, commit, Bounds(entries=3, size=14))


async def test_a_path_longer_than_any_file_has_is_refused(working, tmp_path: Path):
    work = working()
    below = tree(work, b"100644 blob %s\tx" % (b"1" * 40))
    for _ in range(30):
        below = tree(work, b"040000 tree %s\t%s" % (below.encode(), b"n" * 200))
    commit = work("commit-tree", "-m", "deep", below).stdout.strip()
    with pytest.raises(CommitTooLargeException, match="too long"):
        await archives.count(Git(tmp_path), work.path / ".git", commit, Bounds(entries=10**6, size=10**9))


async def test_names_that_are_no_text_stay_what_they_are(working, tmp_path: Path):
    work = working()
    (work.path / os.fsdecode(b"caf\xe9")).write_text("x")
    commit = work.commit("y", "caf\u00e9")
    with (tmp_path / "zip").open("w+b") as file:
        await archives.pack(Git(tmp_path), work.path / ".git", commit, file, temporary=tmp_path)
    with zipfile.ZipFile(tmp_path / "zip") as archive:
        found = {info.orig_filename: info.flag_bits & 0x800 for info in archive.infolist()}
    assert found == {b"caf\xe9".decode("cp437"): 0, "caf\u00e9": 0x800}
