"""The examples for CI systems, taken as they are: their commands, policies and jobs, with local issuers in the place of the real ones."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import pytest
import yaml
from penstock_issuer import answer, answering, issuer_at
from penstock_live import live_server

from penstock.egress import EgressSettings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HOSTED = "https://penstock.example.com"  # what the examples call the server
ORGANISATION, TENANT, IDENTITY = (f"00000000-0000-4000-8000-{number:012}" for number in (1, 2, 3))
GITHUB = "token.actions.githubusercontent.com"


@pytest.fixture(scope="module")
def issuers(tmp_path_factory):
    """The issuers that the examples name, by their hosts."""
    paths = {
        GITHUB: "",
        "gitlab.com": "",
        "vstoken.dev.azure.com": f"/{ORGANISATION}",
        "sts.windows.net": f"/{TENANT}/",
    }
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patched:
        found = {
            host: stack.enter_context(issuer_at(tmp_path_factory.mktemp("issuer"), host, path))
            for host, path in paths.items()
        }
        answering(patched, **found)
        yield found


@pytest.fixture(scope="module")
def live(issuers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    authorities = folder / "authorities.pem"
    authorities.write_text("".join(issuer.ca_file.read_text() for issuer in issuers.values()))
    chosen = EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=str(authorities))
    with live_server(folder / "data", components=(chosen,)) as live:
        live.client("s3").create_bucket(Bucket="shop-source")
        for example in ("github-actions", "gitlab", "azure-devops"):
            for command in commands(example):
                live.aws(*command, cwd=EXAMPLES / example)
        yield live


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A clone of the repository whose jobs run."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "index.html").write_text("shop")
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "x")):
        subprocess.run(
            [*git, *arguments], cwd=folder, check=True, env={"PATH": os.environ["PATH"], "HOME": str(folder)}
        )
    return folder


def commands(example: str) -> list[list[str]]:
    """The lines for the AWS CLI in the example's README."""
    lines = (EXAMPLES / example / "README.md").read_text().splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("aws ")]


