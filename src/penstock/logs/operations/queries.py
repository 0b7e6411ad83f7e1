"""Queries of Logs Insights, their results, and definitions that are kept."""

from __future__ import annotations

import base64
import binascii
import functools
from typing import Any

import orjson
import sqlalchemy as sa

from penstock.application import Call
from penstock.logfiles.queries import grammar
from penstock.logs import query_records, querying, records
from penstock.logs.errors import (
    InvalidParameterException,
    LimitExceededException,
    MalformedQueryException,
    ResourceNotFoundException,
)
from penstock.logs.logstore import LogStore
from penstock.logs.operations import PAGES, operation
from penstock.logs.operations.groups import existing_group, group_arn, group_name, identified
from penstock.logs.query_records import SCHEDULED
from penstock.logs.unlocking import unlocked
from penstock.pools import LOGS
from penstock.store import jobs
from penstock.store.deciding import decide_alone
from penstock.wire.call import Input, Output
from penstock.wire.registry import Recorded

_AT_ONCE = 30  # queries of an account that wait or run
_GROUPS = 50
_DEFAULT = 10_000  # rows
_PAGE = 10_000
_LARGEST = 4 << 20  # bytes of a page of results, about
_LISTED = 100
_STREAMS = 2_000  # of a group, the newest, whose fields are looked at
_MINUTE = 60_000  # ms
_DEFINITIONS = 1_000
_SECONDS = 100_000_000_000  # what is less is in seconds, else in milliseconds
_LANGUAGE = "CWLI"


def _groups(call: Call, input: Input) -> list[str]:
    """The names of the groups. Raises InvalidParameterException."""
    given = [input[name] for name in ("logGroupName", "logGroupNames", "logGroupIdentifiers") if input.get(name)]
    if len(given) != 1:
        raise InvalidParameterException(
            "Give the log groups by exactly one of logGroupName, logGroupNames and logGroupIdentifiers."
        )
    named = [given[0]] if isinstance(given[0], str) else given[0]
    names = list(dict.fromkeys(identified(call, one) for one in named))
    if len(names) > _GROUPS:
        raise InvalidParameterException(f"A query reads {_GROUPS} log groups at most.")
    return names


def _group_arns(call: Call, input: Input) -> list[str]:
    return [call.arn("logs", f"log-group:{name}:log-stream:") for name in _groups(call, input)]


def _check_language(input: Input) -> None:
    if input.get("queryLanguage", _LANGUAGE) != _LANGUAGE:
        raise InvalidParameterException(
            "Queries are in the language of Logs Insights (CWLI). SQL and PPL are not served."
        )


def _check_query(query: str) -> None:
    """Raises MalformedQueryException."""
    try:
        commands = grammar.read(query)
    except grammar.BadQuery as bad:
        location = {"startCharOffset": bad.begins, "endCharOffset": bad.ends}
        raise MalformedQueryException(str(bad), queryCompileError={"location": location, "message": str(bad)}) from None
    if not commands:
        raise MalformedQueryException(
            "The query has no command.",
            queryCompileError={
                "location": {"startCharOffset": 0, "endCharOffset": 0},
                "message": "The query has no command.",
            },
        )


@operation("StartQuery", resource=_group_arns)
async def start_query(logs: LogStore, call: Call, input: Input) -> Output:
    """Have a query run over log groups; its id."""
    _check_language(input)
    names = _groups(call, input)
    await LOGS.run(_check_query, input["queryString"])
    begin, end = (value if value >= _SECONDS else value * 1_000 for value in (input["startTime"], input["endTime"]))
    if input["endTime"] < _SECONDS:
        end += 999  # the second is within the range
    if end < begin:
        raise InvalidParameterException("endTime must not be before startTime")
    for name in names:
        await existing_group(call, name)
    row = {
        "id": call.app.ids.uuid(),
        "account": call.account,
        "region": call.region,
        "query": input["queryString"],
        "groups": names,
        "begin": begin,
        "end": end,
        "limit": input.get("limit", _DEFAULT),
        "caller": call.session.arn,
        "status": SCHEDULED,
        "created": call.now,
        "statistics": {},
        "parts": 0,
    }

    def start(conn: sa.Connection) -> None:
        decide_alone(conn, "logs-queries", call.account, call.region)
        if query_records.count_open(conn, call.account, call.region) >= _AT_ONCE:
            raise LimitExceededException
        query_records.insert_query(conn, row)
        payload = {"query": row["id"]}
        jobs.enqueue(
            conn, kind=querying.QUERY, payload=payload, account=call.account, region=call.region, dedup=row["id"]
        )

    await call.app.store.write(start)
    return {"queryId": row["id"]}


