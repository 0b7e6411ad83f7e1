"""Parameters in process, on both databases: versions, labels, tiers, who may read what, and what SecureString is worth."""

import asyncio
import base64
import contextlib
import time

import pytest
import sqlalchemy as sa
from penstock_identity_harness import OTHER, allow, document
from penstock_keys import kms, refused

from penstock.parameters import records
from penstock.parameters.engine import MAX_PARAMETERS
from penstock.parameters.errors import TooManyUpdates

REGION = "us-east-1"
ARN = "arn:aws:ssm:us-east-1:111111111111:parameter"
KB4 = "x" * 4096


async def ssm(harness, by, operation, **input):
    return await harness.app.invoke(by, "ssm", operation, input, region=REGION)


async def put(harness, by, name, value="v", **input):
    input = {"Type": "String", **input}
    return await ssm(harness, by, "PutParameter", Name=name, Value=value, **input)


async def get(harness, by, name, **input):
    return (await ssm(harness, by, "GetParameter", Name=name, **input))["Parameter"]


async def test_versions_and_what_an_overwrite_keeps(harness, owner):
    made = await put(harness, owner, "/a/b", "1", Description="d", AllowedPattern="[0-9]+")
    assert made == {"Version": 1, "Tier": "Standard"}
    message = "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
    assert await refused(put(harness, owner, "/a/b", "2")) == ("ParameterAlreadyExists", message)
    again = await ssm(harness, owner, "PutParameter", Name="/a/b", Value="2", Overwrite=True)
    assert again == {"Version": 2, "Tier": "Standard"}
    read = await get(harness, owner, "/a/b")
    assert {**read, "LastModifiedDate": 0} == {
        "Name": "/a/b",
        "Type": "String",
        "Value": "2",
        "Version": 2,
        "LastModifiedDate": 0,
        "ARN": f"{ARN}/a/b",
        "DataType": "text",
    }
    old = await get(harness, owner, "/a/b:1")
    assert (old["Value"], old["Selector"]) == ("1", ":1")
    assert (await get(harness, owner, f"{ARN}/a/b:1"))["Value"] == "1"
    (listed,) = (await ssm(harness, owner, "DescribeParameters"))["Parameters"]
    assert (listed["Description"], listed["AllowedPattern"], listed["Version"]) == ("d", "[0-9]+", 2)
    mismatch = "Parameter value, cannot be validated against allowedPattern: [0-9]+"
    assert await refused(put(harness, owner, "/a/b", "x", Overwrite=True)) == (
        "ParameterPatternMismatchException",
        mismatch,
    )
    await put(harness, owner, "/a/b", "x", Overwrite=True, AllowedPattern="")
    for absent in ("/a", "/a/b:9", "/a/b:nolabel"):
        code = (await refused(get(harness, owner, absent)))[0]
        assert code == ("ParameterVersionNotFound" if ":" in absent else "ParameterNotFound")
    assert await refused(get(harness, owner, "/none")) == ("ParameterNotFound", "")
    assert await refused(get(harness, owner, "/a/b:9")) == (
        "ParameterVersionNotFound",
        "Systems Manager could not find version 9 of /a/b. Verify the version and try again.",
    )


async def test_two_spellings_of_one_arn_are_never_two_parameters(harness, owner):
    """Else what a policy says of one would be asked of the other."""
    await put(harness, owner, "a", "1")
    assert (await refused(put(harness, owner, "/a", "2", Overwrite=True)))[0] == "ParameterAlreadyExists"
    assert (await refused(get(harness, owner, "/a")))[0] == "ParameterNotFound"
    assert (await get(harness, owner, f"{ARN}/a"))["Name"] == "a"


