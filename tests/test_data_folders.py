"""Nothing below the data directory grows without end: each file and folder has something that removes what is left there, after crashes too."""

import os
import re
import time
import uuid
from pathlib import Path

from penstock_waiting import until

import penstock

ANSWERS = {
    "audit": "audit/shipping: blocks that are in the database; those after --keep-audit",
    "blobs": "objects/collector: what nothing refers to, and what a writer left",
    "builds": "builds/work: with the build, and at the start",
    "credentials": "one file, or a link to it",
    "git": "repositories/changes: with the repository, and at the start; packs are joined",
    "log-segments": "logs/packing: with the stream, and after the retention of its group",
    "log-events": "logs/logstore: with the stream, and every hour what has none",
    "logs": "wire/requestlog: five files of each kind",
    "penstock.db": "the database: see tests/test_retention.py",
    "penstock.db-shm": "SQLite's",
    "penstock.db-wal": "SQLite's",
    "penstock.db.lock": "one file",
    "server.json": "one file",
    "tls": "a fixed number of files",
    "tmp": "repositories/changes: at the start",
}
_NAMED = re.compile(r'data_dir\)? / "([^"]+)"')


def test_each_name_below_the_data_directory_has_an_answer():
    source = Path(penstock.__file__).parent
    named = {name for path in source.rglob("*.py") for name in _NAMED.findall(path.read_text())}
    assert len(named) > 8
    assert named <= ANSWERS.keys()


def test_what_a_crash_left_is_gone_after_the_next_start(live_factory):
    with live_factory() as live:
        live.client("codecommit").create_repository(repositoryName="kept")
        live.client("logs").create_log_group(logGroupName="kept")
        live.client("logs").create_log_stream(logGroupName="kept", logStreamName="s")
        event = {"timestamp": int(time.time() * 1000), "message": "m"}
        live.client("logs").put_log_events(logGroupName="kept", logStreamName="s", logEvents=[event])
        live.client("s3").create_bucket(Bucket="kept")
        live.client("s3").put_object(Bucket="kept", Key="k", Body=b"x" * 100_000)
        data = live.data_dir
    kept = _names(data)
    id, stray = str(uuid.uuid4()), uuid.uuid4().hex
    left = [
        data / "builds" / id / "file",
        data / "git" / "111111111111" / "us-east-1" / f"{id}.git" / "HEAD",
        data / "git" / "111111111111" / "us-east-1" / f"{uuid.uuid4()}.lock",
        data / "log-events" / stray[:2] / f"{stray}.log",
        data / "log-events" / stray[:2] / f"{stray}.index",
        data / "tmp" / "git-abcdef",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        for one in (path, path.parent):
            os.utime(one, (1, 1))
    with live_factory() as live:
        until(
            lambda: not any(path.exists() for path in left), why=lambda: [str(path) for path in left if path.exists()]
        )
        assert {path.name for path in data.iterdir()} <= ANSWERS.keys()
        assert live.client("logs").get_log_events(logGroupName="kept", logStreamName="s")["events"]
    assert kept <= _names(data)


def _names(data):
    """What users have there."""
    return {path for name in ("blobs", "git", "log-events") for path in (data / name).rglob("*") if path.is_file()}


def test_the_page_for_operators_says_what_is_kept_in_each_folder():
    page = (Path(__file__).parent.parent / "docs" / "how-to" / "look-after-it.md").read_text()
    for name in ("builds", "git", "log-events", "log-segments", "logs", "tmp"):
        assert f"DATA_DIR/{name}" in page, name
