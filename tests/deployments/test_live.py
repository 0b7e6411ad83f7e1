"""The real clients and the real agent: `aws deploy …` rolls out to three hosts of this machine."""

import json
import ssl

import httpx
import pytest
from penstock_agents import agents, bundle
from penstock_waiting import until

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "codedeploy.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


@pytest.fixture(scope="module")
def live(live_tls):
    """Hosts speak https nearly everywhere. The agents of test_crashes.py and of tests/e2e speak http."""
    return live_tls


@pytest.fixture(scope="module")
def shop(live, tmp_path_factory):
    """An application, a group of one-at-a-time with rollback, a bucket, and three hosts with agents."""
    folder = tmp_path_factory.mktemp("shop")
    live.aws("s3api", "create-bucket", "--bucket", "bundles")
    role = live.aws(
        "iam", "create-role", "--role-name", "deployer", "--assume-role-policy-document", json.dumps(TRUST)
    )  # fmt: skip
    live.aws("deploy", "create-application", "--application-name", "shop")
    live.aws(
        "deploy", "create-deployment-group", "--application-name", "shop", "--deployment-group-name", "web",
        "--service-role-arn", role["Role"]["Arn"],
        "--on-premises-instance-tag-filters", "Key=role,Value=web,Type=KEY_AND_VALUE",
        "--auto-rollback-configuration", "enabled=true,events=DEPLOYMENT_FAILURE",
    )  # fmt: skip
    with agents(live, folder, "web-1", "web-2", "web-3") as running:
        yield folder, running


def push(live, folder, version, **more):
    source = bundle(folder / f"source-{version}", version, **more)
    replayed_steps = live.aws(
        "deploy", "push", "--application-name", "shop", "--source", str(source),
        "--s3-location", f"s3://bundles/{version}.zip",
    )  # fmt: skip
    return replayed_steps.split("--s3-location ")[1].split()[0]


def create(live, location):
    answer = live.aws(
        "deploy", "create-deployment", "--application-name", "shop", "--deployment-group-name", "web",
        "--s3-location", location,
    )  # fmt: skip
    return answer["deploymentId"]


def ended(live, deployment):
    client = live.client("codedeploy")

    def check():
        found = client.get_deployment(deploymentId=deployment)["deploymentInfo"]
        return found if found["status"] in ("Succeeded", "Failed", "Stopped") else None

    return until(check)


def test_three_hosts_then_a_bad_release_and_back(live, shop):
    folder, running = shop
    first = create(live, push(live, folder, "one"))
    found = ended(live, first)
    assert found["status"] == "Succeeded", [agent.log.read_text()[-2000:] for agent in running]
    live.aws("deploy", "wait", "deployment-successful", "--deployment-id", first)
    assert [(agent.root / "srv/site/index.html").read_text() for agent in running] == ["one"] * 3
    bad = create(live, push(live, folder, "two", fails="AfterInstall"))
    failed = ended(live, bad)
    assert failed["status"] == "Failed"
    assert failed["deploymentOverview"]["Failed"] == 1
    rollback = ended(live, failed["rollbackInfo"]["rollbackDeploymentId"])
    assert rollback["status"] == "Succeeded", [agent.log.read_text()[-2000:] for agent in running]
    assert [(agent.root / "srv/site/index.html").read_text() for agent in running] == ["one"] * 3
    ids = live.aws("deploy", "list-deployment-targets", "--deployment-id", bad)["targetIds"]
    targets = live.aws(
        "deploy", "batch-get-deployment-targets", "--deployment-id", bad, "--target-ids", *ids
    )["deploymentTargets"]  # fmt: skip
    (broken,) = [t["instanceTarget"] for t in targets if t["instanceTarget"]["status"] == "Failed"]
    event = next(e for e in broken["lifecycleEvents"] if e["status"] == "Failed")
    assert event["lifecycleEventName"] == "AfterInstall"
    assert event["diagnostics"]["errorCode"] == "ScriptFailed"
    assert "AfterInstall of two is broken" in event["diagnostics"]["logTail"]


def test_a_hooks_log_while_it_runs(live, shop):
    folder, _ = shop
    source = bundle(folder / "source-slow", "slow")
    (source / "AfterInstall.sh").write_text(
        f"#!/bin/sh\necho warming up\nuntil test -e {folder}/go; do sleep 0.05; done\n"
    )
    replayed_steps = live.aws(
        "deploy",
        "push",
        "--application-name",
        "shop",
        "--source",
        str(source),
        "--s3-location",
        "s3://bundles/slow.zip",
    )
    deployment = create(live, replayed_steps.split("--s3-location ")[1].split()[0])
    client, own = live.client("codedeploy"), live.client("penstock")

    def running():
        try:
            filters = {"TargetStatus": ["InProgress"]}
            return client.list_deployment_targets(deploymentId=deployment, targetFilters=filters)["targetIds"]
        except client.exceptions.DeploymentNotStartedException:
            return []

    (target,) = until(running)

    def log():
        answer = own.get_hook_log(deploymentId=deployment, targetId=target, lifecycleEventName="AfterInstall")
        return answer if "warming up" in answer["log"] else None

    assert not until(log)["complete"]
    (folder / "go").touch()
    assert ended(live, deployment)["status"] == "Succeeded"
    assert log()["complete"]


def test_the_secure_name_of_the_command_service(live, shop):
    """AWS's agents with `enable_auth_policy` sign for another service and name another target."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    body = json.dumps({"HostIdentifier": "me", "DeploymentExecutionId": "CodeDeploy/r/prod/x"})
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": "CodeDeployCommandService.GetDeploymentSpecification",
    }
    keys = live.keys()
    credentials = Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    for name, code in (
        ("codedeploy-commands-secure", "AccessDenied"),
        ("codedeploy-commands", "AccessDenied"),
        ("s3", "Signature"),
    ):
        request = AWSRequest("POST", live.url + "/", data=body, headers=dict(headers))
        SigV4Auth(credentials, name, "us-east-1").add_auth(request)
        trusted = ssl.create_default_context(cafile=live.running_app.ca_file)
        answer = httpx.post(live.url + "/", content=body, headers=dict(request.headers), verify=trusted)
        assert code in answer.json()["__type"], answer.text


def test_deregister(live, shop):
    folder, _ = shop
    home = folder / "spare"
    home.mkdir()
    live.aws("deploy", "register", "--instance-name", "spare", "--tags", "Key=role,Value=spare", cwd=home)
    replayed_steps = live.aws("deploy", "deregister", "--instance-name", "spare", check=False)
    assert "ERROR" not in replayed_steps.stderr, replayed_steps.stderr
    users = [user["UserName"] for user in live.aws("iam", "list-users")["Users"]]
    assert "spare" not in users
    assert "spare" not in live.aws("deploy", "list-on-premises-instances", "--registration-status", "Registered")[
        "instanceNames"
    ]  # fmt: skip