async def _existing(call: Call, id: str) -> sa.Row[Any]:
    row = await call.app.store.read(query_records.find_query, id)
    if row is None or (row.account, row.region) != (call.account, call.region):
        raise ResourceNotFoundException(f"Query '{id[:256]}' does not exist.")
    return row


@operation("GetQueryResults", recorded=Recorded.DATA)
async def get_query_results(logs: LogStore, call: Call, input: Input) -> Output:
    """How far a query is, and its rows when it is complete."""
    row = await _existing(call, input["queryId"])
    (start,) = PAGES.after(call, input) or (0,)
    most = input.get("maxItems") or _PAGE
    rows: list[Any] = []
    at, size = start, 0
    while len(rows) < most and size < _LARGEST:
        part = await call.app.store.read(query_records.results_from, row.id, at, row.parts)
        if part is None or at >= part.first + part.rows:
            break
        rows += (await LOGS.run(_opened, call, part))[at - part.first :][: most - len(rows)]
        at = start + len(rows)
        size += len(part.content)
    names = ("recordsMatched", "recordsScanned", "bytesScanned", "logGroupsScanned", "resultCount")
    statistics = {name: row.statistics.get(name, 0.0) for name in names}
    output: Output = {
        "queryLanguage": _LANGUAGE,
        "results": rows,
        "statistics": {**statistics, "estimatedRecordsSkipped": 0.0, "estimatedBytesSkipped": 0.0},
        "status": row.status,
    }
    return output | (
        {"nextToken": PAGES.token(call, input, [at])} if rows and at < row.statistics["resultCount"] else {}
    )


def _opened(call: Call, part: sa.Row[Any]) -> list[Any]:
    return orjson.loads(call.app.sealer.open(part.content, query_records.context_of(part.query, part.part)))


@operation("StopQuery")
async def stop_query(logs: LogStore, call: Call, input: Input) -> Output:
    """Stop a query that waits or runs."""
    row = await _existing(call, input["queryId"])
    call.memo["resources"] = tuple(call.arn("logs", f"log-group:{name}") for name in row.groups)
    if not await call.app.store.write(querying.stop, row.id, call.now):
        raise InvalidParameterException(f"Query {row.id} is not running")
    return {"success": True}


@operation("DescribeQueries")
async def describe_queries(logs: LogStore, call: Call, input: Input) -> Output:
    """Queries of the last week, the newest first. Of a group, a page may have fewer, and be followed by others."""
    limit = input.get("maxResults", _LISTED)
    if input.get("queryLanguage", _LANGUAGE) != _LANGUAGE:
        return {"queries": []}
    rows = await call.app.store.scan(
        query_records.list_queries,
        call.account,
        call.region,
        status=input.get("status", ""),
        after=PAGES.after(call, input),
        limit=limit + 1,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.created, row.id])
    group = input.get("logGroupName")
    found = [row for row in page.rows if not group or group in row.groups]
    return {"queries": [_to_api(call, row) for row in found], **page.more}


def _to_api(call: Call, row: sa.Row[Any]) -> Output:
    ran = None if row.started is None else (row.ended or call.now) - row.started
    return {
        "queryLanguage": _LANGUAGE,
        "queryId": row.id,
        "queryString": row.query,
        "status": row.status,
        "createTime": row.created,
        "logGroupName": row.groups[0],
        "queryDuration": ran,
        "bytesScanned": row.statistics.get("bytesScanned"),
        "userIdentity": row.caller,
    }


@operation("GetLogRecord", recorded=Recorded.DATA)
async def get_log_record(logs: LogStore, call: Call, input: Input) -> Output:
    """All fields of the event that `@ptr` of a query's results names."""
    try:
        text = input["logRecordPointer"]
        file, _, offset = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition("/")
        place = int(offset[:18])
    except (binascii.Error, ValueError):
        raise InvalidParameterException("The specified logRecordPointer is invalid.") from None
    row = await call.app.store.read(records.stream_of, file)
    if row is None or (row.account, row.region) != (call.account, call.region):
        raise ResourceNotFoundException(what="log record")
    group = await existing_group(call, row.group)
    reading = functools.partial(logs.record, f"{call.account}:{row.group}", row.name, file, place)
    found = (await unlocked(logs, call, {row.group: group.data_key}, reading))["record"]
    kept = 0 if group.retention is None else call.now - group.retention * records.DAY
    if not found or int(found["@timestamp"]) < kept:
        raise ResourceNotFoundException(what="log record")
    return {"logRecord": found}


