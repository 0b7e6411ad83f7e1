"""What cannot be recorded is not done."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import uuid

import botocore.exceptions
import pytest
from penstock_waiting import until

from penstock.trail import Trail


@pytest.fixture
def blocked(live, monkeypatch):
    """A server whose trail the disk takes no more of, until the test ends."""
    iam, name = live.client("iam"), f"first-{uuid.uuid4()}"
    monkeypatch.setattr(Trail, "write", lambda trail: trail._refused(OSError(28, "No space left on device")))
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        # What shows that nothing can be recorded, if no other call has: it is not answered as done.
        iam.create_user(UserName=name)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    yield
    monkeypatch.undo()
    until(lambda: live.run(_recovered(live)))
    given = [{"AttributeKey": "ResourceName", "AttributeValue": name}]
    events = [
        json.loads(one["CloudTrailEvent"])
        for one in live.client("cloudtrail").lookup_events(LookupAttributes=given)["Events"]
    ]
    done = any("errorCode" not in event for event in events)
    assert done is (name in {user["UserName"] for user in iam.list_users()["Users"]})


async def _recovered(live):
    return live.app.records.trail.write()


def test_changes_are_refused_and_reads_are_answered(live, blocked):
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        live.client("iam").create_user(UserName="unrecorded")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert "unrecorded" not in {user["UserName"] for user in live.client("iam").list_users()["Users"]}


def test_a_push_is_refused(live, tmp_path, request):
    live.client("codecommit").create_repository(repositoryName="blocked")
    keys, address = live.keys(), urllib.parse.urlsplit(live.url)
    user, password = (
        urllib.parse.quote(keys[name], safe="") for name in ("aws_access_key_id", "aws_secret_access_key")
    )
    url = f"http://{user}:{password}@{address.netloc}/v1/repos/blocked"

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e@x", *arguments]
        environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "HOME": "/nonexistent"}
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    git("init")
    git("commit", "--allow-empty", "-m", "x")
    request.getfixturevalue("blocked")
    assert "503" in git("push", url, "HEAD:main").stderr
    assert live.client("codecommit").list_branches(repositoryName="blocked")["branches"] == []
