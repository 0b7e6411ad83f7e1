"""KMS with boto3 and the AWS CLI against a live server, and the calls that Terraform makes."""

import base64
import json

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def kms(live):
    return live.client("kms")


def code(call, **input):
    with pytest.raises(ClientError) as caught:
        call(**input)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_round_with_boto3(kms):
    made = kms.create_key(Description="of a test")["KeyMetadata"]
    kms.create_alias(AliasName="alias/round", TargetKeyId=made["KeyId"])
    sealed = kms.encrypt(KeyId="alias/round", Plaintext=b"\0secret", EncryptionContext={"a": "b"})
    assert base64.b64encode(sealed["CiphertextBlob"]).startswith(b"AQIC")
    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext={"a": "b"})
    assert (opened["Plaintext"], opened["KeyId"]) == (b"\0secret", made["Arn"])
    with pytest.raises(ClientError) as caught:
        kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])
    assert caught.value.response["Error"] == {"Code": "InvalidCiphertextException", "Message": ""}
    assert [one["KeyId"] for page in kms.get_paginator("list_keys").paginate() for one in page["Keys"]].count(
        made["KeyId"]
    ) == 1
    pages = kms.get_paginator("list_aliases").paginate(KeyId=made["KeyId"])
    assert [one["AliasName"] for page in pages for one in page["Aliases"]] == ["alias/round"]


def test_the_command_line(live, tmp_path):
    key = live.aws("kms", "create-key")["KeyMetadata"]["KeyId"]
    (tmp_path / "plain").write_bytes(b"\xffbytes")
    sealed = live.aws("kms", "encrypt", "--key-id", key, "--plaintext", f"fileb://{tmp_path / 'plain'}")
    (tmp_path / "sealed").write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = live.aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'sealed'}")
    assert base64.b64decode(opened["Plaintext"]) == b"\xffbytes"


@pytest.mark.parametrize(
    ("input", "answer"),
    [
        ({"Plaintext": b"x" * 4097}, ("ValidationException", 400)),
        ({"Plaintext": b"x", "EncryptionContext": {"a": "x" * 8192}}, ("ValidationException", 400)),
        ({"Plaintext": b"x", "GrantTokens": ["t"] * 11}, ("ValidationException", 400)),
        ({"Plaintext": b"x", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}, ("InvalidKeyUsageException", 400)),
    ],
)
def test_what_encrypt_does_not_take(kms, input, answer):
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    assert code(kms.encrypt, KeyId=key, **input) == answer


def test_a_context_of_ten_megabytes_is_refused_by_its_size(kms):
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    _, status = code(kms.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext={"a": "x" * (10 << 20)})
    assert 400 <= status < 500


def test_terraform_makes_reads_and_deletes_a_key_and_its_alias(kms):
    """The calls of aws_kms_key and aws_kms_alias, in the provider's order: a plan after an apply finds nothing to do."""
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"}, "Action": "kms:*", "Resource": "*"}
            ],
        }
    )  # fmt: skip
    tags = [{"TagKey": "team", "TagValue": "red"}]
    key = kms.create_key(
        Description="tf",
        KeyUsage="ENCRYPT_DECRYPT",
        CustomerMasterKeySpec="SYMMETRIC_DEFAULT",
        Policy=policy,
        Tags=tags,
        BypassPolicyLockoutSafetyCheck=False,
        MultiRegion=False,
    )["KeyMetadata"]["KeyId"]
    kms.enable_key_rotation(KeyId=key, RotationPeriodInDays=180)
    found = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (found["Description"], found["Enabled"], found["Origin"], found["KeySpec"]) == (
        "tf",
        True,
        "AWS_KMS",
        "SYMMETRIC_DEFAULT",
    )
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]) == json.loads(policy)
    assert kms.list_resource_tags(KeyId=key)["Tags"] == tags
    rotation = kms.get_key_rotation_status(KeyId=key)
    assert (rotation["KeyRotationEnabled"], rotation["RotationPeriodInDays"]) == (True, 180)
    kms.create_alias(AliasName="alias/tf", TargetKeyId=key)
    listed = [one for page in kms.get_paginator("list_aliases").paginate() for one in page["Aliases"]]
    assert [one["TargetKeyId"] for one in listed if one["AliasName"] == "alias/tf"] == [key]
    kms.delete_alias(AliasName="alias/tf")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    with pytest.raises(ClientError, match="is pending deletion"):
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)