@pytest.mark.parametrize(
    ("input", "code", "message"),
    [
        ({"Name": "/aws/x"}, "AccessDeniedException", "No access to reserved parameter name: /aws/x."),
        ({"Name": "AWSx"}, "ValidationException", "Parameter name: can't be prefixed with"),
        ({"Name": "/ssm/x"}, "ValidationException", "Parameter name: can't be prefixed with"),
        ({"Name": "a/b"}, "ValidationException", "fully qualified"),
        ({"Name": "/a//b"}, "ValidationException", "Parameter name"),
        ({"Name": "/a/b/"}, "ValidationException", "Parameter name"),
        ({"Name": "/a b"}, "ValidationException", "Parameter name"),
        ({"Name": "/a\n"}, "ValidationException", "Parameter name"),
        ({"Name": "/x" * 16}, "HierarchyLevelLimitExceededException", "maximum of 15 levels"),
        ({"Name": "x" * 1000}, "ValidationException", "the longest one has 1011"),
        ({"Value": ""}, "ValidationException", "greater than or equal to 1"),
        ({"Value": KB4 + "x"}, "ValidationException", "maximum parameter value of 4096 characters. To create"),
        ({"Value": KB4 * 3, "Tier": "Advanced"}, "ValidationException", "maximum parameter value of 8192 characters."),
        ({"Value": KB4 * 3, "Tier": "Intelligent-Tiering"}, "ValidationException", "8192 characters."),
        ({"KeyId": "alias/x"}, "ValidationException", "SecureString type parameter only"),
        ({"Policies": "[]"}, "InvalidPolicyTypeException", "not served"),
        ({"DataType": "aws:ec2:image"}, "ValidationException", "data type is not supported: aws:ec2:image"),
        ({"AllowedPattern": "(?=a)v"}, "InvalidAllowedPatternException", "linear time"),
        ({"AllowedPattern": "("}, "InvalidAllowedPatternException", "linear time"),
        ({"AllowedPattern": "(a{1000}){1000}"}, "InvalidAllowedPatternException", "linear time"),
        ({"Tags": [{"Key": "a", "Value": ""}], "Overwrite": True}, "ValidationException", "can't be used together"),
        ({"Tags": [{"Key": "aws:a", "Value": ""}]}, "ValidationException", "aws:"),
    ],
)
async def test_what_is_not_taken(harness, owner, input, code, message):
    name, value = input.get("Name", "/n"), input.get("Value", "v")
    more = {member: given for member, given in input.items() if member not in ("Name", "Value")}
    found = await refused(put(harness, owner, name=name, value=value, **more))
    assert found[0] == code
    assert message in found[1]
    assert (await ssm(harness, owner, "DescribeParameters"))["Parameters"] == []


async def test_a_type_is_needed_at_first(harness, owner):
    found = await refused(ssm(harness, owner, "PutParameter", Name="n", Value="v"))
    assert found == ("ValidationException", "A parameter type is required when you create a parameter.")


async def test_a_hostile_pattern_costs_linear_time(harness, owner):
    began = time.process_time()
    code, _ = await refused(put(harness, owner, "n", "a" * 4000 + "!", AllowedPattern="(a+)+"))
    assert code == "ParameterPatternMismatchException"
    assert time.process_time() - began < 1


async def test_tiers(harness, owner):
    assert (await put(harness, owner, "i", KB4 + "x", Tier="Intelligent-Tiering"))["Tier"] == "Advanced"
    assert (await put(harness, owner, "i", "small", Overwrite=True))["Tier"] == "Advanced"
    code, message = await refused(put(harness, owner, "i", "small", Overwrite=True, Tier="Standard"))
    assert (code, message[:56]) == (
        "ValidationException",
        "This parameter uses the advanced-parameter tier. You can't"[:56],
    )
    assert (await put(harness, owner, "s", KB4, Tier="Intelligent-Tiering"))["Tier"] == "Standard"


async def test_the_oldest_of_a_hundred_versions_goes_unless_it_has_a_label(harness, owner):
    for number in range(100):
        await put(harness, owner, "n", str(number), Overwrite=number > 0)
    await ssm(harness, owner, "LabelParameterVersion", Name="n", ParameterVersion=1, Labels=["keep"])
    code, message = await refused(put(harness, owner, "n", "x", Overwrite=True))
    assert code == "ParameterMaxVersionLimitExceeded"
    assert "Version 1, the oldest version, can't be deleted" in message
    await ssm(harness, owner, "LabelParameterVersion", Name="n", Labels=["keep"])
    assert (await put(harness, owner, "n", "x", Overwrite=True))["Version"] == 101
    first = await ssm(harness, owner, "GetParameterHistory", Name="n", MaxResults=50)
    second = await ssm(harness, owner, "GetParameterHistory", Name="n", MaxResults=50, NextToken=first["NextToken"])
    assert [one["Version"] for one in first["Parameters"] + second["Parameters"]] == list(range(2, 102))
    assert "NextToken" not in second


