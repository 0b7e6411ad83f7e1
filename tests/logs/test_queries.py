"""Logs Insights: what boto3 and the AWS CLI ask and get on a live server."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError
from penstock_waiting import until

from penstock.logs import query_records, querying
from penstock.store.jobs import cancel


@pytest.fixture(scope="module")
def logs(live: Any) -> Any:
    return live.client("logs", parameter_validation=False)


@pytest.fixture
def group(logs: Any) -> str:
    name = f"/asked/{uuid.uuid4().hex[:8]}"
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="s")
    return name


def write(logs: Any, group: str, *texts: str) -> int:
    now = int(time.time() * 1000)
    events = [{"timestamp": now + at, "message": text} for at, text in enumerate(texts)]
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
    return now


def start(logs: Any, query: str, **groups: Any) -> str:
    now = int(time.time())
    return logs.start_query(**groups, startTime=now - 3600, endTime=now + 60, queryString=query)["queryId"]


def ended(logs: Any, id: str) -> Any:
    found = lambda: logs.get_query_results(queryId=id)  # noqa: E731
    until(lambda: found()["status"] not in ("Scheduled", "Running"))
    return found()


def ask(logs: Any, group: str, query: str) -> list[dict[str, str]]:
    found = ended(logs, start(logs, query, logGroupName=group))
    assert found["status"] == "Complete"
    return [{cell["field"]: cell["value"] for cell in row if cell["field"] != "@ptr"} for row in found["results"]]


def error(call: Any, *args: Any, **input: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(*args, **input)
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


def test_a_query_over_groups_is_run_and_described(live: Any, logs: Any, group: str):
    other = group + "/other"
    logs.create_log_group(logGroupName=other)
    logs.create_log_stream(logGroupName=other, logStreamName="s")
    write(logs, group, '{"level": "ERROR", "ms": 10}', '{"level": "INFO", "ms": 30}')
    write(logs, other, '{"level": "ERROR", "ms": 50}')
    now = str(int(time.time()))
    made = live.aws(
        "logs", "start-query", "--log-group-names", group, other, "--start-time", "0", "--end-time", now,
        "--query-string", 'filter level = "ERROR" | stats count(*) as many, avg(ms) as took by @log | sort @log',
    )  # fmt: skip
    found = ended(logs, made["queryId"])
    assert found["status"] == "Complete"
    assert [{cell["field"]: cell["value"] for cell in row} for row in found["results"]] == [
        {"@log": f"111111111111:{group}", "many": "1", "took": "10"},
        {"@log": f"111111111111:{other}", "many": "1", "took": "50"},
    ]
    assert {name: found["statistics"][name] for name in ("recordsMatched", "recordsScanned", "logGroupsScanned", "resultCount")} == {
        "recordsMatched": 2.0, "recordsScanned": 3.0, "logGroupsScanned": 2.0, "resultCount": 2.0,
    }  # fmt: skip
    by_cli = live.aws("logs", "get-query-results", "--query-id", made["queryId"])
    assert by_cli["results"] == found["results"]
    described = logs.describe_queries(logGroupName=group, status="Complete")["queries"]
    assert [(one["queryId"], one["status"], one["logGroupName"]) for one in described] == [
        (made["queryId"], "Complete", group)
    ]
    assert logs.describe_queries(queryLanguage="SQL")["queries"] == []
    assert error(logs.stop_query, queryId=made["queryId"])[0] == "InvalidParameterException"


def test_rows_come_page_by_page_and_a_pointer_leads_to_the_event(logs: Any, group: str):
    now = write(logs, group, *(f'{{"n": {number}, "a": {{"b": [1, "x"]}}}}' for number in range(7)))
    id = start(logs, "fields n | sort n", logGroupIdentifiers=[group])
    assert ended(logs, id)["statistics"]["resultCount"] == 7
    pages: list[Any] = []
    token: dict[str, str] = {}
    while True:
        page = logs.get_query_results(queryId=id, maxItems=3, **token)
        pages.append([row[0]["value"] for row in page["results"]])
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    pointer = ended(logs, id)["results"][2][-1]
    assert pointer["field"] == "@ptr"
    record = logs.get_log_record(logRecordPointer=pointer["value"])["logRecord"]
    assert record == {
        "@timestamp": str(now + 2), "@ingestionTime": record["@ingestionTime"], "@message": '{"n": 2, "a": {"b": [1, "x"]}}',
        "@logStream": "s", "@log": f"111111111111:{group}", "@ptr": pointer["value"], "n": "2", "a.b.0": "1", "a.b.1": "x",
    }  # fmt: skip
    assert error(logs.get_log_record, logRecordPointer="?")[0] == "InvalidParameterException"
    assert error(logs.get_log_record, logRecordPointer="eC8w")[0] == "ResourceNotFoundException"
    logs.delete_log_group(logGroupName=group)
    assert error(logs.get_log_record, logRecordPointer=pointer["value"])[0] == "ResourceNotFoundException"


def test_the_fields_of_a_group_are_counted(logs: Any, group: str):
    now = write(logs, group, '{"a": {"b": 1}}', "no JSON", '{"a": {"b": 2}, "c": "x"}', '{"c": null}')
    found = logs.get_log_group_fields(logGroupName=group, time=now // 1000)["logGroupFields"]
    percents = {one["name"]: one["percent"] for one in found}
    assert {name: percents[name] for name in ("@message", "@timestamp", "a.b", "c")} == {
        "@message": 100, "@timestamp": 100, "a.b": 50, "c": 25,
    }  # fmt: skip
    assert [one["percent"] for one in found] == sorted((one["percent"] for one in found), reverse=True)
    assert logs.get_log_group_fields(logGroupIdentifier=group, time=1)["logGroupFields"] == []
    missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    assert error(logs.get_log_group_fields, logGroupName="/none") == missing


def test_what_cannot_be_asked_is_refused(logs: Any, group: str):
    with pytest.raises(ClientError) as refused:
        start(logs, "fields @message\n| stats avg(x", logGroupName=group)
    response = refused.value.response
    assert response["Error"]["Code"] == "MalformedQueryException"
    assert response["Error"]["Message"] == "unexpected the end of the query at line 2 and position 14: ')' is expected"
    assert response["queryCompileError"]["location"] == {"startCharOffset": 29, "endCharOffset": 29}
    assert error(start, logs, "  # nothing", logGroupName=group)[0] == "MalformedQueryException"
    for query in (
        "unnest a into b",
        "filter count(*) > 1",
        "stats a",
        "stats a + count(*)",
        "filter a like /(/",
        "filter " + "(" * 100,
    ):
        assert error(start, logs, query, logGroupName=group)[0] == "MalformedQueryException", query
    assert error(start, logs, "fields a") == (
        "InvalidParameterException", "Give the log groups by exactly one of logGroupName, logGroupNames and logGroupIdentifiers.",
    )  # fmt: skip
    assert error(start, logs, "fields a", logGroupName=group, logGroupNames=[group])[0] == "InvalidParameterException"
    missing = ("ResourceNotFoundException", "The specified log group does not exist.")
    assert error(start, logs, "fields a", logGroupNames=[group, "/none"]) == missing
    asked = {"logGroupName": group, "queryString": "fields a"}
    assert error(logs.start_query, **asked, startTime=5, endTime=3)[0] == "InvalidParameterException"
    assert (
        error(logs.start_query, **asked, startTime=5, endTime=9, queryLanguage="SQL")[0] == "InvalidParameterException"
    )
    assert error(logs.get_query_results, queryId="none")[0] == "ResourceNotFoundException"
    assert error(logs.stop_query, queryId="none")[0] == "ResourceNotFoundException"
    groups = [f"/g{number}" for number in range(51)]
    assert error(start, logs, "fields a", logGroupNames=groups)[0] == "InvalidParameterException"


def test_a_query_that_waits_is_stopped_and_an_account_has_so_many(
    live: Any, logs: Any, group: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(querying, "_OF_ACCOUNT", 0)  # none runs
    monkeypatch.setattr("penstock.logs.operations.queries._AT_ONCE", 2)
    first, second = (start(logs, "fields a", logGroupName=group) for _ in range(2))
    assert error(start, logs, "fields a", logGroupName=group) == (
        "LimitExceededException", "Resource limit exceeded.",
    )  # fmt: skip
    assert logs.get_query_results(queryId=first)["status"] == "Scheduled"
    assert logs.stop_query(queryId=first)["success"]
    assert ended(logs, first)["status"] == "Cancelled"
    live.run(live.app.store.write(lambda conn: cancel(conn, kind=querying.QUERY, dedup=second)))
    live.run(querying.give_up(live.app, live.app, _job(second), "it broke off each time"))
    assert ended(logs, second)["status"] == "Failed"


def test_a_query_that_runs_says_how_far_it_is_and_ends_when_it_is_stopped(
    live: Any, logs: Any, group: str, monkeypatch: pytest.MonkeyPatch
):
    ends: list[str] = []

    async def endless(_logs: Any, _streams: Any, progress: Any, **_: Any) -> Any:
        try:
            while True:
                await progress({"bytesScanned": 7.0, "recordsScanned": 3.0})
                await asyncio.sleep(0.01)
        finally:
            ends.append("ended")

    monkeypatch.setattr("penstock.logs.logstore.LogStore.query", endless)
    id = start(logs, "fields a", logGroupName=group)
    until(lambda: logs.get_query_results(queryId=id)["statistics"]["bytesScanned"] == 7)
    found = logs.get_query_results(queryId=id)
    assert (found["status"], found["statistics"]["recordsScanned"], found["results"]) == ("Running", 3, [])
    assert logs.stop_query(queryId=id)["success"]
    until(lambda: ends)
    assert ended(logs, id)["status"] == "Cancelled"
    monkeypatch.setattr(querying, "_LONGEST_S", 0.01)
    assert ended(logs, start(logs, "fields a", logGroupName=group))["status"] == "Timeout"


class _job:  # noqa: N801 - as much of a job as it takes
    account = "111111111111"

    def __init__(self, id: str) -> None:
        self.payload = {"query": id}


def test_a_query_that_holds_too_much_fails(live: Any, logs: Any, group: str, monkeypatch: pytest.MonkeyPatch):
    async def much(*_: Any, **__: Any) -> Any:
        return {"fails": "too much", "statistics": {}, "parts": []}

    monkeypatch.setattr("penstock.logs.logstore.LogStore.query", much)
    id = start(logs, "fields a", logGroupName=group)
    assert ended(logs, id)["status"] == "Failed"
    row = live.run(live.app.store.read(query_records.find_query, id))
    assert row.reason == "too much"


def test_a_group_under_a_key_is_queried_and_lies_sealed(live: Any, logs: Any, group: str):
    kms = live.client("kms")
    account, service = {"AWS": "arn:aws:iam::111111111111:root"}, {"Service": "logs.us-east-1.amazonaws.com"}
    statement = [
        {"Effect": "Allow", "Principal": who, "Action": "kms:*", "Resource": "*"} for who in (account, service)
    ]
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))["KeyMetadata"]["Arn"]
    logs.associate_kms_key(logGroupName=group, kmsKeyId=key)
    write(logs, group, "sealed one")
    assert ask(logs, group, "fields @message") == [{"@message": "sealed one"}]
    id = start(logs, "fields @message", logGroupName=group)
    pointer = ended(logs, id)["results"][0][-1]["value"]
    assert logs.get_log_record(logRecordPointer=pointer)["logRecord"]["@message"] == "sealed one"


def test_definitions_are_kept_replaced_and_deleted(logs: Any, group: str):
    name = uuid.uuid4().hex
    asked = {"name": name, "queryString": "fields {{a}}", "logGroupNames": [group], "clientToken": name + "0000"}
    parameters = [{"name": "a", "defaultValue": "x", "description": "y"}]
    id = logs.put_query_definition(**asked, parameters=parameters)["queryDefinitionId"]
    assert logs.put_query_definition(**asked)["queryDefinitionId"] == id
    (found,) = logs.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"]
    assert found.pop("lastModified") > 0
    assert found == {
        "queryLanguage": "CWLI", "queryDefinitionId": id, "name": name, "queryString": "fields {{a}}", "logGroupNames": [group],
        "parameters": parameters,
    }  # fmt: skip
    logs.put_query_definition(name=name + "2", queryString="fields b", queryDefinitionId=id)
    (found,) = logs.describe_query_definitions(queryDefinitionNamePrefix=name)["queryDefinitions"]
    assert (found["name"], found["logGroupNames"], "parameters" in found) == (name + "2", [], False)
    assert (
        logs.describe_query_definitions(queryDefinitionNamePrefix=name, queryLanguage="PPL")["queryDefinitions"] == []
    )
    missing = ("ResourceNotFoundException", "The specified query definition does not exist.")
    assert error(logs.put_query_definition, name="x", queryString="y", queryDefinitionId="none") == missing
    twice = [{"name": "a"}, {"name": "a"}]
    assert (
        error(logs.put_query_definition, name="x", queryString="y", parameters=twice)[0] == "InvalidParameterException"
    )
    assert (
        error(logs.put_query_definition, name="x", queryString="y", queryLanguage="SQL")[0]
        == "InvalidParameterException"
    )
    assert logs.delete_query_definition(queryDefinitionId=id)["success"]
    assert error(logs.delete_query_definition, queryDefinitionId=id) == missing