def test_terraform_changes_a_key_its_policy_and_its_alias(kms):
    """The calls of an update of aws_kms_key and aws_kms_alias, and those of aws_kms_key_policy: each is read until it is as it was put."""
    key, other = (kms.create_key(Description="")["KeyMetadata"]["KeyId"] for _ in range(2))
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == ""
    kms.update_key_description(KeyId=key, Description="changed")
    kms.disable_key(KeyId=key)
    found = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (found["Description"], found["Enabled"], found["KeyState"]) == ("changed", False, "Disabled")
    kms.enable_key(KeyId=key)
    kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "1"}, {"TagKey": "b", "TagValue": "2"}])
    kms.untag_resource(KeyId=key, TagKeys=["a"])
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "b", "TagValue": "2"}]
    for enabled in (True, False):
        (kms.enable_key_rotation if enabled else kms.disable_key_rotation)(KeyId=key)
        assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"] is enabled
    default = kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    text = json.dumps({**json.loads(default), "Id": "mine"}, indent=2)  # it is compared byte by byte
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=text, BypassPolicyLockoutSafetyCheck=False)
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == text
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=default, BypassPolicyLockoutSafetyCheck=True)
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == default
    kms.create_alias(AliasName="alias/tf-moved", TargetKeyId=key)
    kms.update_alias(AliasName="alias/tf-moved", TargetKeyId=other)
    listed = [one for page in kms.get_paginator("list_aliases").paginate(KeyId=other) for one in page["Aliases"]]
    assert [(one["AliasName"], one["AliasArn"].rpartition(":")[2]) for one in listed] == [
        ("alias/tf-moved", "alias/tf-moved")
    ]


def test_terraform_makes_reads_and_deletes_a_grant(live, kms):
    """The calls of aws_kms_grant, in the provider's order: it finds the grant in the lists by its id, and waits until it is gone."""
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    role = live.client("iam").create_role(
        RoleName="tf-granted",
        AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "111111111111"}, "Action": "sts:AssumeRole"}]}
        ),
    )["Role"]["Arn"]  # fmt: skip
    context = {"Department": "Finance"}
    made = kms.create_grant(
        Name="my-grant",
        KeyId=key,
        GranteePrincipal=role,
        Operations=["Encrypt", "Decrypt", "GenerateDataKey"],
        Constraints={"EncryptionContextEquals": context},
    )

    def found():
        pages = kms.get_paginator("list_grants").paginate(KeyId=key, Limit=1)
        return [one for page in pages for one in page["Grants"] if one["GrantId"] == made["GrantId"]]

    (shown,) = found()
    assert (shown["Name"], shown["GranteePrincipal"], set(shown["Operations"]), shown["Constraints"]) == (
        "my-grant",
        role,
        {"Encrypt", "Decrypt", "GenerateDataKey"},
        {"EncryptionContextEquals": context},
    )
    assert "RetiringPrincipal" not in shown
    assert kms.list_retirable_grants(RetiringPrincipal=role)["Grants"] == []
    credentials = live.client("sts").assume_role(RoleArn=role, RoleSessionName="tf")["Credentials"]
    keys = {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
        "aws_session_token": credentials["SessionToken"],
    }
    granted = live.client("kms", keys=keys)
    granted.encrypt(KeyId=key, Plaintext=b"s", EncryptionContext=context, GrantTokens=[made["GrantToken"]])
    assert code(granted.encrypt, KeyId=key, Plaintext=b"s")[0] == "AccessDeniedException"
    kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])
    assert found() == []
    assert code(granted.encrypt, KeyId=key, Plaintext=b"s", EncryptionContext=context)[0] == "AccessDeniedException"
    with pytest.raises(ClientError) as caught:
        kms.revoke_grant(KeyId=key, GrantId=made["GrantId"])
    assert caught.value.response["Error"]["Code"] == "NotFoundException"


def test_rotation_with_the_command_line(live):
    key = live.aws("kms", "create-key")["KeyMetadata"]["KeyId"]
    live.aws("kms", "rotate-key-on-demand", "--key-id", key)
    listed = live.aws("kms", "list-key-rotations", "--key-id", key, "--include-key-material", "ALL_KEY_MATERIAL")
    assert [one["KeyMaterialState"] for one in listed["Rotations"]] == ["NON_CURRENT", "CURRENT"]