async def test_labels_move_and_are_counted(harness, owner):
    await put(harness, owner, "n", "1")
    await put(harness, owner, "n", "2", Overwrite=True)
    given = ["prod", "1st", "aws.x", "bad label"]
    made = await ssm(harness, owner, "LabelParameterVersion", Name="n", ParameterVersion=1, Labels=given)
    assert made == {"InvalidLabels": ["1st", "aws.x", "bad label"], "ParameterVersion": 1}
    assert (await get(harness, owner, "n:prod"))["Value"] == "1"
    await ssm(harness, owner, "LabelParameterVersion", Name="n", Labels=["prod"])
    assert (await get(harness, owner, "n:prod"))["Value"] == "2"
    many = [f"l{number}" for number in range(10)]
    code, _ = await refused(ssm(harness, owner, "LabelParameterVersion", Name="n", Labels=many))
    assert code == "ParameterVersionLabelLimitExceeded"
    gone = await ssm(harness, owner, "UnlabelParameterVersion", Name="n", ParameterVersion=2, Labels=["prod", "never"])
    assert gone == {"RemovedLabels": ["prod"], "InvalidLabels": ["never"]}
    assert (await refused(get(harness, owner, "n:prod")))[0] == "ParameterVersionNotFound"


async def test_lists(harness, owner):
    for name in ("/p/a", "/p/b/c", "/p/b/d", "/pq", "flat"):
        await put(harness, owner, name, Tags=[{"Key": "of", "Value": name[:2]}])

    async def below(path, **input):
        return [one["Name"] for one in (await ssm(harness, owner, "GetParametersByPath", Path=path, **input))["Parameters"]]  # fmt: skip

    async def filtered(key, *values, **more):
        one = {"Key": key, **({"Values": list(values)} if values else {}), **more}
        found = await ssm(harness, owner, "DescribeParameters", ParameterFilters=[one])
        return [one["Name"] for one in found["Parameters"]]

    assert await below("/p") == await below("/p/") == ["/p/a"]
    assert await below("/p", Recursive=True) == ["/p/a", "/p/b/c", "/p/b/d"]
    assert await below("/") == ["/pq"]
    assert await below("/P") == []
    assert await refused(below("p")) == (
        "ValidationException",
        "The parameter path must begin with a slash (/), such as /prod/web.",
    )
    await ssm(harness, owner, "LabelParameterVersion", Name="/p/b/d", Labels=["prod"])
    labelled = [{"Key": "Label", "Values": ["prod"]}]
    assert await below("/p", Recursive=True, ParameterFilters=labelled) == ["/p/b/d"]
    assert await filtered("Name", "flat", "/pq") == ["flat", "/pq"]
    assert await filtered("Name", "/p/b", Option="BeginsWith") == ["/p/b/c", "/p/b/d"]
    assert await filtered("Name", "b/", Option="Contains") == ["/p/b/c", "/p/b/d"]
    assert await filtered("Path", "/p") == ["/p/a"]
    assert await filtered("Path", "/p", Option="Recursive") == ["/p/a", "/p/b/c", "/p/b/d"]
    assert await filtered("tag:of", "/p") == ["/p/a", "/p/b/c", "/p/b/d", "/pq"]
    assert len(await filtered("tag:of")) == 5
    assert await filtered("Tier", "Advanced") == []
    assert "NextToken" not in await ssm(harness, owner, "DescribeParameters", MaxResults=5)
    first = await ssm(harness, owner, "DescribeParameters", MaxResults=4)
    rest = await ssm(harness, owner, "DescribeParameters", MaxResults=4, NextToken=first["NextToken"])
    assert ([len(page["Parameters"]) for page in (first, rest)], "NextToken" in rest) == ([4, 1], False)
    for wrong, code in (
        ({"Key": "Label", "Values": ["x"]}, "InvalidFilterKey"),
        ({"Key": "Type", "Values": ["String"], "Option": "Contains"}, "InvalidFilterOption"),
        ({"Key": "Type"}, "InvalidFilterValue"),
    ):
        assert (await refused(ssm(harness, owner, "DescribeParameters", ParameterFilters=[wrong])))[0] == code
    old = await ssm(harness, owner, "DescribeParameters", Filters=[{"Key": "Name", "Values": ["/p/"]}])
    assert len(old["Parameters"]) == 3
    first = await ssm(harness, owner, "DescribeParameters", MaxResults=4)
    second = await ssm(harness, owner, "DescribeParameters", MaxResults=4, NextToken=first["NextToken"])
    names = [one["Name"] for one in first["Parameters"] + second["Parameters"]]
    assert sorted(names) == ["/p/a", "/p/b/c", "/p/b/d", "/pq", "flat"]
    assert "NextToken" not in second
    assert (await refused(ssm(harness, owner, "DescribeParameters", NextToken="x")))[0] == "InvalidNextToken"


