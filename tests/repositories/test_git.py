"""Clone, fetch and push with real git."""

import asyncio
import base64
import concurrent.futures
import io
import json
import os
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from types import SimpleNamespace

import pytest
from penstock_git import with_key

from penstock.repositories import changes
from penstock.repositories.operations import branches
from penstock.store import events
from penstock.store.errors import StoreUnavailable


def short(events):
    return [(one["event"], one["referenceType"], one["referenceName"]) for one in events]


def test_push_clone_and_fetch(live, repository, working, events_of):
    name, url = repository
    work = working()
    first = work.commit("one")
    work("push", "-q", url, "main")
    assert short(events_of(name)) == [("referenceCreated", "branch", "main")]
    event = events_of(name)[0]
    assert event["commitId"] == first
    assert event["callerUserArn"] == "arn:aws:iam::111111111111:user/administrator"
    assert event["repositoryArn"] == f"arn:aws:codecommit:us-east-1:111111111111:{name}"
    codecommit = live.client("codecommit")
    assert codecommit.get_branch(repositoryName=name, branchName="main")["branch"] == {
        "branchName": "main",
        "commitId": first,
    }
    assert codecommit.get_repository(repositoryName=name)["repositoryMetadata"]["defaultBranch"] == "main"
    second = work.commit("two")
    work("push", "-q", url, "main")
    assert short(events_of(name))[1:] == [("referenceUpdated", "branch", "main")]
    assert events_of(name)[1]["oldCommitId"] == first

    work("clone", "-q", url, "copy")
    copy = type(work)(work.path / "copy", work.environment)
    assert copy("rev-parse", "HEAD").stdout.strip() == second
    third = work.commit("three")
    work("push", "-q", url, "main")
    copy("pull", "-q")
    assert copy("rev-parse", "HEAD").stdout.strip() == third
    shallow = work("clone", "-q", "--depth", "1", url, "shallow")
    assert shallow.returncode == 0
    for version in ("0", "1", "2"):
        work("-c", f"protocol.version={version}", "clone", "-q", url, f"v{version}")
    exact = working("exact")
    exact("fetch", "-q", "--depth", "1", url, first)
    assert exact("rev-parse", "FETCH_HEAD").stdout.strip() == first


def test_nothing_new_reports_nothing(live, repository, working, events_of):
    name, url = repository
    work = working()
    work.commit("one")
    work("push", "-q", url, "main")
    work("push", "-q", url, "main")
    assert len(events_of(name)) == 1


def test_force_push_delete_and_tags(live, repository, working, events_of):
    name, url = repository
    work = working()
    first = work.commit("one")
    work("push", "-q", url, "main")
    work("checkout", "-q", "-b", "feature/x")
    work.commit("two")
    work("push", "-q", url, "feature/x")
    work("reset", "-q", "--hard", first)
    other = work.commit("three")
    refused = work("push", url, "feature/x", check=False)
    assert refused.returncode != 0
    work("push", "-q", "--force", url, "feature/x")
    work("push", "-q", url, "--delete", "feature/x")
    work("tag", "light")
    work("tag", "-a", "heavy", "-m", "a tag")
    work("push", "-q", url, "light", "heavy")
    assert short(events_of(name)) == [
        ("referenceCreated", "branch", "main"),
        ("referenceCreated", "branch", "feature/x"),
        ("referenceUpdated", "branch", "feature/x"),
        ("referenceDeleted", "branch", "feature/x"),
        ("referenceCreated", "tag", "heavy"),
        ("referenceCreated", "tag", "light"),
    ]
    assert [one["commitId"] for one in events_of(name)[-2:]] == [other, other]
    refused = work("push", url, "--delete", "main", check=False)
    assert "refusing to delete the current branch" in refused.stderr
    assert "receive.denyDeleteCurrent" not in refused.stderr
    assert len(events_of(name)) == 6


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_a_branch_whose_name_ends_a_line_is_no_other_branch(live, repository, working, events_of, end):
    name, url = repository
    work = working()
    first = work.commit("one")
    work("push", "-q", url, "main")
    other = work.commit("two")
    work("push", "-q", url, f"HEAD:refs/heads/main{end}x")
    assert [(one["referenceName"], one["commitId"]) for one in events_of(name)] == [
        ("main", first),
        (f"main{end}x", other),
    ]
    codecommit = live.client("codecommit")
    assert codecommit.get_branch(repositoryName=name, branchName="main")["branch"]["commitId"] == first
    assert codecommit.list_branches(repositoryName=name)["branches"] == ["main", f"main{end}x"]


