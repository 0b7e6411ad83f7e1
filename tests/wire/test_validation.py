"""What a broken constraint is answered with, word for word."""

import json
import time
from datetime import UTC, datetime
from uuid import UUID

import pytest

from penstock.objects.profile import XmlProfile
from penstock.wire.errors import ServiceError, error_class
from penstock.wire.message import RequestHead
from penstock.wire.patterns import full_match
from penstock.wire.profiles import ErrorProfile, MemberError, MemberProfile
from penstock.wire.services import Service
from penstock.wire.validation import validate

PIPELINE = Service("codepipeline", profile=ErrorProfile(prints_values=False))


def broken(service, operation, value) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        validate(service, service.operation(operation), value)
    return caught.value


def pipeline(**changes):
    action = {
        "name": "Source",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
        "configuration": {"S3Bucket": "b", "S3ObjectKey": "k"},
        "outputArtifacts": [{"name": "src"}],
    }
    return {
        "pipeline": {
            "name": "p",
            "roleArn": "arn:aws:iam::111111111111:role/x",
            "artifactStore": {"type": "S3", "location": "bucket"},
            "stages": [{"name": "One", "actions": [action]}, {"name": "Two", "actions": [action]}],
            **changes,
        }
    }


def test_a_good_input_passes_and_unknown_members_are_ignored() -> None:
    validate(PIPELINE, PIPELINE.operation("CreatePipeline"), {**pipeline(), "unknown": object()})


def test_one_violation() -> None:
    error = broken(PIPELINE, "GetPipeline", {"name": "a b"})
    assert error.wire_code == "ValidationException"
    assert error.message == (
        "1 validation error detected: Value at 'name' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [A-Za-z0-9.@\\-_]+"
    )


def test_missing_members_are_null() -> None:
    assert broken(PIPELINE, "GetPipeline", {}).message == (
        "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"
    )
    assert "Value null at 'name'" in broken(PIPELINE, "GetPipeline", {"name": None}).message


def test_several_violations_with_their_places() -> None:
    value = pipeline()
    value["pipeline"]["stages"][1] = {"actions": []}
    action = value["pipeline"]["stages"][0]["actions"][0]
    action["actionTypeId"]["category"] = "Zip"
    action["configuration"] = {"S3Bucket": ""}
    action["runOrder"] = 0
    message = broken(PIPELINE, "CreatePipeline", value).message
    head, *clauses = message.split("; ")
    assert head.startswith("4 validation errors detected: Value at 'pipeline.stages.1.member.actions.1.member.")
    clauses_sent = [head.removeprefix("4 validation errors detected: "), *clauses]
    assert sorted(clauses_sent) == sorted(
        [
            (
                "Value at 'pipeline.stages.1.member.actions.1.member.actionTypeId.category' failed to satisfy constraint: "
                "Member must satisfy enum value set: [Source, Build, Deploy, Test, Invoke, Approval, Compute]"
            ),
            (
                "Value at 'pipeline.stages.1.member.actions.1.member.configuration' failed to satisfy constraint: "
                "Map value must satisfy constraint: [Member must have length less than or equal to 1000, "
                "Member must have length greater than or equal to 1]"
            ),
            (
                "Value at 'pipeline.stages.1.member.actions.1.member.runOrder' failed to satisfy constraint: "
                "Member must have value greater than or equal to 1"
            ),
            "Value null at 'pipeline.stages.2.member.name' failed to satisfy constraint: Member must not be null",
        ]
    )