async def test_several_at_once(harness, owner):
    await put(harness, owner, "a", "1")
    read = await ssm(harness, owner, "GetParameters", Names=["a", "none", "a:7"])
    assert [one["Name"] for one in read["Parameters"]] == ["a"]
    assert read["InvalidParameters"] == ["none", "a:7"]
    gone = await ssm(harness, owner, "DeleteParameters", Names=["a", "none"])
    assert gone == {"DeletedParameters": ["a"], "InvalidParameters": ["none"]}
    assert await refused(ssm(harness, owner, "DeleteParameter", Name="a")) == ("ParameterNotFound", "")
    assert (await put(harness, owner, "a"))["Version"] == 1


async def test_tags(harness, owner):
    await put(harness, owner, "n", Tags=[{"Key": "a", "Value": "1"}])
    where = {"ResourceType": "Parameter", "ResourceId": "n"}
    await ssm(harness, owner, "AddTagsToResource", **where, Tags=[{"Key": "b", "Value": "2"}])
    await ssm(harness, owner, "RemoveTagsFromResource", **where, TagKeys=["a"])
    listed = await ssm(harness, owner, "ListTagsForResource", **where)
    assert listed == {"TagList": [{"Key": "b", "Value": "2"}]}
    absent = ssm(harness, owner, "ListTagsForResource", ResourceType="Parameter", ResourceId="none")
    assert (await refused(absent))[0] == "InvalidResourceId"
    other = ssm(harness, owner, "ListTagsForResource", ResourceType="Document", ResourceId="n")
    assert (await refused(other))[0] == "InvalidResourceType"
    spelt = {"ResourceType": "Parameter", "ResourceId": "/n"}  # another name than `n`, with the same ARN
    for change, more in (("AddTagsToResource", {"Tags": [{"Key": "c", "Value": "3"}]}), ("RemoveTagsFromResource", {"TagKeys": ["b"]})):  # fmt: skip
        for resource in (spelt, {**spelt, "ResourceId": "none"}):
            assert (await refused(ssm(harness, owner, change, **resource, **more)))[0] == "InvalidResourceId"
    assert await ssm(harness, owner, "ListTagsForResource", **where) == listed
    ann = await harness.user("ann", allow("ssm:PutParameter"))
    await put(harness, ann, "without")
    assert (await refused(put(harness, ann, "with", Tags=[{"Key": "a", "Value": "1"}])))[0] == "AccessDenied"


async def test_policies_are_asked_about_the_arn_whatever_the_spelling(harness, owner):
    await put(harness, owner, "/team/a", Tags=[{"Key": "team", "Value": "red"}])
    await put(harness, owner, "/team/b")
    one = await harness.user("one", allow("ssm:GetParameter*", resource=f"{ARN}/team/a"))
    for spelling in ("/team/a", "/team/a:1", f"{ARN}/team/a", f"{ARN}/team/a:1"):
        assert (await get(harness, one, spelling))["Value"] == "v"
    for spelling in ("/team/b", "/team/b:1", f"{ARN}/team/b", "/none", f"{ARN}//team/b"):
        assert (await refused(get(harness, one, spelling)))[0] == "AccessDenied"
    both = ssm(harness, one, "GetParameters", Names=["/team/a", "/team/b"])
    assert (await refused(both))[0] == "AccessDenied"
    condition = {"StringEquals": {"aws:ResourceTag/team": "red"}}
    red = await harness.user(
        "red", document({"Effect": "Allow", "Action": "ssm:*", "Resource": "*", "Condition": condition})
    )
    assert (await get(harness, red, "/team/a"))["Value"] == "v"
    assert (await refused(get(harness, red, "/team/b")))[0] == "AccessDenied"
    stranger = await harness.administrator(OTHER)
    assert (await refused(get(harness, stranger, "/team/a")))[0] == "ParameterNotFound"
    assert (await refused(get(harness, stranger, f"{ARN}/team/a")))[0] in ("AccessDenied", "ParameterNotFound")