def test_a_commit_cannot_be_replaced_by_another(live, repository, working):
    name, url = repository
    work = working()
    good = work.commit("good")
    evil = work.commit("evil")
    work("push", "-q", url, f"{good}:refs/heads/main", f"{evil}:refs/replace/{good}")
    commit = live.client("codecommit").get_commit(repositoryName=name, commitId=good)["commit"]
    assert commit["message"] == work("log", "-1", "--format=%B", good).stdout.strip() + "\n"
    live.client("s3").create_bucket(Bucket="replaced-commits")
    live.client("penstock").upload_repository_archive(
        repositoryName=name, commitId=good, bucketName="replaced-commits", objectKey="a.zip"
    )
    stored = live.client("s3").get_object(Bucket="replaced-commits", Key="a.zip")["Body"].read()
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        assert {entry: archive.read(entry).decode() for entry in archive.namelist()} == {"file.txt": "good"}


def test_a_hundred_references_in_one_push(live, repository, working, events_of):
    name, url = repository
    work = working()
    work.commit("one")
    for number in range(100):
        work("branch", f"b{number:03}")
    work("push", "-q", url, "--all")
    assert len(events_of(name)) == 101
    branches = live.client("codecommit").list_branches(repositoryName=name)["branches"]
    assert branches == [*(f"b{number:03}" for number in range(100)), "main"]


def test_concurrent_pushes_report_each_once(live, repository, working, events_of):
    name, url = repository
    works = []
    for number in range(6):
        work = working(f"w{number}")
        work.commit(f"text {number}")
        work("branch", "-m", f"branch{number}")
        works.append(work)
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda work: work("push", "-q", url, "HEAD", check=False), works))
    assert [one.returncode for one in done] == [0] * 6, [one.stderr for one in done]
    assert sorted(short(events_of(name))) == [("referenceCreated", "branch", f"branch{number}") for number in range(6)]


def test_two_who_push_the_same_branch(live, repository, working, events_of):
    name, url = repository
    base = working("base")
    base.commit("base")
    base("push", "-q", url, "main")
    works = []
    for number in range(2):
        base("clone", "-q", url, f"../c{number}")
        work = type(base)(base.path.parent / f"c{number}", base.environment)
        work.commit(f"text {number}")
        works.append(work)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda work: work("push", "-q", url, "main", check=False), works))
    assert sorted(one.returncode == 0 for one in done) == [False, True]
    assert short(events_of(name)) == [("referenceCreated", "branch", "main"), ("referenceUpdated", "branch", "main")]


def test_who_may_not(live, repository, working, events_of):
    name, url = repository
    bare = url.split("@")[0].split("//")[0] + "//" + url.split("@")[1]
    work = working()
    work.commit("one")
    work("push", "-q", url, "main")
    assert "could not read Username" in work("clone", bare, "x", check=False).stderr
    keys = live.keys()
    wrong = with_key(bare, keys | {"aws_secret_access_key": "wrong"})
    assert "Authentication failed" in work("clone", wrong, "x", check=False).stderr
    unknown = with_key(bare, keys | {"aws_access_key_id": "AKIA" + "A" * 16})
    assert "Authentication failed" in work("clone", unknown, "x", check=False).stderr

    iam = live.client("iam")
    iam.create_user(UserName=f"reader-{name}"[:64])
    user = f"reader-{name}"[:64]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    reader = with_key(bare, {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]})
    said = work("clone", reader, "x", check=False).stderr
    assert "remote: User: arn:aws:iam::111111111111:user/" in said
    assert "is not authorized to perform: codecommit:GitPull" in said
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "codecommit:GitPull",
            "Resource": f"arn:aws:codecommit:us-east-1:111111111111:{name}",
        },
    }
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=json.dumps(policy))
    work("clone", "-q", reader, "mine")
    work.commit("two")
    assert "codecommit:GitPush" in work("push", reader, "main", check=False).stderr
    assert len(events_of(name)) == 1
    said = work("clone", url.replace(name, "no-such-repository"), "y", check=False).stderr
    assert "not found" in said
    assert "repository no-such-repository does not exist in us-east-1 of account 111111111111." in said
    assert "aws codecommit create-repository --repository-name no-such-repository" in said


