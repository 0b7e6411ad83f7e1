"""Metric sources in process: what each kind finds, what no answer of another machine can do, and what a read leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import tempfile
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from penstock_examples import examples
from penstock_identity_harness import ACCOUNT, REGION, allow, harness_on, refused
from penstock_issuer import issuer_at
from penstock_waiting import eventually

import penstock.fleet
import penstock.monitoring
from penstock.component import options_of
from penstock.egress import Egress, EgressSettings
from penstock.monitoring import source_reading, source_records
from penstock.monitoring.evaluating import Evaluator
from penstock.monitoring.source_kind import Asked, Found, ReadFailed
from penstock.monitoring.source_settings import MonitoringSettings
from penstock.monitoring.sources import haproxy, kinds, nginx, prometheus
from penstock.monitoring.sources.http import statuses
from penstock.store.jobs import job_of
from penstock.store.records import jobs
from penstock.wire.errors import AccessDenied

LOOPBACK = EgressSettings(egress_networks=("127.0.0.0/8",))
NOW = 1_800_000_000_000

STUB = (
    b"Active connections: 291 \nserver accepts handled requests\n 100 98 250 \nReading: 6 Writing: 179 Waiting: 106 \n"
)
STATISTICS = """# pxname,svname,qcur,scur,stot,econ,eresp,status,type,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,
site,FRONTEND,,3,50,,,OPEN,0,0,40,0,5,5,0,
web,web-1,1,2,40,2,1,UP 1/3,2,0,30,0,5,5,0,
web,web-2,0,0,9,0,0,MAINT (web/web-1),2,0,9,0,0,0,0,
web,sock-1,0,0,9,0,0,OPEN,3,0,9,0,0,0,0,
web,BACKEND,0,2,49,2,1,DOWN,1,0,39,0,5,5,0,
"""
DRIPS = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[%s]}}'
SETTINGS = {
    "http": {"expectedText": "fine"},
    "prometheus": {"query": "up", "labels": ["host"]},
    "haproxy": {},
    "nginx": {},
}
GOOD = {
    "http": b"all is fine",
    "prometheus": VECTOR
    % b'{"metric":{"host":"web-1"},"value":[1.5,"0.25"]},{"metric":{"host":"web-2"},"value":[1.5,"NaN"]}',
    "haproxy": STATISTICS.encode(),
    "nginx": STUB,
}


def answer(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more)
    return "\r\n".join((*lines, "", "")).encode() + body


@contextlib.asynccontextmanager
async def answering(*answers: bytes, endless: bytes = b"", pause: float = 0.0):
    """A server that gives these answers in turn, the last one over and over. Yields its address and the heads that it got."""
    heard: list[bytes] = []

    serving: dict[asyncio.Task, asyncio.StreamWriter] = {}

    async def serve(reader, writer):
        serving[asyncio.current_task()] = writer
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answers[min(len(heard), len(answers)) - 1])
            while endless:
                writer.write(endless)
                await writer.drain()
                await asyncio.sleep(pause)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*serving, return_exceptions=True)


def asked(kind: str, url: str, *, progress=None, credentials=None, **settings) -> Asked:
    return Asked(
        settings={"url": url, **SETTINGS[kind], **settings},
        credentials=credentials or {},
        egress=Egress(LOOPBACK),
        sockets=(),
        progress=progress or {},
        now=NOW,
    )


def values(found: Found) -> dict:
    return {(one.name, *(value for _, value in one.dimensions)): one.value for one in found.samples}


async def test_every_kind_reads_its_answer():
    """The contract: a good answer gives values of metrics that are all different, and the next read differences."""
    assert list(kinds()) == sorted(GOOD)
    for name, kind in kinds().items():
        async with answering(answer(GOOD[name])) as (url, heard):
            kind.check({"url": url, **SETTINGS[name]}, ())
            assert kind.address({"url": url, **SETTINGS[name]}) == url
            found = await kind.read(asked(name, url, credentials={"username": "u", "password": "p"}))
            assert found.samples
            assert not found.failure
            assert b"Authorization: Basic dTpw\r\n" in heard[0]
            again = await kind.read(asked(name, url, progress=found.progress, credentials={"bearerToken": "t"}))
            assert b"Authorization: Bearer t\r\n" in heard[1]
        assert len(values(again)) == len(again.samples) >= len(found.samples)
        assert all(math.isfinite(one.value) for one in again.samples)
        assert kind.namespace.startswith("Penstock/")


async def test_no_answer_does_more_than_fail_a_read():
    deep = b"[" * 100_000
    hostile = [
        answer(b""), answer(b"\0\xff" * 1000), answer(deep), answer(b'{"status":"success"}'), answer(b'{"status":"success","data":3}'),
        answer(VECTOR % b'{"metric":3}'), answer(VECTOR % b'{"metric":{},"value":["x"]}'), answer(VECTOR % b'{"metric":{},"value":[1,"x"]}'),
        answer(VECTOR % b",".join([b'{"metric":{},"value":[1,"1"]}'] * 5000)), answer(b'{"status":"error","error":"bad query"}', "400 Bad"),
        answer(VECTOR % b'{"metric":{"host":"\xc3\xa4"},"value":[1,"1"]}'), answer(b'{"status":"success","data":{"resultType":"matrix","result":[]}}'),
        answer(b"# pxname\n" + b"a\n" * 100_000), answer(b'# pxname,svname,type\n"' + b"a" * 200_000), answer(b"# pxname,svname,type\n\xff,b,2\n"),
        answer(b"# pxname,svname,type,stot\na,b,2,1e9\n"), answer(b"# pxname,svname,type\n" + b"".join(b"a,s%d,2\n" % n for n in range(101))),
        answer(b"# pxname,svname,type,scur\na,b,2," + b"9" * 50_000), answer(STUB.replace(b"250", b"9" * 5000)), answer(b"no", "500 Broken"),
        answer(b"", "302 Found", "Location: http://127.0.0.1:1/"), b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 << 20), b"not HTTP\r\n\r\n", b"",
    ]  # fmt: skip
    said = []
    for body in hostile:
        async with answering(body) as (url, _):
            for name, kind in kinds().items():
                try:
                    found = await kind.read(asked(name, url))
                except ReadFailed as failed:
                    said.append(str(failed))
                else:
                    assert name == "http"
                    assert values(found)["Success",] == 0.0
                    said.append(found.failure)
    assert all(one.endswith(".") and len(one) < 1000 for one in said), said
    for name, kind in kinds().items():
        async with answering(b"HTTP/1.1 200 OK\r\n\r\n", endless=b"x" * 65536) as (url, _):
            if name == "http":  # the rest does not matter
                assert "expected text" in (await kind.read(asked(name, url))).failure
            else:
                with pytest.raises(ReadFailed, match="answers with more than"):
                    await kind.read(asked(name, url))


async def test_a_probe_follows_redirects_as_far_as_it_is_let():
    probe = kinds()["http"]
    async with answering(answer(b"fine")) as (target, heard):
        to = answer(b"", "307 Temporary", f"Location: {target}/there")
        async with answering(to) as (url, first):
            given = {"bearerToken": "secret"}
            found = await probe.read(asked("http", url, maxRedirects=1, credentials=given))
            assert (found.failure, values(found)["StatusCode",]) == ("", 200.0)
            assert b"Bearer secret" in first[0]
            assert heard[0].startswith(b"GET /there ")
            assert b"Authorization" not in heard[0]  # another origin
            found = await probe.read(asked("http", url))
            assert found.failure == "The status is 307, and 200-299 was expected."
            found = await probe.read(asked("http", url, expectedStatus="301,305-308", expectedText=""))
            assert not found.failure
        for location, why in (
            ("http://10.0.0.1/", "10.0.0.1 has no address that may be asked."),
            ("file:///etc/passwd", "'file:///etc/passwd' is no address of https or http."),
            ("http://[", "127.0.0.1 redirects to 'http://[', which is no address."),
        ):
            async with answering(answer(b"", "302 Found", f"Location: {location}")) as (url, _):
                found = await probe.read(asked("http", url, maxRedirects=5))
                assert (found.failure, values(found)) == (why, {("Success",): 0.0})
        async with answering(answer(b"", "302 Found", "Location: /")) as (url, heard):
            found = await probe.read(asked("http", url, maxRedirects=3))
            assert found.failure == "127.0.0.1 redirects more than 3 times."
            assert len(heard) == 4
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", endless=b"") as (url, heard):
        found = await probe.read(asked("http", url, method="HEAD", expectedText=""))
        assert values(found)["Success",] == 1.0
        assert heard[0].startswith(b"HEAD / ")


async def test_a_probe_sees_when_a_certificate_ends(tmp_path):
    probe = kinds()["http"]
    with issuer_at(tmp_path) as issuer:
        url = f"{issuer.url}/.well-known/openid-configuration"
        given = dataclasses.replace(asked("http", url, expectedText="issuer"), now=int(time.time() * 1000))
        for ca_file, method in ((str(issuer.ca_file), "GET"), (str(issuer.ca_file), "HEAD"), ("", "GET")):
            settings = {"url": url, "method": method, "expectedStatus": "200,501"}
            egress = Egress(EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=ca_file))
            found = await probe.read(dataclasses.replace(given, settings=settings, egress=egress))
            if ca_file:
                assert 0.9 < values(found)["CertificateDaysLeft",] <= 1.0
                assert not found.failure
            else:
                assert values(found) == {("Success",): 0.0}
                assert found.failure == "127.0.0.1: self-signed certificate in certificate chain."


def test_what_haproxy_counts():
    first = haproxy.found(STATISTICS, (), {})
    assert values(first)["CurrentSessions", "web", "web-1"] == 2
    assert values(first)["QueuedRequests", "web", "web-1"] == 1
    up = {key[2]: value for key, value in values(first).items() if key[0] == "Up"}
    assert up == {"FRONTEND": 1.0, "web-1": 1.0, "BACKEND": 0.0}  # none of what is in maintenance
    assert not any(key[0].startswith("Responses") for key in values(first))
    later = STATISTICS.replace("UP 1/3,2,0,30,0,5,5,0", "UP,2,0,36,0,6,8,0")
    second = values(haproxy.found(later, ["web"], first.progress))
    assert {name: second[f"Responses{name}", "web", "web-1"] for name in ("2xx", "4xx", "5xx", "5xxPercent")} == {
        "2xx": 6, "4xx": 1, "5xx": 3, "5xxPercent": 30.0,
    }  # fmt: skip
    assert ("Responses5xxPercent", "web", "BACKEND") not in second  # it had no responses
    assert not any(key[1] == "site" for key in second)
    anew = STATISTICS.replace("UP 1/3,2,0,30,0,5,5,0", "UP,2,0,3,0,0,1,0")  # it was started again
    third = values(haproxy.found(anew, ["web"], first.progress))
    assert third["Responses5xx", "web", "web-1"] == 1
    assert third["Responses2xx", "web", "web-1"] == 3
    with pytest.raises(ReadFailed, match="no rows of shop"):
        haproxy.found(STATISTICS, ["shop"], {})


def test_a_table_takes_time_by_its_size_only():
    """A head of many columns above many short rows: what a row costs must not depend on the head."""
    head = "# pxname,svname,type" + "," * 400_000 + "\n"
    began = time.thread_time()
    with pytest.raises(ReadFailed, match="no rows"):
        haproxy.found(head + "a,b,3\n" * 100_000, (), {})
    with pytest.raises(ReadFailed, match="more than 100"):
        haproxy.found(head + "a,b,2\n" * 100_000, (), {})
    assert time.thread_time() - began < 10  # a thousand times as much, if it did


_WORDS = st.sampled_from([*STATISTICS.replace("\n", ",").split(","), "\n", '"', "9" * 30, "-1", "\xb2", "\0"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.sampled_from(["1", "NaN", "host"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["metric", "value", "host"]), inner),
    max_leaves=10,
)


@hypothesis.given(
    st.lists(_WORDS, max_size=40).map(",".join), st.sampled_from([{}, {"web/web-1": {"stot": "x"}}, {"web/web-1": 3}])
)
@hypothesis.settings(max_examples=examples(300))
def test_any_table_is_read_or_refused(rows, before):
    text = STATISTICS.partition("\n")[0] + "\n" + rows
    with contextlib.suppress(ReadFailed):
        found = haproxy.found(text, (), before)
        assert all(math.isfinite(one.value) for one in found.samples)


@hypothesis.given(st.sampled_from(["scalar", "vector", "matrix"]), _JSON | st.lists(_JSON, max_size=3))
@hypothesis.settings(max_examples=examples(300))
def test_any_result_is_read_or_refused(kind, result):
    with contextlib.suppress(ReadFailed):
        found = prometheus.samples({"resultType": kind, "result": result}, "Value", ["host"])
        assert all(math.isfinite(one.value) for one in found)


def test_what_nginx_counts():
    now = {"active": 3, "accepts": 110, "handled": 107, "requests": 300, "reading": 0, "writing": 1, "waiting": 2}
    before = {"accepts": 100, "handled": 98, "requests": 250}
    found = values(nginx.found(now, before))
    assert {name: found[name,] for name in ("AcceptedConnections", "DroppedConnections", "Requests")} == {
        "AcceptedConnections": 10, "DroppedConnections": 1, "Requests": 50,
    }  # fmt: skip
    found = values(nginx.found(now, {"accepts": 900, "handled": 90, "requests": 200}))
    assert (found["AcceptedConnections",], found["Requests",]) == (110, 300)


def test_what_prometheus_answers():
    def series(host, value, **labels):
        return {"metric": {"host": host, **labels}, "value": [1.5, value]}

    def samples(kind, result, labels=("host",)):
        return [
            (one.value, *one.dimensions)
            for one in prometheus.samples({"resultType": kind, "result": result}, "Errors", labels)
        ]

    assert samples("scalar", [1.5, "7"]) == [(7.0,)]
    found = [series("a", "1"), series("b", "NaN"), series("c", "+Inf"), series("d", "1e200"), series("", "2")]
    assert samples("vector", found) == [(1.0, ("host", "a")), (2.0,)]
    assert samples("vector", []) == []
    with pytest.raises(ReadFailed, match=r"the same dimensions \(host=a\)"):
        samples("vector", [series("a", "1", job="x"), series("a", "2", job="y")])
    assert len(samples("vector", [series("a", "1", job="x"), series("a", "2", job="y")], ("host", "job"))) == 2


def test_statuses_are_those_of_matchers():
    assert [number for one in statuses("200,301-303") for number in one] == [200, 301, 302, 303]
    for text in ("", "2xx", "200-", "-", "99", "300-200", "200,,201", "600", "٢٠٠"):
        with pytest.raises(ValueError, match="expectedStatus must"):
            statuses(text)


@contextlib.asynccontextmanager
async def watching(store, clock, tmp_path, *settings):
    async with harness_on(
        store, clock, tmp_path, penstock.monitoring.component, penstock.fleet.component, chosen=(LOOPBACK, *settings)
    ) as made:
        await made.app.work.start(made.app)
        try:
            yield made
        finally:
            await made.app.work.stop(1)


async def ours(harness, operation, by=None, **input):
    return await harness.app.invoke(by or await harness.administrator(), "penstock", operation, input, region=REGION)


async def read_since(harness, name, before=None):
    """A source once it was read after a time."""

    async def look():
        found = (await ours(harness, "GetMetricSource", sourceName=name))["source"]
        return found if found.get("lastReadTime") not in (None, before) else None

    return await eventually(look)


async def points(harness, namespace, name, **dimensions):
    now = harness.app.clock.now()
    found = await harness.app.invoke(
        await harness.administrator(),
        "cloudwatch",
        "GetMetricStatistics",
        {
            "Namespace": namespace, "MetricName": name, "StartTime": now - 3_600_000, "EndTime": now + 60_000, "Period": 60,
            "Statistics": ["Sum", "SampleCount"], "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        },
        region=REGION,
    )  # fmt: skip
    return sum(one["Sum"] for one in found["Datapoints"]), sum(one["SampleCount"] for one in found["Datapoints"])


async def test_a_source_is_read_at_its_interval(any_store, clock, tmp_path):
    async with (
        watching(any_store, clock, tmp_path) as harness,
        answering(answer(STUB), answer(STUB.replace(b"250", b"300")), answer(b"", "503 Gone"), answer(STUB)) as (
            url,
            heard,
        ),
    ):
        put = {"sourceName": "lb", "nginx": {"url": url}, "intervalSeconds": 10}
        made = (await ours(harness, "PutMetricSource", **put))["source"]
        assert (made["kind"], made["namespace"], made["status"], made["timeoutSeconds"]) == (
            "nginx",
            "Penstock/Nginx",
            "WAITING",
            5,
        )
        assert made["sourceArn"] == f"arn:aws:penstock:{REGION}:{ACCOUNT}:metric-source/lb"
        first = await read_since(harness, "lb")
        assert (first["status"], first["failures"], len(heard)) == ("OK", 0, 1)
        assert await points(harness, "Penstock/Nginx", "ActiveConnections", Source="lb") == (291, 1)
        assert await points(harness, "Penstock/Nginx", "Requests", Source="lb") == (0, 0)
        clock.advance(10_000)
        second = await read_since(harness, "lb", first["lastReadTime"])
        assert await points(harness, "Penstock/Nginx", "Requests", Source="lb") == (50, 1)
        clock.advance(10_000)
        third = await read_since(harness, "lb", second["lastReadTime"])
        assert (third["status"], third["failures"], third["lastError"]) == (
            "FAILING",
            1,
            "127.0.0.1 answers with status 503.",
        )
        assert third["lastSuccessTime"] == second["lastReadTime"]
        assert await points(harness, "Penstock/Sources", "ReadSucceeded", Source="lb") == (2, 3)
        clock.advance(31_000)  # what has come meanwhile is not counted as if it had come now
        fourth = await read_since(harness, "lb", third["lastReadTime"])
        assert (fourth["status"], "lastError" in fourth) == ("OK", False)
        assert await points(harness, "Penstock/Nginx", "Requests", Source="lb") == (50, 1)
        clock.advance(1)
        again = (await ours(harness, "PutMetricSource", **put))["source"]  # the same once more
        assert {**again, "updateTime": 0} == {**fourth, "updateTime": 0}
        fifth = await read_since(harness, "lb", fourth["lastReadTime"])
        assert await points(harness, "Penstock/Nginx", "AcceptedConnections", Source="lb") == (0, 2)
        assert fifth["createTime"] == made["createTime"]
        await ours(harness, "PutMetricSource", **put, enabled=False)
        assert (await ours(harness, "GetMetricSource", sourceName="lb"))["source"]["status"] == "DISABLED"
        clock.advance(60_000)
        await ours(harness, "DeleteMetricSource", sourceName="lb")
        assert len(heard) == 5
        code, _ = await refused(ours(harness, "GetMetricSource", sourceName="lb"))
        assert code == "MetricSourceNotFoundException"
        code, _ = await refused(ours(harness, "DeleteMetricSource", sourceName="lb"))
        assert code == "MetricSourceNotFoundException"


async def test_what_a_read_found_of_a_source_that_was_changed_meanwhile_counts_nothing(any_store, clock, tmp_path):
    async with (
        watching(any_store, clock, tmp_path) as harness,
        answering(DRIPS, endless=b"x", pause=0.01) as (slow, heard),
        answering(answer(b"fine")) as (url, _),
    ):
        await ours(harness, "PutMetricSource", sourceName="p", http={"url": slow}, timeoutSeconds=30)
        await eventually(lambda: heard)
        await ours(harness, "PutMetricSource", sourceName="p", http={"url": url})
        assert (await read_since(harness, "p"))["status"] == "OK"
        assert await points(harness, "Penstock/Probes", "Success", Source="p") == (1, 1)


async def test_a_source_outlives_the_workers_that_died_with_it(any_store, clock, tmp_path):
    async with watching(any_store, clock, tmp_path) as harness, answering(answer(STUB)) as (url, _):
        put = {"sourceName": "lb", "nginx": {"url": url}, "intervalSeconds": 10}
        await ours(harness, "PutMetricSource", **put)
        first = await read_since(harness, "lb")
        ours_only = jobs.c.kind == source_reading.READ

        async def waiting():
            chosen = sa.select(jobs).where(ours_only, jobs.c.state == "ready")
            return await any_store.read(lambda conn: conn.execute(chosen).first())

        died = jobs.update().where(ours_only).values(failures=19)
        await any_store.write(lambda conn: conn.execute(died))
        clock.advance(10_000)
        await read_since(harness, "lb", first["lastReadTime"])
        assert (await eventually(waiting)).failures == 0
        await source_reading.give_up(harness.app, job_of((await waiting())._mapping), "its worker died each time")
        shown = (await ours(harness, "GetMetricSource", sourceName="lb"))["source"]
        assert (shown["status"], "died each time" in shown["lastError"]) == ("FAILING", True)
        clock.advance(1)
        await ours(harness, "PutMetricSource", **put)
        assert (await read_since(harness, "lb", shown["lastReadTime"]))["status"] == "OK"


async def test_what_another_machine_says_is_kept_as_text_of_one_line(any_store, clock, tmp_path):
    body = b'{"status":"error","error":"a\\u0000b\\u001b[2Jc\\nd"}'
    async with watching(any_store, clock, tmp_path) as harness, answering(answer(body, "400 Bad")) as (url, _):
        await ours(harness, "PutMetricSource", sourceName="q", prometheus={"url": url, "query": "up"})
        assert (await read_since(harness, "q"))["lastError"] == "Prometheus refuses the query: a b [2Jc d."


async def test_an_answer_that_drips_ends_with_its_time(store, clock, tmp_path):
    async with (
        watching(store, clock, tmp_path) as harness,
        answering(DRIPS, endless=b"x", pause=0.3) as (url, _),
    ):
        for name, kind in (("p", {"http": {"url": url}}), ("n", {"nginx": {"url": url}})):
            await ours(harness, "PutMetricSource", sourceName=name, timeoutSeconds=1, **kind)
        why = "No complete answer has come within 1 second."
        assert {(await read_since(harness, name))["lastError"] for name in "pn"} == {why}
        assert await points(harness, "Penstock/Probes", "Success", Source="p") == (0, 1)
        assert await points(harness, "Penstock/Sources", "ReadSucceeded", Source="p") == (1, 1)
        assert await points(harness, "Penstock/Sources", "ReadSucceeded", Source="n") == (0, 1)


async def test_an_account_whose_sources_answer_late_leaves_places_to_others(store, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(source_reading, "_OF_ACCOUNT", 2)
    async with (
        watching(store, clock, tmp_path) as harness,
        answering(DRIPS, endless=b"x", pause=0.01) as (slow, heard),
        answering(answer(b"fine")) as (url, _),
    ):
        for number in range(5):
            await ours(harness, "PutMetricSource", sourceName=f"s{number}", http={"url": slow}, timeoutSeconds=30)
        await eventually(lambda: len(heard) == 2)
        other = await harness.administrator("222222222222")
        await ours(harness, "PutMetricSource", other, sourceName="p", http={"url": url})

        async def ok():
            return (await ours(harness, "GetMetricSource", other, sourceName="p"))["source"]["status"] == "OK"

        await eventually(ok)
        assert len(heard) == 2


async def test_what_no_source_may_be(store, clock, tmp_path):
    folder = MonitoringSettings(metric_socket_dirs=("/run/haproxy",))
    async with watching(store, clock, tmp_path, folder) as harness:
        http = {"url": "https://shop.test/"}
        for given, sentence in (
            ({}, "exactly one kind"),
            ({"http": http, "nginx": http}, "exactly one kind"),
            ({"http": {"url": "ftp://shop.test/"}}, "must be an address of http or https"),
            ({"http": {"url": "http://u:p@shop.test/"}}, "must not have a user name"),
            ({"http": {"url": "http://[shop/"}}, "must be an address"),
            ({"http": {**http, "expectedStatus": "2xx"}}, "expectedStatus must"),
            ({"http": {**http, "method": "HEAD", "expectedText": "x"}}, "needs the method GET"),
            ({"http": http, "intervalSeconds": 5, "timeoutSeconds": 6}, "must not be more than intervalSeconds"),
            ({"http": http, "credentials": {"username": "u"}}, "either a username and a password"),
            ({"http": http, "credentials": {"username": "u", "password": "p", "bearerToken": "t"}}, "either a username"),
            ({"prometheus": {"url": "http://p.test/?x", "query": "up"}}, "/api/v1/query is added"),
            ({"prometheus": {"url": "http://p.test", "query": "up", "labels": ["a", "a"]}}, "each label once"),
            ({"haproxy": {}}, "either a url"),
            ({"haproxy": {"url": "http://lb.test/stats", "socket": "/run/haproxy/a"}}, "either a url"),
            ({"haproxy": {"socket": "/etc/passwd"}}, "must be a path below /run/haproxy"),
            ({"haproxy": {"socket": "/run/haproxy/../secret"}}, "must be a path below /run/haproxy"),
            ({"haproxy": {"socket": "/run/haproxy/a"}, "credentials": {"bearerToken": "t"}}, "takes no credentials"),
            ({"http": http, "intervalSeconds": 4}, "intervalSeconds"),
        ):  # fmt: skip
            code, message = await refused(ours(harness, "PutMetricSource", sourceName="s", **given))
            assert code == "ValidationException"
            assert sentence in message
        user = await harness.user("reader", allow("penstock:GetMetricSource"))
        with pytest.raises(
            AccessDenied,
            match="penstock:PutMetricSource on resource: arn:aws:penstock:us-east-1:111111111111:metric-source/s",
        ):
            await ours(harness, "PutMetricSource", user, sourceName="s", http=http)
        await ours(harness, "PutMetricSource", sourceName="s", haproxy={"socket": "/run/haproxy/none"})
        assert "cannot be opened" in (await read_since(harness, "s"))["lastError"]


async def test_no_socket_outside_the_operators_folders_is_opened():
    with tempfile.TemporaryDirectory(prefix="a-") as outside, tempfile.TemporaryDirectory(prefix="b-") as folder:

        async def serve(reader, writer):
            assert await reader.readline() == b"show stat\n"
            writer.write(STATISTICS.encode())
            writer.close()

        server = await asyncio.start_unix_server(serve, f"{outside}/lb")
        Path(folder, "link").symlink_to(f"{outside}/lb")
        Path(folder, "file").write_text("")
        async with server:

            async def read(path, *folders):
                given = asked("haproxy", "http://a.test")
                return await haproxy.KIND.read(dataclasses.replace(given, settings={"socket": path}, sockets=folders))

            assert (await read(f"{outside}/lb", outside)).samples
            assert (await read(f"{folder}/link", folder, outside)).samples
            for path, why in (
                (f"{folder}/link", "lies in none of the folders"),
                (f"{folder}/file", "is not a socket"),
                (f"{folder}/none", "cannot be opened"),
            ):
                with pytest.raises(ReadFailed, match=why):
                    await read(path, folder)


async def test_credentials_stay_where_they_were_meant_for(store, clock, tmp_path):
    async with watching(store, clock, tmp_path) as harness, answering(answer(b"fine")) as (url, heard):
        secret = {"bearerToken": "very-secret-token"}
        put = {"sourceName": "s", "enabled": True}
        made = (await ours(harness, "PutMetricSource", **put, http={"url": url}, credentials=secret))["source"]
        assert (made["hasCredentials"], "credentials" in made) == (True, False)
        first = await read_since(harness, "s")
        row = await store.read(source_records.find, (ACCOUNT, REGION), "s")
        assert b"very-secret" not in row.credentials
        await ours(harness, "PutMetricSource", **put, http={"url": f"{url}/other"})
        await read_since(harness, "s")
        assert [b"Bearer very-secret-token" in one for one in heard] == [True, True]
        code, message = await refused(ours(harness, "PutMetricSource", **put, http={"url": "http://127.0.0.1:9/"}))
        assert (code, "The source has credentials for 127.0.0.1" in message) == ("ValidationException", True)
        made = (await ours(harness, "PutMetricSource", **put, http={"url": url}, credentials={}))["source"]
        assert made["hasCredentials"] is False
        assert first["hasCredentials"]


async def test_sources_are_listed_by_pages_and_are_no_more_than_a_hundred(store, clock, tmp_path, monkeypatch):
    monkeypatch.setattr("penstock.monitoring.operations.sources._MOST", 3)
    async with watching(store, clock, tmp_path) as harness:
        for name in "cab":
            await ours(harness, "PutMetricSource", sourceName=name, http={"url": "http://a.test"}, enabled=False)
        code, message = await refused(ours(harness, "PutMetricSource", sourceName="d", http={"url": "http://a.test"}))
        assert (code, "3 metric sources" in message) == ("LimitExceededException", True)
        await ours(
            harness, "PutMetricSource", sourceName="a", http={"url": "http://a.test"}, description="x", enabled=False
        )
        page = await ours(harness, "ListMetricSources", maxResults=2)
        rest = await ours(harness, "ListMetricSources", maxResults=2, nextToken=page["nextToken"])
        assert [one["sourceName"] for one in (*page["sources"], *rest["sources"])] == ["a", "b", "c"]
        assert page["sources"][0]["description"] == "x"
        assert (await refused(ours(harness, "ListMetricSources", nextToken="x")))[0] == "InvalidNextTokenException"


async def test_an_alarm_is_evaluated_when_a_source_has_data(store, clock, tmp_path):
    async with watching(store, clock, tmp_path) as harness, answering(answer(b"gone", "500 Broken")) as (url, _):
        evaluator = Evaluator(harness.app)
        admin = await harness.administrator()
        alarm = {
            "AlarmName": "down", "Namespace": "Penstock/Probes", "MetricName": "Success", "Dimensions": [{"Name": "Source", "Value": "p"}],
            "Statistic": "Minimum", "Period": 10, "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "LessThanThreshold",
        }  # fmt: skip
        await harness.app.invoke(admin, "cloudwatch", "PutMetricAlarm", alarm, region=REGION)
        await evaluator.turn()
        await ours(harness, "PutMetricSource", sourceName="p", http={"url": url}, intervalSeconds=10)
        await read_since(harness, "p")
        await evaluator.turn()  # no time has passed
        found = await harness.app.invoke(admin, "cloudwatch", "DescribeAlarms", {"AlarmNames": ["down"]}, region=REGION)
        assert found["MetricAlarms"][0]["StateValue"] == "ALARM"


def test_reads_of_many_sources_are_spread():
    due = [source_reading.next_ms((ACCOUNT, REGION), f"s{n}", 60, NOW) - NOW for n in range(200)]
    assert all(0 < one <= 60_000 for one in due)
    assert len({one // 6_000 for one in due}) == 10
    again = source_reading.next_ms((ACCOUNT, REGION), "s", 60, NOW + due[0])
    assert source_reading.next_ms((ACCOUNT, REGION), "s", 60, again) - again == 60_000


def test_folders_of_sockets_are_absolute():
    (parse,) = (one.parse for one in options_of(MonitoringSettings))
    assert parse("/run/haproxy/") == "/run/haproxy"
    for text in ("run", "/", "", "/a/.."):
        with pytest.raises(ValueError, match="absolute path"):
            parse(text)
