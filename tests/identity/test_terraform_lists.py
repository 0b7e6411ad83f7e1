"""What Terraform's aws_iam_* resources make, change, read and delete, over the wire: what is read is what was made, so nothing drifts."""

import json

import pytest
from botocore.exceptions import ClientError

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "codebuild.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
READS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::shop/*"]}],
}
LISTS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["*"]}]}
TAGS, OTHER_TAGS = [{"Key": "team", "Value": "a"}], [{"Key": "team", "Value": "b"}]
PATH = "/terraform/"
PASSWORDS = {
    "MinimumPasswordLength": 14,
    "RequireSymbols": True,
    "RequireNumbers": True,
    "RequireUppercaseCharacters": True,
    "RequireLowercaseCharacters": True,
    "AllowUsersToChangePassword": True,
    "MaxPasswordAge": 90,
    "PasswordReusePrevention": 24,
}


def role(iam):
    named = {"RoleName": "terraform"}
    asked = {"Path": PATH, "Description": "d", "MaxSessionDuration": 7200, "Tags": TAGS}
    iam.create_role(**named, **asked, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(**named, PolicyName="reads", PolicyDocument=json.dumps(READS))
    found = iam.get_role(**named)["Role"]
    yield {name: found[name] for name in asked}, asked
    yield found["AssumeRolePolicyDocument"], TRUST
    yield iam.list_role_policies(**named)["PolicyNames"], ["reads"]
    yield iam.get_role_policy(**named, PolicyName="reads")["PolicyDocument"], READS
    yield iam.list_attached_role_policies(**named)["AttachedPolicies"], []
    iam.update_role_description(**named, Description="e")
    iam.update_role(**named, Description="e", MaxSessionDuration=3600)
    iam.update_assume_role_policy(**named, PolicyDocument=json.dumps(TRUST, indent=2))
    iam.untag_role(**named, TagKeys=["team"])
    iam.tag_role(**named, Tags=OTHER_TAGS)
    again = iam.get_role(**named)["Role"]
    changed = {**asked, "Description": "e", "MaxSessionDuration": 3600, "Tags": OTHER_TAGS}
    yield {name: again[name] for name in asked}, changed
    iam.delete_role_policy(**named, PolicyName="reads")
    yield iam.list_instance_profiles_for_role(**named)["InstanceProfiles"], []
    iam.delete_role(**named)
    yield missing(iam.get_role, **named), "NoSuchEntity"


def policy(iam):
    arn = iam.create_policy(
        PolicyName="terraform", Path=PATH, Description="d", PolicyDocument=json.dumps(READS), Tags=TAGS
    )["Policy"]["Arn"]
    named = {"PolicyArn": arn}
    found = iam.get_policy(**named)["Policy"]
    yield [found[name] for name in ("Path", "Description", "Tags", "DefaultVersionId")], [PATH, "d", TAGS, "v1"]
    yield iam.get_policy_version(**named, VersionId="v1")["PolicyVersion"]["Document"], READS
    iam.create_policy_version(**named, PolicyDocument=json.dumps(LISTS), SetAsDefault=True)
    iam.untag_policy(**named, TagKeys=["team"])
    iam.tag_policy(**named, Tags=OTHER_TAGS)
    again = iam.get_policy(**named)["Policy"]
    yield [again[name] for name in ("Description", "Tags", "DefaultVersionId")], ["d", OTHER_TAGS, "v2"]
    yield iam.get_policy_version(**named, VersionId="v2")["PolicyVersion"]["Document"], LISTS
    yield [one["VersionId"] for one in iam.list_policy_versions(**named)["Versions"]], ["v2", "v1"]
    iam.delete_policy_version(**named, VersionId="v1")
    iam.delete_policy(**named)
    yield missing(iam.get_policy, **named), "NoSuchEntity"


def user_and_group(iam):
    named = {"UserName": "terraform"}
    iam.create_user(**named, Path=PATH, Tags=TAGS)
    iam.create_group(GroupName="terraform", Path=PATH)
    iam.add_user_to_group(GroupName="terraform", **named)
    found = iam.get_user(**named)["User"]
    yield (found["Path"], found["Tags"]), (PATH, TAGS)
    yield [one["UserName"] for one in iam.get_group(GroupName="terraform")["Users"]], ["terraform"]
    yield [one["GroupName"] for one in iam.list_groups_for_user(**named)["Groups"]], ["terraform"]
    iam.untag_user(**named, TagKeys=["team"])
    yield iam.list_user_tags(**named)["Tags"], []
    iam.remove_user_from_group(GroupName="terraform", **named)
    iam.delete_group(GroupName="terraform")
    iam.delete_user(**named)
    yield missing(iam.get_user, **named), "NoSuchEntity"


def instance_profile(iam):
    named = {"InstanceProfileName": "terraform"}
    iam.create_role(RoleName="terraform-host", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(**named, Path=PATH, Tags=TAGS)
    iam.add_role_to_instance_profile(**named, RoleName="terraform-host")
    found = iam.get_instance_profile(**named)["InstanceProfile"]
    yield (found["Path"], found["Tags"]), (PATH, TAGS)
    yield [one["RoleName"] for one in found["Roles"]], ["terraform-host"]
    iam.remove_role_from_instance_profile(**named, RoleName="terraform-host")
    iam.delete_instance_profile(**named)
    iam.delete_role(RoleName="terraform-host")
    yield missing(iam.get_instance_profile, **named), "NoSuchEntity"


def attachment(iam):
    named, arn = {"RoleName": "terraform-attached"}, "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRole"
    iam.create_role(**named, AssumeRolePolicyDocument=json.dumps(TRUST))
    for _ in range(2):
        iam.attach_role_policy(**named, PolicyArn=arn)
    yield (
        iam.list_attached_role_policies(**named)["AttachedPolicies"],
        [{"PolicyName": "AWSCodeDeployRole", "PolicyArn": arn}],
    )
    found = iam.get_policy(PolicyArn=arn)["Policy"]
    yield (found["AttachmentCount"], found["DefaultVersionId"], found["Tags"]), (1, "v11", [])
    iam.detach_role_policy(**named, PolicyArn=arn)
    yield iam.list_attached_role_policies(**named)["AttachedPolicies"], []
    iam.delete_role(**named)


def provider(iam):
    asked = {"ClientIDList": ["a", "b"], "ThumbprintList": ["a" * 40], "Tags": TAGS}
    named = {
        "OpenIDConnectProviderArn": iam.create_open_id_connect_provider(Url="https://Issuer.example/x/", **asked)[
            "OpenIDConnectProviderArn"
        ]
    }
    found = iam.get_open_id_connect_provider(**named)
    yield {name: found[name] for name in ("Url", *asked)}, {"Url": "Issuer.example/x/", **asked}
    iam.add_client_id_to_open_id_connect_provider(**named, ClientID="c")
    iam.remove_client_id_from_open_id_connect_provider(**named, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(**named, ThumbprintList=["b" * 40])
    iam.untag_open_id_connect_provider(**named, TagKeys=["team"])
    again = iam.get_open_id_connect_provider(**named)
    yield [again[name] for name in asked], [["b", "c"], ["b" * 40], []]
    iam.delete_open_id_connect_provider(**named)
    yield missing(iam.get_open_id_connect_provider, **named), "NoSuchEntity"


def credentials(iam):
    """Of a user: aws_iam_access_key, aws_iam_service_specific_credential and aws_iam_user_login_profile."""
    named = {"UserName": "terraform-credentials"}
    iam.create_user(**named)
    key = iam.create_access_key(**named)["AccessKey"]
    found = iam.list_access_keys(**named)["AccessKeyMetadata"]
    yield [(one["AccessKeyId"], one["Status"]) for one in found], [(key["AccessKeyId"], "Active")]
    iam.update_access_key(**named, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    yield iam.list_access_keys(**named)["AccessKeyMetadata"][0]["Status"], "Inactive"
    last = iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])["AccessKeyLastUsed"]
    yield last, {"ServiceName": "N/A", "Region": "N/A"}
    iam.delete_access_key(**named, AccessKeyId=key["AccessKeyId"])
    service = "codecommit.amazonaws.com"
    made = iam.create_service_specific_credential(**named, ServiceName=service)["ServiceSpecificCredential"]
    listed = iam.list_service_specific_credentials(**named, ServiceName=service)["ServiceSpecificCredentials"]
    yield listed, [{name: value for name, value in made.items() if name != "ServicePassword"}]
    one = {**named, "ServiceSpecificCredentialId": made["ServiceSpecificCredentialId"]}
    iam.update_service_specific_credential(**one, Status="Inactive")
    yield iam.list_service_specific_credentials(**named)["ServiceSpecificCredentials"][0]["Status"], "Inactive"
    iam.delete_service_specific_credential(**one)
    iam.create_login_profile(**named, Password="A-long-Password-1")
    yield iam.get_login_profile(**named)["LoginProfile"]["PasswordResetRequired"], False
    iam.delete_login_profile(**named)
    yield missing(iam.get_login_profile, **named), "NoSuchEntity"
    iam.delete_user(**named)


def linked_role(iam):
    service, named = "rolesanywhere.amazonaws.com", {"RoleName": "AWSServiceRoleForRolesAnywhere"}
    iam.create_service_linked_role(AWSServiceName=service, Description="d")
    found = iam.get_role(**named)["Role"]
    yield (found["Path"], found["Description"]), (f"/aws-service-role/{service}/", "d")
    iam.update_role_description(**named, Description="e")
    iam.tag_role(**named, Tags=TAGS)
    found = iam.get_role(**named)["Role"]
    yield (found["Description"], found["Tags"]), ("e", TAGS)
    task = iam.delete_service_linked_role(**named)["DeletionTaskId"]
    yield iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"], "SUCCEEDED"
    yield missing(iam.get_role, **named), "NoSuchEntity"


def account_alias(iam):
    iam.create_account_alias(AccountAlias="terraform")
    yield iam.list_account_aliases()["AccountAliases"], ["terraform"]
    iam.delete_account_alias(AccountAlias="terraform")
    yield iam.list_account_aliases()["AccountAliases"], []


def password_policy(iam):
    iam.update_account_password_policy(**PASSWORDS)
    found = iam.get_account_password_policy()["PasswordPolicy"]
    yield {name: found[name] for name in PASSWORDS}, PASSWORDS
    yield found["ExpirePasswords"], True
    iam.delete_account_password_policy()
    yield missing(iam.get_account_password_policy), "NoSuchEntity"


def missing(read, **named):
    with pytest.raises(ClientError) as caught:
        read(**named)
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    "resource",
    [
        role,
        policy,
        user_and_group,
        instance_profile,
        attachment,
        provider,
        credentials,
        linked_role,
        account_alias,
        password_policy,
    ],
)
def test_a_resource_is_read_back_as_it_was_made(live, resource):
    for read, wanted in resource(live.client("iam")):
        assert read == wanted
