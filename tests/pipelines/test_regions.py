"""Actions in another region than their pipeline's: the example as it is, what is refused, what goes wrong, and kill -9 between a copy and its note."""

from __future__ import annotations

import contextlib
import json
import shlex
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from penstock_crashing import Crashing
from penstock_live import Live, live_server
from penstock_waiting import until
from penstock_zips import zip_archive, zip_entry

from penstock.store import events

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "cross-region"
HOME, AWAY = "us-east-1", "eu-west-1"
EVERYTHING = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]


def commands() -> list[list[str]]:
    """The lines for the AWS CLI in the README, up to the pipeline."""
    lines = (EXAMPLE / "README.md").read_text().partition("## The pipeline")[0].splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("aws ")]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("regions")
    with live_server(folder / "data", regions=(AWAY,)) as live:
        key = ""
        for command in commands():
            said = live.aws(*[key if part == "KEY_ID" else part for part in command], cwd=EXAMPLE)
            key = said.strip() if "create-key" in command else key
        archive = folder / "source.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for name in ("buildspec.yml", "index.html"):
                packed.write(EXAMPLE / "source" / name, name)
        put(live, archive.read_bytes())
        yield live


def put(live: Any, source: bytes) -> None:
    live.client("s3").put_object(Bucket="pages-source", Key="source.zip", Body=source)


def declaration(name: str = "pages") -> dict[str, Any]:
    text = (EXAMPLE / "pipeline.json").read_text()
    return json.loads(text)["pipeline"] | {"name": name}


def actions(live: Any, pipeline: str) -> dict[str, Any]:
    listed = live.client("codepipeline").list_action_executions(pipelineName=pipeline)["actionExecutionDetails"]
    return {one["actionName"]: one for one in reversed(listed)}


def ended(live: Any, pipeline: str) -> tuple[str, dict[str, Any]]:
    """How the newest execution of a pipeline ended, and its actions."""

    def found() -> str | None:
        newest = live.client("codepipeline").list_pipeline_executions(pipelineName=pipeline)[
            "pipelineExecutionSummaries"
        ][0]
        return None if newest["status"] == "InProgress" else newest["status"]

    return until(found), actions(live, pipeline)


def place(action: dict[str, Any], side: str) -> tuple[str, str]:
    found = action["input"]["inputArtifacts"] if side == "in" else action["output"]["outputArtifacts"]
    return found[0]["s3location"]["bucket"], found[0]["s3location"]["key"]


def test_the_example_builds_in_one_region_and_deploys_to_both(live: Live) -> None:
    s3 = live.client("s3")
    live.client("codepipeline").create_pipeline(pipeline=declaration())
    status, done = ended(live, "pages")
    assert status == "Succeeded", done
    for bucket in ("pages-us", "pages-eu"):
        assert s3.get_object(Bucket=bucket, Key="index.html")["Body"].read() == b"<h1>Built in eu-west-1</h1>\n"
    assert {name: one["input"]["region"] for name, one in done.items()} == {
        "Source": HOME, "Build": AWAY, "Europe": AWAY, "America": HOME,
    }  # fmt: skip
    # Each reads from the store of its region: the copy, or what was written there.
    assert place(done["Source"], "out")[0] == "pages-artifacts-us"
    assert place(done["Build"], "in")[0] == place(done["Build"], "out")[0] == "pages-artifacts-eu"
    assert place(done["Europe"], "in") == place(done["Build"], "out")
    assert place(done["America"], "in")[0] == "pages-artifacts-us"
    for one, other in (("Source", "Build"), ("Build", "America")):
        made, copied = (
            s3.get_object(Bucket=bucket, Key=key) for bucket, key in (place(done[one], "out"), place(done[other], "in"))
        )
        assert made["Body"].read() == copied["Body"].read()
    # The copy is under the key of its own region's store, and lies where artifacts do.
    bucket, key = place(done["Build"], "in")
    assert s3.head_object(Bucket=bucket, Key=key)["SSEKMSKeyId"].startswith(f"arn:aws:kms:{AWAY}:")
    assert [len(part) for part in key.split("/")] == [len("pages"), len("Source"), 7]
    changes = live.run(live.app.store.read(lambda conn: list(events.after(conn, 0))))
    said = {
        (change.payload["action"], change.payload["region"])
        for change in changes
        if change.type == "codepipeline.action.state_changed" and change.payload["pipeline"] == "pages"
    }
    assert said == {(name, one["input"]["region"]) for name, one in done.items()}
    # Copies have the digests of what they are copies of.
    (run,) = live.client("codepipeline").list_pipeline_executions(pipelineName="pages")["pipelineExecutionSummaries"]
    described = {
        one["actionName"]: one
        for one in live.client("penstock").describe_pipeline_actions(
            pipelineName="pages", pipelineExecutionId=run["pipelineExecutionId"]
        )["actions"]
    }
    assert {name: one["region"] for name, one in described.items()} == {
        name: one["input"]["region"] for name, one in done.items()
    }

    def written(name: str, side: str) -> dict[str, str]:
        return described[name][f"{side}Artifacts"][0]["location"]["s3Location"]

    for made, *read in (("Source", "Build"), ("Build", "Europe", "America")):
        lies = written(made, "output")
        body = s3.get_object(Bucket=lies["bucketName"], Key=lies["objectKey"], VersionId=lies["versionId"])[
            "Body"
        ].read()
        assert {lies["sha256"], *(written(name, "input")["sha256"] for name in read)} == {sha256(body).hexdigest()}
    assert written("Build", "input")["versionId"] != written("Source", "output")["versionId"]
    # The build is of that region, and of no other; links lead there.
    build = done["Build"]["output"]["executionResult"]["externalExecutionId"]
    assert live.client("codebuild", region=AWAY).batch_get_builds(ids=[build])["builds"]
    assert live.client("codebuild").batch_get_builds(ids=[build])["buildsNotFound"] == [build]
    assert done["Build"]["output"]["executionResult"]["externalExecutionUrl"].endswith(f"?region={AWAY}")
    states = live.client("codepipeline").get_pipeline_state(name="pages")["stageStates"]
    entities = [one["entityUrl"] for state in states for one in state["actionStates"] if "entityUrl" in one]
    assert [f"region={AWAY}" in one for one in entities if "builds?project=pages" in one] == [True]
    assert described["Source"].get("entityUrl", "").count("region=") == 0