async def test_writers_at_once_lose_no_version(harness, owner):
    await put(harness, owner, "n", "0")

    async def write(value):
        while True:
            with contextlib.suppress(TooManyUpdates):
                return (await put(harness, owner, "n", value, Overwrite=True))["Version"]

    written = await asyncio.gather(*(write(str(number)) for number in range(5)))
    assert sorted(written) == [2, 3, 4, 5, 6]
    history = (await ssm(harness, owner, "GetParameterHistory", Name="n"))["Parameters"]
    assert {one["Version"]: one["Value"] for one in history[1:]} == {
        version: str(number) for number, version in enumerate(written)
    }


# --- SecureString -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "tier"), [("hush", "Standard"), ("hush" * 2048, "Advanced")])
async def test_a_secret_is_a_ciphertext_for_its_arn(harness, owner, value, tier):
    await put(harness, owner, "/s", value, Type="SecureString", Tier=tier)
    sealed = await get(harness, owner, "/s")
    assert "hush" not in sealed["Value"]
    assert (await get(harness, owner, "/s", WithDecryption=True))["Value"] == value
    (listed,) = (await ssm(harness, owner, "DescribeParameters"))["Parameters"]
    assert (listed["KeyId"], listed["Type"]) == ("alias/aws/ssm", "SecureString")

    def stored(conn):
        return [repr(tuple(row)) for row in conn.execute(sa.select(records.versions))]

    assert "hush" not in "".join(await harness.app.store.read(stored))
    # Moved to another parameter, it is worth nothing.
    await put(harness, owner, "/t", "mine", Type="SecureString", Tier=tier)

    def moved(conn):
        this = records.versions.c.path == "t"
        conn.execute(records.versions.update().where(this).values(value=sealed["Value"]))

    await harness.app.store.write(moved)
    assert await refused(get(harness, owner, "/t", WithDecryption=True)) == (
        "InvalidKeyId",
        "InvalidCiphertextException",
    )


async def test_whoever_reads_a_secret_needs_its_key(harness, owner):
    key = (await kms(harness, owner, "CreateKey"))["KeyMetadata"]["Arn"]
    await put(harness, owner, "/s", "hush", Type="SecureString", KeyId=key)
    reader = await harness.user("reader", allow("ssm:*"))
    blob = base64.b64decode((await get(harness, reader, "/s"))["Value"])
    code, message = await refused(get(harness, reader, "/s", WithDecryption=True))
    assert code == "AccessDenied"
    assert "kms:Decrypt" in message
    context = {"PARAMETER_ARN": f"{ARN}/s"}
    assert (await kms(harness, owner, "Decrypt", CiphertextBlob=blob, EncryptionContext=context))[
        "Plaintext"
    ] == b"hush"
    # The key stays when an overwrite does not name one; the service's own key is for whoever may use the service.
    await put(harness, owner, "/s", "hush 2", Type="SecureString", Overwrite=True)
    (entry,) = (await ssm(harness, owner, "DescribeParameters"))["Parameters"]
    assert entry["KeyId"] == key
    await put(harness, reader, "/own", "hush", Type="SecureString")
    assert (await get(harness, reader, "/own", WithDecryption=True))["Value"] == "hush"
    await kms(harness, owner, "DisableKey", KeyId=key)
    assert await refused(get(harness, owner, "/s", WithDecryption=True)) == ("InvalidKeyId", f"{key} is disabled.")
    assert (await refused(put(harness, owner, "/n", Type="SecureString", KeyId="alias/none")))[0] == "InvalidKeyId"


