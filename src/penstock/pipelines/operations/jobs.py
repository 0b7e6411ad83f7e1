"""GetActionJob: what a running action asks of the service that it works on. Ours, in the form of CodePipeline's GetJobDetails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.application import Call
from penstock.pipelines.errors import JobNotFoundException
from penstock.pipelines.model import MINUTE, ActionType, ArtifactLocation
from penstock.pipelines.operations import ours
from penstock.pipelines.preparation import Prepared, prepare
from penstock.pipelines.records import type_of
from penstock.pipelines.service import PipelineService
from penstock.pipelines.variables import Unresolved, resolved_action
from penstock.wire.call import Input, Output, PrincipalKind, partition_of
from penstock.wire.errors import AccessDenied
from penstock.wire.registry import Access


@ours("GetActionJob", access=Access.AUTHENTICATED)
async def get_action_job(service: PipelineService, call: Call, input: Input) -> Output:
    """The job of a running action, for the service that its type works on; no policy lets anybody else ask.

    Its input artifacts are those of the writes that made them: the places and digests that the service is to read.
    """
    session, id_ = call.session, input["actionExecutionId"]
    if session.kind is not PrincipalKind.SERVICE:
        raise AccessDenied(
            f"User: {session.arn} is not authorized to perform: penstock:GetActionJob. Only the service that an action works "
            "on may ask for its job: use codepipeline:ListActionExecutions."
        )
    prepared = await call.app.store.read(prepare, service.versions, id_)
    if prepared is None:
        raise JobNotFoundException(action=id_, service=session.service)
    # An action works in the account of its role, which may be another one than the pipeline's.
    role = prepared.declared.get("roleArn") or prepared.role
    if (role.split(":")[4], prepared.region) != (call.account, call.region):
        raise JobNotFoundException(action=id_, service=session.service)
    known = service.providers.type(type_of(prepared.row))
    if known is None or session.service != f"{known.works_on.partition(':')[0]}.amazonaws.com":
        raise JobNotFoundException(action=id_, service=session.service)
    try:
        declared = resolved_action(prepared.declared, prepared.scope)
    except Unresolved:
        raise JobNotFoundException(action=id_, service=session.service) from None
    data = job_data(prepared, declared["configuration"], pinned=True) | _commands(declared, known)
    files = {output["name"]: output["files"] for output in declared.get("outputArtifacts", ()) if output.get("files")}
    for artifact in data["outputArtifacts"]:
        if artifact["name"] in files:
            artifact["files"] = files[artifact["name"]]
    job = {"id": id_, "accountId": prepared.row.account, "roleArn": role, "pipelineRoleArn": prepared.role}
    return {"job": job | {"data": data}}


def _commands(declared: Mapping[str, Any], known: ActionType) -> dict[str, Any]:
    """What an action that runs commands has besides a configuration."""
    if "commands" not in declared:
        return {}
    found = {name: declared[name] for name in ("commands", "outputVariables") if declared.get(name)}
    variables = [{"type": "PLAINTEXT", **one} for one in declared.get("environmentVariables", ())]
    minutes = declared.get("timeoutInMinutes", known.timeout // MINUTE)
    return found | {"environmentVariables": variables, "timeoutInMinutes": minutes}


def job_data(prepared: Prepared, configuration: Mapping[str, str], *, pinned: bool = False) -> dict[str, Any]:
    """The shape `JobData` of a running action, without credentials. `pinned` adds to its artifacts what they were when they were written."""
    row, key = prepared.row, prepared.store.get("encryptionKey")
    context = {
        "pipelineName": row.pipeline,
        "stage": {"name": row.stage},
        "action": {"name": row.action, "actionExecutionId": row.id},
        "pipelineArn": f"arn:{partition_of(row.region)}:codepipeline:{row.region}:{row.account}:{row.pipeline}",
        "pipelineExecutionId": row.execution_id,
    }
    data: dict[str, Any] = {
        "actionTypeId": prepared.declared["actionTypeId"],
        "actionConfiguration": {"configuration": configuration},
        "pipelineContext": context,
        "inputArtifacts": [artifact_to_api(artifact, pinned=pinned) for artifact in prepared.inputs],
        "outputArtifacts": [artifact_to_api(artifact, pinned=pinned) for artifact in prepared.outputs],
    }
    return data | {"encryptionKey": key} if key else data


def artifact_to_api(artifact: ArtifactLocation, *, pinned: bool) -> dict[str, Any]:
    """The shape `Artifact` of a job. `pinned` adds what it was when it was written: our shape `ActionArtifact`."""
    place = {"bucketName": artifact.bucket, "objectKey": artifact.key}
    if pinned:
        written = {"versionId": artifact.version_id, "eTag": artifact.etag, "sha256": artifact.sha256}
        place |= {name: value for name, value in written.items() if value}
    found: dict[str, Any] = {"name": artifact.name, "location": {"type": "S3", "s3Location": place}}
    return found | {"revision": artifact.revision} if artifact.revision else found
