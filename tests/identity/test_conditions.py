"""Conditions: each operator, keys that are absent, and what requests say of themselves."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_identity_harness import ACCOUNT, OTHER, REGION, document

from penstock.identity import context
from penstock.identity.conditions import compile_condition
from penstock.identity.context import RequestContext
from penstock.identity.errors import AccessDeniedException, MalformedPolicyDocumentException
from penstock.wire.call import Call
from penstock.wire.errors import AccessDenied


@pytest.mark.parametrize(("via", "first", "last"), [((), "", ""), (("a",), "a", "a"), (("a", "b"), "a", "b")])
def test_the_first_and_the_last_service_that_called(via, first, last):
    call: Any = SimpleNamespace(called_via=via)
    assert [context._GLOBAL[f"aws:CalledVia{which}"](call) for which in ("", "First", "Last")] == [via, first, last]


PIPELINE = "codepipeline.amazonaws.com"


def holds(element, **context):
    compiled = compile_condition(element, "2012-10-17")
    return compiled is None or compiled.holds({f"aws:{name}": value for name, value in context.items()})


@pytest.mark.parametrize(
    ("element", "context", "expected"),
    [
        ({}, {}, True),
        ({"StringEquals": {"aws:username": "ann"}}, {"username": "ann"}, True),
        ({"StringEquals": {"AWS:UserName": ["bob", "ann"]}}, {"username": "ann"}, True),
        ({"StringEquals": {"aws:username": "Ann"}}, {"username": "ann"}, False),
        ({"StringEqualsIgnoreCase": {"aws:username": "Ann"}}, {"username": "ann"}, True),
        ({"StringEqualsIgnoreCase": {"aws:username": "bob"}}, {"username": "ann"}, False),
        ({"StringNotEqualsIgnoreCase": {"aws:username": "Ann"}}, {"username": "aNN"}, False),
        ({"StringNotEqualsIgnoreCase": {"aws:username": "bob"}}, {"username": "ann"}, True),
        ({"StringNotEquals": {"aws:username": ["bob", "ann"]}}, {"username": "ann"}, False),
        ({"StringNotEquals": {"aws:username": ["bob"]}}, {"username": "ann"}, True),
        ({"StringLike": {"aws:username": "a?n*"}}, {"username": "annabel"}, True),
        ({"StringNotLike": {"aws:username": "a*"}}, {"username": "annabel"}, False),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:codepipeline:*:1:p*"}},
            {"sourcearn": "arn:aws:codepipeline:x:1:pipe"},
            True,
        ),
        ({"ArnEquals": {"aws:SourceArn": "arn:aws:*:x"}}, {"sourcearn": "arn:aws:a:b:c:x"}, False),
        ({"Bool": {"aws:SecureTransport": False}}, {"securetransport": "false"}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, {"securetransport": "false"}, False),
        ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::1"]}}, {"sourceip": "10.1.2.3"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"sourceip": "10.1.2.3"}, False),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"sourceip": "::1"}, False),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"sourceip": "what"}, False),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, {"sourceip": "::ffff:10.1.2.3"}, True),
        ({"IpAddress": {"aws:SourceIp": "::ffff:10.0.0.0/104"}}, {"sourceip": "10.1.2.3"}, True),
        ({"NotIpAddress": {"aws:SourceIp": "::ffff:10.0.0.0/104"}}, {"sourceip": "10.1.2.3"}, False),
        ({"IpAddress": {"aws:SourceIp": "::/0"}}, {"sourceip": "10.1.2.3"}, False),
        ({"IpAddress": {"aws:SourceIp": "::ffff:0:0/96"}}, {"sourceip": "10.1.2.3"}, True),
        ({"IpAddress": {"aws:SourceIp": "::ffff:10.0.0.0/97"}}, {"sourceip": "10.1.2.3"}, True),
        ({"IpAddress": {"aws:SourceIp": "::ffff:10.0.0.0/97"}}, {"sourceip": "138.1.2.3"}, False),
        ({"IpAddress": {"aws:SourceIp": "::ffff:10.1.2.3/128"}}, {"sourceip": "10.1.2.3"}, True),
        ({"IpAddress": {"aws:SourceIp": "::fffe:0:0/95"}}, {"sourceip": "10.1.2.3"}, False),
        ({"ForAnyValue:StringEquals": {"aws:CalledVia": ["a", "b"]}}, {"calledvia": ("x", "b")}, True),
        ({"ForAnyValue:StringEquals": {"aws:CalledVia": ["a", "b"]}}, {"calledvia": ("x",)}, False),
        ({"ForAnyValue:StringEquals": {"aws:CalledVia": "a"}}, {}, False),
        ({"ForAnyValue:StringNotEquals": {"aws:CalledVia": "a"}}, {"calledvia": ("a", "b")}, True),
        ({"ForAllValues:StringEquals": {"aws:CalledVia": ["a", "b"]}}, {"calledvia": ("a", "b")}, True),
        ({"ForAllValues:StringEquals": {"aws:CalledVia": ["a", "b"]}}, {"calledvia": ("a", "x")}, False),
        ({"ForAllValues:StringEquals": {"aws:CalledVia": "a"}}, {}, True),
        ({"ForAnyValue:StringLike": {"aws:username": "a*"}}, {"username": "ann"}, True),
        (
            {"DateLessThan": {"aws:CurrentTime": "2027-01-01T00:00:00Z"}},
            {"currenttime": "2026-12-31T23:59:59+00:00"},
            True,
        ),
        ({"DateGreaterThan": {"aws:EpochTime": 100}}, {"epochtime": "100"}, False),
        ({"DateGreaterThanEquals": {"aws:EpochTime": 100}}, {"epochtime": "100"}, True),
        ({"DateLessThan": {"aws:username": "2027-01-01"}}, {"username": "ann"}, False),
        ({"NumericEquals": {"aws:n": 3}}, {"n": "3.0"}, True),
        ({"NumericEquals": {"aws:n": "3"}}, {"n": "4"}, False),
        ({"NumericNotEquals": {"aws:n": "3"}}, {"n": "4"}, True),
        ({"NumericLessThan": {"aws:n": "10"}}, {"n": "9"}, True),
        ({"NumericLessThan": {"aws:n": "10"}}, {"n": "10"}, False),
        ({"NumericLessThanEquals": {"aws:n": "10"}}, {"n": "10"}, True),
        ({"NumericGreaterThan": {"aws:n": 1.5}}, {"n": "1.5"}, False),
        ({"NumericGreaterThanEquals": {"aws:n": 1.5}}, {"n": "1.5"}, True),
        ({"NumericLessThan": {"aws:n": "10"}}, {"n": "few"}, False),
        ({"BinaryEquals": {"aws:n": "YWI="}}, {"n": "YWI="}, True),
        ({"BinaryEquals": {"aws:n": "YWI="}}, {"n": "YWM="}, False),
        ({"BinaryEquals": {"aws:n": "YWI="}}, {"n": "no base64"}, False),
        ({"DateEquals": {"aws:CurrentTime": "2027"}}, {"currenttime": "2027-01-01T00:00:00Z"}, True),
        ({"DateEquals": {"aws:CurrentTime": "2027-01-01T01:00:00+01:00"}}, {"currenttime": "1798761600"}, True),
        ({"DateNotEquals": {"aws:CurrentTime": "2027-01-01"}}, {"currenttime": "1798761600.5"}, True),
        (
            {"DateLessThanEquals": {"aws:CurrentTime": "2027-01-01T00:00:00.5Z"}},
            {"currenttime": "2027-01-01T00:00:00.4Z"},
            True,
        ),
        ({"DateGreaterThan": {"aws:CurrentTime": "01T"}}, {"currenttime": "2027-01-01"}, True),
        ({"DateLessThan": {"aws:CurrentTime": "-292275054"}}, {"currenttime": "2027-01-01"}, False),
        ({"Bool": {"aws:MultiFactorAuthPresent": "false"}}, {}, False),
        ({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}}, {}, True),
        ({"Bool": {"aws:SecureTransport": "TRUE"}}, {"securetransport": "true"}, True),
        ({"StringEquals": {"aws:tagkeys": "a"}}, {"tagkeys": ("b", "a")}, True),
        ({"StringNotEquals": {"aws:tagkeys": "a"}}, {"tagkeys": ("b", "a")}, False),
        ({"StringEquals": {"aws:username": []}}, {"username": "ann"}, False),
        ({"StringNotEquals": {"aws:username": []}}, {"username": "ann"}, True),
        ({"ForAllValues:StringLike": {"aws:tagkeys": ["a*", "b"]}}, {"tagkeys": ("ab", "b")}, True),
        ({"ForAnyValue:StringEqualsIfExists": {"aws:tagkeys": "a"}}, {}, True),
        ({"Null": {"aws:tagkeys": "true"}}, {"tagkeys": ()}, True),
        # Variables.
        ({"StringEquals": {"aws:username": "${aws:userid}"}}, {"username": "a", "userid": "a"}, True),
        ({"StringEquals": {"aws:username": "${aws:userid}"}}, {"username": "a", "userid": "b"}, False),
        ({"StringEquals": {"aws:username": "${aws:userid}"}}, {"username": "a"}, False),
        ({"StringNotEquals": {"aws:username": "${aws:userid}"}}, {"username": "a"}, True),
        ({"StringEquals": {"aws:username": "${aws:userid, 'ann'}"}}, {"username": "ann"}, True),
        ({"StringEquals": {"aws:username": "x-${aws:userid,'a b'}-y"}}, {"username": "x-a b-y"}, True),
        ({"StringEquals": {"aws:username": "${*}${?}${$}"}}, {"username": "*?$"}, True),
        ({"StringLike": {"aws:username": "${*}*"}}, {"username": "*ab"}, True),
        ({"StringLike": {"aws:username": "${*}*"}}, {"username": "ab"}, False),
        ({"StringLike": {"aws:username": "${aws:userid}/*"}}, {"username": "a*/x", "userid": "a*"}, True),
        ({"StringLike": {"aws:username": "${aws:userid}/*"}}, {"username": "ab/x", "userid": "a*"}, False),
        ({"StringEquals": {"aws:username": "${aws:tagkeys}"}}, {"username": "a", "tagkeys": ("a",)}, False),
        ({"StringEquals": {"aws:username": "${unfinished"}}, {"username": "${unfinished"}, True),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::${aws:username}-*"}},
            {"sourcearn": "arn:aws:s3:::ann-x", "username": "ann"},
            True,
        ),
        ({"Null": {"aws:username": "true"}}, {}, True),
        ({"Null": {"aws:username": "false"}}, {}, False),
        ({"Null": {"aws:username": False}}, {"username": "x"}, True),
        ({"StringEquals": {"aws:username": "ann"}}, {}, False),
        ({"StringNotEquals": {"aws:username": "ann"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:username": "ann"}}, {}, True),
        ({"StringEqualsIfExists": {"aws:username": "ann"}}, {"username": "bob"}, False),
        ({"BoolIfExists": {"aws:SecureTransport": "false"}}, {}, True),
        ({"StringEquals": {"aws:username": "ann", "aws:userid": "1"}}, {"username": "ann", "userid": "1"}, True),
        ({"StringEquals": {"aws:username": "ann", "aws:userid": "1"}}, {"username": "ann", "userid": "2"}, False),
        ({"StringEquals": {"aws:username": "ann"}, "Null": {"aws:userid": "true"}}, {"username": "ann"}, True),
    ],
)
def test_operators(element, context, expected):
    assert holds(element, **context) is expected


@pytest.mark.parametrize("arn", [False, True])
@pytest.mark.parametrize("word", ["Equals", "EqualsIgnoreCase", "Like"])
@pytest.mark.parametrize("negation", ["", "Not"])
def test_every_operator_of_texts_fills_variables_and_some_have_wildcards(negation, word, arn):
    operator = f"Arn{negation}{word.removesuffix('IgnoreCase')}" if arn else f"String{negation}{word}"
    for listed, asked, wild in (
        ("arn:aws:s3:::${aws:userid}", "arn:aws:s3:::ann", False),
        ("arn:aws:s3:::${aws:userid}?*", "arn:aws:s3:::ann-x", True),
        ("arn:aws:s3:::?nn*", "arn:aws:s3:::anna", True),
    ):
        matches = not wild or arn or word == "Like"
        assert holds({operator: {"aws:n": listed}}, n=asked, userid="ann") is (matches is not bool(negation))
        assert holds({operator: {"aws:n": listed}}, n="arn:aws:s3:::bob", userid="ann") is bool(negation)
    # A star that a variable stands for is none of the pattern's.
    filled = {operator: {"aws:n": "arn:aws:s3:::${aws:userid}"}}
    assert holds(filled, n="arn:aws:s3:::ab", userid="a*") is bool(negation)
    assert holds(filled, n="arn:aws:s3:::a*", userid="a*") is not bool(negation)


@pytest.mark.parametrize("operator", ["NumericEquals", "DateEquals", "Bool", "IpAddress", "BinaryEquals"])
def test_operators_of_other_kinds_take_no_variables(operator):
    with pytest.raises(MalformedPolicyDocumentException, match="legacy parsing"):
        compile_condition({operator: {"aws:n": "${aws:userid}"}}, "2012-10-17")


@pytest.mark.parametrize("kind", ["Numeric", "Date"])
def test_what_can_be_ordered_is_compared_at_the_very_value(kind):
    expected = {
        "Equals": "nyn", "NotEquals": "yny", "LessThan": "ynn", "LessThanEquals": "yyn", "GreaterThan": "nny", "GreaterThanEquals": "nyy",
    }  # fmt: skip
    for operator, answers in expected.items():
        asked = ("1999", "2000", "2001") if kind == "Numeric" else ("946684799", "2000-01-01T00:00:00Z", "946684801")
        got = [holds({f"{kind}{operator}": {"aws:n": "2000"}}, n=one) for one in asked]
        assert got == [answer == "y" for answer in answers], operator


def test_the_keys_that_a_condition_asks_for():
    compiled = compile_condition(
        {"StringLike": {"aws:N": ["${aws:UserId}-${s3:Prefix, 'x'}", "plain"]}, "Null": {"aws:M": True}}, "2012-10-17"
    )
    assert compiled is not None
    assert compiled.keys == {"aws:n", "aws:userid", "s3:prefix", "aws:m"}


values = st.text("aAb*?", max_size=4)


@given(st.lists(values, min_size=1, max_size=3), st.none() | st.text("aAb", max_size=4))
def test_negated_operators_are_the_opposite(listed, value):
    context = {} if value is None else {"username": value}
    for operator in ("StringEquals", "StringLike", "StringEqualsIgnoreCase", "ArnLike"):
        negated = operator.replace("String", "StringNot").replace("Arn", "ArnNot")
        assert holds({operator: {"aws:username": listed}}, **context) is not holds(
            {negated: {"aws:username": listed}}, **context
        )


def call_of(harness, session, **more):
    return Call(
        app=harness.app, session=session, account=session.account, region=REGION, service="codepipeline",
        operation="CreatePipeline", request_id="r", now=harness.app.clock.now(), via="http", source_ip="10.1.1.1", **more,
    )  # fmt: skip


async def test_what_a_request_says_of_itself(harness):
    ann = await harness.user("ann")
    context = RequestContext(call_of(harness, ann), "iam:PassRole", f"arn:aws:iam::{OTHER}:role/r")
    assert dict(context) == {
        "aws:currenttime": "2027-01-15T08:00:00+00:00",
        "aws:epochtime": "1800000000",
        "aws:principalaccount": ACCOUNT,
        "aws:principalarn": ann.arn,
        "aws:principalisawsservice": "false",
        "aws:principaltype": "User",
        "aws:requestedregion": REGION,
        "aws:resourceaccount": OTHER,
        "aws:securetransport": "false",
        "aws:sourceip": "10.1.1.1",
        "aws:userid": ann.principal_id,
        "aws:username": "ann",
        "aws:viaawsservice": "false",
    }
    assert "aws:principalorgid" not in context  # a key that nothing here fills is absent
    assert context["iam:passedtoservice"] == PIPELINE
    assert "iam:passedtoservice" not in RequestContext(call_of(harness, ann), "s3:GetObject", "*")
    assert context.get("aws:sourcearn") is None
    assert "nonsense" not in context


async def test_passing_a_role_to_one_service_only(harness):
    """The statement that service roles' usual policies have."""
    policy = document(
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {"StringEqualsIfExists": {"iam:PassedToService": ["cloudformation.amazonaws.com", PIPELINE]}},
        }
    )
    ann = await harness.user("ann", policy)
    role = [f"arn:aws:iam::{ACCOUNT}:role/r"]
    await harness.app.identity.authorize(call_of(harness, ann), "iam:PassRole", role)
    with pytest.raises(AccessDenied):
        await harness.app.identity.authorize(
            dataclasses.replace(call_of(harness, ann), service="codebuild"), "iam:PassRole", role
        )


