"""Decisions of deployments that depend on one number or one word, each beside the database: time-outs, fleets, memories and what is pinned."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from penstock.deployments import bundles, progress, runs
from penstock.deployments.bundles import BundleMissing
from penstock.deployments.hostcommands import forgotten, identities, offers, operations, reports, signer, specification
from penstock.deployments.hostcommands.identities import Identities
from penstock.deployments.hostcommands.signer import Signer, SpecificationTooLong
from penstock.deployments.hostcommands.specification import Issue
from penstock.deployments.hostcommands.together import Together
from penstock.deployments.operations import deployments, hooklogs, hosts
from penstock.deployments.server import ids
from penstock.deployments.server.inputs import Acknowledged
from penstock.deployments.server.model import (
    DeploymentStatus,
    EventStatus,
    FleetHost,
    HostEvents,
    LifecycleEvent,
    RevisionHealth,
    Timeouts,
)
from penstock.wire.errors import AccessDenied, ServiceError, error_class

# --- time-outs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "names"),
    [
        ("penstock:agent-timeout-seconds", ("pickup", "absent")),
        ("penstock:stop-timeout-seconds", ("stop",)),
        ("penstock:silent-host-seconds", ("gone",)),
    ],
)
@pytest.mark.parametrize(
    ("value", "taken"),
    [("1", 1000), ("86400", 86_400_000), ("86401", None), ("0", None), ("-5", None), ("", None), ("1.5", None)],
)
def test_a_group_sets_its_own_time_outs_by_tags(tag, names, value, taken):
    plain = Timeouts()
    own = progress._own(plain, {tag: value, "other": "7"})
    changed = {name for name in Timeouts.__dataclass_fields__ if getattr(own, name) != getattr(plain, name)}
    assert changed == (set(names) if taken else set())
    assert all(getattr(own, name) == taken for name in names if taken)


@pytest.mark.parametrize(
    ("least", "after"),
    [({"pickup": 5}, 5), ({"absent": 5}, 5), ({"event": 5}, 5), ({"noop": 5}, 5), ({"stop": 5}, 5), ({"gone": 15}, 5), ({"gone": 16}, 6), ({}, 9)],
)  # fmt: skip
def test_a_deployment_is_looked_at_before_its_shortest_time_is_out(least, after):
    times: Any = SimpleNamespace(**{"pickup": 9, "absent": 9, "event": 9, "noop": 9, "stop": 9, "gone": 99} | least)
    assert progress.next_check(times) == after


@pytest.mark.parametrize(
    ("status", "started", "soonest", "deadline"),
    [
        (DeploymentStatus.IN_PROGRESS, 100, None, 150), (DeploymentStatus.IN_PROGRESS, 100, 120, 120), (DeploymentStatus.IN_PROGRESS, 100, 160, 150),
        (DeploymentStatus.CREATED, None, None, None), (DeploymentStatus.STOPPED, 100, 120, None),
    ],
)  # fmt: skip
def test_when_a_deployment_next_fails_by_itself(status, started, soonest, deadline):
    found: Any = SimpleNamespace(id="d", status=status, started=started, timeouts=SimpleNamespace(deployment=50))
    conn: Any = SimpleNamespace(execute=lambda _statement: SimpleNamespace(scalar=lambda: soonest))
    assert progress.earliest_deadline(conn, found) == deadline


# --- whom a deployment goes to ----------------------------------------------------------------------------------------


def fleet(monkeypatch: pytest.MonkeyPatch, *, only: set[str] | None = None, outdated: bool = False) -> Any:
    """The hosts of a group at 1,000,000 ms, of which each is known otherwise; `new` is deployed, `old` is what hosts should have."""
    seen = 1_000_000 - 180_000
    known = {
        "current": (True, "old", seen), "failed": (False, "old", seen - 1), "updated": (True, "new", None), "other": (True, "x", seen + 1),
        "fresh": None, "empty": (True, "", seen),
    }  # fmt: skip
    healths = {name: SimpleNamespace(healthy=row[0], installed=row[1]) for name, row in known.items() if row}
    instances = [
        SimpleNamespace(name=name, arn=f"arn:{name}", kind="onpremises", tags=[name], seen=row[2] if row else None)
        for name, row in [*known.items(), ("stranger", None)]
    ]
    monkeypatch.setattr(progress.records, "healths", lambda _conn, _group: healths)
    monkeypatch.setattr(progress.records, "registered_instances", lambda *_: instances)
    monkeypatch.setattr(progress.fleet, "in_group", lambda _kind, tags, _body: tags != ["stranger"])
    monkeypatch.setattr(progress.revisions, "content", lambda revision: revision)
    monkeypatch.setattr(progress.runs, "attempted", lambda _conn, _of: only)
    row: Any = SimpleNamespace(
        account="1", region="r", body={"revision": "new", "attemptedOf": "d" if only is not None else None, "updateOutdatedInstancesOnly": outdated}
    )  # fmt: skip
    group: Any = SimpleNamespace(id="g", revision="old", body={})
    began, arns = progress._fleet(None, row, group, 1_000_000)  # type: ignore[arg-type]
    assert arns == {host.name: f"arn:{host.name}" for host in began.hosts}
    return began


OLD, CURRENT, UNKNOWN = RevisionHealth.OLD, RevisionHealth.CURRENT, RevisionHealth.UNKNOWN


def test_what_is_known_of_each_host(monkeypatch):
    began = fleet(monkeypatch)
    assert began.hosts == (
        FleetHost(name="current", healthy=True, revision=CURRENT, seen=True),
        FleetHost(name="failed", healthy=False, revision=CURRENT, seen=False),
        FleetHost(name="updated", healthy=True, revision=OLD, seen=False),
        FleetHost(name="other", healthy=True, revision=OLD, seen=True),
        FleetHost(name="fresh", healthy=False, revision=UNKNOWN, seen=False),
        FleetHost(name="empty", healthy=True, revision=UNKNOWN, seen=True),
    )
    assert (began.bystanders, began.fleet) == (0, 6)


@pytest.mark.parametrize(
    ("more", "names", "bystanders"),
    [
        ({"outdated": True}, ["current", "failed", "other", "fresh", "empty"], 1),
        ({"only": {"failed", "other", "stranger"}}, ["failed", "other"], 3),
        ({"only": {"updated", "fresh"}, "outdated": True}, ["fresh"], 4),
        ({"only": set()}, [], 4),
    ],
)
def test_who_is_left_out_counts_as_healthy_when_it_is(monkeypatch, more, names, bystanders):
    began = fleet(monkeypatch, **more)
    assert [host.name for host in began.hosts] == names
    assert (began.bystanders, began.fleet) == (bystanders, 6)


@pytest.mark.parametrize(
    ("body", "tags", "changed"),
    [
        ({"mode": None, "previousRevision": "p", "strict": False, "revision": "r"}, {}, None),
        ({"mode": None, "previousRevision": "o", "strict": False, "revision": "r"}, {}, {"previousRevision": "p"}),
        ({"mode": None, "previousRevision": "p", "strict": False, "revision": "r"}, {"penstock:strict": "true"}, {"strict": True}),
        ({"mode": None, "previousRevision": "p", "strict": False, "revision": "r"}, {"penstock:strict": "yes"}, None),
        ({"mode": "RESTART", "previousRevision": "p", "strict": False, "revision": "r"}, {}, {"revision": "p", "digest": "d", "reuse": "d-1"}),
    ],
)  # fmt: skip
def test_a_deployment_that_waited_takes_what_its_group_has_by_now(monkeypatch, body, tags, changed):
    written: list[Any] = []
    conn: Any = SimpleNamespace(execute=lambda statement: written.append(statement.compile().params["body"]))
    row: Any = SimpleNamespace(id="d", body=body)
    group: Any = SimpleNamespace(revision="p", digest="d", successful="d-1", tags=tags)
    monkeypatch.setattr(progress.runs, "deployment", lambda _conn, _id: "read again")
    found = progress._after_the_others(conn, row, group)
    assert written == ([] if changed is None else [{**body, **changed}])
    assert found == (row if changed is None else "read again")


# --- many hosts to a transaction --------------------------------------------------------------------------------------


async def together(count: int, apply: Any) -> tuple[list[Any], list[int]]:
    """The answers to requests that come at once, and how many each transaction had."""
    sizes: list[int] = []

    async def write(fn: Any, requests: Any) -> Any:
        sizes.append(len(requests))
        await asyncio.sleep(0)
        return fn("conn", requests)

    made: Together[int, int] = Together(SimpleNamespace(write=write), apply)  # type: ignore[arg-type]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(made.put("k", number) for number in range(count)), return_exceptions=True)
    assert made._waiting == {}
    return answers, sizes


async def test_what_comes_while_a_transaction_runs_shares_the_next():
    answers, sizes = await together(130, lambda _conn, requests: [-request for request in requests])
    assert answers == [-number for number in range(130)]
    assert sizes == [64, 64, 2]


async def test_of_many_requests_only_the_one_at_fault_fails():
    def apply(_conn: Any, requests: Any) -> Any:
        if 1 in requests:
            raise ValueError("it is 1")
        return [KeyError("an answer") if request == 2 else request for request in requests]

    answers, sizes = await together(4, apply)
    assert sizes == [4, 1, 1, 1, 1]
    assert [type(answer) for answer in answers] == [int, ValueError, KeyError, int]
    answers, sizes = await together(2, apply)
    assert (sizes, answers[0], type(answers[1])) == ([2, 1, 1], 0, ValueError)


async def test_who_asked_and_is_gone_keeps_no_answer_from_others():
    go = asyncio.Event()

    async def write(fn: Any, requests: Any) -> Any:
        await go.wait()
        return fn("conn", requests)

    made: Together[int, int] = Together(SimpleNamespace(write=write), lambda _conn, requests: list(requests))  # type: ignore[arg-type]
    asked = [asyncio.ensure_future(made.put("k", number)) for number in range(3)]
    await asyncio.sleep(0)
    asked[0].cancel()
    asked[1].cancel()
    go.set()
    async with asyncio.timeout(60):
        assert await asked[2] == 2


@pytest.mark.parametrize(
    ("wanted", "found", "given"),
    [
        ([("a", 5), ("b", 9)], {"a": "job", "b": "more"}, ["job", "more"]),
        ([("a", 5), ("a", 5)], {"a": "job"}, ["job", None]),
        ([("a", 5)], {}, [None]),
    ],
)
def test_offers_are_for_the_longest_of_the_times_and_for_the_first_that_polls(monkeypatch, wanted, found, given):
    asked: list[Any] = []

    def offer(_conn: Any, *, kind: str, topics: Any, offer_ms: int, now: int) -> Any:
        asked.append((list(topics), offer_ms, now))
        return dict(found)

    monkeypatch.setattr(offers.outside, "offer", offer)
    monkeypatch.setattr(offers, "transaction_of", lambda _conn: SimpleNamespace(clock=SimpleNamespace(now=lambda: 7)))
    assert offers.offered(None, wanted) == given  # type: ignore[arg-type]
    assert asked == [([topic for topic, _ in wanted], max(ms for _, ms in wanted), 7)]


# --- who a host is ----------------------------------------------------------------------------------------------------


class Known:
    """The memory of hosts, with rows that a test changes, and how often they were read."""

    def __init__(self, dialect: str = "postgresql") -> None:
        self.read, self.changed = 0, [False] * 9
        store = SimpleNamespace(
            dialect=dialect, lookup=self.lookup, write=self.write, wakeup=lambda _name: SimpleNamespace(taken=lambda: self.changed.pop(0) if self.changed else False)
        )  # fmt: skip
        self.principal: str | None = "AIDA"
        self.bound: list[Any] = []
        self.identities = Identities(store)  # type: ignore[arg-type]
        self.call: Any = SimpleNamespace(
            account="1", region="r", session=SimpleNamespace(arn="arn:me", principal_id="AIDA:session")
        )

    async def lookup(self, *_: Any, **__: Any) -> Any:
        self.read += 1
        return SimpleNamespace(name="web", arn="arn:web", iam_arn="arn:me", principal=self.principal)

    async def write(self, _fn: Any, *given: Any) -> str:
        self.bound.append(given)
        return "AIDA"


@pytest.mark.parametrize(
    ("dialect", "passed", "reads"), [("postgresql", 0.999, 1), ("postgresql", 1.0, 2), ("sqlite", 10.0**9, 1)]
)
async def test_a_host_is_remembered_for_a_second_where_other_processes_register(monkeypatch, dialect, passed, reads):
    known = Known(dialect)
    now = [50.0]
    monkeypatch.setattr(identities.asyncio, "get_running_loop", lambda: SimpleNamespace(time=lambda: now[0]))
    await known.identities.host(known.call)
    now[0] += passed
    await known.identities.host(known.call)
    assert known.read == reads


async def test_what_was_read_before_a_change_serves_one_call():
    known = Known()
    known.changed = [False, True]
    await known.identities.host(known.call)
    assert known.identities._known == {}
    known.changed = []
    await known.identities.host(known.call)
    assert (known.read, len(known.identities._known)) == (2, 1)
    known.changed = [True]
    await known.identities.host(known.call)
    assert known.read == 3


async def test_the_memory_of_hosts_is_bounded(monkeypatch):
    assert identities._KEPT == 32_768
    monkeypatch.setattr(identities, "_KEPT", 2)
    known = Known("sqlite")
    for name in ("a", "b", "c"):
        known.call.session.arn = name
        await known.identities.host(known.call)
    assert [key[2] for key in known.identities._known] == ["c"]


async def test_a_host_is_bound_to_who_polls_first_and_speaks_for_itself_only():
    known = Known()
    known.principal = None
    assert (await known.identities.host(known.call)).name == "web"
    assert known.bound == [("1", "r", "arn:me", "AIDA")]
    for claimed in (None, "arn:web", "arn:me"):
        await known.identities.host(known.call, claimed)
    with pytest.raises(AccessDenied, match=r"^arn:me cannot speak for the host arn:other\.$"):
        await known.identities.host(known.call, "arn:other")
    known.call.session.principal_id = "AIDAOTHER:session"
    said = "arn:me was made anew since the instance web was registered, and is not that instance: deregister the instance and register it again."
    with pytest.raises(AccessDenied) as refused:
        await known.identities.host(known.call)
    assert refused.value.message == said


async def test_commands_that_an_agent_does_not_know_any_more_are_given_up_three_seconds_later(monkeypatch):
    lost: list[Any] = []
    pauses: list[float] = []
    rows = [
        SimpleNamespace(deployment="d-1", position=2, current=3),
        SimpleNamespace(deployment="d-2", position=0, current=1),
    ]

    async def read(fn: Any, *given: Any) -> Any:
        return fn("conn", *given)

    async def write(fn: Any) -> None:
        fn("conn")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        del rows[1:]

    monkeypatch.setattr(forgotten, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(forgotten.records, "ACKNOWLEDGED", SimpleNamespace(all=lambda _conn, _given: list(rows)))
    monkeypatch.setattr(
        forgotten.commands, "command_id", lambda deployment, position, index: f"{deployment}.{position}.{index}"
    )
    monkeypatch.setattr(
        forgotten.aggregates,
        "apply",
        lambda _conn, deployment, input, **_: lost.append((deployment, input.host, input.index)),
    )
    app = SimpleNamespace(
        store=SimpleNamespace(read=read, write=write),
        ids=SimpleNamespace(seed=lambda: 1),
        clock=SimpleNamespace(now=lambda: 5),
    )
    call: Any = SimpleNamespace(app=app, account="1", region="r")
    await forgotten.give_up(call, "web", ["d-1.2.3.nonce", "d-2.0.1.nonce"])
    assert pauses == []
    await forgotten.give_up(call, "web", ["d-2.0.1.nonce"])
    assert (pauses, lost) == ([3.0], [("d-1", "web", 3)])


# --- what a host is given ---------------------------------------------------------------------------------------------

ISSUE = Issue(account="1", region="r", host="web", identifier="arn:me", execution="x/d-1", hour=10)


def specified(missing: bool = False, **body: Any) -> dict[str, Any]:
    row: Any = SimpleNamespace(
        id="d-1", group_id="g", group_name="web", application="shop", state={},
        body={"creator": "user", "fileExistsBehavior": "DISALLOW", "revision": {"revisionType": "S3"}, **body},
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            specification.runs,
            "STATE",
            SimpleNamespace(load=lambda _state: SimpleNamespace(events=("A", "B"), started=77)),
        )
        patch.setattr(specification.revision, "for_host", lambda _revision: {"S3Revision": {"Key": "k"}})
        return json.loads(specification.document(row, ISSUE, position=4, missing=missing))


def test_a_specification_is_good_for_one_host_until_the_hour_after_the_next():
    plain = specified()
    assert plain["IssuedFor"] == {
        "DeploymentExecutionId": "x/d-1", "HostIdentifier": "arn:me", "CommandPrefix": "d-1.4.", "Events": ["A", "B"], "Begun": 77,
        "Expires": 12 * 3_600_000,
    }  # fmt: skip
    assert {"Strict", "ReuseArchiveFromDeploymentId"} & set(plain) == set()
    assert plain["Revision"] == {"S3Revision": {"Key": "k"}}
    more = specified(missing=True, strict=True, reuse="d-0")
    assert (more["Strict"], more["ReuseArchiveFromDeploymentId"]) == (True, "d-0")
    assert more["Revision"]["S3Revision"]["ETag"] == "the-bundle-was-not-there-when-the-deployment-began"
    assert [specification.hour_of(now) for now in (0, 3_599_999, 3_600_000)] == [0, 0, 1]


@pytest.mark.parametrize(("length", "fits"), [(8192, True), (8193, False)])
async def test_an_envelope_is_as_long_as_the_protocol_allows(monkeypatch, length, fits):
    made: Any = Signer(None)  # type: ignore[arg-type]
    made._key = "a key"
    made._sign = lambda _document: "x" * length
    if fits:
        assert await made.envelope(ISSUE, b"d", final=True) == "x" * length
        assert made.issued(ISSUE) == "x" * length
        return
    with pytest.raises(SpecificationTooLong, match="^8193 bytes$"):
        await made.envelope(ISSUE, b"d", final=True)
    assert made.issued(ISSUE) is None


async def test_envelopes_are_kept_in_forty_megabytes_the_newest_longest(monkeypatch):
    assert signer._CACHED_BYTES == 41_943_040
    monkeypatch.setattr(signer, "_CACHED_BYTES", 30)
    made: Any = Signer(None)  # type: ignore[arg-type]
    made._key = "a key"
    signed: list[bytes] = []
    made._sign = lambda document: signed.append(document) or document.decode() * 10
    first, second, third, fourth = (ISSUE._replace(host=name) for name in "abcd")
    for issue in (first, second, third):
        await made.envelope(issue, issue.host.encode(), final=True)
    assert made.issued(first) == "a" * 10  # asked for again, so that it stays
    await made.envelope(fourth, b"d", final=True)
    assert [made.issued(issue) is not None for issue in (first, second, third, fourth)] == [True, False, True, True]
    assert made._signed_bytes == 30
    await made.envelope(first, b"a", final=True)
    assert signed == [b"a", b"b", b"c", b"d"]


def test_the_signers_certificate_is_good_for_twenty_years(monkeypatch):
    monkeypatch.setattr(signer, "_BITS", 2048)
    _, pem = signer._make(1_767_225_600_000)
    certificate = x509.load_pem_x509_certificate(pem.encode())
    assert certificate.not_valid_before_utc == dt.datetime(2025, 12, 31, tzinfo=dt.UTC)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == dt.timedelta(days=7300)


S3 = {"revisionType": "S3", "s3Location": {"bucket": "b", "key": "k", "bundleType": "zip"}}
FOUND = {"eTag": "e", "versionId": "v", "sha256": "s"}


@pytest.mark.parametrize(
    ("more", "answer", "asked", "pinned"),
    [
        ({}, FOUND, {}, {"version": "v", "eTag": "e", "sha256": "s"}),
        ({}, {"eTag": "e"}, {}, {"eTag": "e"}),
        ({"eTag": '"e"', "version": "w"}, FOUND, {"versionId": "w"}, {"version": "v", "eTag": "e", "sha256": "s"}),
        ({"eTag": "f"}, FOUND, {}, None),
        ({}, AccessDenied("no"), {}, None),
        ({}, error_class("NoSuchBucket")(""), {}, None),
        ({}, error_class("NoSuchKey")(""), {}, BundleMissing),
        ({}, error_class("NoSuchVersion")(""), {}, BundleMissing),
        ({}, error_class("MethodNotAllowed")(""), {}, BundleMissing),
    ],
)
async def test_what_a_bundle_is_found_to_be(more, answer, asked, pinned):
    location = {**S3, "s3Location": {**S3["s3Location"], **more}}
    calls: list[Any] = []

    async def invoke(_session: Any, service: str, operation: str, request: Any, **_: Any) -> Any:
        calls.append((service, operation, request))
        if isinstance(answer, Exception):
            raise answer
        return answer

    given: dict[str, Any] = {"region": "r", "origin": None}
    app: Any = SimpleNamespace(invoke=invoke)
    if pinned is BundleMissing:
        with pytest.raises(BundleMissing):
            await bundles.pinned(app, None, location, **given)  # type: ignore[arg-type]
        return
    found = await bundles.pinned(app, None, location, **given, limit=9)  # type: ignore[arg-type]
    assert calls == [("penstock", "GetObjectDigest", {"bucketName": "b", "objectKey": "k", "maximumSize": 9, **asked})]
    assert found == (location if pinned is None else {**location, "pinned": pinned})
    if pinned and "sha256" in pinned:
        assert await bundles.pinned(app, None, found, **given) is found  # type: ignore[arg-type]
        assert len(calls) == 1


# --- what is shown ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "connected"), [(None, False), (1_000_000 - 180_000, True), (1_000_000 - 180_001, False)]
)
def test_a_host_is_connected_that_was_seen_within_three_minutes(seen, connected):
    row: Any = SimpleNamespace(name="h", kind="ec2", arn="a", iam_arn="i", tags=[], registered=1, seen=seen, agent="")
    shown = hosts._to_api(row, 1_000_000)
    assert (shown["connected"], shown["lastSeenTime"], shown["agentVersion"]) == (connected, seen, None)


@pytest.mark.parametrize(
    ("live", "reported", "status", "log", "complete"),
    [
        (None, "end", EventStatus.SUCCEEDED, "end", True), ("longer", "end", EventStatus.IN_PROGRESS, "longer", False), ("abc", "end", EventStatus.FAILED, "abc", True),
        ("ab", "end", EventStatus.SKIPPED, "end", True), (None, None, EventStatus.PENDING, "", False),
    ],
)  # fmt: skip
async def test_the_log_of_a_hook_is_the_longer_of_what_is_there(monkeypatch, live, reported, status, log, complete):
    why: Any = None if reported is None else SimpleNamespace(log=reported)
    event = SimpleNamespace(name="Install", diagnostics=why, status=status)
    monkeypatch.setattr(hooklogs, "found_deployment", lambda *_: SimpleNamespace(state={}))
    monkeypatch.setattr(hooklogs, "target_row", lambda *_: SimpleNamespace(position=0))
    monkeypatch.setattr(hooklogs.runs, "STATE", SimpleNamespace(load=lambda _state: SimpleNamespace(events=())))
    monkeypatch.setattr(hooklogs.runs, "lifecycle_events", lambda *_: (event,))
    monkeypatch.setattr(hooklogs.records, "one", lambda *_, **__: None if live is None else SimpleNamespace(log=live))

    async def read(fn: Any) -> Any:
        return fn("conn")

    call: Any = SimpleNamespace(app=SimpleNamespace(store=SimpleNamespace(read=read)))
    asked = {"deploymentId": "d-AAAAAAAAA", "targetId": "web", "lifecycleEventName": "Install"}
    assert await hooklogs.get_hook_log(None, call, asked) == {"log": log, "complete": complete, "status": status}  # type: ignore[arg-type]


def test_one_who_may_not_speak_for_a_host_keeps_no_other_from_taking_its_command(monkeypatch):
    offered: list[Any] = []

    def acknowledge(_conn: Any, offers: Any, **asked: Any) -> list[str]:
        offered.extend(offers)
        return [command for command, _ in offered]

    monkeypatch.setattr(reports.outside, "acknowledge", acknowledge)
    monkeypatch.setattr(reports, "_is_own", lambda _row, _host, reporter: reporter != "stranger")
    taken = Acknowledged(host="h", index=1)
    deployment: Any = SimpleNamespace(
        row=None, host=lambda position: None if position == 7 else SimpleNamespace(current=1)
    )
    said: list[Any] = [
        SimpleNamespace(deployment="d", position=position, reporter=reporter, input=input, nonce=f"n{position}", now=1)
        for position, reporter, input in (
            (0, "own", taken),
            (1, "stranger", taken),
            (7, "own", taken),  # there is no such host
            (2, "own", taken),
            (3, "own", Acknowledged(host="h", index=0)),
            (4, "own", taken),
        )
    ]
    assert len(reports._acknowledged(None, deployment, said)) == 3  # type: ignore[arg-type]
    assert sorted(nonce for _, nonce in offered) == ["n0", "n2", "n4"]


def test_which_hosts_a_deployment_attempted():
    def row(name: str, *started: int | None) -> Any:
        events = tuple(LifecycleEvent(name="x", started=moment) for moment in started)
        return SimpleNamespace(name=name, events=runs.HOST_EVENTS.dump(HostEvents(events=events)) if started else None)

    rows = [row("skipped"), row("waited", None, None), row("began", None, 0), row("ran", 5, 6)]
    conn: Any = SimpleNamespace(execute=lambda _statement: rows)
    assert runs.attempted(conn, "d") == {"began", "ran"}


def test_an_action_always_makes_the_same_deployment_and_each_its_own():
    made = {(group, action): ids.id_for_action(group, action) for group in ("g", "h") for action in ("a", "b")}
    assert made["g", "a"] == ids.id_for_action("g", "a")
    assert len(set(made.values())) == 4
    assert all(re.fullmatch("d-[0-9A-Z]{9}", id) for id in made.values())


@pytest.mark.parametrize(("index", "answer"), [(0, "Succeeded"), (1, "Failed"), (2, "Failed"), (9, "Failed")])
def test_an_agent_drops_what_is_over(index, answer):
    statuses = (EventStatus.SUCCEEDED, EventStatus.FAILED, EventStatus.SKIPPED)
    assert reports.over([LifecycleEvent(name="x", status=status) for status in statuses], index) == answer


@pytest.mark.parametrize(
    ("headers", "agent"),
    [
        ({"user-agent": "penstock-agent/1.2 Python/3", "x-amz-codedeploy-agent-version": "9"}, "penstock-agent/1.2"),
        ({"user-agent": "aws-sdk-ruby", "x-amz-codedeploy-agent-version": "OFFICIAL_1.7"}, "OFFICIAL_1.7"),
        ({}, ""),
    ],
)
def test_which_agent_polls(headers, agent):
    assert operations._agent(SimpleNamespace(headers=headers)) == agent  # type: ignore[arg-type]


def test_numbers_of_the_protocol():
    assert (operations._OFFER_MS, operations._LOG_BYTES) == (15_000, 32_768)


# --- what a deployment is given ---------------------------------------------------------------------------------------

OUTDATED = {"updateOutdatedInstancesOnly": True}
IN_RESTARTS = "cannot be given with the deployment mode RESTART."


@pytest.mark.parametrize(
    ("input", "revision", "made"),
    [
        ({}, {"revisionType": "S3"}, {"revisionType": "S3"}),
        ({}, None, ("RevisionRequiredException", "The deployment group has no successful deployment that could be restarted.")),
        ({"revision": {"revisionType": "S3"}}, {}, ("InvalidInputException", f"A revision {IN_RESTARTS}")),
        (OUTDATED, {}, ("InvalidInputException", f"updateOutdatedInstancesOnly {IN_RESTARTS}")),
    ],
)  # fmt: skip
def test_a_restart_is_of_what_the_group_has(input, revision, made):
    group: Any = SimpleNamespace(revision=revision)
    if isinstance(made, dict):
        assert deployments._location(input, group, restart=True) == made
        return
    with pytest.raises(ServiceError) as refused:
        deployments._location(input, group, restart=True)
    assert (refused.value.wire_code, refused.value.message) == made


@pytest.mark.parametrize(
    ("input", "refusal"),
    [
        ({}, None),
        ({"targetInstances": {}, "ec2DeploymentOptions": {}, "overrideAlarmConfiguration": None}, None),
        ({"ec2DeploymentOptions": {"autoScalingGroupProcessesToSuspend": []}}, None),
        ({"targetInstances": {"tagFilters": []}}, ("InvalidTargetInstancesException", "targetInstances can only be given for blue/green deployments.")),
        ({"ec2DeploymentOptions": {"autoScalingGroupProcessesToSuspend": ["Terminate"]}}, (
            "InvalidAutoScalingGroupProcessToSuspendException", "Suspending Auto Scaling processes is not served by this version of Penstock.")),
    ],
)  # fmt: skip
def test_what_no_deployment_takes(input, refusal):
    if refusal is None:
        deployments._refuse_what_does_not_fit(input)
        return
    with pytest.raises(ServiceError) as refused:
        deployments._refuse_what_does_not_fit(input)
    assert (refused.value.wire_code, refused.value.message) == refusal
