"""What is made of a job of a pipeline's action that runs commands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.builds import pipeline
from penstock.builds.commands import exports, is_name, kept_of, made_of, name_for, spec_of
from penstock.builds.errors import InvalidInputException
from penstock.builds.projects import check_name
from penstock.builds.unserved import without_effect


def a_job(*lines: str, configuration: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    data = {
        "actionConfiguration": {"configuration": configuration or {}},
        "pipelineContext": {"pipelineName": "shop"},
        "commands": list(lines) or ["make"],
        "environmentVariables": [],
        "timeoutInMinutes": 55,
        "inputArtifacts": [],
        "outputArtifacts": [],
        **more,
    }
    return {"id": "a", "roleArn": "arn:aws:iam::111111111111:role/act", "data": data}


def made(job: dict[str, Any]) -> dict[str, Any]:
    return made_of(job, name="commands.shop", arn="arn:p", key="arn:k")


def test_no_project_can_have_the_name_that_stands_for_one():
    for name in map(name_for, ("shop", "a", "A.b@c-d_e")):
        assert is_name(name)
        with pytest.raises(InvalidInputException):
            check_name(name)
    assert not is_name("commands")


def test_the_machine_is_what_the_action_asks_for():
    plain = made(a_job())
    assert plain["environment"] == {
        "type": "LINUX_CONTAINER",
        "image": "aws/codebuild/amazonlinux2-x86_64-standard:5.0",
        "computeType": "BUILD_GENERAL1_SMALL",
        "environmentVariables": [],
    }
    assert (plain["timeoutInMinutes"], plain["serviceRole"]) == (55, "arn:aws:iam::111111111111:role/act")
    assert plain["logsConfig"]["cloudWatchLogs"]["groupName"] == "/aws/codepipeline/shop"
    asked = {
        "ComputeType": "BUILD_GENERAL1_LARGE",
        "VpcId": "vpc-1",
        "Subnets": "subnet-1, subnet-2,",
        "SecurityGroupIds": "sg-1",
    }
    larger = made(a_job(configuration=asked, timeoutInMinutes=5))
    assert larger["environment"]["computeType"] == "BUILD_GENERAL1_LARGE"
    assert larger["vpcConfig"] == {"vpcId": "vpc-1", "subnets": ["subnet-1", "subnet-2"], "securityGroupIds": ["sg-1"]}
    assert without_effect(larger, {"commands": {}}) == [
        "The action's vpcConfig has no effect: builds use the network of their worker"
    ]
    assert (larger["timeoutInMinutes"], larger["queuedTimeoutInMinutes"]) == (5, 5)


def test_what_no_shell_can_read_is_refused():
    for job in (
        a_job("echo \0"),
        a_job(environmentVariables=[{"name": "A", "value": "\0", "type": "PLAINTEXT"}]),
        a_job(environmentVariables=[{"name": "CODEBUILD_A", "value": "1", "type": "PLAINTEXT"}]),
        a_job(configuration={"EnvironmentType": "WINDOWS_SERVER_2022_CONTAINER"}),
    ):
        with pytest.raises(InvalidInputException):
            made(job)


def test_each_command_is_one_of_the_build_as_it_stands():
    lines = ("echo '#{a.b}' \"$(x)\" {c: d}", "- [", "cat <<E\nE", "é ☃ \x7f")
    kept = kept_of(a_job(*lines, outputVariables=["A"], outputArtifacts=[{"name": "Out", "files": ["a", "b/**"]}]))
    spec = spec_of(kept)
    assert [(phase.name, phase.commands) for phase in spec.phases] == [("build", lines)]
    assert spec.exported_variables == ("A",)
    assert spec.artifacts is not None
    assert spec.artifacts.files == ("a", "b/**")
    assert spec_of(kept_of(a_job())).artifacts is None
    everything = spec_of(kept_of(a_job(outputArtifacts=[{"name": "Out"}]))).artifacts
    assert everything is not None
    assert everything.files == ("**/*",)


def test_credentials_are_not_exported():
    assert [name for name in ("A", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SECRET_ACCESS_KEY") if exports(name)] == [
        "A",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ]


async def test_commands_run_in_the_account_of_their_pipeline(monkeypatch: pytest.MonkeyPatch):
    """AWS: action-reference-Commands, "not supported for cross-account or cross-Region actions"."""
    jobs: list[dict[str, Any] | None] = [None, a_job() | {"accountId": "111111111111"}]
    del jobs[1]["data"]["commands"]  # type: ignore[index]
    jobs.append(a_job() | {"accountId": "222222222222"})
    call: Any = SimpleNamespace(account="111111111111", arn=lambda service, resource: f"arn:{service}:{resource}")

    async def next_job(*_: Any) -> dict[str, Any] | None:
        return jobs.pop(0)

    monkeypatch.setattr(pipeline, "calling_job", next_job)
    assert await pipeline.commands_of(call) is None
    assert await pipeline.commands_of(call) is None
    with pytest.raises(InvalidInputException, match="run in the account of their pipeline, 222222222222"):
        await pipeline.commands_of(call)
