"""GetActionJob: what a service is told of the running action that works on it, and who is not told."""

from dataclasses import replace

import pytest
from pipeline_harness import ACCOUNT, ADMIN, REGION, ROLE, SOURCE, action, stage

from penstock.pipelines.actions.provider import Running, Succeeded
from penstock.wire.call import PrincipalKind, Session, service_session
from penstock.wire.errors import AccessDenied, ServiceError

SERVICE = service_session("scripted.amazonaws.com", ACCOUNT, "arn:aws:scripted:::thing/x")
WRITTEN = {"version_id": "v1", "etag": "e1", "sha256": "a5" * 32, "revision": "c0ffee"}


async def ask(harness, id, session=SERVICE, region=REGION):
    given = {"actionExecutionId": id}
    return (await harness.app.invoke(session, "penstock", "GetActionJob", given, region=region))["job"]


@pytest.fixture
async def running(harness, monkeypatch):
    """The execution of an action that runs, and of an input that nobody has changed."""

    async def unchanged(_action):
        return None

    monkeypatch.setattr("penstock.pipelines.work.changed_input", unchanged)
    harness.scripted.answers["pull", "start"] = lambda started: Succeeded(
        outputs=tuple(replace(output, **WRITTEN) for output in started.outputs), variables={"tag": "v7"}
    )
    harness.scripted.answers["roll", "start"] = Running(external_id="d:1", check_after=10**9)
    roll = action(
        "roll",
        "Deploy",
        configuration={"Say": "#{src.tag}"},
        inputArtifacts=[{"name": "App"}],
        outputArtifacts=[{"name": "Out"}],
    )
    await harness.create(SOURCE, stage("Deploy", roll))

    async def rolls():
        return next((started for started in harness.scripted.started if started.name == "roll"), None)

    return await harness.until(rolls)


async def test_the_service_learns_what_the_action_asks_for(harness, running):
    job = await ask(harness, running.id)
    (app,), (out,) = running.inputs, running.outputs
    assert job == {
        "id": running.id,
        "accountId": ACCOUNT,
        "roleArn": ROLE,
        "pipelineRoleArn": ROLE,
        "data": {
            "actionTypeId": {"category": "Deploy", "owner": "AWS", "provider": "Scripted", "version": "1"},
            "actionConfiguration": {"configuration": {"Say": "v7"}},
            "pipelineContext": {
                "pipelineName": "demo",
                "stage": {"name": "Deploy"},
                "action": {"name": "roll", "actionExecutionId": running.id},
                "pipelineArn": f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:demo",
                "pipelineExecutionId": running.execution,
            },
            "inputArtifacts": [
                {
                    "name": "App",
                    "revision": "c0ffee",
                    "location": {
                        "type": "S3",
                        "s3Location": {
                            "bucketName": "artifacts",
                            "objectKey": app.key,
                            "versionId": "v1",
                            "eTag": "e1",
                            "sha256": "a5" * 32,
                        },
                    },
                }
            ],
            "outputArtifacts": [
                {
                    "name": "Out",
                    "location": {"type": "S3", "s3Location": {"bucketName": "artifacts", "objectKey": out.key}},
                }
            ],
        },
    }


async def test_nobody_but_that_service_learns_anything(harness, running):
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/pipeline/{running.id}"
    own = Session(account=ACCOUNT, kind=PrincipalKind.ROLE, arn=arn, principal_id=f"AROA:{running.id}", role_arn=ROLE)
    root = replace(ADMIN, kind=PrincipalKind.ROOT)
    for person in (ADMIN, own, root):
        with pytest.raises(AccessDenied, match="Only the service that an action works on"):
            await ask(harness, running.id, person)
    foreign = service_session("scripted.amazonaws.com", "222222222222", "")
    for session, region in (
        (service_session("codebuild.amazonaws.com", ACCOUNT, ""), REGION),
        (service_session(".amazonaws.com", ACCOUNT, ""), REGION),
        (foreign, REGION),
        (SERVICE, "eu-west-1"),
    ):
        with pytest.raises(ServiceError) as refused:
            await ask(harness, running.id, session, region)
        assert refused.value.wire_code == "JobNotFoundException"


async def test_what_does_not_run_has_no_job(harness, running):
    gone = "0b0c6f0e-0000-4000-8000-000000000001"
    (pulled,) = [started for started in harness.scripted.started if started.name == "pull"]
    for id in (gone, pulled.id, running.execution, "x"):
        with pytest.raises(ServiceError) as refused:
            await ask(harness, id)
        assert refused.value.wire_code == "JobNotFoundException"
        assert id in refused.value.message
    for id in ("", "x" * 101):
        with pytest.raises(ServiceError) as refused:
            await ask(harness, id)
        assert refused.value.wire_code == "ValidationException"
    await harness("StopPipelineExecution", pipelineName="demo", pipelineExecutionId=running.execution, abandon=True)
    with pytest.raises(ServiceError) as refused:
        await ask(harness, running.id)
    assert refused.value.wire_code == "JobNotFoundException"
