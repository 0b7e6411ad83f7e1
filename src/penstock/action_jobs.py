"""Calls of pipelines' actions, as the service that is called sees them: whose action calls, and what its job is.

An action calls services in process, with inputs of AWS only, under a session of its role that is named after the action execution. The
service that is called asks the pipelines for the job of that name, so what it learns of the pipeline comes from the pipeline and never
from the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.application import Call
from penstock.wire.call import PrincipalKind, service_session
from penstock.wire.errors import ServiceError


async def calling_job(call: Call, resource: str, configuration: Mapping[str, str]) -> dict[str, Any] | None:
    """The job of the running action that makes a call (`ActionJob` of our own service); None when no such action does.

    `resource` is the ARN of what the called service works on, `configuration` what the action must say to mean it. Nobody outside can
    be such a caller, whatever the name of a session: a request over HTTP is never one of ours.
    """
    session = call.session
    if call.via != "invoke" or session.kind is not PrincipalKind.ROLE:
        return None
    asking = service_session(f"{call.service}.amazonaws.com", call.account, resource)
    request = {"actionExecutionId": session.principal_id.partition(":")[2]}
    try:
        answer = await call.app.invoke(asking, "penstock", "GetActionJob", request, region=call.region)
    except ServiceError as error:
        if error.wire_code != "JobNotFoundException":
            raise
        return None
    job = answer["job"]
    said = job["data"]["actionConfiguration"]["configuration"]
    is_meant = job["roleArn"] == session.role_arn and configuration.items() <= said.items()
    return job if is_meant else None