def job(script: str, live: Any, folder: Path, **environment: str) -> None:
    """Run the script of a job with what its variables say, and nothing else."""
    given = {name: value.replace(HOSTED, live.url) for name, value in environment.items()}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True, timeout=90, check=False,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null", **given,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def assumed(live: Any, role: str, token: str, session: str = "GitHubActions") -> dict[str, Any]:
    """What an action or a toolkit does with its token."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, signature_version=botocore.UNSIGNED)
    sts = boto3.session.Session().client("sts", region_name="us-east-1", endpoint_url=live.url, config=config)
    return sts.assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::111111111111:role/{role}", RoleSessionName=session, WebIdentityToken=token
    )["Credentials"]


def refused(live: Any, role: str, token: str) -> str:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        assumed(live, role, token)
    return caught.value.response["Error"]["Code"]


def variables(credentials: dict[str, Any]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"], "AWS_DEFAULT_REGION": "us-east-1",
    }  # fmt: skip


def check_arrived(live: Any) -> None:
    """The source is in the bucket; it is taken away, so that the next job has to bring its own."""
    s3 = live.client("s3")
    assert s3.get_object(Bucket="shop-source", Key="source.zip")["Body"].read(2) == b"PK"
    s3.delete_object(Bucket="shop-source", Key="source.zip")


def test_github_actions(live, issuers, shop):
    workflow = yaml.safe_load((EXAMPLES / "github-actions" / "deploy.yml").read_text())
    _, login, run = workflow["jobs"]["deploy"]["steps"]
    assert login["with"]["sts-endpoint"] == workflow["env"]["AWS_ENDPOINT_URL"] == HOSTED
    assert workflow["permissions"]["id-token"] == "write"
    role = login["with"]["role-to-assume"].rpartition("/")[2]
    subject = f"repo:acme/shop:environment:{workflow['jobs']['deploy']['environment']}"
    made = assumed(live, role, issuers[GITHUB].token(sub=subject), login["with"]["role-session-name"])
    job(run["run"], live, shop, **workflow["env"], **variables(made))
    check_arrived(live)


@pytest.mark.parametrize("repository", ["acme/shop", "acme@1111111/shop@22222222"])
@pytest.mark.parametrize(
    ("ending", "enters"),
    [
        ("ref:refs/heads/main", True), ("environment:production", True), ("ref:refs/heads/other", False),
        ("ref:refs/tags/main", False), ("environment:staging", False), ("pull_request", False), ("ref:refs/heads/main2", False),
    ],
)  # fmt: skip
def test_github_actions_by_either_subject(live, issuers, repository, ending, enters):
    token = issuers[GITHUB].token(sub=f"repo:{repository}:{ending}")
    if enters:
        assert assumed(live, "github-actions", token)
    else:
        assert refused(live, "github-actions", token) == "AccessDenied"


@pytest.mark.parametrize(
    "repository", ["evil/shop", "acme/shop2", "acme@1111112/shop@22222222", "acme@1111111/shop@22222223", "ACME/shop"]
)
def test_other_repositories_of_github_do_not_get_in(live, issuers, repository):
    token = issuers[GITHUB].token(sub=f"repo:{repository}:ref:refs/heads/main")
    assert refused(live, "github-actions", token) == "AccessDenied"


def test_an_issuer_does_not_speak_for_another(live, issuers):
    subject = "repo:acme/shop:ref:refs/heads/main"
    strange = issuers["gitlab.com"].token(sub=subject, aud="sts.amazonaws.com")
    assert refused(live, "github-actions", strange) == "InvalidIdentityToken"  # no audience of that provider
    assert (
        refused(live, "github-actions", issuers["gitlab.com"].token(sub=subject, aud="penstock.example.com"))
        == "AccessDenied"
    )


def test_gitlab(live, issuers, shop):
    declared = yaml.safe_load((EXAMPLES / "gitlab" / "gitlab-ci.yml").read_text())["deploy"]
    ((name, asked),) = declared["id_tokens"].items()
    subject = "project_path:acme/shop:ref_type:branch:ref:main"
    token = issuers["gitlab.com"].token(sub=subject, aud=asked["aud"])
    job("\n".join(declared["script"]), live, shop, **declared["variables"], **{name: token})
    check_arrived(live)
    for wrong in ("project_path:acme/shop:ref_type:tag:ref:main", "project_path:evil/shop:ref_type:branch:ref:main"):
        assert refused(live, "gitlab", issuers["gitlab.com"].token(sub=wrong, aud=asked["aud"])) == "AccessDenied"


def test_a_session_of_a_job_may_what_the_job_needs_only(live, issuers):
    subject = "project_path:acme/shop:ref_type:branch:ref:main"
    made = assumed(live, "gitlab", issuers["gitlab.com"].token(sub=subject, aud="penstock.example.com"))
    keys = {
        "aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"],
        "aws_session_token": made["SessionToken"],
    }  # fmt: skip
    for attempt in (
        lambda: live.client("s3", keys=keys).put_object(Bucket="shop-source", Key="other.zip", Body=b""),
        lambda: live.client("s3", keys=keys).get_object(Bucket="shop-source", Key="source.zip"),
        lambda: live.client("iam", keys=keys).create_user(UserName="x"),
    ):
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            attempt()
        assert caught.value.response["Error"]["Code"] == "AccessDenied"


def azure() -> dict[str, Any]:
    declared = yaml.safe_load((EXAMPLES / "azure-devops" / "azure-pipelines.yml").read_text())
    return {**declared, "jobs": {one["job"]: one["steps"][0] for one in declared["jobs"]}}


def test_azure_devops_by_a_service_connection(live, issuers, shop):
    declared = azure()
    asked = declared["jobs"]["by_service_connection"]["inputs"]
    issuer = issuers["vstoken.dev.azure.com"]
    how = {"sub": f"sc://acme/shop/{asked['awsCredentials']}", "aud": "api://AzureADTokenExchange"}
    made = assumed(live, "azure-devops", issuer.token(**how), "penstock")
    job(asked["inlineScript"], live, shop, **declared["variables"], **variables(made))
    check_arrived(live)
    assert refused(live, "azure-devops", issuer.token(**{**how, "sub": "sc://acme/other/penstock"})) == "AccessDenied"


def test_azure_devops_by_the_managed_identity_of_an_agent(live, issuers, shop):
    declared = azure()
    asked = []

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            asked.append((self.headers["Metadata"], query["api-version"]))
            token = issuers["sts.windows.net"].token(sub=IDENTITY, aud=query["resource"])
            answer(self, json.dumps({"access_token": token, "token_type": "Bearer"}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            script = (EXAMPLES / "azure-devops" / "managed-identity.sh").read_text()
            address = f"http://127.0.0.1:{server.server_port}"
            (shop / "managed-identity.sh").write_text(script.replace("http://169.254.169.254", address))
            job(declared["jobs"]["by_managed_identity"]["script"], live, shop, **declared["variables"])
        finally:
            server.shutdown()
            thread.join()
    assert asked == [("true", "2018-02-01")]
    check_arrived(live)
