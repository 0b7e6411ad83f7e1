"""What universal targets call, and how their JSON becomes the input of an operation."""

import pytest

from penstock.events.schedule_targets import Moment, TargetError, converted, filled, members_of, reads, universal
from penstock.wire.errors import MalformedBody
from penstock.wire.services import Service


def of(service, operation, given, token="t"):
    model = Service(service).operation(operation)
    assert model is not None
    return converted(model.input, given, token=token, named=f"{service}:{operation}")


def test_services_by_the_names_of_sdks():
    beginning = "arn:aws:scheduler:::aws-sdk:"
    assert universal(f"{beginning}eventbridge:putEvents") == ("events", "putEvents")
    assert universal(f"{beginning}cloudwatchlogs:createLogGroup") == ("logs", "createLogGroup")
    assert universal("arn:aws-cn:scheduler:::aws-sdk:sns:publish") == ("sns", "publish")
    for other in (
        f"{beginning}sns",
        f"{beginning}sns:publish:more",
        f"{beginning}s ns:publish",
        "arn:aws:sns:::aws-sdk:sns:publish",
    ):
        assert universal(other) is None, other
    assert [name for name in ("getX", "ListX", "batchGetX", "describeX", "createX", "deleteX", "startX") if reads(name)] == [
        "getX", "ListX", "batchGetX", "describeX",
    ]  # fmt: skip


def test_members_are_as_the_operation_takes_them():
    """By either spelling of the first letter, at any depth; base64 and times are read; tokens are filled in."""
    assert of("kms", "Encrypt", {"keyId": "k", "Plaintext": "aGk="}) == {"KeyId": "k", "Plaintext": b"hi"}
    entry = {"source": "s", "Time": "2027-01-15T08:00:00Z"}
    assert of("events", "PutEvents", {"Entries": [entry, {"Time": 1.5}]}) == {
        "Entries": [{"Source": "s", "Time": 1_800_000_000_000}, {"Time": 1500}]
    }
    assert of("codepipeline", "StartPipelineExecution", {"Name": "p"}) == {"name": "p", "clientRequestToken": "t"}
    assert of("codepipeline", "StartPipelineExecution", {"ClientRequestToken": "own"}) == {"clientRequestToken": "own"}
    assert of("codebuild", "StartBuild", {"environmentVariablesOverride": [{"Name": "a"}, 7]}) == {
        "environmentVariablesOverride": [{"name": "a"}, 7]  # what is no structure is the operation's to refuse
    }
    with pytest.raises(TargetError, match="a member nothing that sns:Publish does not have"):
        of("sns", "Publish", {"nothing": 1})
    for bad in ({"Plaintext": "%"}, {"Plaintext": "a"}):
        with pytest.raises(MalformedBody):
            of("kms", "Encrypt", bad)


def test_inputs():
    moment = Moment("arn", "time", "id", 3)
    text = "<aws.scheduler.schedule-arn> <aws.scheduler.scheduled-time> <aws.scheduler.execution-id> <aws.scheduler.attempt-number>"
    assert (
        filled(f"{text} <aws.scheduler.else> <aws.scheduler.>", moment)
        == "arn time id 3 <aws.scheduler.else> <aws.scheduler.>"
    )
    assert members_of('{"a": 1}') == {"a": 1}
    for bad in ("[]", "1", "", "{", "[" * 10_000, '{"a": "\\u0000"}'):
        with pytest.raises(TargetError):
            members_of(bad)
