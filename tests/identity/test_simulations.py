"""Simulations of policies: decisions, the statements that made them, and what was not known."""

import json

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, allow, document, refused, trusting

from penstock.identity.document_texts import statement_places
from penstock.identity.documents import keys_as_written

BUCKET, OBJECT = "arn:aws:s3:::shop", "arn:aws:s3:::shop/a"
OWN = f"arn:aws:iam::{ACCOUNT}:user/ann"
DYNAMO = (
    '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*",'
    '"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2015-08-16T12:00:00Z"}}}}'
)


def brief(answer):
    """(action, resource, decision, names of the policies whose statements matched, missing keys) of each result."""
    return [
        (
            one["EvalActionName"].partition(":")[2],
            one["EvalResourceName"],
            one["EvalDecision"],
            [found["SourcePolicyId"] for found in one["MatchedStatements"]],
            one["MissingContextValues"],
        )
        for one in answer["EvaluationResults"]
    ]


async def simulated(harness, *documents, **more):
    input = {"PolicyInputList": list(documents), "ActionNames": ["s3:GetObject"], **more}
    return (await harness.iam("SimulateCustomPolicy", **input))["EvaluationResults"]


async def test_aws_own_example_is_answered_as_its_guide_shows_it(harness):
    entry = {
        "ContextKeyName": "aws:CurrentTime",
        "ContextKeyValues": ["2016-01-01T00:00:00Z"],
        "ContextKeyType": "date",
    }
    answer = await harness.iam(
        "SimulateCustomPolicy",
        PolicyInputList=[DYNAMO],
        ActionNames=["dynamodb:CreateBackup"],
        ContextEntries=[entry],
    )
    assert answer == {
        "EvaluationResults": [
            {
                "EvalActionName": "dynamodb:CreateBackup",
                "EvalResourceName": "*",
                "EvalDecision": "allowed",
                "MatchedStatements": [
                    {
                        "SourcePolicyId": "PolicyInputList.1",
                        "SourcePolicyType": "IAM Policy",
                        "StartPosition": {"Line": 1, "Column": 38},
                        "EndPosition": {"Line": 1, "Column": 167},
                    }
                ],
                "MissingContextValues": [],
                "EvalDecisionDetails": {},
                "OrganizationsDecisionDetail": {"AllowedByOrganizations": True},
            }
        ],
        "IsTruncated": False,
    }
    missing = await harness.iam(
        "SimulateCustomPolicy", PolicyInputList=[DYNAMO], ActionNames=["dynamodb:CreateBackup", "s3:GetObject"]
    )
    assert brief(missing) == [
        ("CreateBackup", "*", "implicitDeny", [], ["aws:CurrentTime"]),
        ("GetObject", "*", "implicitDeny", [], []),
    ]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"Statement":[{"a":1},{"b":{"c":[1]}}]}', [((1, 15), (1, 22)), ((1, 22), (1, 38))]),
        ('{"Id": "Statement", "Statement": {"Effect": "}{\\"["}}', [((1, 35), (1, 53))]),
        ('{\n  "Version": "x",\n  "Statement": [\n    {\n      "E": 1\n    }\n  ]\n}', [((3, 17), (6, 6))]),
    ],
)
def test_places_of_statements(text, places):
    json.loads(text)
    assert statement_places(text) == places


def test_keys_are_spelt_as_the_document_spells_them():
    text = document(
        {
            "Effect": "Allow",
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::b/${aws:userName}", "arn:aws:s3:::b/${$}", "arn:aws:s3:::c/${aws:username}"],
            "Condition": {"StringLike": {"s3:Prefix": ["${aws:PrincipalTag/Team, 'x'}", "y"], "aws:UserAgent": "z"}},
        }
    )
    asked = {"aws:username", "s3:prefix", "aws:principaltag/team"}
    assert list(keys_as_written(text, asked).values()) == ["aws:userName", "aws:PrincipalTag/Team", "s3:Prefix"]