def test_lengths() -> None:
    assert (
        "Member must have length less than or equal to 100"
        in broken(PIPELINE, "GetPipeline", {"name": "x" * 101}).message
    )
    message = broken(PIPELINE, "GetPipeline", {"name": ""}).message
    assert message.startswith("2 validation errors detected: ")
    assert "Member must have length greater than or equal to 1; " in message
    many = pipeline(
        triggers=[{"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "a"}}] * 51
    )
    assert "'pipeline.triggers' failed to satisfy constraint: Member must have length less than or equal to 50" in (
        broken(PIPELINE, "CreatePipeline", many).message
    )


@pytest.mark.parametrize(
    ("operation", "value", "bound"),
    [
        ("ListPipelines", {"maxResults": 1}, ""),
        ("ListPipelines", {"maxResults": 0}, "Member must have value greater than or equal to 1"),
        ("ListPipelines", {"maxResults": 1000}, ""),
        ("ListPipelines", {"maxResults": 1001}, "Member must have value less than or equal to 1000"),
        ("GetPipeline", {"name": "x"}, ""),
        ("GetPipeline", {"name": "x" * 100}, ""),
        ("GetPipeline", {"name": "x" * 101}, "Member must have length less than or equal to 100"),
        (
            "TagResource",
            {"resourceArn": "arn:aws:codepipeline:r:111111111111:p", "tags": [{"key": "k" * 128, "value": "v" * 256}]},
            "",
        ),
        (
            "TagResource",
            {"resourceArn": "arn:aws:codepipeline:r:111111111111:p", "tags": [{"key": "k", "value": "v" * 257}]},
            "Member must have length less than or equal to 256",
        ),
    ],
)
def test_a_bound_is_within(operation, value, bound) -> None:
    if bound:
        assert bound in broken(PIPELINE, operation, value).message
    else:
        validate(PIPELINE, PIPELINE.operation(operation), value)


def test_as_many_members_as_may_be() -> None:
    trigger = {"providerType": "CodeStarSourceConnection", "gitConfiguration": {"sourceActionName": "a"}}
    validate(PIPELINE, PIPELINE.operation("CreatePipeline"), pipeline(triggers=[trigger] * 50))


def test_elements_of_scalar_lists_are_reported_at_the_list() -> None:
    logs = Service("logs")
    error = broken(logs, "DescribeLogGroups", {"accountIdentifiers": ["1", "x" * 12]})
    assert error.message == (
        "1 validation error detected: Value '[1, xxxxxxxxxxxx]' at 'accountIdentifiers' failed to satisfy constraint: "
        "Member must satisfy constraint: [Member must have length less than or equal to 12, "
        "Member must have length greater than or equal to 12, Member must satisfy regular expression pattern: ^\\d{12}$]"
    )
    assert "Value null at 'accountIdentifiers.2.member'" in (
        broken(logs, "DescribeLogGroups", {"accountIdentifiers": ["1" * 12, None]}).message
    )


def test_query_services_print_values_and_lower_case_names() -> None:
    sts = Service("sts", profile=ErrorProfile(code="ValidationError"))
    value = {"RoleArn": "arn:aws:iam::111111111111:role/x", "RoleSessionName": "a b", "DurationSeconds": 1}
    error = broken(sts, "AssumeRole", value)
    assert error.wire_code == "ValidationError"
    assert error.message == (
        "2 validation errors detected: Value 'a b' at 'roleSessionName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [\\w+=,.@-]*; "
        "Value '1' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"
    )


def test_secrets_are_not_printed() -> None:
    ssm = Service("ssm")
    message = broken(ssm, "PutParameter", {"Name": "n", "Value": "s3cret" * 1000, "Type": "Nope"}).message
    assert "s3cret" not in message
    configuration = pipeline()
    configuration["pipeline"]["stages"][0]["actions"][0]["configuration"] = {"OAuthToken": "s3cret", "x": ""}
    assert "s3cret" not in broken(Service("codepipeline"), "CreatePipeline", configuration).message


class ApplicationNameRequiredException(ServiceError):
    """The minimum number of required application names was not specified."""


class InvalidApplicationNameException(ServiceError):
    """The application name was specified in an invalid format."""


def test_member_profiles_choose_the_members_own_error() -> None:
    table = {
        "applicationName": MemberError(
            required=ApplicationNameRequiredException, invalid=InvalidApplicationNameException
        )
    }
    deploy = Service("codedeploy", profile=MemberProfile(members=table))
    assert isinstance(broken(deploy, "GetApplication", {}), ApplicationNameRequiredException)
    assert isinstance(broken(deploy, "GetApplication", {"applicationName": ""}), ApplicationNameRequiredException)
    assert isinstance(broken(deploy, "GetApplication", {"applicationName": "a b"}), InvalidApplicationNameException)
    assert isinstance(broken(deploy, "GetApplication", {"applicationName": "x" * 101}), InvalidApplicationNameException)
    assert broken(deploy, "GetDeployment", {}).wire_code == "ValidationException"
    narrower = {**table, "GetApplication.applicationName": MemberError(required=error_class("Narrow"))}
    deploy = Service("codedeploy", profile=MemberProfile(members=narrower))
    assert broken(deploy, "GetApplication", {}).wire_code == "Narrow"


def test_profiles_may_leave_kinds_to_the_component() -> None:
    lenient = Service("codepipeline", profile=ErrorProfile(ignore=frozenset({"pattern"})))
    validate(lenient, lenient.operation("GetPipeline"), {"name": "a b"})


def test_s3_reports_body_and_arguments_apart() -> None:
    s3 = Service("s3", profile=XmlProfile())
    value = {"Bucket": "b", "Key": "k", "Tagging": {"TagSet": [{"Key": "x"}]}}
    assert broken(s3, "PutObjectTagging", value).wire_code == "MalformedXML"
    error = broken(s3, "PutObject", {"Bucket": "b", "Key": "k", "ACL": "everybody"})
    assert (error.wire_code, error.values) == (
        "InvalidArgument",
        {"ArgumentName": "x-amz-acl", "ArgumentValue": "everybody"},
    )


@pytest.mark.parametrize("value", [1, [], {}, 1.5, True, b"x", object()])
def test_wrong_types_of_callers_in_process_are_violations(value) -> None:
    assert "Member must be a string" in broken(PIPELINE, "GetPipeline", {"name": value}).message
    if not isinstance(value, dict):
        assert "Member must be a structure" in broken(PIPELINE, "CreatePipeline", {"pipeline": value}).message
    if not isinstance(value, bool):
        stopped = {"pipelineName": "p", "pipelineExecutionId": str(UUID(int=0)), "abandon": value}
        assert "Member must be a boolean" in broken(PIPELINE, "StopPipelineExecution", stopped).message


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("[A-Za-z0-9.@\\-_]+", ["a-b", "A@1"], ["", "a b", "a\n", "ä"]),
        ("[\\w+=,.@-]+", ["a_b"], ["a b", "é"]),
        ("[\\u0020-\\u00FF]+", ["é x"], ["\t", "Ā"]),
        ("^(?!\\s*$).+", [" a"], ["", "   "]),
        ("^.{1,100000}$", ["x", "x" * 4000], [""]),
        ("(\\u002F)|(\\u002F[\\u0021-\\u007E]+\\u002F)", ["/", "/a/"], ["a", "/a"]),
        ("(a+)+b", ["aab"], ["a" * 40]),
        ("[\\p{L}\\p{N}]+", ["é1"], ["-"]),
    ],
)
def test_patterns_match_whole_values_in_bounded_time(pattern, good, bad) -> None:
    matches = full_match(pattern)
    started = time.thread_time()
    assert all(matches(value) for value in good)
    assert not any(matches(value) for value in bad)
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    ("escape", "letter", "matches"),
    [("D7FF", "\ud7ff", True), ("E000", "\ue000", True), ("D800", "b", False), ("DFFF", "b", False)],
)
def test_halves_of_letters_in_patterns_match_nothing(escape, letter, matches) -> None:
    """Java's patterns name the halves of surrogate pairs, which no text holds and RE2 does not take."""
    matching = full_match(rf"[a\u{escape}]+\p{{L}}?")
    assert matching("aa")
    assert bool(matching(f"a{letter}a{letter}")) == matches