def test_actions_of_a_region_share_one_copy(live: Live) -> None:
    shared = declaration("shared")
    shared["stages"][1:] = [
        {
            "name": "Deploy",
            "actions": [
                {
                    **shared["stages"][2]["actions"][0],
                    "name": f"To{number}",
                    "runOrder": number,
                    "inputArtifacts": [{"name": "Source"}],
                }
                for number in (1, 2)
            ],
        }
    ]
    create(live, shared)
    status, done = ended(live, "shared")
    assert status == "Succeeded", done
    bucket, key = place(done["To1"], "in")
    assert place(done["To2"], "in") == (bucket, key)
    assert len(live.client("s3").list_object_versions(Bucket=bucket, Prefix=key)["Versions"]) == 1


def create(live: Live, declared: dict[str, Any], statements: list[dict[str, Any]] | None = None) -> None:
    """A pipeline with a role of its own."""
    iam = live.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName=declared["name"], AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements or EVERYTHING})
    iam.put_role_policy(RoleName=declared["name"], PolicyName="may", PolicyDocument=policy)
    live.client("codepipeline").create_pipeline(pipeline=declared | {"roleArn": role["Role"]["Arn"]})


def failure(live: Live, name: str) -> tuple[str, str]:
    """Why the action in the other region failed: code and message."""
    status, done = ended(live, name)
    assert status == "Failed"
    why = done["Build"]["output"]["executionResult"]["errorDetails"]
    return why["code"], why["message"]


