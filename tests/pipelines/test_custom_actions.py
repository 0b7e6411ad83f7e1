"""Custom actions as their workers do them: boto3 against the complete application."""

from __future__ import annotations

import io
import json
import zipfile

import boto3
import pytest
from botocore.exceptions import ClientError
from penstock_starter import AWS, run
from penstock_waiting import until

ACCOUNT = "111111111111"
COUNTS = {
    "inputArtifactDetails": {"minimumCount": 1, "maximumCount": 1},
    "outputArtifactDetails": {"minimumCount": 1, "maximumCount": 1},
}
NONE = {"minimumCount": 0, "maximumCount": 0}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
MAY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def prop(name, *, required=True, key=False, secret=False, **more):
    return {"name": name, "required": required, "key": key, "secret": secret, **more}


def type_id(category, provider, version="1"):
    return {"category": category, "owner": "Custom", "provider": provider, "version": version}


@pytest.fixture(scope="module")
def world(live):
    """A role for pipelines, buckets, and a custom type for each kind of work."""
    iam, s3, pipelines = live.client("iam"), live.client("s3"), live.client("codepipeline")
    role = iam.create_role(RoleName="pipeline", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="pipeline", PolicyName="all", PolicyDocument=json.dumps(MAY))
    for bucket in ("watched", "artifacts"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="watched", Key="app.zip", Body=bundle({"app.txt": "hello"}))
    pipelines.create_custom_action_type(
        category="Build",
        provider="Maker",
        version="1",
        settings={
            "entityUrlTemplate": "https://make.test/job/{Config:Project}",
            "executionUrlTemplate": "https://make.test/job/{Config:Project}/{ExternalExecutionId}",
        },
        configurationProperties=[
            prop("Project", key=True, queryable=True, description="What to make", type="String"),
            prop("Key", secret=True),
            prop("Level", required=False, type="Number"),
        ],
        **COUNTS,
    )  # fmt: skip
    pipelines.create_custom_action_type(
        category="Source", provider="Shelf", version="1", inputArtifactDetails=NONE,
        outputArtifactDetails={"minimumCount": 1, "maximumCount": 1},
        settings={"revisionUrlTemplate": "https://shelf.test/{RevisionId}"},
    )  # fmt: skip
    return role


