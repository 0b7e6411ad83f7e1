"""What a worker outside is given with a job: the action's configuration with its secrets, and credentials for its artifacts alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from penstock.application import App
from penstock.pipelines import offers
from penstock.pipelines.acting import acting_for, as_role
from penstock.pipelines.actions.provider import Failed
from penstock.pipelines.aggregate import apply
from penstock.pipelines.inputs import ActionFailed
from penstock.pipelines.model import ArtifactLocation
from penstock.pipelines.pinning import changed_input, written
from penstock.pipelines.preparation import Prepared, action_of, prepare
from penstock.pipelines.roles import RoleRefused, narrowed_credentials
from penstock.pipelines.secrets import opened
from penstock.pipelines.service import PipelineService
from penstock.store.jobs import Job
from penstock.wire.call import partition_of
from penstock.wire.errors import Refused, ServiceError, passes

_LONGEST_POLICY = 2_048  # characters. AWS: AssumeRole


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOut:
    """A job as its worker gets it."""

    prepared: Prepared
    configuration: Mapping[str, str]  # resolved, with secrets
    credentials: Mapping[str, Any]  # the shape AWSSessionCredentials
    token: str  # with which the worker has it continued; "" for the first job of an action


async def hand_out(service: PipelineService, job: Job) -> HandOut | None:
    """What the worker of a job is given; None where the action has ended meanwhile, or fails since nothing can be given."""
    prepared = await service.app.store.read(prepare, service.versions, job.payload["action"])
    if prepared is None:
        return None
    try:
        failure = await _changed(service.app, prepared)
        credentials = None if failure is not None else await _credentials(service.app, prepared)
    except RoleRefused as refused:
        failure, credentials = Failed(code="PermissionError", message=str(refused)), None
    except (Refused, ServiceError) as error:
        if passes(error):
            raise
        failure, credentials = Failed(code="PermissionError", message=str(error)), None
    if credentials is None:
        assert failure is not None
        await _fail(service, prepared, job, failure)
        return None
    configuration = {**(prepared.row.resolved or {}), **await opened(service.app, prepared)}
    token = job.payload.get("token", "")
    return HandOut(prepared=prepared, configuration=configuration, credentials=credentials, token=token)


async def _changed(app: App, prepared: Prepared) -> Failed | None:
    """Why an input artifact cannot be used. A worker compares nothing with what was written, and reads whichever version is the newest."""
    action = action_of(prepared, {}, await as_role(app, prepared))
    return await changed_input(replace(action, inputs=tuple(replace(one, version_id="") for one in action.inputs)))


async def _credentials(app: App, prepared: Prepared) -> Mapping[str, Any]:
    found = await narrowed_credentials(
        app,
        acting_for(prepared),
        pipeline_role=prepared.role,
        action_role=prepared.declared.get("roleArn"),
        name=prepared.row.id,
        policy=_policy(prepared),
    )
    return {
        "accessKeyId": found["AccessKeyId"],
        "secretAccessKey": found["SecretAccessKey"],
        "sessionToken": found["SessionToken"],
    }


def _policy(prepared: Prepared) -> str:
    """What a worker may: read the input artifacts, write the output artifacts, and use the key of the store through S3."""
    policy = _policy_of(prepared, "{bucket}/{key}")
    # The last part of a key is random, so it says as much as all of it.
    return policy if len(policy) <= _LONGEST_POLICY else _policy_of(prepared, "{bucket}/*/{last}")


def _policy_of(prepared: Prepared, form: str) -> str:
    partition, region = partition_of(prepared.row.region), prepared.row.region

    def places(artifacts: Sequence[ArtifactLocation]) -> list[str]:
        return [
            f"arn:{partition}:s3:::{form.format(bucket=one.bucket, key=one.key, last=one.key.rpartition('/')[2])}"
            for one in artifacts
        ]

    statements = [
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:Encrypt", "kms:ReEncrypt*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:ViaService": f"s3.{region}.amazonaws.com"}},
        }
    ]
    buckets = sorted({f"arn:{partition}:s3:::{one.bucket}" for one in (*prepared.inputs, *prepared.outputs)})
    for actions, resources in (
        (["s3:GetBucketLocation", "s3:GetBucketVersioning"], buckets),
        (["s3:GetObject", "s3:GetObjectVersion"], places(prepared.inputs)),
        (["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"], places(prepared.outputs)),
    ):
        if resources:
            statements.append({"Effect": "Allow", "Action": actions, "Resource": resources})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


async def outputs_of(service: PipelineService, prepared: Prepared, revision: str) -> tuple[ArtifactLocation, ...]:
    """The output artifacts as they lie where the worker was to put them, for the action that has succeeded."""
    if not prepared.outputs:
        return ()
    invoke = await as_role(service.app, prepared)
    return tuple([replace(await written(invoke, one), revision=revision) for one in prepared.outputs])


async def _fail(service: PipelineService, prepared: Prepared, job: Job, failure: Failed) -> None:
    row = prepared.row
    input = ActionFailed(execution=row.execution_id, action=row.id, code=failure.code, message=failure.message)
    now, seed = service.app.clock.now(), service.app.ids.seed()

    def write(conn: sa.Connection) -> None:
        apply(conn, service.versions, prepared.key, input, now=now, seed=seed, cause=job.id)
        offers.end(conn, job)

    await service.app.store.write_together(prepared.key.lock, write)