DECISIONS = [
    ([allow("s3:*")], {}, "allowed", ["PolicyInputList.1"]),
    ([allow("s3:Put*")], {}, "implicitDeny", []),
    ([allow("s3:*"), document({"Effect": "Deny", "Action": "s3:G*", "Resource": "*"})], {}, "explicitDeny",
     ["PolicyInputList.2"]),
    ([allow("s3:*")], {"PermissionsBoundaryPolicyInputList": [allow("ec2:*")]}, "implicitDeny", []),
    ([allow("s3:*")], {"PermissionsBoundaryPolicyInputList": [allow("s3:Get*")]}, "allowed", ["PolicyInputList.1"]),
    ([allow("s3:*")], {"OrderedOrganizationPolicyInputList": [
        {"ServiceControlPolicyInputList": [allow("*")]}, {"ServiceControlPolicyInputList": [allow("ec2:*")]},
    ]}, "implicitDeny", []),
    ([allow("s3:*")], {"ResourceOwner": f"arn:aws:iam::{OTHER}:root"}, "implicitDeny", []),
    ([allow("ec2:*")], {"CallerArn": OWN, "ResourcePolicy": document(
        {"Effect": "Allow", "Principal": {"AWS": OWN}, "Action": "s3:GetObject", "Resource": OBJECT},
        {"Effect": "Deny", "Principal": {"AWS": f"{OWN}a"}, "Action": "s3:GetObject", "Resource": OBJECT},
    )}, "allowed", ["ResourcePolicy"]),
    ([allow("ec2:*")], {"CallerArn": OWN, "ResourcePolicy": document(
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:GetObject", "Resource": OBJECT}
    )}, "implicitDeny", []),
    ([allow("s3:*")], {"CallerArn": OWN, "ResourcePolicy": document(
        {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": OBJECT}
    )}, "explicitDeny", ["ResourcePolicy"]),
]  # fmt: skip


async def test_a_simulation_decides_as_a_request_does(harness):
    for policies, more, decision, matched in DECISIONS:
        (one,) = await simulated(harness, *policies, ResourceArns=[OBJECT], **more)
        assert (one["EvalDecision"], [found["SourcePolicyId"] for found in one["MatchedStatements"]]) == (
            decision,
            matched,
        )
        (each,) = one["ResourceSpecificResults"]
        assert (each["EvalResourceName"], each["EvalResourceDecision"]) == (OBJECT, decision)
        bounded = "PermissionsBoundaryPolicyInputList" in more
        assert one.get("PermissionsBoundaryDecisionDetail") == (
            {"AllowedByPermissionsBoundary": decision == "allowed"} if bounded else None
        )
        organized = one["OrganizationsDecisionDetail"]["AllowedByOrganizations"]
        assert organized is ("OrderedOrganizationPolicyInputList" not in more)


async def test_another_account_must_allow_too_and_the_result_says_what_each_says(harness):
    policy = document({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "s3:*", "Resource": OBJECT})
    more = {"ResourceArns": [OBJECT], "ResourceOwner": f"arn:aws:iam::{OTHER}:root", "CallerArn": OWN}
    (both,) = await simulated(harness, allow("s3:*"), ResourcePolicy=policy, **more)
    assert both["EvalDecisionDetails"] == {"IAM Policy": "allowed", "Resource Policy": "allowed"}
    (alone,) = await simulated(harness, allow("ec2:*"), ResourcePolicy=policy, **more)
    assert (both["EvalDecision"], alone["EvalDecision"]) == ("allowed", "implicitDeny")
    assert alone["EvalDecisionDetails"] == {"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}


async def test_the_policies_of_a_principal_are_asked_with_those_of_its_groups_and_its_boundary(harness):
    await harness.user("ann", allow("s3:GetObject", resource="arn:aws:s3:::shop/${aws:username}"))
    await harness.iam("CreateGroup", GroupName="devs")
    await harness.iam("PutGroupPolicy", GroupName="devs", PolicyName="lists", PolicyDocument=allow("s3:List*"))
    await harness.iam("AddUserToGroup", GroupName="devs", UserName="ann")
    everything = "arn:aws:iam::aws:policy/AdministratorAccess"
    own = (await harness.iam("CreatePolicy", PolicyName="Puts", PolicyDocument=allow("s3:Put*")))["Policy"]["Arn"]
    for arn in (everything, own):
        await harness.iam("AttachUserPolicy", UserName="ann", PolicyArn=arn)
    await harness.iam("PutUserPermissionsBoundary", UserName="ann", PermissionsBoundary=own)
    asked = {
        "PolicySourceArn": OWN,
        "ActionNames": ["s3:PutObject", "s3:ListBucket", "s3:GetObject"],
        "ResourceArns": [OBJECT],
    }
    assert brief(await harness.iam("SimulatePrincipalPolicy", **asked)) == [
        ("PutObject", OBJECT, "allowed", ["Puts", "AdministratorAccess"], []),
        ("ListBucket", OBJECT, "implicitDeny", [], []),
        ("GetObject", OBJECT, "implicitDeny", [], ["aws:username"]),
    ]
    # Without the boundary and what is excluded, the inline policies of the user and the group are left.
    inline = {"PolicyName": "lists", "AttachmentType": "group", "AttachmentName": "devs"}
    kept = [{"PolicyType": "permission-boundary"}, {"PolicyType": "user-managed"}, {"PolicyArn": everything}]
    name = {"ContextKeyName": "AWS:UserName", "ContextKeyValues": ["a"], "ContextKeyType": "string"}
    for excluded, lists in ((kept, ["group_devs_lists"]), ([*kept, {"InlinePolicyIdentifier": inline}], [])):
        answer = await harness.iam(
            "SimulatePrincipalPolicy", **asked, PolicyExclusionList=excluded, ContextEntries=[name]
        )
        assert brief(answer) == [
            ("PutObject", OBJECT, "implicitDeny", [], []),
            ("ListBucket", OBJECT, "allowed" if lists else "implicitDeny", lists, []),
            ("GetObject", OBJECT, "allowed", ["user_ann_p0"], []),
        ]
    keys = await harness.iam("GetContextKeysForPrincipalPolicy", PolicySourceArn=OWN, PolicyInputList=[DYNAMO])
    assert keys == {"ContextKeyNames": ["aws:username", "aws:CurrentTime"]}
    await harness.role("bound", trusting(AWS=ACCOUNT), allow("*"), PermissionsBoundary=own)
    role = f"arn:aws:iam::{ACCOUNT}:role/bound"
    assert brief(await harness.iam("SimulatePrincipalPolicy", PolicySourceArn=role, ActionNames=["s3:PutObject"])) == [
        ("PutObject", "*", "allowed", ["role_bound_p0"], [])
    ]
    group = f"arn:aws:iam::{ACCOUNT}:group/devs"
    assert brief(
        await harness.iam("SimulatePrincipalPolicy", PolicySourceArn=group, ActionNames=["s3:ListBucket"])
    ) == [("ListBucket", "*", "allowed", ["group_devs_lists"], [])]


async def test_pages_of_results_follow_each_other(harness):
    asked = {
        "PolicyInputList": [allow("s3:Get*", resource=OBJECT)],
        "ActionNames": ["s3:GetObject", "s3:PutObject"],
        "ResourceArns": [OBJECT, BUCKET],
    }
    found, marker = [], {}
    for size in (3, 1):
        answer = await harness.iam("SimulateCustomPolicy", **asked, MaxItems=size, **marker)
        assert len(answer["EvaluationResults"]) == size
        found += brief(answer)
        marker = {"Marker": answer["Marker"]} if answer["IsTruncated"] else {}
    assert marker == {}
    assert [one[:3] for one in found] == [
        ("GetObject", OBJECT, "allowed"),
        ("GetObject", BUCKET, "implicitDeny"),
        ("PutObject", OBJECT, "implicitDeny"),
        ("PutObject", BUCKET, "implicitDeny"),
    ]


async def test_a_page_ends_when_it_holds_very_many_statements(harness):
    statements = [{"Effect": "Allow", "Action": "*", "Resource": "*"}] * 1000
    actions = [f"s3:A{number}" for number in range(12)]
    answer = await harness.iam("SimulateCustomPolicy", PolicyInputList=[document(*statements)], ActionNames=actions)
    assert (len(answer["EvaluationResults"]), answer["IsTruncated"]) == (10, True)


NO_ARNS = ("shop", "arn:aws:s3::", "a:b:c:d:e:f")

REFUSED = [
    ("SimulatePrincipalPolicy", {"PolicySourceArn": f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"},
     ("InvalidInput", f"Invalid Entity Arn: arn:aws:sts::{ACCOUNT}:assumed-role/r/s does not clearly define entity type and name.")),
    ("SimulatePrincipalPolicy", {"PolicySourceArn": OWN}, ("NoSuchEntity", "The user with name ann cannot be found.")),
    ("SimulatePrincipalPolicy", {"PolicySourceArn": f"arn:aws:iam::{OTHER}:user/administrator"},
     ("NoSuchEntity", "The user with name administrator cannot be found.")),
    ("SimulateCustomPolicy", {"PolicyInputList": ["{"]}, ("InvalidInput", "PolicyInputList.1: Syntax errors in policy.")),
    ("SimulateCustomPolicy", {"PolicyInputList": [DYNAMO], "ActionNames": ["GetObject"]},
     ("InvalidInput", "The action GetObject is invalid since it is missing names")),
    ("SimulateCustomPolicy", {"PolicyInputList": [DYNAMO], "ResourcePolicy": DYNAMO},
     ("InvalidInput", "Invalid caller - Caller cannot be null or empty.")),
    *(("SimulateCustomPolicy", {"PolicyInputList": [DYNAMO], "ResourceArns": [arn]},
       ("InvalidInput", f"ResourceNames are not in a valid ARN format: {arn}.")) for arn in NO_ARNS),
    *(("SimulateCustomPolicy", {"PolicyInputList": [DYNAMO], "ResourceOwner": arn}, ("InvalidInput", "Invalid Resource Owner."))
      for arn in NO_ARNS),
    ("SimulateCustomPolicy", {"PolicyInputList": [DYNAMO], "ContextEntries": [
        {"ContextKeyName": "aws:EpochTime", "ContextKeyValues": ["soon"], "ContextKeyType": "numeric"}]},
     ("InvalidInput", "A value of the context key aws:EpochTime is not of the type numeric.")),
    ("SimulateCustomPolicy", {"PolicyInputList": [DYNAMO], "Marker": "x"}, ("ValidationError", "Invalid Marker.")),
]  # fmt: skip


async def test_what_is_refused(harness):
    await harness.administrator(OTHER)
    for operation, input, answer in REFUSED:
        assert await refused(harness.iam(operation, **{"ActionNames": ["s3:GetObject"], **input})) == answer