@operation("GetLogGroupFields", resource=group_arn, abandonable=True)
async def get_log_group_fields(logs: LogStore, call: Call, input: Input) -> Output:
    """Which fields the events of a quarter of an hour have, and how many of them in percent."""
    name = group_name(call, input)
    group = await existing_group(call, name)
    given = input.get("time")
    start, end = call.now - 15 * _MINUTE, call.now
    if given is not None:
        middle = given if given >= _SECONDS else given * 1_000
        start, end = middle - 8 * _MINUTE, middle + 8 * _MINUTE
    kept = 0 if group.retention is None else call.now - group.retention * records.DAY
    streams = await call.app.store.read(records.list_tailed, call.account, call.region, name, limit=_STREAMS)
    reading = functools.partial(logs.fields, f"{call.account}:{name}", streams, start=max(start, kept), end=end + 1)
    found = await unlocked(logs, call, {name: group.data_key}, reading)
    fields = [{"name": one, "percent": round(100 * many / found["total"])} for one, many in found["fields"]]
    return {"logGroupFields": fields}


@operation("PutQueryDefinition")
async def put_query_definition(logs: LogStore, call: Call, input: Input) -> Output:
    """Keep a query under a name; its id. One of the id that is given is replaced."""
    _check_language(input)
    place, given, token = (call.account, call.region), input.get("queryDefinitionId"), input.get("clientToken")
    names = [one["name"] for one in input.get("parameters", [])]
    if len(set(names)) < len(names):
        raise InvalidParameterException("parameters names a parameter more than once.")
    row = {
        "account": call.account,
        "region": call.region,
        "id": given or call.app.ids.uuid(),
        "name": input["name"],
        "query": input["queryString"],
        "language": _LANGUAGE,
        "groups": input.get("logGroupNames", []),
        "parameters": input.get("parameters", []),
        "modified": call.now,
        "token": token,
    }

    def put(conn: sa.Connection) -> str:
        if given:
            if query_records.find_definition(conn, *place, given) is None:
                raise ResourceNotFoundException(what="query definition")
        else:
            decide_alone(conn, "logs-query-definitions", *place)
            made = query_records.find_definition_made(conn, *place, token) if token else None
            if made is not None:
                return made.id
            if query_records.count_definitions(conn, *place) >= _DEFINITIONS:
                raise LimitExceededException
        query_records.put_definition(conn, row)
        return row["id"]

    id = await call.app.store.write(put)
    call.memo["resources"] = (call.arn("logs", f"query-definition:{id}"),)
    return {"queryDefinitionId": id}


@operation("DescribeQueryDefinitions")
async def describe_query_definitions(logs: LogStore, call: Call, input: Input) -> Output:
    """Definitions by name."""
    limit = input.get("maxResults", _LISTED)
    rows = await call.app.store.scan(
        query_records.list_definitions,
        call.account,
        call.region,
        prefix=input.get("queryDefinitionNamePrefix", ""),
        language=input.get("queryLanguage", ""),
        after=PAGES.after(call, input),
        limit=limit + 1,
    )
    page = PAGES.page(call, input, rows, limit=limit, keyset=lambda row: [row.name, row.id])
    found = [
        {
            "queryLanguage": row.language,
            "queryDefinitionId": row.id,
            "name": row.name,
            "queryString": row.query,
            "lastModified": row.modified,
            "logGroupNames": row.groups,
            "parameters": row.parameters or None,
        }
        for row in page.rows
    ]
    return {"queryDefinitions": found, **page.more}


@operation("DeleteQueryDefinition")
async def delete_query_definition(logs: LogStore, call: Call, input: Input) -> Output:
    """Forget a definition."""
    id = input["queryDefinitionId"]
    call.memo["resources"] = (call.arn("logs", f"query-definition:{id}"),)
    if not await call.app.store.write(query_records.delete_definition, call.account, call.region, id):
        raise ResourceNotFoundException(what="query definition")
    return {"success": True}
