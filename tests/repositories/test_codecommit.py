"""CodeCommit's operations with boto3 and the AWS CLI, and archives of commits."""

import concurrent.futures
import hashlib
import io
import json
import subprocess
import zipfile

import pytest
from botocore.exceptions import ClientError
from penstock_git import with_key

from penstock.repositories import records


def code(call, **input):
    with pytest.raises(ClientError) as caught:
        call(**input)
    return caught.value.response["Error"]["Code"]


@pytest.fixture
def codecommit(live):
    return live.client("codecommit", parameter_validation=False)


def test_the_life_of_a_repository(live, codecommit):
    made = codecommit.create_repository(repositoryName="My.App", repositoryDescription="d", tags={"team": "a"})
    made = made["repositoryMetadata"]
    assert made["Arn"] == "arn:aws:codecommit:us-east-1:111111111111:My.App"
    assert made["cloneUrlHttp"] == f"{live.url}/v1/repos/My.App"
    assert made["accountId"] == "111111111111"
    assert "defaultBranch" not in made
    assert codecommit.get_repository(repositoryName="My.App")["repositoryMetadata"] == made
    assert code(codecommit.create_repository, repositoryName="My.App") == "RepositoryNameExistsException"
    assert code(codecommit.get_repository, repositoryName="my.app") == "RepositoryDoesNotExistException"
    codecommit.update_repository_description(repositoryName="My.App", repositoryDescription="new")
    changed = codecommit.get_repository(repositoryName="My.App")["repositoryMetadata"]
    assert changed["repositoryDescription"] == "new"
    codecommit.tag_resource(resourceArn=made["Arn"], tags={"b": "2"})
    codecommit.untag_resource(resourceArn=made["Arn"], tagKeys=["team"])
    assert codecommit.list_tags_for_resource(resourceArn=made["Arn"])["tags"] == {"b": "2"}
    longest = {"k" * 128: "v" * 256}
    codecommit.tag_resource(resourceArn=made["Arn"], tags=longest)
    assert codecommit.list_tags_for_resource(resourceArn=made["Arn"])["tags"] == {"b": "2"} | longest
    for longer in ({"k" * 129: "v"}, {"k": "v" * 257}):
        assert code(codecommit.tag_resource, resourceArn=made["Arn"], tags=longer) == "InvalidTagsMapException"
    several = codecommit.batch_get_repositories(repositoryNames=["My.App", "nope"])
    assert [one["repositoryName"] for one in several["repositories"]] == ["My.App"]
    assert several["repositoriesNotFound"] == ["nope"]
    listed = codecommit.list_repositories()["repositories"]
    assert {"repositoryName": "My.App", "repositoryId": made["repositoryId"]} in listed
    folder = live.data_dir / "git" / "111111111111" / "us-east-1" / f"{made['repositoryId']}.git"
    assert folder.is_dir()
    assert codecommit.delete_repository(repositoryName="My.App")["repositoryId"] == made["repositoryId"]
    assert not folder.exists()
    assert "repositoryId" not in codecommit.delete_repository(repositoryName="My.App")


def test_of_two_who_create_a_repository_at_once_one_learns_that_it_exists(live, codecommit, monkeypatch):
    codecommit.create_repository(repositoryName="twice")
    folders = sorted((live.data_dir / "git").glob("*/*/*.git"))
    monkeypatch.setattr(records, "find", lambda *_: None)  # as for a call that looked a moment before
    assert code(codecommit.create_repository, repositoryName="twice") == "RepositoryNameExistsException"
    assert sorted((live.data_dir / "git").glob("*/*/*.git")) == folders


@pytest.mark.parametrize("name", ["a/b", "..", ".", "x.git", "x" * 101, "a b", "é", "x\n"])
def test_names_that_are_none(codecommit, name):
    for operation in (codecommit.create_repository, codecommit.get_repository, codecommit.delete_repository):
        assert code(operation, repositoryName=name) == "InvalidRepositoryNameException"