async def test_public_parameters_are_set_by_the_operator_and_read_by_all_accounts(harness, owner):
    async def ours(by, operation, **input):
        return await harness.app.invoke(by, "penstock", operation, input, region=REGION)

    name, public = "/aws/service/shop/image", "arn:aws:ssm:us-east-1::parameter/aws/service/shop/image"
    foreign = await harness.administrator(OTHER)
    reader = await harness.user("reader", allow("ssm:GetParameter*", resource=public), account=OTHER)
    assert await ours(owner, "PutPublicParameter", name=name, value="v1") == {"arn": public, "version": 1}
    made = await ours(owner, "PutPublicParameter", name=name, value=KB4 + "x", description="d")
    assert made == {"arn": public, "version": 2}
    for by in (owner, foreign, reader):
        read = await get(harness, by, name)
        assert (read["ARN"], read["Value"], read["Version"], read["Type"]) == (public, KB4 + "x", 2, "String")
        assert (await get(harness, by, f"{public}:1"))["Value"] == "v1"
        assert len((await ssm(harness, by, "GetParameterHistory", Name=name))["Parameters"]) == 2
    assert (await ssm(harness, reader, "GetParameters", Names=[name]))["Parameters"][0]["ARN"] == public
    for path in ("/aws/service", "/aws/service/shop/"):
        listed = await ssm(harness, foreign, "GetParametersByPath", Path=path, Recursive=True)
        assert [one["Name"] for one in listed["Parameters"]] == [name]
        code, message = await refused(ssm(harness, reader, "GetParametersByPath", Path=path))
        assert (code, path.rstrip("/") in message) == ("AccessDenied", True)
    assert (await ssm(harness, owner, "GetParametersByPath", Path="/", Recursive=True))["Parameters"] == []
    assert (await ssm(harness, owner, "DescribeParameters"))["Parameters"] == []
    for absent in ("arn:aws:ssm:us-east-1:111111111111:parameter/aws/service/shop/image", "arn:aws:ssm:us-east-1::parameter/shop",
                   "arn:aws:ssm:eu-west-1::parameter/aws/service/shop/image", "aws/service/shop/image"):  # fmt: skip
        assert (await refused(get(harness, owner, absent)))[0] == "ParameterNotFound"
    for by in (owner, foreign):
        refusal = ("AccessDeniedException", f"No access to reserved parameter name: {name}.")
        assert await refused(put(harness, by, name, Overwrite=True)) == refusal
        assert (await refused(ssm(harness, by, "DeleteParameter", Name=name)))[0] == "ParameterNotFound"
        assert (await ssm(harness, by, "DeleteParameters", Names=[name]))["InvalidParameters"] == [name]
        assert (await refused(ssm(harness, by, "LabelParameterVersion", Name=name, Labels=["x"])))[
            0
        ] == "ParameterNotFound"
        tag = {"ResourceType": "Parameter", "ResourceId": name, "Tags": [{"Key": "a", "Value": "b"}]}
        assert (await refused(ssm(harness, by, "AddTagsToResource", **tag)))[0] == "InvalidResourceId"
    for operation, more in (("PutPublicParameter", {"value": "mine"}), ("DeletePublicParameter", {})):
        code, message = await refused(ours(foreign, operation, name=name, **more))
        assert (code, message.endswith("because public parameters are set by account 111111111111")) == (
            "AccessDenied",
            True,
        )
        for bad in (
            "/shop",
            "aws/service/x",
            "/aws/service/",
            "/aws/service/a b",
            "/AWS/service/x",
            f"/aws/service{'/x' * 14}",
        ):
            code, _ = await refused(ours(owner, operation, name=bad, **more))
            assert code in ("ValidationException", "HierarchyLevelLimitExceededException"), bad
    assert (await refused(ours(owner, "PutPublicParameter", name=name, value=KB4 * 3)))[0] == "ValidationException"
    assert (await get(harness, foreign, name))["Version"] == 2
    await ours(owner, "DeletePublicParameter", name=name)
    assert await refused(ours(owner, "DeletePublicParameter", name=name)) == (
        "PublicParameterNotFoundException",
        f"There is no public parameter {name} in us-east-1. `penstock parameters list` shows those that there are.",
    )
    assert (await refused(get(harness, foreign, name)))[0] == "ParameterNotFound"