async def test_verdicts_with_conditions_are_not_remembered(harness, clock):
    limit = {"DateLessThan": {"aws:CurrentTime": "2027-01-15T08:00:10Z"}}
    ann = await harness.user(
        "ann", document({"Effect": "Allow", "Action": "s3:*", "Resource": "*", "Condition": limit})
    )
    await harness.may(ann, "s3:GetObject")
    clock.advance(10_000)
    with pytest.raises(AccessDenied):
        await harness.may(ann, "s3:GetObject")


async def test_the_tags_of_a_user_or_role_are_those_of_the_principal(harness):
    guarded = document(
        {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
        {
            "Effect": "Deny",
            "Action": "s3:*",
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:PrincipalTag/Team": "guest"}},
        },
    )
    ann = await harness.user("ann", guarded)
    await harness.may(ann, "s3:GetObject")
    await harness.iam("TagUser", UserName="ann", Tags=[{"Key": "team", "Value": "guest"}])
    tagged = await harness.session(ann.access_key_id)
    with pytest.raises(AccessDenied, match="explicit deny"):
        await harness.may(tagged, "s3:GetObject")
    made = (await harness.sts("GetSessionToken", by=ann))["Credentials"]
    with pytest.raises(AccessDenied, match="explicit deny"):
        await harness.may(await harness.session(made["AccessKeyId"], made["SessionToken"]), "s3:GetObject")

    trust = {"Effect": "Allow", "Principal": {"AWS": ann.arn}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    role = await harness.role("r", document(trust), guarded, Tags=[{"Key": "team", "Value": "guest"}])
    with pytest.raises(AccessDenied, match="explicit deny"):
        await harness.may(await harness.assumed(role, by=ann), "s3:GetObject")
    over = await harness.assumed(role, by=ann, Tags=[{"Key": "Team", "Value": "staff"}])
    await harness.may(over, "s3:GetObject")
    assert over.tags == {"Team": "staff"}


async def test_a_deny_over_plain_http(harness):
    ann = await harness.user(
        "ann",
        document(
            {"Effect": "Allow", "Action": "*", "Resource": "*"},
            {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        ),
    )
    await harness.app.identity.authorize(call_of(harness, ann, secure=True), "s3:GetObject", ["*"])
    with pytest.raises(AccessDenied, match="explicit deny"):
        await harness.app.identity.authorize(call_of(harness, ann), "s3:GetObject", ["*"])


def trusting_if(condition, **principal):
    return json.dumps(
        {"Statement": {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition}}
    )


async def test_the_external_id(harness):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting_if({"StringEquals": {"sts:ExternalId": "secret"}}, AWS=ann.arn))
    await harness.assumed(role, by=ann, ExternalId="secret")
    for wrong in ({}, {"ExternalId": "guess"}):
        with pytest.raises(AccessDeniedException):
            await harness.assumed(role, by=ann, **wrong)


async def test_services_act_for_an_account_and_a_resource(harness):
    pipeline = f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:app"
    identity = harness.app.identity
    acting = {"service": PIPELINE, "session_name": "run", "region": REGION, "account": ACCOUNT}
    mine = await harness.role("mine", trusting_if({"StringEquals": {"aws:SourceAccount": ACCOUNT}}, Service=PIPELINE))
    other = await harness.role("other", trusting_if({"StringEquals": {"aws:SourceAccount": OTHER}}, Service=PIPELINE))
    one = await harness.role("one", trusting_if({"ArnLike": {"aws:SourceArn": pipeline}}, Service=PIPELINE))
    assert await identity.role_trusts(mine, PIPELINE, account=ACCOUNT, source_arn="")
    assert not await identity.role_trusts(other, PIPELINE, account=ACCOUNT, source_arn="")
    assert not await identity.role_trusts(one, PIPELINE, account=ACCOUNT, source_arn="")
    assert await identity.role_trusts(one, PIPELINE, account=ACCOUNT, source_arn=pipeline)
    await identity.assume(role_arn=mine, source_arn="", **acting)
    await identity.assume(role_arn=one, source_arn=pipeline, **acting)
    for role, arn in ((other, ""), (one, ""), (one, pipeline + "2")):
        with pytest.raises(AccessDenied):
            await identity.assume(role_arn=role, source_arn=arn, **acting)