def test_a_rule_looks_into_the_region_that_it_names(live: Live) -> None:
    """An alarm of one name rings in the pipeline's region and not in the other: only the rule about that one lets a run in."""
    for region, value in ((HOME, "ALARM"), (AWAY, "OK")):
        cloudwatch = live.client("cloudwatch", region=region)
        cloudwatch.put_metric_alarm(
            AlarmName="late",
            Namespace="Pages",
            MetricName="Age",
            Statistic="Maximum",
            Period=86_400,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
        cloudwatch.set_alarm_state(AlarmName="late", StateValue=value, StateReason="test")
    for name, region, status in (("rule-away", {"region": AWAY}, "Succeeded"), ("rule-home", {}, "Failed")):
        declared = declaration(name)
        rule = {
            "name": "Quiet",
            "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "CloudWatchAlarm", "version": "1"},
            "configuration": {"AlarmName": "late"},
            **region,
        }
        deploy = declared["stages"][2]["actions"][0] | {"inputArtifacts": [{"name": "Source"}]}
        gate = {"conditions": [{"result": "FAIL", "rules": [rule]}]}
        declared["stages"][1:] = [{"name": "Deploy", "actions": [deploy], "beforeEntry": gate}]
        create(live, declared)
        assert ended(live, name)[0] == status
        (seen,) = live.client("codepipeline").list_rule_executions(pipelineName=name)["ruleExecutionDetails"]
        assert (seen["input"]["region"], seen["status"]) == (region.get("region", HOME), status)


def test_a_store_that_is_gone_fails_the_action(live: Live) -> None:
    declared = declaration("gone")
    declared["artifactStores"][AWAY] = {"type": "S3", "location": "pages-gone"}
    create(live, declared)
    code, message = failure(live, "gone")
    assert code == "ConfigurationError"
    assert message.startswith("The artifact Source (s3://pages-artifacts-us/gone/Source/")
    assert "could not be copied to the artifact store of eu-west-1 (bucket pages-gone): " in message
    assert "(NoSuchBucket)" in message


@pytest.mark.parametrize(
    "missing",
    [
        {"Action": "s3:PutObject", "Resource": "arn:aws:s3:::pages-artifacts-eu/*"},
        {"Action": "s3:GetObject*", "Resource": "arn:aws:s3:::pages-artifacts-us/*"},
        {"Action": "kms:GenerateDataKey", "Resource": f"arn:aws:kms:{AWAY}:111111111111:key/*"},
        {"Action": "kms:Decrypt", "Resource": f"arn:aws:kms:{HOME}:111111111111:key/*"},
    ],
    ids=lambda missing: missing["Action"].replace(":", "-").strip("*"),
)
def test_a_role_without_a_permission_copies_nothing(live: Live, missing: dict[str, str]) -> None:
    name = "no-" + missing["Action"].replace(":", "-").strip("*")
    create(live, declaration(name), [*EVERYTHING, {"Effect": "Deny", **missing}])
    code, message = failure(live, name)
    assert code == "PermissionError"
    assert "could not be copied to the artifact store of eu-west-1" in message
    assert missing["Action"].strip("*") in message
    assert "Contents" not in live.client("s3").list_objects_v2(Bucket="pages-artifacts-eu", Prefix=f"{name[:20]}/")


def test_what_is_refused(live: Live) -> None:
    pipelines = live.client("codepipeline")

    def refused(declared: dict[str, Any]) -> tuple[str, str]:
        with pytest.raises(botocore.exceptions.ClientError) as error:
            pipelines.create_pipeline(pipeline=declared)
        return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]

    nowhere = declaration("nowhere")
    nowhere["stages"][1]["actions"][0]["region"] = "eu-north-1"
    code, message = refused(nowhere)
    assert code == "ValidationException"
    assert "The following region is missing in 'pipeline.artifactStores': eu-north-1." in message
    nowhere["artifactStores"]["eu-north-1"] = nowhere["artifactStores"][HOME]
    assert refused(nowhere) == (
        "InvalidActionDeclarationException",
        "Action 'Build' names the region eu-north-1, which this installation does not serve. It serves us-east-1, eu-west-1: "
        "name one of them, or start it with --also-region eu-north-1.",
    )
    source = declaration("source")
    source["stages"][0]["actions"][0]["region"] = AWAY
    code, message = refused(source)
    assert code == "InvalidActionDeclarationException"
    assert message.startswith(
        "Action 'Source' names the region eu-west-1, and the pipeline is in us-east-1. Source actions, "
    )


def test_an_action_of_another_account_and_region_reads_the_copy_alone(live: Live) -> None:
    """The pipeline's role copies; the role in the other account needs the store of its own region and that store's key, and nothing at home."""
    other = "222222222222"
    made = live.client("penstock").create_account(accountId=other)
    keys = {"aws_access_key_id": made["accessKeyId"], "aws_secret_access_key": made["secretAccessKey"]}
    iam, s3 = live.client("iam", keys=keys), live.client("s3", keys=keys)
    s3.create_bucket(Bucket="theirs")
    trust = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))["Role"][
        "Arn"
    ]
    iam.put_role_policy(RoleName="deploy", PolicyName="all", PolicyDocument=json.dumps({"Statement": EVERYTHING}))
    declared = declaration("across")
    deploy = declared["stages"][2]["actions"][0]
    declared["stages"][1:] = [
        {
            "name": "Deploy",
            "actions": [
                {
                    **deploy,
                    "name": "Build",
                    "roleArn": role,
                    "configuration": {"BucketName": "theirs", "Extract": "true"},
                    "inputArtifacts": [{"name": "Source"}],
                }
            ],
        }
    ]
    create(live, declared)
    code, message = failure(live, "across")
    assert (code, "read the artifact (s3://pages-artifacts-eu)" in message) == ("PermissionError", True), message

    reader = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{other}:root"}}
    objects = {**reader, "Action": "s3:GetObject*", "Resource": "arn:aws:s3:::pages-artifacts-eu/*"}
    live.client("s3").put_bucket_policy(Bucket="pages-artifacts-eu", Policy=json.dumps({"Statement": [objects]}))
    retried(live, "across")
    code, message = failure(live, "across")
    assert (code, "The ciphertext refers to a customer master key" in message) == ("PermissionError", True), message

    kms = live.client("kms", region=AWAY)
    key = kms.describe_key(KeyId="alias/pages-artifacts")["KeyMetadata"]["KeyId"]
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    policy["Statement"].append({**reader, "Action": "kms:Decrypt", "Resource": "*"})
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    retried(live, "across")
    status, done = ended(live, "across")
    assert status == "Succeeded", done["Build"]
    assert s3.get_object(Bucket="theirs", Key="index.html")["Body"].read() == b"<h1>Built in REGION</h1>\n"


