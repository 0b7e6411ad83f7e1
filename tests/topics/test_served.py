"""SNS over its own protocol, with boto3 and the AWS CLI."""

import pytest
from botocore.exceptions import ClientError

REGION = "us-east-1"


def refused(function, **input):
    with pytest.raises(ClientError) as caught:
        function(**input)
    error = caught.value.response
    return (
        error["Error"]["Code"],
        error["Error"]["Message"],
        error["ResponseMetadata"]["HTTPStatusCode"],
        error["Error"]["Type"],
    )


def test_topics_as_boto3_and_terraform_make_them(live):
    sns = live.client("sns")
    arn = sns.create_topic(Name="plan", Attributes={"DisplayName": "Plans"}, Tags=[{"Key": "a", "Value": "b"}])[
        "TopicArn"
    ]
    sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="2")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SignatureVersion"] == "2"
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    sns.add_permission(TopicArn=arn, Label="l", AWSAccountId=["222222222222"], ActionName=["Publish"])
    sns.remove_permission(TopicArn=arn, Label="l")
    assert arn in [one["TopicArn"] for one in sns.list_topics()["Topics"]]
    sns.delete_topic(TopicArn=arn)
    assert refused(sns.get_topic_attributes, TopicArn=arn) == ("NotFound", "Topic does not exist", 404, "Sender")


def test_errors_have_the_codes_of_sns(live):
    sns = live.client("sns")
    assert refused(sns.create_topic, Name="a b") == ("InvalidParameter", "Invalid parameter: Topic Name", 400, "Sender")
    assert (
        refused(
            sns.tag_resource, ResourceArn=f"arn:aws:sns:{REGION}:111111111111:no", Tags=[{"Key": "a", "Value": "b"}]
        )[0]
        == "ResourceNotFound"
    )
    code, message, status, _ = refused(sns.delete_topic, TopicArn=f"arn:aws:sns:{REGION}:222222222222:theirs")
    assert (code, status) == ("AuthorizationError", 403)
    assert (
        "is not authorized to perform: sns:DeleteTopic on resource: arn:aws:sns:us-east-1:222222222222:theirs"
        in message
    )


def test_topics_by_the_cli(live):
    made = live.aws("sns", "create-topic", "--name", "by-cli")
    assert made in live.aws("sns", "list-topics")["Topics"]
