"""Tags of pipelines, and what AWS answers when they cannot be."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:codepipeline:us-east-1:111111111111"


@pytest.fixture(scope="module")
def client(live):
    """Of an account with the pipeline `tagged`, which has one tag."""
    service = {"Effect": "Allow", "Principal": {"Service": "codepipeline.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [service]})
    role = live.client("iam").create_role(RoleName="tagging", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    source = {
        "name": "App",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
        "configuration": {"S3Bucket": "sources", "S3ObjectKey": "app.zip"},
        "outputArtifacts": [{"name": "App"}],
    }
    gate = {
        "name": "Ok",
        "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
    }
    client = live.client("codepipeline")
    answer = client.create_pipeline(
        pipeline={
            "name": "tagged",
            "roleArn": role,
            "artifactStore": {"type": "S3", "location": "artifacts"},
            "stages": [{"name": "Source", "actions": [source]}, {"name": "Gate", "actions": [gate]}],
        },
        tags=[{"key": "key", "value": "value"}],
    )
    assert answer["tags"] == [{"key": "key", "value": "value"}]
    return client


def _tags(client) -> dict[str, str]:
    return {one["key"]: one["value"] for one in client.list_tags_for_resource(resourceArn=f"{ARN}:tagged")["tags"]}


def test_tags_are_added_replaced_and_removed(client):
    client.tag_resource(
        resourceArn=f"{ARN}:tagged", tags=[{"key": "key", "value": "new"}, {"key": "key-2", "value": "2"}]
    )
    assert _tags(client) == {"key": "new", "key-2": "2"}
    for _ in range(2):  # a tag that there is not is no error
        client.untag_resource(resourceArn=f"{ARN}:tagged", tagKeys=["key-2"])
        assert _tags(client) == {"key": "new"}


@pytest.mark.parametrize("operation", ["list_tags_for_resource", "tag_resource", "untag_resource"])
def test_a_pipeline_that_there_is_not_has_no_tags(client, operation):
    more = {
        "list_tags_for_resource": {},
        "tag_resource": {"tags": [{"key": "a", "value": "b"}]},
        "untag_resource": {"tagKeys": ["a"]},
    }
    with pytest.raises(ClientError) as refused:
        getattr(client, operation)(resourceArn=f"{ARN}:none", **more[operation])
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused.value.response["Error"] == {
        "Code": "ResourceNotFoundException",
        "Message": "The account with id '111111111111' does not include a pipeline with the name 'none'",
    }


def test_tags_of_the_system_are_refused_and_more_than_fifty(client):
    before = _tags(client)
    with pytest.raises(ClientError) as reserved:
        client.tag_resource(resourceArn=f"{ARN}:tagged", tags=[{"key": "aws:key", "value": "value"}])
    assert reserved.value.response["Error"] == {
        "Code": "InvalidTagsException",
        "Message": "Not allowed to modify system tags. System tags start with 'aws:'. "
        "msg=[Caller is an end user and not allowed to mutate system tags]",
    }
    many = [{"key": f"many-{number}", "value": "x"} for number in range(50)]
    with pytest.raises(ClientError) as refused:
        client.tag_resource(resourceArn=f"{ARN}:tagged", tags=many)
    assert refused.value.response["Error"] == {
        "Code": "TooManyTagsException",
        "Message": f"Tag limit exceeded for resource [{ARN}:tagged].",
    }
    assert _tags(client) == before