async def test_a_secret_is_read_as_a_parameter_by_who_may_read_both(harness, owner):
    async def secret(operation, **input):
        return await harness.app.invoke(owner, "secretsmanager", operation, input, region=REGION)

    first, second = "1" * 32, "2" * 32
    await secret("CreateSecret", Name="shop/db", SecretString="one", ClientRequestToken=first)
    await secret("PutSecretValue", SecretId="shop/db", SecretString="two", ClientRequestToken=second)
    await secret("CreateSecret", Name="bytes", SecretBinary=b"x", ClientRequestToken=first)
    name = "/aws/reference/secretsmanager/shop/db"
    read = await get(harness, owner, name, WithDecryption=True)
    assert (read["Name"], read["Value"], read["Type"], read["ARN"]) == (name, "two", "SecureString", f"{ARN}{name}")
    for selector, value in (("AWSPREVIOUS", "one"), (first, "one"), (second, "two")):
        read = await get(harness, owner, f"{name}:{selector}", WithDecryption=True)
        assert (read["Value"], read["Selector"]) == (value, f":{selector}")
    several = await ssm(harness, owner, "GetParameters", Names=[name, f"{name}:none", f"{name}x"], WithDecryption=True)
    assert ([one["Value"] for one in several["Parameters"]], several["InvalidParameters"]) == (
        ["two"],
        [f"{name}:none", f"{name}x"],
    )
    flag = "WithDecryption flag must be True for retrieving a Secret Manager secret."
    assert await refused(get(harness, owner, name)) == ("ValidationException", flag)
    binary = get(harness, owner, "/aws/reference/secretsmanager/bytes", WithDecryption=True)
    assert (await refused(binary))[0] == "ValidationException"
    assert (await refused(put(harness, owner, name, Overwrite=True)))[0] == "AccessDeniedException"
    for actions in (("ssm:*",), ("secretsmanager:*",)):
        half = await harness.user(actions[0].partition(":")[0], allow(*actions))
        assert (await refused(get(harness, half, name, WithDecryption=True)))[0] == "AccessDenied"
    both = await harness.user(
        "both", allow("ssm:GetParameter", resource=f"{ARN}{name}"), allow("secretsmanager:GetSecretValue")
    )
    assert (await get(harness, both, name, WithDecryption=True))["Value"] == "two"


async def test_policies_may_ask_whether_a_call_overwrites_or_reads_all_levels(harness, owner):
    await put(harness, owner, "/a/b", "1")
    for action, key, given, other in (
        ("PutParameter", "ssm:overwrite", {"Name": "/a/b", "Value": "2", "Overwrite": True}, {"Name": "/a/c", "Value": "1", "Type": "String"}),
        ("GetParametersByPath", "ssm:recursive", {"Path": "/a", "Recursive": True}, {"Path": "/a"}),
    ):  # fmt: skip
        for value, may, may_not in (("true", given, other), ("false", other, given)):
            condition = {"StringEquals": {key: value}}
            statement = {"Effect": "Allow", "Action": f"ssm:{action}", "Resource": "*", "Condition": condition}
            who = await harness.user(f"{action}-{value}", document(statement))
            assert (await refused(ssm(harness, who, action, **may_not)))[0] == "AccessDenied"
            await ssm(harness, who, action, **may)


async def test_an_account_has_so_many_parameters_of_a_tier(harness, owner, monkeypatch):
    monkeypatch.setitem(MAX_PARAMETERS, "Standard", 2)
    await put(harness, owner, "a")
    await put(harness, owner, "b")
    assert await refused(put(harness, owner, "c")) == (
        "ParameterLimitExceeded",
        "You have exceeded the number of parameters for this account. Delete one or more parameters and try again.",
    )
    assert (await put(harness, owner, "c", Tier="Advanced"))["Version"] == 1
    assert (await put(harness, owner, "a", Overwrite=True))["Version"] == 2
    listed = await ssm(harness, owner, "DescribeParameters", ParameterFilters=[{"Key": "DataType", "Values": ["text"]}])
    assert [one["Name"] for one in listed["Parameters"]] == ["a", "b", "c"]
    other = await ssm(harness, owner, "DescribeParameters", ParameterFilters=[{"Key": "DataType", "Values": ["x"]}])
    assert other["Parameters"] == []