def test_every_pattern_of_the_served_models_is_usable() -> None:
    for name in ("codepipeline", "codedeploy", "codebuild", "s3", "iam", "sts", "codecommit", "logs", "kms", "ssm", "sns",
                 "events", "cloudwatch", "lambda", "cloudformation", "secretsmanager", "codeconnections"):  # fmt: skip
        for traits in Service(name).model._shapes.values():
            if "pattern" in traits:
                full_match.__wrapped__(traits["pattern"])("x")


def test_long_answers_stay_bounded() -> None:
    value = {"pipeline": {**pipeline()["pipeline"], "stages": [{}] * 5000}}
    assert len(broken(PIPELINE, "CreatePipeline", value).message) < 100_000
    assert (
        len(
            broken(
                Service("sts", profile=ErrorProfile(code="ValidationError")),
                "AssumeRole",
                {"RoleSessionName": " " * 100_000},
            ).message
        )
        < 10_000
    )


def test_datetimes_of_callers_in_process_become_milliseconds() -> None:
    deploy = Service("codedeploy").operation("ListDeployments")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    value = {"createTimeRange": {"start": moment, "end": 5_000}, "applicationName": "x"}
    assert deploy.in_milliseconds(value) == {
        "createTimeRange": {"start": 1_767_225_600_000, "end": 5_000},
        "applicationName": "x",
    }
    assert value["createTimeRange"]["start"] is moment
    logs = Service("logs").operation("PutLogEvents")
    assert logs.in_milliseconds({"a": 1}) == {"a": 1}


def test_not_a_number_is_beyond_every_bound() -> None:
    error = broken(
        Service("codebuild"), "DescribeCodeCoverages", {"reportArn": "x", "minLineCoveragePercentage": float("nan")}
    )
    assert "Member must have value less than or equal to 100" in error.message


def test_answers_are_json() -> None:
    response = PIPELINE.codec.error(PIPELINE.operation("GetPipeline"), broken(PIPELINE, "GetPipeline", {}), "request-1")
    assert response.status == 400
    assert json.loads(response.body)["__type"] == "ValidationException"
    assert dict(response.headers)[b"x-amzn-requestid"] == b"request-1"
    assert PIPELINE.codec.parse(PIPELINE.operation("GetPipeline"), RequestHead("POST", "/"), b"") == {}
