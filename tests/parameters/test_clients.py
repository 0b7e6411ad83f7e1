"""Parameter Store with boto3 and the AWS CLI against a live server, and the calls that Terraform makes."""

import pytest
from botocore.exceptions import ClientError

from penstock.cli import parameters
from penstock.cli.main import parser_of


@pytest.fixture(scope="module")
def ssm(live):
    return live.client("ssm")


def test_a_round_with_boto3(ssm):
    ssm.put_parameter(Name="/round/a", Value="1", Type="String")
    ssm.put_parameter(Name="/round/b", Value="x,y", Type="StringList")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path="/round", PaginationConfig={"PageSize": 1})
    assert [one["Value"] for page in pages for one in page["Parameters"]] == ["1", "x,y"]
    with pytest.raises(ssm.exceptions.ParameterNotFound) as caught:
        ssm.get_parameter(Name="/round/c")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError) as refused:
        ssm.describe_instance_information()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_the_command_line(live):
    made = live.aws("ssm", "put-parameter", "--name", "/cli/s", "--value", "hush", "--type", "SecureString")
    assert made == {"Version": 1, "Tier": "Standard"}
    read = live.aws("ssm", "get-parameter", "--name", "/cli/s", "--with-decryption")
    assert read["Parameter"]["Value"] == "hush"


@pytest.mark.parametrize("kind", ["String", "SecureString"])
def test_terraform_makes_reads_and_deletes_a_parameter(ssm, kind):
    """The calls of aws_ssm_parameter, in the provider's order: a plan after an apply finds nothing to do."""
    name, tags = f"/tf/{kind}", [{"Key": "team", "Value": "red"}]
    ssm.put_parameter(Name=name, Value="1", Type=kind, AllowedPattern="", Tags=tags, Overwrite=False)
    found = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Type"], found["Version"]) == ("1", kind, 1)
    where = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
    (described,) = ssm.describe_parameters(ParameterFilters=where)["Parameters"]
    assert (described["Tier"], described["DataType"]) == ("Standard", "text")
    assert ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"] == tags
    ssm.put_parameter(Name=name, Value="2", Type=kind, AllowedPattern="", Overwrite=True, Tier="Standard")
    assert ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "2"
    ssm.delete_parameter(Name=name)
    assert ssm.describe_parameters(ParameterFilters=where)["Parameters"] == []


def test_the_operators_command(live, ssm, monkeypatch, capsys):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def typed(*arguments):
        options = parser_of("parameters").parse_args([*arguments, "--data-dir", str(live.data_dir)])
        return parameters.run(options), "".join(capsys.readouterr())

    assert typed("list")[1].startswith("There is no public parameter.")
    arn = "arn:aws:ssm:us-east-1::parameter/aws/service/shop/image"
    assert typed("put", "/aws/service/shop/image", "v1", "--description", "d") == (0, f"{arn} has version 1\n")
    assert typed("put", "/aws/service/shop/image", "v2") == (0, f"{arn} has version 2\n")
    assert typed("list") == (0, "/aws/service/shop/image  version 2  v2\n")
    assert ssm.get_parameter(Name=arn)["Parameter"]["Value"] == "v2"
    code, said = typed("put", "/shop/image", "v")
    assert (code, "begin with /aws/service/" in said) == (1, True)
    assert typed("delete", "/aws/service/shop/image") == (0, "/aws/service/shop/image is gone\n")
    assert typed("list")[1].startswith("There is no public parameter.")