def test_what_is_missing_is_named(codecommit):
    assert code(codecommit.get_repository) == "RepositoryNameRequiredException"
    assert code(codecommit.get_branch) == "RepositoryNameRequiredException"
    assert code(codecommit.get_branch, repositoryName="x") == "BranchNameRequiredException"
    assert code(codecommit.get_commit, repositoryName="x") == "CommitIdRequiredException"
    assert code(codecommit.batch_get_repositories, repositoryNames=[]) == "RepositoryNamesRequiredException"
    assert code(codecommit.list_repositories, sortBy="size") == "InvalidSortByException"
    assert code(codecommit.list_repositories, order="up") == "InvalidOrderException"
    assert code(codecommit.list_repositories, nextToken="x") == "InvalidContinuationTokenException"
    assert code(codecommit.list_tags_for_resource, resourceArn="x") == "InvalidResourceArnException"
    assert code(codecommit.tag_resource, resourceArn="x") == "TagsMapRequiredException"
    assert code(codecommit.untag_resource, resourceArn="x") == "TagKeysListRequiredException"
    assert code(codecommit.untag_resource, resourceArn="x", tagKeys=["aws:x"]) == "InvalidSystemTagUsageException"
    assert (
        code(codecommit.create_repository, repositoryName="x", tags={"aws:x": "y"}) == "InvalidSystemTagUsageException"
    )


def test_branches_and_commits(live, codecommit, repository, working, events_of):
    name, url = repository
    assert code(codecommit.get_branch, repositoryName=name, branchName="main") == "BranchDoesNotExistException"
    work = working()
    first = work.commit("one")
    second = work.commit("zwei\n\nmit Umlaut: ä")
    work("tag", "-a", "v1", "-m", "a tag")
    tag = work("rev-parse", "v1").stdout.strip()
    work("push", "-q", url, "main")
    work("push", "-q", url, "v1")
    got = codecommit.get_commit(repositoryName=name, commitId=second)["commit"]
    assert got["parents"] == [first]
    assert got["message"] == "zwei\n\nmit Umlaut: ä\n"
    assert (got["author"]["name"], got["author"]["email"]) == ("Ann", "ann@example.org")
    assert got["author"]["date"].split()[1][0] in "+-"
    assert got["treeId"] == work("rev-parse", "HEAD^{tree}").stdout.strip()
    for commit, error in (
        ("main", "InvalidCommitIdException"),
        ("--all", "InvalidCommitIdException"),
        (second[:8], "InvalidCommitIdException"),
        ("0" * 40, "CommitIdDoesNotExistException"),
        (got["treeId"], "CommitIdDoesNotExistException"),
        (tag, "CommitIdDoesNotExistException"),
    ):
        assert code(codecommit.get_commit, repositoryName=name, commitId=commit) == error

    codecommit.create_branch(repositoryName=name, branchName="release/1", commitId=first)
    assert codecommit.get_branch(repositoryName=name, branchName="release/1")["branch"]["commitId"] == first
    assert codecommit.list_branches(repositoryName=name)["branches"] == ["main", "release/1"]
    assert (
        code(codecommit.create_branch, repositoryName=name, branchName="main", commitId=first)
        == "BranchNameExistsException"
    )
    assert (
        code(codecommit.create_branch, repositoryName=name, branchName="release", commitId=first)
        == "BranchNameExistsException"
    )
    for nothing in ("0" * 40, tag):
        assert (
            code(codecommit.create_branch, repositoryName=name, branchName="x", commitId=nothing)
            == "CommitDoesNotExistException"
        )
    long = f"{'x' * 128}/{'y' * 127}"
    codecommit.create_branch(repositoryName=name, branchName=long, commitId=first)
    codecommit.delete_branch(repositoryName=name, branchName=long)
    for bad in ("x" * 256, "a..b", "-d", "HEAD", "a b", "x.lock", "/x", "x/", "é" * 300, "@{x", "a\\b"):
        assert (
            code(codecommit.create_branch, repositoryName=name, branchName=bad, commitId=first)
            == "InvalidBranchNameException"
        )
    assert (
        code(codecommit.delete_branch, repositoryName=name, branchName="main")
        == "DefaultBranchCannotBeDeletedException"
    )
    codecommit.update_default_branch(repositoryName=name, defaultBranchName="release/1")
    assert "ref: refs/heads/release/1" in work("ls-remote", "--symref", url, "HEAD").stdout
    assert codecommit.delete_branch(repositoryName=name, branchName="main")["deletedBranch"]["commitId"] == second
    assert "deletedBranch" not in codecommit.delete_branch(repositoryName=name, branchName="main")
    assert [(one["event"], one["referenceName"]) for one in events_of(name)] == [
        ("referenceCreated", "main"),
        ("referenceCreated", "v1"),
        ("referenceCreated", "release/1"),
        ("referenceCreated", long),
        ("referenceDeleted", long),
        ("referenceDeleted", "main"),
    ]


def test_tags_that_are_set_at_once_are_all_set(live, codecommit, repository):
    name, _ = repository
    arn = codecommit.get_repository(repositoryName=name)["repositoryMetadata"]["Arn"]
    keys = [f"k{number:02}" for number in range(24)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: codecommit.tag_resource(resourceArn=arn, tags={key: "v"}), keys))
    assert sorted(codecommit.list_tags_for_resource(resourceArn=arn)["tags"]) == keys