def bundle(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


S3 = {
    "name": "Source",
    "actions": [
        {
            "name": "Fetch",
            "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
            "configuration": {"S3Bucket": "watched", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
            "outputArtifacts": [{"name": "App"}],
            "namespace": "Src",
        }
    ],
}


def make(project, *, name="Make", **configuration):
    return {
        "name": name,
        "actionTypeId": type_id("Build", "Maker"),
        "configuration": {"Project": project, "Key": "s3cret-canary", **configuration},
        "inputArtifacts": [{"name": "App"}],
        "outputArtifacts": [{"name": f"{name}d"}],
        "namespace": name,
    }


def declared(name, role, *actions, source=S3):
    stages = [source, {"name": "Build", "actions": list(actions)}]
    return {"name": name, "roleArn": role, "artifactStore": {"type": "S3", "location": "artifacts"}, "stages": stages}


def poll(client, project, most=1):
    return client.poll_for_jobs(
        actionTypeId=type_id("Build", "Maker"), queryParam={"Project": project}, maxBatchSize=most
    )["jobs"]


def job_for(client, project):
    """The job of a project, once it is offered."""
    return until(lambda: next(iter(poll(client, project)), None))


def as_worker(live, credentials):
    """S3 with the credentials of a job."""
    return boto3.client(
        "s3", region_name="us-east-1", endpoint_url=live.url, aws_access_key_id=credentials["accessKeyId"],
        aws_secret_access_key=credentials["secretAccessKey"], aws_session_token=credentials["sessionToken"],
    )  # fmt: skip


def state_of(client, name, stage=1):
    return client.get_pipeline_state(name=name)["stageStates"][stage]["actionStates"][0]


def code_of(error):
    return error.value.response["Error"]["Code"]


def place_of(artifact):
    place = artifact["location"]["s3Location"]
    return {"Bucket": place["bucketName"], "Key": place["objectKey"]}


def test_a_worker_builds_from_artifact_to_artifact(live, world):
    client = live.client("codepipeline")
    made = client.create_pipeline(pipeline=declared("made", world, make("web", Level="#{Src.VersionId}")))
    configuration = made["pipeline"]["stages"][1]["actions"][0]["configuration"]
    assert configuration == {"Project": "web", "Key": "****", "Level": "#{Src.VersionId}"}
    assert client.get_pipeline(name="made")["pipeline"]["stages"] == made["pipeline"]["stages"]
    job = job_for(client, "web")
    data = job["data"]
    context = data["pipelineContext"]
    assert (job["accountId"], context["pipelineName"], context["action"]["name"]) == (ACCOUNT, "made", "Make")
    assert data["actionConfiguration"]["configuration"]["Key"] == "s3cret-canary"
    assert data["actionTypeId"] == type_id("Build", "Maker")
    assert poll(client, "web") == []  # it is offered to one worker at a time
    assert client.acknowledge_job(jobId=job["id"], nonce=job["nonce"])["status"] == "InProgress"
    s3 = as_worker(live, data["artifactCredentials"])
    (given,), (wanted,) = data["inputArtifacts"], data["outputArtifacts"]
    packed = s3.get_object(**place_of(given))["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(packed)).read("app.txt") == b"hello"
    s3.put_object(**place_of(wanted), Body=bundle({"made.txt": "HELLO"}), ServerSideEncryption="aws:kms")
    for forbidden in (
        lambda: s3.put_object(**place_of(given), Body=b"x"),
        lambda: s3.get_object(Bucket="watched", Key="app.zip"),
        lambda: s3.put_object(Bucket="artifacts", Key="made/Other/1234567", Body=b"x"),
        lambda: s3.list_objects_v2(Bucket="artifacts"),
    ):
        with pytest.raises(ClientError) as refused:
            forbidden()
        assert code_of(refused) == "AccessDenied"
    details = client.get_job_details(jobId=job["id"])["jobDetails"]
    assert details["data"].keys() == data.keys()
    assert "nonce" not in details
    client.put_job_success_result(
        jobId=job["id"],
        executionDetails={"summary": "made it", "externalExecutionId": "7", "percentComplete": 100},
        outputVariables={"Colour": "green"},
    )
    state = until(lambda: (s := state_of(client, "made"))["latestExecution"]["status"] == "Succeeded" and s)
    latest = state["latestExecution"]
    assert (latest["summary"], latest["externalExecutionId"], latest["percentComplete"]) == ("made it", "7", 100)
    assert state["entityUrl"] == "https://make.test/job/web"
    assert latest["externalExecutionUrl"] == "https://make.test/job/web/7"
    (action, _) = client.list_action_executions(pipelineName="made")["actionExecutionDetails"]
    assert action["output"]["outputVariables"] == {"Colour": "green"}
    assert action["output"]["outputArtifacts"][0]["s3location"]["key"] == place_of(wanted)["Key"]
    assert action["input"]["configuration"]["Key"] == action["input"]["resolvedConfiguration"]["Key"] == "****"
    assert action["input"]["resolvedConfiguration"]["Level"] != "#{Src.VersionId}"
    with pytest.raises(ClientError) as twice:
        client.put_job_success_result(jobId=job["id"])
    assert code_of(twice) == "InvalidJobStateException"


def test_an_action_is_continued_by_further_jobs(live, world):
    client = live.client("codepipeline")
    client.create_pipeline(pipeline=declared("continued", world, make("long")))
    first = job_for(client, "long")
    client.acknowledge_job(jobId=first["id"], nonce=first["nonce"])
    with pytest.raises(ClientError) as refused:
        client.put_job_success_result(jobId=first["id"], continuationToken="half", outputVariables={"A": "b"})
    assert code_of(refused) == "ValidationException"
    client.put_job_success_result(
        jobId=first["id"],
        continuationToken="half",
        executionDetails={"summary": "half way", "externalExecutionId": "9", "percentComplete": 50},
    )
    latest = state_of(client, "continued")["latestExecution"]
    said = [latest[name] for name in ("status", "summary", "externalExecutionId", "percentComplete")]
    assert said == ["InProgress", "half way", "9", 50]
    with pytest.raises(ClientError) as over:
        client.put_job_success_result(jobId=first["id"])
    assert code_of(over) == "InvalidJobStateException"
    second = job_for(client, "long")
    assert (second["id"] == first["id"], second["nonce"] == first["nonce"]) == (False, False)
    assert (second["data"]["continuationToken"], "continuationToken" in first["data"]) == ("half", False)
    assert second["data"]["outputArtifacts"] == first["data"]["outputArtifacts"]
    client.acknowledge_job(jobId=second["id"], nonce=second["nonce"])
    failure = {"type": "RevisionOutOfSync", "message": "no such thing", "externalExecutionId": "10"}
    client.put_job_failure_result(jobId=second["id"], failureDetails=failure)
    latest = state_of(client, "continued")["latestExecution"]
    assert (latest["status"], latest["externalExecutionId"]) == ("Failed", "10")
    assert latest["errorDetails"] == {"code": "RevisionOutOfSync", "message": "no such thing"}
    with pytest.raises(ClientError) as gone:
        client.get_job_details(jobId=second["id"])
    assert code_of(gone) == "JobNotFoundException"


def test_what_ends_an_action_ends_its_job(live, world):
    client = live.client("codepipeline")
    client.create_pipeline(pipeline=declared("stopped", world, make("stop", name="One"), make("stop", name="Two")))
    jobs = until(lambda: len(got := poll(client, "stop", most=5)) == 2 and got)
    client.acknowledge_job(jobId=jobs[0]["id"], nonce=jobs[0]["nonce"])
    run = client.list_pipeline_executions(pipelineName="stopped")["pipelineExecutionSummaries"][0]
    client.stop_pipeline_execution(
        pipelineName="stopped", pipelineExecutionId=run["pipelineExecutionId"], abandon=True, reason="enough"
    )
    for call in (
        lambda: client.put_job_success_result(jobId=jobs[0]["id"]),
        lambda: client.put_job_failure_result(
            jobId=jobs[0]["id"], failureDetails={"type": "JobFailed", "message": "m"}
        ),
    ):
        with pytest.raises(ClientError) as over:
            call()
        assert code_of(over) == "InvalidJobStateException"
    with pytest.raises(ClientError) as late:
        client.acknowledge_job(jobId=jobs[1]["id"], nonce=jobs[1]["nonce"])
    assert code_of(late) == "InvalidNonceException"
    assert poll(client, "stop") == []


REFUSED_TYPES = [
    ({"inputArtifactDetails": {"minimumCount": 2, "maximumCount": 1}}, "Maximum Number of Artifacts (1) has to be greater than or equal to minimum (2)."),
    (
        {"configurationProperties": [prop("A", queryable=True), prop("B", queryable=True)]},
        "Multiple queryable configuration properties found with names 'A, B'. Up to one queryable property may be specified.",
    ),
    (
        {"configurationProperties": [prop("A", queryable=True, secret=True)]},
        "Invalid queryable property 'A'. Queryable configuration properties must be required and non-secret.",
    ),
    (
        {"configurationProperties": [prop("A", queryable=True, required=False)]},
        "Invalid queryable property 'A'. Queryable configuration properties must be required and non-secret.",
    ),
    ({"configurationProperties": [prop("A"), prop("A")]}, "The configuration property 'A' is declared more than once."),
    ({"category": "Approval"}, "Penstock runs no action types of accounts in the category Approval."),
    ({"category": "Source"}, "An action type of the category Source takes no input artifacts."),
    ({"settings": {"entityUrlTemplate": "https://x.test/{Config:A}"}}, "The entityUrlTemplate has the place '{Config:A}', which cannot be filled."),
    (
        {"settings": {"revisionUrlTemplate": "https://x.test/{Config:A}"}, "configurationProperties": [prop("A", secret=True)]},
        "The revisionUrlTemplate has the place '{Config:A}', which cannot be filled.",
    ),
    ({"settings": {"entityUrlTemplate": "https://x.test/{RevisionId}"}}, "The entityUrlTemplate has the place '{RevisionId}'"),
    ({"tags": [{"key": "penstock:job-lease-minutes", "value": "soon"}]}, "The tag penstock:job-lease-minutes must be a number of minutes"),
]  # fmt: skip


def test_types_that_cannot_be_are_refused(live, world):
    client = live.client("codepipeline")
    given = {"category": "Build", "provider": "Refused", "version": "1", **COUNTS}
    for changed, message in REFUSED_TYPES:
        with pytest.raises(ClientError) as refused:
            client.create_custom_action_type(**given | changed)
        assert code_of(refused) == "ValidationException", changed
        assert refused.value.response["Error"]["Message"].startswith(message)
    for tags, code in (
        ([{"key": "aws:x", "value": ""}], "InvalidTagsException"),
        ([{"key": str(n), "value": ""} for n in range(51)], "TooManyTagsException"),
    ):
        with pytest.raises(ClientError) as refused:
            client.create_custom_action_type(**given, tags=tags)
        assert code_of(refused) == code


def test_a_deleted_type_comes_back_as_it_was_only(live, world):
    client = live.client("codepipeline")
    names = {"category": "Test", "provider": "Passing", "version": "1"}
    given = {**names, **COUNTS, "settings": {"thirdPartyConfigurationUrl": "https://set.test/"}}
    tags = [{"key": "team", "value": "a"}]
    made = client.create_custom_action_type(**given, tags=tags)
    assert made["tags"] == tags
    type_ = made["actionType"]
    assert type_["id"] == {**names, "owner": "Custom"}
    assert type_["settings"] == given["settings"]
    assert type_ in client.list_action_types(actionOwnerFilter="Custom")["actionTypes"]
    assert type_ not in client.list_action_types(actionOwnerFilter="AWS")["actionTypes"]
    assert client.list_action_types(actionOwnerFilter="Custom", regionFilter="eu-central-1")["actionTypes"] == []
    arn = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:actionType:Custom/Test/Passing/1"
    client.tag_resource(resourceArn=arn, tags=[{"key": "more", "value": "b"}])
    client.untag_resource(resourceArn=arn.replace("actionType", "actiontype"), tagKeys=["team"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "more", "value": "b"}]
    with pytest.raises(ClientError) as refused:
        client.tag_resource(resourceArn=arn, tags=[{"key": "penstock:job-lease-minutes", "value": "0"}])
    assert code_of(refused) == "ValidationException"
    with pytest.raises(ClientError) as twice:
        client.create_custom_action_type(**given)
    assert "already has a custom action type" in str(twice.value)
    action = {**make("x", name="Pass"), "actionTypeId": type_["id"], "configuration": {}}
    client.create_pipeline(pipeline=declared("passing", world, action))
    (job,) = until(lambda: client.poll_for_jobs(actionTypeId=type_["id"])["jobs"])
    client.acknowledge_job(jobId=job["id"], nonce=job["nonce"])
    for _ in range(2):
        client.delete_custom_action_type(**names)
    for call in (
        lambda: client.poll_for_jobs(actionTypeId=type_["id"]),
        lambda: client.create_pipeline(pipeline=declared("passing2", world, action)),
        lambda: client.list_tags_for_resource(resourceArn=arn),
        lambda: client.create_custom_action_type(**given | {"settings": {}}),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        assert code_of(refused) in (
            "ActionTypeNotFoundException", "InvalidActionDeclarationException", "ResourceNotFoundException", "ValidationException"
        )  # fmt: skip
    client.put_job_success_result(jobId=job["id"])  # what a worker had begun still counts
    assert state_of(client, "passing")["latestExecution"]["status"] == "Succeeded"
    client.start_pipeline_execution(name="passing")
    latest = until(lambda: (now := state_of(client, "passing")["latestExecution"])["status"] == "Failed" and now)
    assert "The action type was deleted" in latest["errorDetails"]["message"]
    client.create_custom_action_type(**given)
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == []


def test_polls_say_which_type_and_value_they_are_for(live, world):
    client = live.client("codepipeline")
    wrong = (
        ({"actionTypeId": type_id("Build", "Nobody")}, "ActionTypeNotFoundException"),
        ({"actionTypeId": {**type_id("Build", "Maker"), "owner": "AWS"}, "queryParam": {"Project": "x"}}, "ValidationException"),
        ({"actionTypeId": type_id("Build", "Maker")}, "ValidationException"),
        ({"actionTypeId": type_id("Build", "Maker"), "queryParam": {"Level": "x"}}, "ValidationException"),
        ({"actionTypeId": type_id("Source", "Shelf"), "queryParam": {"Level": "x"}}, "ValidationException"),
    )  # fmt: skip
    for given, code in wrong:
        with pytest.raises(ClientError) as refused:
            client.poll_for_jobs(**given)
        assert code_of(refused) == code, given
    assert poll(client, "nobody", most=1_000) == []
    unknown = "11111111-2222-4333-8444-555555555555"
    for call in (
        lambda: client.acknowledge_job(jobId=unknown, nonce="3"),
        lambda: client.get_job_details(jobId=unknown),
        lambda: client.put_job_success_result(jobId=unknown),
        lambda: client.put_job_failure_result(jobId=unknown, failureDetails={"type": "JobFailed", "message": "m"}),
    ):
        with pytest.raises(ClientError) as refused:
            call()
        assert code_of(refused) == "JobNotFoundException"


def test_results_wait_for_an_acknowledgement(live, world):
    client = live.client("codepipeline")
    client.create_pipeline(pipeline=declared("waits", world, make("waits")))
    job = job_for(client, "waits")
    with pytest.raises(ClientError) as early:
        client.put_job_success_result(jobId=job["id"])
    assert code_of(early) == "InvalidJobStateException"
    with pytest.raises(ClientError) as wrong:
        client.acknowledge_job(jobId=job["id"], nonce="3")
    assert code_of(wrong) == "InvalidNonceException"
    for _ in range(2):  # the first answer may have been lost
        assert client.acknowledge_job(jobId=job["id"], nonce=job["nonce"])["status"] == "InProgress"
    for variables, code in (
        ({"A": "x" * 122_880}, "OutputVariablesSizeExceededException"),
        ({"A": "x" * 122_879}, None),
    ):
        if code is None:
            client.put_job_success_result(jobId=job["id"], outputVariables=variables)
            continue
        with pytest.raises(ClientError) as large:
            client.put_job_success_result(jobId=job["id"], outputVariables=variables)
        assert code_of(large) == code
    assert state_of(client, "waits")["latestExecution"]["status"] == "Succeeded"


def test_configurations_are_those_of_the_type(live, world):
    client = live.client("codepipeline")
    wrong = (
        ({"Project": None}, "is missing required configuration 'Project'"),
        ({"Colour": "red"}, "contains unknown configuration 'Colour'"),
        ({"Level": "high"}, "contains an invalid value for 'Level': it must be a number"),
        ({"Project": "two words"}, "contains an invalid value for 'Project'"),
        ({"Key": "#{Src.ETag}"}, "a secret value cannot refer to variables"),
        ({"Key": "****"}, '"****" may be used in secret properties only when updating an existing action.'),
    )
    for changed, message in wrong:
        action = make("wrong", **changed)
        action["configuration"] = {name: value for name, value in action["configuration"].items() if value is not None}
        with pytest.raises(ClientError) as refused:
            client.create_pipeline(pipeline=declared("wrong", world, action))
        assert code_of(refused) == "InvalidActionDeclarationException"
        assert message in str(refused.value)


def test_secrets_are_kept_as_long_as_nothing_else_changes(live, world):
    client = live.client("codepipeline")
    client.create_pipeline(pipeline=declared("secretive", world, make("secret", Level="1")))
    job = job_for(client, "secret")
    client.acknowledge_job(jobId=job["id"], nonce=job["nonce"])
    client.put_job_success_result(jobId=job["id"])
    shown = client.get_pipeline(name="secretive")["pipeline"]
    action = shown["stages"][1]["actions"][0]
    assert action["configuration"]["Key"] == "****"
    client.update_pipeline(pipeline=shown)
    client.start_pipeline_execution(name="secretive")
    job = job_for(client, "secret")
    assert job["data"]["actionConfiguration"]["configuration"]["Key"] == "s3cret-canary"
    action["configuration"]["Level"] = "2"
    with pytest.raises(ClientError) as refused:
        client.update_pipeline(pipeline=shown)
    assert "only when nothing else of the action changes" in str(refused.value)
    action["configuration"]["Level"], shown["stages"][1]["name"] = "1", "Renamed"
    with pytest.raises(ClientError) as refused:
        client.update_pipeline(pipeline=shown)
    assert "only when updating an existing action" in str(refused.value)
    action["configuration"]["Key"] = "another"
    client.update_pipeline(pipeline=shown)
    assert b"s3cret-canary" not in b"".join(
        path.read_bytes() for path in live.data_dir.rglob("*") if path.is_file() and path.suffix != ".sock"
    )
    for name in ("CreatePipeline", "UpdatePipeline"):
        found = live.client("cloudtrail").lookup_events(
            LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}]
        )
        assert "s3cret-canary" not in json.dumps(found["Events"], default=str)


def test_a_new_revision_of_a_custom_source_starts_its_pipeline_once(live, world):
    client = live.client("codepipeline")
    shelf = type_id("Source", "Shelf")
    source = {
        "name": "Source",
        "actions": [{"name": "Take", "actionTypeId": shelf, "outputArtifacts": [{"name": "App"}]}],
    }
    client.create_pipeline(pipeline=declared("shelved", world, make("shelf"), source=source))
    run = client.list_pipeline_executions(pipelineName="shelved")["pipelineExecutionSummaries"][0]
    client.stop_pipeline_execution(pipelineName="shelved", pipelineExecutionId=run["pipelineExecutionId"], abandon=True)
    given = {
        "pipelineName": "shelved", "stageName": "Source", "actionName": "Take",
        "actionRevision": {"revisionId": "r1", "revisionChangeId": "c1", "created": 1_700_000_000},
    }  # fmt: skip
    first, again = (client.put_action_revision(**given) for _ in range(2))
    assert (first["newRevision"], again["newRevision"]) == (True, False)
    assert first["pipelineExecutionId"] == again["pipelineExecutionId"]
    (job,) = until(lambda: client.poll_for_jobs(actionTypeId=shelf)["jobs"])
    client.acknowledge_job(jobId=job["id"], nonce=job["nonce"])
    current = {"revision": "r1", "changeIdentifier": "c1", "created": 1_700_000_000, "revisionSummary": "the first"}
    client.put_job_success_result(jobId=job["id"], currentRevision=current)
    state = state_of(client, "shelved", 0)
    assert (state["currentRevision"]["revisionId"], state["revisionUrl"]) == ("r1", "https://shelf.test/r1")
    got = client.get_pipeline_execution(pipelineName="shelved", pipelineExecutionId=first["pipelineExecutionId"])
    execution = got["pipelineExecution"]
    assert execution["trigger"]["triggerType"] == "PutActionRevision"
    (revision,) = execution["artifactRevisions"]
    assert (revision["revisionId"], revision["revisionSummary"]) == ("r1", "the first")
    assert job_for(client, "shelf")["data"]["inputArtifacts"][0]["revision"] == "r1"
    (listed, _) = client.list_pipeline_executions(pipelineName="shelved")["pipelineExecutionSummaries"]
    assert listed["sourceRevisions"][0]["revisionUrl"] == "https://shelf.test/r1"
    wrong = (
        ({"pipelineName": "none"}, "PipelineNotFoundException"),
        ({"stageName": "None"}, "StageNotFoundException"),
        ({"actionName": "None"}, "ActionNotFoundException"),
        ({"stageName": "Build", "actionName": "Make"}, "ValidationException"),
    )
    for changed, code in wrong:
        with pytest.raises(ClientError) as refused:
            client.put_action_revision(**given | changed)
        assert code_of(refused) == code


def test_a_job_without_its_role_or_its_input_fails_its_action_and_no_poll(live, world):
    client, iam = live.client("codepipeline"), live.client("iam")
    role = iam.create_role(RoleName="passing", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName="passing", PolicyName="all", PolicyDocument=json.dumps(MAY))
    client.create_pipeline(pipeline=declared("changed", world, make("changed")))
    client.create_pipeline(pipeline=declared("roleless", role, make("changed")))
    for name in ("changed", "roleless"):
        until(lambda name=name: state_of(client, name).get("latestExecution"))
        until(
            lambda name=name: client.list_action_executions(pipelineName=name)["actionExecutionDetails"][0][
                "input"
            ].get("inputArtifacts")
        )
    (artifact,) = client.list_action_executions(pipelineName="changed")["actionExecutionDetails"][0]["input"][
        "inputArtifacts"
    ]
    live.client("s3").put_object(Bucket=artifact["s3location"]["bucket"], Key=artifact["s3location"]["key"], Body=b"x")
    iam.delete_role_policy(RoleName="passing", PolicyName="all")
    iam.delete_role(RoleName="passing")
    assert poll(client, "changed", most=5) == []
    for name, code in (("changed", "RevisionOutOfSync"), ("roleless", "PermissionError")):
        assert state_of(client, name)["latestExecution"]["errorDetails"]["code"] == code


def test_a_worker_may_be_the_aws_cli(live, world):
    environment = live.environment()

    def cli(operation, *arguments, code=""):
        done = run(AWS, "codepipeline", operation, *arguments, "--output", "json", env=environment, timeout=90)
        assert (done.returncode == 0, f"({code})" in done.stderr) == (not code, bool(code)), done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    live.client("codepipeline").create_pipeline(pipeline=declared("by-cli", world, make("cli")))
    asked = ("--action-type-id", "category=Build,owner=Custom,provider=Maker,version=1", "--query-param", "Project=cli")
    (job,) = until(lambda: cli("poll-for-jobs", *asked)["jobs"])
    given = ("--job-id", job["id"])
    cli("acknowledge-job", *given, "--nonce", "3", code="InvalidNonceException")
    assert cli("acknowledge-job", *given, "--nonce", job["nonce"]) == {"status": "InProgress"}
    assert cli("get-job-details", *given)["jobDetails"]["accountId"] == ACCOUNT
    assert cli("put-job-success-result", *given, "--execution-details", "summary=by hand,percentComplete=100") is None
    failure = ("--failure-details", "type=JobFailed,message=m")
    cli("put-job-failure-result", *given, *failure, code="InvalidJobStateException")
    cli("delete-custom-action-type", "--category", "Test", "--provider", "None", "--action-version", "1")