def retried(live: Live, name: str) -> None:
    pipelines = live.client("codepipeline")
    run = pipelines.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"][0]["pipelineExecutionId"]
    pipelines.retry_stage_execution(
        pipelineName=name, stageName="Deploy", pipelineExecutionId=run, retryMode="FAILED_ACTIONS"
    )


@pytest.mark.parametrize("crash", ["replication.copied:1", "pipelines.before_commit:4", "objects.object_committed:3"])
def test_a_copy_survives_the_server(tmp_path: Path, crash: str) -> None:
    """The source is fetched in one region and deployed twice from the other; the server dies about the time of the copy, before it is noted."""
    first = Crashing(tmp_path, crash, "--also-region", AWAY)
    try:
        furnish(first)
        assert first.process.wait(60) != 0
    finally:
        first.end()
    second = Crashing(tmp_path, "", "--also-region", AWAY)
    try:
        status, done = ended(second, "site")
        assert status == "Succeeded", done
        s3 = second.client("s3")
        for name in ("One", "Two"):
            bucket, key = place(done[name], "in")
            assert bucket == "the-away"
            (copy,) = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
            assert copy["Key"] == key
            assert s3.get_object(Bucket="the-site", Key=name)["Body"].read() == SITE
    finally:
        second.end()


SITE = zip_archive(zip_entry(b"index.html", b"<h1>"))


def furnish(server: Crashing) -> None:
    iam, s3 = server.client("iam"), server.client("s3")
    trust = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    made = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps({"Statement": EVERYTHING}))
    for bucket in ("in", "home", "away", "site"):
        s3.create_bucket(Bucket=f"the-{bucket}")
    s3.put_bucket_versioning(Bucket="the-in", VersioningConfiguration={"Status": "Enabled"})
    declared = declaration("site")
    fetch, deploy = declared["stages"][0]["actions"][0], declared["stages"][2]["actions"][0]
    declared["stages"] = [
        {"name": "Source", "actions": [{**fetch, "configuration": {"S3Bucket": "the-in", "S3ObjectKey": "site.zip"}}]},
        *(
            {
                "name": name,
                "actions": [
                    {
                        **deploy,
                        "name": name,
                        "configuration": {"BucketName": "the-site", "Extract": "false", "ObjectKey": name},
                        "inputArtifacts": [{"name": "Source"}],
                    }
                ],
            }
            for name in ("One", "Two")
        ),
    ]
    declared["artifactStores"] = {
        region: {"type": "S3", "location": bucket} for region, bucket in ((HOME, "the-home"), (AWAY, "the-away"))
    }
    declared["roleArn"] = made["Role"]["Arn"]
    with contextlib.suppress(botocore.exceptions.HTTPClientError):  # it may die before it answers
        s3.put_object(Bucket="the-in", Key="site.zip", Body=SITE)
        server.client("codepipeline").create_pipeline(pipeline=declared)


def test_a_region_that_is_no_longer_served_fails_its_actions(tmp_path: Path) -> None:
    with live_server(tmp_path / "data", regions=(AWAY,)) as live:
        s3 = live.client("s3")
        for bucket in ("pages-source", "pages-artifacts-us", "pages-artifacts-eu"):
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket="pages-source", VersioningConfiguration={"Status": "Enabled"})
        create(live, declaration("later"))
        assert ended(live, "later")[0] == "Failed"  # there is no source yet
        put(live, SITE)
    with live_server(tmp_path / "data") as live:
        live.client("codepipeline").start_pipeline_execution(name="later")
        assert failure(live, "later") == (
            "ConfigurationError",
            "The action names the region eu-west-1, which this installation does not serve. It serves us-east-1: name one of them, "
            "or start it with --also-region eu-west-1.",
        )