def test_the_cli(live, repository, working):
    name, url = repository
    work = working()
    commit = work.commit("one")
    work("push", "-q", url, "main")
    got = live.aws("codecommit", "get-branch", "--repository-name", name, "--branch-name", "main")
    assert got["branch"]["commitId"] == commit


def test_an_archive_goes_into_a_bucket(live, repository, working):
    name, url = repository
    work = working()
    work.commit("hello", "sub/file.txt")
    (work.path / "run.sh").write_text("#!/bin/sh\n")
    (work.path / "run.sh").chmod(0o755)
    commit = work.commit("more", "ümlaut.txt")
    work("push", "-q", url, "main")
    s3 = live.client("s3")
    s3.create_bucket(Bucket="artifacts-of-repositories")
    penstock = live.client("penstock")
    arguments = {"repositoryName": name, "bucketName": "artifacts-of-repositories", "objectKey": "source.zip"}
    put = penstock.upload_repository_archive(commitId=commit, **arguments)
    stored = s3.get_object(Bucket="artifacts-of-repositories", Key="source.zip")
    content = stored["Body"].read()
    assert len(content) == put["size"]
    assert stored["ETag"].strip('"') == put["eTag"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == ["run.sh", "sub/", "sub/file.txt", "ümlaut.txt"]
        assert archive.getinfo("run.sh").external_attr >> 16 & 0o111
        assert archive.read("sub/file.txt") == b"hello"
    again = penstock.upload_repository_archive(commitId=commit, **arguments)
    assert again["sha256"] == put["sha256"] == hashlib.sha256(content).hexdigest()
    assert stored["SSEKMSKeyId"].startswith("arn:aws:kms:us-east-1:")
    assert code(penstock.upload_repository_archive, commitId="0" * 40, **arguments) == "CommitIdDoesNotExistException"
    assert code(penstock.upload_repository_archive, commitId="main", **arguments) == "InvalidCommitIdException"
    arguments["bucketName"] = "no-such-bucket-here"
    assert code(penstock.upload_repository_archive, commitId=commit, **arguments) == "NoSuchBucket"


def test_an_archive_needs_both_permissions(live, repository, working):
    name, url = repository
    work = working()
    commit = work.commit("hello")
    work("push", "-q", url, "main")
    live.client("s3").create_bucket(Bucket="artifacts-guarded")
    iam = live.client("iam")
    iam.create_user(UserName="archiver")
    key = iam.create_access_key(UserName="archiver")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    theirs = live.client("penstock", keys=keys)
    arguments = {"repositoryName": name, "commitId": commit, "bucketName": "artifacts-guarded", "objectKey": "s.zip"}

    def may(*actions):
        document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": [*actions], "Resource": "*"}}
        iam.put_user_policy(UserName="archiver", PolicyName="p", PolicyDocument=json.dumps(document))

    assert "AccessDenied" in code(theirs.upload_repository_archive, **arguments)
    may("codecommit:UploadArchive")
    assert "AccessDenied" in code(theirs.upload_repository_archive, **arguments)
    may("s3:PutObject")
    assert "AccessDenied" in code(theirs.upload_repository_archive, **arguments)
    may("codecommit:UploadArchive", "s3:PutObject")
    theirs.upload_repository_archive(**arguments)


def test_a_git_that_outlives_its_server_keeps_the_lock(live, repository):
    """What a killed server's receive-pack still writes must be seen by whoever settles next."""
    name, _ = repository
    changes = live.app.mounts["/v1/repos/"].changes
    row = live.run(live.app.store.read(records.find, "111111111111", "us-east-1", name))

    async def start():
        async with changes.locked(row) as descriptor:
            return subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(descriptor,))

    orphan = live.run(start())

    import asyncio

    async def wait():
        entered = asyncio.Event()

        async def enter():
            async with changes.locked(row):
                entered.set()

        task = asyncio.create_task(enter())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(entered.wait(), 0.3)
        orphan.stdin.close()
        await asyncio.wait_for(task, 60)

    live.run(wait())
    assert orphan.wait(60) == 0


def test_keys_in_urls_are_encoded():
    url = with_key(
        "http://h/x", {"aws_access_key_id": "A", "aws_secret_access_key": "a/b+c", "aws_session_token": "t="}
    )
    assert url == "http://A%25t%3D:a%2Fb%2Bc@h/x"
