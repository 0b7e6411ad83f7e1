"""PutWebhook, ListWebhooks, DeleteWebhook."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from penstock.application import Call
from penstock.pipelines import webhook_records as records
from penstock.pipelines.errors import InvalidNextTokenException, LimitExceededException
from penstock.pipelines.operations import operation
from penstock.pipelines.operations.addressing import declaration_of, key_of, pipeline_row, without_nones
from penstock.pipelines.operations.tags import pairs_of, tag_rules
from penstock.pipelines.service import PipelineService
from penstock.pipelines.webhook_endpoint import PREFIX
from penstock.pipelines.webhooks import BY_ADDRESS, HIDDEN, HMAC, check_definition
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output
from penstock.wire.pages import Pages

MAX_WEBHOOKS = 300  # of an account in a region. AWS: CodePipeline quotas
_PAGE = 100
_PAGES = Pages(lambda _token: InvalidNextTokenException(), member="NextToken")
_ADDRESS_BYTES = 24


def webhook_arn(call: Call, name: str) -> str:
    """The ARN of a webhook."""
    return call.arn("codepipeline", f"webhook:{name}")


def _declared(call: Call, input: Input) -> str:
    return webhook_arn(call, input["webhook"]["name"])


def _named(call: Call, input: Input) -> str:
    return webhook_arn(call, input["name"])


@operation("PutWebhook", resource=_declared)
async def put_webhook(service: PipelineService, call: Call, input: Input) -> Output:
    """Make a webhook, or give the one of that name another definition; its address stays. Tags are those of a new one."""
    definition = input["webhook"]
    tags = tag_rules(webhook_arn(call, definition["name"])).check(pairs_of(input.get("tags", [])))
    row = await call.app.store.write(_put, service, call, definition, tags=tags, tagged="tags" in input)
    return {"webhook": _shown(call, row)}


def _put(
    conn: sa.Connection, service: PipelineService, call: Call, definition: Input, *, tags: dict[str, str], tagged: bool
) -> Any:
    decide_alone(conn, "pipeline-webhooks", call.account, call.region)
    key = key_of(call, definition["targetPipeline"])
    pipeline = pipeline_row(conn, key)
    check_definition(definition, declaration_of(service, conn, key, pipeline.id, pipeline.version))
    name, sealer = definition["name"], call.app.sealer
    known = records.find(conn, call.account, call.region, name, lock=True)
    if known is None and records.count(conn, call.account, call.region) >= MAX_WEBHOOKS:
        raise LimitExceededException(f"The account has reached the limit of {MAX_WEBHOOKS} webhooks in this region.")
    id = call.app.ids.uuid() if known is None else known.id
    configuration = definition["authenticationConfiguration"]
    secret = configuration.get("SecretToken")
    values = {
        "pipeline": key.name,
        "action": definition["targetAction"],
        "filters": definition["filters"],
        "authentication": definition["authentication"],
        "allowed": configuration.get("AllowedIPRange", ""),
        "secret": None if secret is None else sealer.seal(secret.encode(), records.secret_context(id)),
    }
    if tagged:
        values["tags"] = tags
    address = call.app.ids.hex(_ADDRESS_BYTES * 2)
    new = {
        "id": id,
        "address": sealer.seal(address.encode(), records.address_context(id)),
        "tags": tags,
        "error_code": "",
        "error_message": "",
    }
    records.put(conn, call.account, call.region, name, new=new, values=values)
    return records.find(conn, call.account, call.region, name)


def _shown(call: Call, row: Any) -> Output:
    configuration = {HMAC: {"SecretToken": HIDDEN}, BY_ADDRESS: {"AllowedIPRange": row.allowed}}
    address = call.app.sealer.open(row.address, records.address_context(row.id)).decode()
    return without_nones(
        {
            "definition": {
                "name": row.name,
                "targetPipeline": row.pipeline,
                "targetAction": row.action,
                "filters": row.filters,
                "authentication": row.authentication,
                "authenticationConfiguration": configuration.get(row.authentication, {}),
            },
            "url": f"{call.app.public_url}{PREFIX}{row.id}/{address}",
            "arn": webhook_arn(call, row.name),
            "lastTriggered": row.triggered,
            "errorCode": row.error_code or None,
            "errorMessage": row.error_message or None,
            "tags": [{"key": key, "value": value} for key, value in sorted(row.tags.items())],
        }
    )


@operation("ListWebhooks", resource=lambda call, _input: webhook_arn(call, "*"))
async def list_webhooks(service: PipelineService, call: Call, input: Input) -> Output:
    """Every webhook of the account in the region, by name, with its address."""
    limit = input.get("MaxResults", _PAGE)
    rows = await call.app.store.scan(records.page, call.account, call.region, _PAGES.after(call, input), limit + 1)
    page = _PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.name])
    return {"webhooks": [_shown(call, row) for row in page.rows], **page.more}


@operation("DeleteWebhook", resource=_named)
async def delete_webhook(service: PipelineService, call: Call, input: Input) -> Output:
    """Delete a webhook, whether it is there or not; its address answers nobody any more."""
    await call.app.store.write(records.delete, call.account, call.region, input["name"])
    return {}