@pytest.mark.parametrize(
    "path",
    ["/{}", "/v1/{}.git/", "/v1/repos/{}.git", "/v1/repos/team/{}"],
    ids=range(4),
)
def test_another_address_than_a_repositorys_is_answered_with_the_right_one(live, repository, working, path):
    name, url = repository
    asked = url[: url.index("/v1/repos/")] + path.format(name)
    said = working()("ls-remote", asked, check=False).stderr
    assert "not found" in said
    assert f"/v1/repos/NAME: try {live.url}/v1/repos/{name}" in said


def test_a_session_of_a_role_pushes(live, repository, working, events_of):
    name, url = repository
    trust = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"},
    }
    iam = live.client("iam")
    role = iam.create_role(RoleName="pusher", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.attach_role_policy(RoleName="pusher", PolicyArn="arn:aws:iam::aws:policy/AWSCodeCommitPowerUser")
    made = live.client("sts").assume_role(RoleArn=role, RoleSessionName="robot")["Credentials"]
    keys = {
        "aws_access_key_id": made["AccessKeyId"],
        "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }
    work = working()
    work.commit("one")
    bare = "http://" + url.split("@")[1]
    work("push", "-q", with_key(bare, keys), "main")
    assert events_of(name)[0]["callerUserArn"] == "arn:aws:sts::111111111111:assumed-role/pusher/robot"

    helper = "!aws codecommit credential-helper get --ignore-host-check #"
    import os
    import sys
    from pathlib import Path

    work.environment |= {key: value for key, value in live.environment(keys).items() if key.startswith("AWS_")} | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    }
    work.commit("two")
    work("-c", f"credential.helper={helper}", "-c", "credential.UseHttpPath=true", "push", "-q", bare, "main")
    assert len(events_of(name)) == 2


def test_a_user_pushes_with_git_credentials(live, repository, working, events_of):
    """Of IAM's service-specific credentials: the session is the user's, and ends at once when the credential is off or gone."""
    name, url = repository
    iam, trail = live.client("iam"), live.client("cloudtrail")
    iam.create_user(UserName="gitta")
    made = iam.create_service_specific_credential(UserName="gitta", ServiceName="codecommit.amazonaws.com")
    iam.create_service_specific_credential(UserName="gitta", ServiceName="codecommit.amazonaws.com")
    credential = made["ServiceSpecificCredential"]
    named = {"UserName": "gitta", "ServiceSpecificCredentialId": credential["ServiceSpecificCredentialId"]}

    def with_password(credential):
        keys = {
            "aws_access_key_id": credential["ServiceUserName"],
            "aws_secret_access_key": credential["ServicePassword"],
        }
        return with_key("http://" + url.split("@")[1], keys)

    work = working()
    work.commit("one")
    assert "codecommit:GitPush" in work("push", with_password(credential), "main", check=False).stderr
    iam.attach_user_policy(UserName="gitta", PolicyArn="arn:aws:iam::aws:policy/AWSCodeCommitPowerUser")
    work("push", "-q", with_password(credential), "main")
    assert events_of(name)[0]["callerUserArn"] == "arn:aws:iam::111111111111:user/gitta"
    by = [{"AttributeKey": "AccessKeyId", "AttributeValue": named["ServiceSpecificCredentialId"]}]
    found = trail.lookup_events(LookupAttributes=by)["Events"]
    assert [(one["EventName"], one["Username"]) for one in found] == [("GitPush", "gitta"), ("GitPush", "gitta")]

    def refused(credential):
        return "Authentication failed" in work("ls-remote", with_password(credential), check=False).stderr

    reset = iam.reset_service_specific_credential(**named)["ServiceSpecificCredential"]
    assert refused(credential)
    work("ls-remote", with_password(reset))
    assert refused(reset | {"ServiceUserName": reset["ServiceUserName"].replace("-at-", "+1-at-")})
    iam.update_service_specific_credential(**named, Status="Inactive")
    assert refused(reset)
    iam.update_service_specific_credential(**named, Status="Active")
    work("ls-remote", with_password(reset))
    iam.delete_service_specific_credential(**named)
    assert refused(reset)
    # The password is in no record of how it was made.
    made = trail.lookup_events(LookupAttributes=[{"AttributeKey": "Username", "AttributeValue": "administrator"}])[
        "Events"
    ]
    said = json.dumps(made, default=str)
    assert named["ServiceSpecificCredentialId"] in said
    assert not any(one["ServicePassword"] in said for one in (credential, reset))


def test_the_credential_helper_of_the_cli(live, repository, working, events_of):
    import os
    import sys
    from pathlib import Path

    name, url = repository
    bare = "http://" + url.split("@")[1]
    work = working()
    work.commit("one")
    work.environment |= {name: value for name, value in live.environment().items() if name.startswith("AWS_")}
    work.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for helper in (
        "!aws codecommit credential-helper --ignore-host-check $@",
        "!f() { aws codecommit credential-helper $@ --ignore-host-check; }; f",
    ):
        work.commit(helper)
        work("-c", f"credential.helper={helper}", "-c", "credential.UseHttpPath=true", "push", "-q", bare, "main")
    assert len(events_of(name)) == 2


def ask(live, path, *, method="GET", body=None, headers=None, key=True):
    keys = live.keys()
    pair = base64.b64encode(f"{keys['aws_access_key_id']}:{keys['aws_secret_access_key']}".encode()).decode()
    request = urllib.request.Request(
        live.url + path,
        data=body,
        method=method,
        headers={**({"Authorization": f"Basic {pair}"} if key else {}), **(headers or {})},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


RECEIVE = {"Content-Type": "application/x-git-receive-pack-request"}
UPLOAD = {"Content-Type": "application/x-git-upload-pack-request"}


def test_hostile_requests(live, repository, events_of):
    name, _ = repository
    base = f"/v1/repos/{name}"
    advertise = f"{base}/info/refs?service=git-upload-pack"
    assert ask(live, advertise, key=False)[0] == 401
    assert ask(live, advertise)[0] == 200
    for path in (
        f"{base}/HEAD",
        f"{base}/objects/info/packs",
        "/v1/repos/..%2f..%2fetc/info/refs?service=git-upload-pack",
        "/v1/repos/%2e%2e/info/refs?service=git-upload-pack",
        "/v1/repos/./info/refs?service=git-upload-pack",
        "/v1/repos/x.git/info/refs?service=git-upload-pack",
        "/v1/repos//info/refs?service=git-upload-pack",
        f"{base}%00/info/refs?service=git-upload-pack",
        "/v1/repos/" + "x" * 5000 + "/info/refs?service=git-upload-pack",
    ):
        assert ask(live, path)[0] == 404, path
    assert ask(live, f"{base}/info/refs")[0] == 403
    assert ask(live, f"{base}/info/refs?service=git-upload-archive")[0] == 403
    assert ask(live, advertise, method="POST", body=b"")[0] == 405
    assert ask(live, f"{base}/git-upload-pack")[0] == 405
    assert ask(live, f"{base}/git-upload-pack", method="POST", body=b"")[0] == 415
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join((bomb.compress(bytes(80 << 20)), bomb.flush()))
    status, said = ask(
        live, f"{base}/git-upload-pack", method="POST", body=packed, headers={**UPLOAD, "Content-Encoding": "gzip"}
    )
    assert (status, said) == (413, b"The request is larger than 64 MiB.\n")
    damaged = {**UPLOAD, "Content-Encoding": "gzip"}
    assert ask(live, f"{base}/git-upload-pack", method="POST", body=b"not gzip", headers=damaged)[0] == 400
    assert ask(live, f"{base}/git-upload-pack", method="POST", body=packed[:100], headers=damaged)[0] == 400
    assert (
        ask(live, f"{base}/git-upload-pack", method="POST", body=b"", headers={**UPLOAD, "Content-Encoding": "br"})[0]
        == 415
    )
    for body in (b"zzzz", b"0003", b"ffff", b"0010abc", b"000aabcdef0000"):
        assert ask(live, f"{base}/git-receive-pack", method="POST", body=body, headers=RECEIVE)[0] == 400, body
    for body in (b"", b"zzzz", b"0011want garbage0000", b"0009done\n"):
        assert ask(live, f"{base}/git-upload-pack", method="POST", body=body, headers=UPLOAD)[0] == 400, body
    second = {**UPLOAD, "Git-Protocol": "version=2"}
    assert ask(live, f"{base}/git-upload-pack", method="POST", body=b"0009done\n", headers=second)[0] == 400
    for authorization in ("Basic", "Basic !!!", "Basic " + "A" * 40_000, "Bearer x", "Basic QUJD"):
        assert ask(live, advertise, key=False, headers={"Authorization": authorization})[0] == 401
    for size, said in (
        (24_000, b"These are neither Git credentials nor an active access key with its secret."),
        (40_000, b"Git signs in by basic authentication here."),
    ):
        long = "Basic " + base64.b64encode(b"A:" + b"x" * (size * 3 // 4)).decode()
        status, message = ask(live, advertise, key=False, headers={"Authorization": long})
        assert (status, said in message) == (401, True), message
    assert events_of(name) == []


@pytest.mark.parametrize(
    "reference",
    [b"refs/heads/\xff", b"refs/heads/../../x", b"HEAD", b"refs/heads/a b", b"refs/x", b"refs/heads/" + b"x" * 251],
)
def test_references_that_cannot_be_kept_refused_with_a_reason(live, repository, events_of, reference):
    name, _ = repository
    line = b"0" * 40 + b" " + b"1" * 40 + b" " + reference + b"\0report-status side-band-64k"
    body = b"%04x" % (len(line) + 4) + line + b"0000"
    status, said = ask(live, f"/v1/repos/{name}/git-receive-pack", method="POST", body=body, headers=RECEIVE)
    assert status == 200
    assert b"ng " + reference + b" reference name is not" in said
    assert events_of(name) == []


def test_a_damaged_pack_changes_nothing(live, repository, events_of):
    name, _ = repository
    line = b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/main\0report-status"
    body = b"%04x" % (len(line) + 4) + line + b"0000PACK" + b"\0" * 100
    status, said = ask(live, f"/v1/repos/{name}/git-receive-pack", method="POST", body=body, headers=RECEIVE)
    assert status == 200
    assert b"unpack ok" not in said
    assert events_of(name) == []
    from penstock.repositories.records import intents

    assert live.run(live.app.store.read(lambda conn: conn.execute(intents.select()).all())) == []


@pytest.mark.needs("postgresql")
def test_pushes_on_postgresql(live_factory, postgresql, working):
    database = postgresql.create()
    with live_factory(database=postgresql.url(database)) as live:
        live.client("codecommit").create_repository(repositoryName="app")
        url = with_key(f"{live.url}/v1/repos/app", live.keys())
        work = working()
        for number in range(3):
            work.commit(f"text {number}")
            work("tag", f"v{number}")
            work("push", "-q", url, "main", f"v{number}")
        found = live.run(live.app.store.read(events.after, 0))
        assert short(event.payload for event in found) == [
            ("referenceCreated", "branch", "main"),
            ("referenceCreated", "tag", "v0"),
            ("referenceUpdated", "branch", "main"),
            ("referenceCreated", "tag", "v1"),
            ("referenceUpdated", "branch", "main"),
            ("referenceCreated", "tag", "v2"),
        ]
    postgresql.drop(database)


def test_packs_are_joined_in_time(live, repository, working, events_of, monkeypatch):
    import time

    from penstock.repositories import changes

    monkeypatch.setattr(changes, "TIDY_PACKS", 3)
    name, url = repository
    work = working()
    lost = work.commit("lost")
    work("push", "-q", url, "main")
    work("checkout", "-q", "--orphan", "fresh")
    for number in range(4):
        work.commit(f"text {number}")
        work("push", "-q", "--force", url, "fresh:main")
    made = live.client("codecommit").get_repository(repositoryName=name)["repositoryMetadata"]["repositoryId"]
    folder = live.data_dir / "git" / "111111111111" / "us-east-1" / f"{made}.git"
    deadline = time.monotonic() + 60
    while len(list(folder.glob("objects/pack/*.pack"))) > 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(folder.glob("objects/pack/*.pack"))) <= 3
    work("clone", "-q", "-b", "main", url, "copy")
    assert live.client("codecommit").get_commit(repositoryName=name, commitId=lost)["commit"]["commitId"] == lost


@pytest.mark.parametrize(("packs", "tidied"), [(49, []), (50, ["repository"])])
def test_packs_are_joined_when_there_are_more_than_fifty(live, repository, working, monkeypatch, packs, tidied):
    """Those that lie there, and the one of the push."""
    name, url = repository
    made = live.client("codecommit").get_repository(repositoryName=name)["repositoryMetadata"]["repositoryId"]
    folder = live.data_dir / "git" / "111111111111" / "us-east-1" / f"{made}.git" / "objects" / "pack"
    folder.mkdir(exist_ok=True)
    for number in range(packs):
        (folder / f"pack-{number}.pack").touch()
    asked = []
    monkeypatch.setattr(changes.jobs, "enqueue", lambda _conn, **more: asked.append(more))
    work = working()
    work.commit("one")
    work("push", "-q", url, "main")
    expected = {"kind": "repositories.tidy", "payload": {"repository": made}, "dedup": made}
    assert asked == [expected | {"account": "111111111111", "region": "us-east-1"} for _ in tidied]


def test_branches_are_listed_page_by_page(live, repository, working, monkeypatch):
    name, url = repository
    work = working()
    work.commit("one")
    for branch in ("a", "b", "c"):
        work("branch", branch)
    work("tag", "v1")
    work("push", "-q", url, "--all")
    work("push", "-q", url, "v1")
    monkeypatch.setattr(branches, "PAGE", 2)
    pages = live.client("codecommit").get_paginator("list_branches").paginate(repositoryName=name)
    assert [page["branches"] for page in pages] == [["a", "b"], ["c", "main"]]


def test_a_change_that_was_not_published_is_published_as_whose_it_was(
    live, repository, working, events_of, monkeypatch
):
    """A's references are changed and the database fails; B's push finds them."""
    name, url = repository
    work = working()
    work.commit("one")
    publish = changes._publish
    failing = [True]

    def fail_once(conn, **more):
        if failing:
            failing.pop()
            raise StoreUnavailable("the database went away")
        publish(conn, **more)

    monkeypatch.setattr(changes, "_publish", fail_once)
    assert work("push", url, "main", check=False).returncode != 0
    assert events_of(name) == []
    iam = live.client("iam")
    iam.create_user(UserName="bo")
    key = iam.create_access_key(UserName="bo")["AccessKey"]
    iam.attach_user_policy(UserName="bo", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    work("push", "-q", with_key("http://" + url.split("@")[1], keys), "main:refs/heads/side")
    assert [(one["referenceName"], one["callerUserArn"].rpartition("/")[2]) for one in events_of(name)] == [
        ("main", "administrator"),
        ("side", "bo"),
    ]


def test_the_default_branch_of_a_first_push_of_several_is_main(live, repository, working):
    name, url = repository
    work = working()
    work.commit("one")
    work("push", "-q", url, "main:alpha", "main:main")
    assert (
        live.client("codecommit").get_repository(repositoryName=name)["repositoryMetadata"]["defaultBranch"] == "main"
    )


async def test_a_caller_that_leaves_does_not_let_go_before_the_change_is_reported():
    began, go, ended = asyncio.Event(), asyncio.Event(), []

    async def telling() -> None:
        began.set()
        await go.wait()
        ended.append("published")

    task = asyncio.create_task(changes._shield(telling()))
    await began.wait()
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["published"]


def test_a_start_removes_what_nobody_is_making_any_more(tmp_path):
    app = SimpleNamespace(settings=SimpleNamespace(data_dir=tmp_path))
    kept = changes.Changes(app)  # type: ignore[arg-type]
    for name, age in (("known", 7200), ("left", 7200), ("young", 0)):
        folder = tmp_path / "git" / "1" / "us-east-1" / f"{name}.git"
        folder.mkdir(parents=True)
        folder.with_suffix(".lock").touch()
        os.utime(folder, (time.time() - age,) * 2)
    (tmp_path / "tmp" / "git-x").mkdir(parents=True)
    (tmp_path / "tmp" / "git-y").touch()
    kept._sweep({"known"})
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["known.git", "known.lock", "young.git", "young.lock"]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_objects_of_a_push_that_never_ended_are_removed(tmp_path):
    for name in ("tmp_objdir-incoming-x", "pack"):
        (tmp_path / "objects" / name).mkdir(parents=True)
        (tmp_path / "objects" / name / "file").touch()
    changes._clear_quarantine(tmp_path)
    assert [path.name for path in (tmp_path / "objects").rglob("*")] == ["pack", "file"]
