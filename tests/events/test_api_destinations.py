"""Events that go to API destinations: what is sent, by which authorisation, how often, and what a hostile receiver does to others."""

import asyncio
import contextlib
import json
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import penstock_identity_harness
import pytest
import sqlalchemy as sa
from penstock_bridge import Stand, component
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, refused, trusting
from penstock_topics import Endpoint, answer
from penstock_waiting import eventually

import penstock.events
from penstock import egress
from penstock.egress import EgressSettings
from penstock.events import arriving, delivering, records
from penstock.events.destinations import api_destinations
from penstock.store.records import jobs

LOOPBACK = EgressSettings(egress_networks=("127.0.0.0/8",))
BASIC = {"BasicAuthParameters": {"Username": "shop", "Password": "s3cret"}}
OAUTH = "OAUTH_CLIENT_CREDENTIALS"


@pytest.fixture
async def endpoint():
    found = Endpoint()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()


@pytest.fixture
async def calling(store, clock, tmp_path, endpoint, monkeypatch):
    monkeypatch.setattr(egress, "_SLOW_S", 3_600)
    components = (component(Stand()), penstock.events.component)
    async with penstock_identity_harness.harness_on(store, clock, tmp_path, *components, chosen=(LOOPBACK,)) as harness:
        owner = await harness.administrator()
        role = await harness.role(
            "calls", trusting(Service="events.amazonaws.com"), allow("events:InvokeApiDestination")
        )

        async def events(operation, by=owner, **input):
            return await harness.app.invoke(by, "events", operation, input, region=REGION)

        await harness.app.work.start(harness.app)
        yield SimpleNamespace(
            harness=harness, app=harness.app, events=events, role=role, endpoint=endpoint, clock=clock, owner=owner
        )
        await harness.app.work.stop()


async def connected(calling, path="/hook", kind="BASIC", parameters=None, name="c", method="POST", **more):
    """A connection with an API destination; the ARN of this."""
    made = await calling.events(
        "CreateConnection", Name=name, AuthorizationType=kind, AuthParameters=parameters or BASIC
    )
    found = await calling.events(
        "CreateApiDestination",
        Name=name,
        ConnectionArn=made["ConnectionArn"],
        InvocationEndpoint=calling.endpoint.url + path,
        HttpMethod=method,
        **more,
    )
    return found["ApiDestinationArn"]


async def rule(calling, arn, **more):
    await calling.events("PutRule", Name="r", EventPattern='{"source": ["shop"]}')
    target = {"Id": "t", "Arn": arn, "RoleArn": calling.role, **more}
    await calling.events("PutTargets", Rule="r", Targets=[target])


async def put(calling, *details):
    entries = [{"Source": "shop", "DetailType": "Ordered", "Detail": json.dumps(one)} for one in details or ({},)]
    return [one["EventId"] for one in (await calling.events("PutEvents", Entries=entries))["Entries"]]


async def heard(calling, number):
    return await eventually(lambda: len(calling.endpoint.heard) == number and calling.endpoint.heard)


async def letters(calling):
    return await calling.app.store.read(lambda conn: conn.execute(sa.select(records.dead_letters)).all())


async def next_attempt(calling):
    """Let the time of the next attempt come; how long that took, in ms."""
    due = await eventually(lambda: _due(calling))
    waited = due - calling.clock.now()
    calling.clock.advance(waited)
    return waited


async def _due(calling):
    kinds = (arriving.DELIVER_OUTSIDE, delivering.DELIVER_OUTSIDE_ALONE)
    later = sa.select(sa.func.min(jobs.c.due)).where(
        jobs.c.kind.in_(kinds), jobs.c.state == "ready", jobs.c.due > calling.clock.now()
    )
    return await calling.app.store.read(lambda conn: conn.execute(later).scalar_one())


async def test_the_request_is_awss_with_what_target_and_connection_add(calling):
    common = {
        "HeaderParameters": [{"Key": "X-Both", "Value": "connection", "IsValueSecret": True}],
        "QueryStringParameters": [{"Key": "both", "Value": "connection"}],
        "BodyParameters": [{"Key": "team", "Value": "shop", "IsValueSecret": False}],
    }
    arn = await connected(calling, "/orders/*/of/*?a=1", parameters={**BASIC, "InvocationHttpParameters": common})
    http = {
        "PathParameterValues": ["$.detail.id", "fixed"],
        "HeaderParameters": {
            "X-Both": "target",
            "X-Amount": "$.detail.amount",
            "Host": "elsewhere",
            "Content-Length": "1",
        },
        "QueryStringParameters": {"both": "target", "more": "x y"},
    }
    await rule(calling, arn, HttpParameters=http)
    (id,) = await put(calling, {"id": "a/../b ", "amount": 7})
    (one,) = await heard(calling, 1)
    assert one.path.startswith("/orders/a%2F..%2Fb%20/of/fixed?a=1&")
    assert parse_qs(urlsplit(one.path).query) == {"a": ["1"], "both": ["connection"], "more": ["x y"]}
    body = json.loads(one.body)
    assert (body["id"], body["detail"]["amount"], body["team"]) == (id, 7, "shop")
    wanted = {
        "user-agent": "Amazon/EventBridge/ApiDestinations",
        "content-type": "application/json; charset=utf-8",
        "range": "bytes=0-1048575",
        "accept-encoding": "gzip,deflate",
        "connection": "close",
        "authorization": "Basic c2hvcDpzM2NyZXQ=",
        "x-both": "connection",
        "x-amount": "7",
        "host": calling.endpoint.url.removeprefix("http://"),
        "content-length": str(len(one.body)),
    }
    assert wanted.items() <= one.headers.items()
    shown = await calling.events("DescribeConnection", Name="c")
    assert shown["AuthParameters"] == {
        "BasicAuthParameters": {"Username": "shop"},
        "InvocationHttpParameters": {
            **common,
            "HeaderParameters": [{"Key": "X-Both", "IsValueSecret": True}],
        },
    }


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        (429, "THROTTLING", True),
        (500, "ERROR_FROM_TARGET", True),
        (404, "ERROR_FROM_TARGET", False),
        (401, "ERROR_FROM_TARGET", False),
        (302, "ERROR_FROM_TARGET", False),
    ],
)
async def test_what_an_answer_means(calling, status, code, again):
    """A redirect is not followed, wherever it leads."""
    await rule(calling, await connected(calling, f"/{status}"), RetryPolicy={"MaximumRetryAttempts": 1})
    await put(calling)
    if again:
        await next_attempt(calling)
    (letter,) = await eventually(lambda: letters(calling))
    assert (letter.code, letter.attempts, letter.exhausted) == (
        code,
        int(again),
        again and "MaximumRetryAttempts" or None,
    )
    assert letter.message == f"127.0.0.1 answers with status {status}."
    assert [one.path for one in calling.endpoint.heard] == [f"/{status}"] * (1 + again)


async def test_retry_after_is_waited_for(calling):
    calling.endpoint.answers["/hook"] = [answer(503, "Retry-After: 120\r\n"), answer(429, "Retry-After: x\r\n")]
    await rule(calling, await connected(calling))
    await put(calling)
    assert await next_attempt(calling) == 120_000
    assert await next_attempt(calling) < 2_000
    await heard(calling, 3)
    assert await letters(calling) == []


async def test_a_token_is_asked_for_kept_and_asked_for_anew(calling):
    def token(name, seconds=3600):
        text = json.dumps({"access_token": name, "token_type": "bearer", "expires_in": seconds})
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()

    endpoint = calling.endpoint
    endpoint.answers["/token?x=1"] = [answer(503), token("first"), token("second"), token("third")]
    own = {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"},
        "AuthorizationEndpoint": f"{endpoint.url}/token",
        "HttpMethod": "POST",
        "OAuthHttpParameters": {
            "QueryStringParameters": [{"Key": "x", "Value": "1"}],
            "BodyParameters": [{"Key": "audience", "Value": "shop"}],
        },
    }
    arn = await connected(calling, kind=OAUTH, parameters={"OAuthParameters": own})
    first = await calling.events("DescribeConnection", Name="c")
    assert (first["ConnectionState"], "LastAuthorizedTime" in first) == ("AUTHORIZING", False)
    assert (await calling.events("DescribeApiDestination", Name="c"))["ApiDestinationState"] == "INACTIVE"
    authorize = sa.select(sa.func.min(jobs.c.due)).where(
        jobs.c.kind == "rules.authorize", jobs.c.due > calling.clock.now()
    )
    due = await eventually(lambda: calling.app.store.read(lambda conn: conn.execute(authorize).scalar_one()))
    calling.clock.advance(due - calling.clock.now())
    await eventually(lambda: _state(calling, "AUTHORIZED"))
    assert (await calling.events("DescribeApiDestination", Name="c"))["ApiDestinationState"] == "ACTIVE"
    asked = endpoint.heard[0]
    assert parse_qs(asked.body) == {
        "grant_type": ["client_credentials"], "client_id": ["me"], "client_secret": ["s3cret"], "audience": ["shop"],
    }  # fmt: skip
    await rule(calling, arn)
    await put(calling)
    await eventually(lambda: [one for one in endpoint.heard if one.path == "/hook"])
    endpoint.answers["/hook"] = [answer(401)]
    await put(calling)
    await eventually(lambda: len([one for one in endpoint.heard if one.path == "/hook"]) == 3)
    calling.clock.advance(3_600_000)
    await put(calling)
    await eventually(lambda: len([one for one in endpoint.heard if one.path == "/hook"]) == 4)
    used = [one.headers["authorization"].removeprefix("Bearer ") for one in endpoint.heard if one.path == "/hook"]
    assert used == ["first", "first", "second", "third"]
    assert await letters(calling) == []
    kept = await calling.app.store.read(lambda conn: conn.execute(sa.select(records.connections)).one())
    assert not any(b"s3cret" in value or b"third" in value for value in (kept.secret, kept.token))


async def _state(calling, state):
    return (await calling.events("DescribeConnection", Name="c"))["ConnectionState"] == state


async def test_kept_secrets_are_sent_to_no_other_host(calling):
    client = {"ClientID": "me", "ClientSecret": "s3cret"}
    more = {"BodyParameters": [{"Key": "pin", "Value": "hush", "IsValueSecret": True}]}
    own = {"ClientParameters": client, "AuthorizationEndpoint": f"{calling.endpoint.url}/403", "HttpMethod": "POST"}
    await connected(calling, kind=OAUTH, parameters={"OAuthParameters": own | {"OAuthHttpParameters": more}})
    await eventually(lambda: _state(calling, "DEAUTHORIZED"))

    async def change(**parameters):
        parameters = {"AuthorizationEndpoint": "http://127.0.0.2:9/token"} | parameters
        await calling.events("UpdateConnection", Name="c", AuthParameters={"OAuthParameters": parameters})

    renamed = {"ClientParameters": {"ClientID": "other"}}
    for given, missing in (
        ({}, "ClientSecret and OAuthHttpParameters"),
        (renamed, "ClientSecret and OAuthHttpParameters"),
        ({"ClientParameters": client}, "OAuthHttpParameters"),
        ({"OAuthHttpParameters": {}}, "ClientSecret"),
        ({"AuthorizationEndpoint": calling.endpoint.url.replace("http:", "https:")}, "ClientSecret and OAuthHttpParameters"),
    ):  # fmt: skip
        code, said = await refused(change(**given))
        assert (code, said.rpartition(". ")[2]) == ("ValidationException", f"Give {missing} again.")
    # Another path of the same host is no other host, and who has the secrets may send them anywhere.
    await change(AuthorizationEndpoint=f"{calling.endpoint.url}/again/403", **renamed)
    await change(ClientParameters=client, OAuthHttpParameters=more)


async def test_a_connection_that_gets_no_token_says_why(calling):
    own = {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"},
        "AuthorizationEndpoint": f"{calling.endpoint.url}/403",
        "HttpMethod": "POST",
    }
    arn = await connected(calling, kind=OAUTH, parameters={"OAuthParameters": own})
    await eventually(lambda: _state(calling, "DEAUTHORIZED"))
    reason = (await calling.events("ListConnections"))["Connections"][0]["StateReason"]
    assert reason == "127.0.0.1 answers the request of a token with status 403."
    await rule(calling, arn)
    await put(calling)
    (letter,) = await eventually(lambda: letters(calling))
    assert (letter.code, reason in letter.message) == ("NO_PERMISSIONS", True)
    # Other parameters authorise it again.
    await calling.events("UpdateConnection", Name="c", AuthorizationType="BASIC", AuthParameters=BASIC)
    await put(calling)
    await eventually(lambda: [one for one in calling.endpoint.heard if one.path == "/hook"])
    await calling.events("DeauthorizeConnection", Name="c")
    assert (await calling.events("DescribeConnection", Name="c"))["AuthParameters"] == {}
    kept = await calling.app.store.read(lambda conn: conn.execute(sa.select(records.connections)).one())
    assert (kept.secret, kept.token) == (None, None)
    await put(calling)
    await eventually(lambda: _dead(calling, 2))


async def _dead(calling, number):
    return len(await letters(calling)) == number


async def test_requests_keep_to_the_rate(calling):
    """Of all processes together, since they share a row: the clock of the test stands still within a second."""
    await rule(calling, await connected(calling, InvocationRateLimitPerSecond=3))
    await put(calling, *({"n": number} for number in range(8)))
    await heard(calling, 3)
    for total in (6, 8):
        await next_attempt(calling)
        await heard(calling, total)
    assert [json.loads(one.body)["detail"]["n"] for one in calling.endpoint.heard] == list(range(8))


async def test_hostile_receivers_harm_no_other_delivery(calling, monkeypatch):
    """One never answers, one answers a gigabyte, one has an address inside: the others get theirs at once."""
    monkeypatch.setattr(api_destinations, "SECONDS", 1.0)
    await calling.events("PutRule", Name="r", EventPattern='{"source": ["shop"]}')
    arns = {name: await connected(calling, f"/{name}", name=name) for name in ("silent", "endless", "good")}
    own, calling.endpoint.url = calling.endpoint.url, "http://169.254.169.254"
    arns["inside"] = await connected(calling, "/latest", name="inside")
    calling.endpoint.url = own
    once = {"RetryPolicy": {"MaximumRetryAttempts": 0}}
    targets = [
        {"Id": name, "Arn": arn, "RoleArn": calling.role, **(once if name in ("silent", "inside") else {})}
        for name, arn in arns.items()
    ]
    await calling.events("PutTargets", Rule="r", Targets=targets)
    await put(calling)
    await eventually(lambda: {"/good", "/endless"} <= {one.path for one in calling.endpoint.heard})
    await eventually(lambda: _dead(calling, 2))
    assert {one.target: (one.code, one.message) for one in await letters(calling)} == {
        "silent": ("TIMEOUT", "127.0.0.1 has not answered within 1 second."),
        "inside": ("CONNECTION_FAILURE", "169.254.169.254 has no address that may be asked."),
    }


async def test_the_role_has_to_allow_it(calling):
    arn = await connected(calling)
    powerless = await calling.harness.role("powerless", trusting(Service="events.amazonaws.com"))
    await rule(calling, arn, RoleArn=powerless)
    await put(calling)
    (letter,) = await eventually(lambda: letters(calling))
    assert (letter.code, calling.endpoint.heard) == ("NO_PERMISSIONS", [])
    await rule(calling, arn)
    await calling.events("DeleteConnection", Name="c")
    await put(calling)
    await eventually(lambda: _dead(calling, 2))
    await calling.events("DeleteApiDestination", Name="c")
    await put(calling)
    await eventually(lambda: _dead(calling, 3))
    codes = [one.code for one in sorted(await letters(calling), key=lambda one: one.id)]
    assert codes == ["NO_PERMISSIONS", "NO_RESOURCE", "NO_RESOURCE"]


async def test_refusals(calling):
    made = await calling.events("CreateConnection", Name="c", AuthorizationType="BASIC", AuthParameters=BASIC)
    destination = {
        "Name": "d",
        "ConnectionArn": made["ConnectionArn"],
        "InvocationEndpoint": "https://example.com",
        "HttpMethod": "POST",
    }
    await calling.events("CreateApiDestination", **destination)
    gone = made["ConnectionArn"][:-1] + "x"
    key = {"ApiKeyAuthParameters": {"ApiKeyName": "k", "ApiKeyValue": "v"}}
    cases = [
        ("CreateConnection", {"Name": "c", "AuthorizationType": "BASIC", "AuthParameters": BASIC}, "Connection c already exists."),
        ("CreateConnection", {"Name": "x", "AuthorizationType": "BASIC", "AuthParameters": key}, "ApiKeyAuthParameters is not valid for"),
        ("CreateConnection", {"Name": "x", "AuthorizationType": "BASIC", "AuthParameters": {}}, "give Username, Password."),
        (
            "CreateConnection",
            {"Name": "x", "AuthorizationType": "BASIC", "AuthParameters": BASIC, "KmsKeyIdentifier": "k"},
            "Leave out KmsKeyIdentifier.",
        ),
        ("DescribeConnection", {"Name": "x"}, "Failed to describe the connection(s). Connection 'x' does not exist."),
        ("CreateApiDestination", destination, "An api-destination 'd' already exists."),
        ("CreateApiDestination", {**destination, "Name": "e", "ConnectionArn": gone}, f"Connection '{gone}' does not exist."),
        (
            "CreateApiDestination",
            {**destination, "Name": "e", "InvocationEndpoint": "ftp://example.com"},
            "InvocationEndpoint is not valid. Reason: 'ftp://example.com' is no address of https or http.",
        ),
        (
            "DescribeApiDestination",
            {"Name": "x"},
            "Failed to describe the api-destination(s). An api-destination 'x' does not exist.",
        ),
    ]  # fmt: skip
    for operation, input, message in cases:
        assert message in (await refused(calling.events(operation, **input)))[1]
    plain = EgressSettings()
    with pytest.raises(egress.Unusable, match="is no address of https$"):
        egress.Egress(plain).check("http://10.0.0.1/")
    target = {"Id": "t", "Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:api-destination/d/x", "RoleArn": calling.role}
    await calling.events("PutRule", Name="r", EventPattern='{"source": ["shop"]}')
    wrong = {**target, "HttpParameters": {"PathParameterValues": ["$.a b"]}}
    assert "is not a path" in (await refused(calling.events("PutTargets", Rule="r", Targets=[wrong])))[1]
    none = {one: target[one] for one in ("Id", "Arn")}
    assert "RoleArn is required" in (await refused(calling.events("PutTargets", Rule="r", Targets=[none])))[1]


async def test_plain_http_leads_to_the_operators_networks_only(endpoint):
    """An address that is public, or private and not the operator's, is asked by https alone."""
    outside = egress.Egress(EgressSettings(egress_networks=("10.0.0.0/8",)))
    with pytest.raises(egress.Unreachable, match="has no address that may be asked"):
        await outside.send(egress.Request("http://93.184.215.14/", inside=True))


async def test_what_events_add_to_a_request_is_bounded(calling):
    """The text of an event cannot end a header or leave its part of the path, and makes no head of a megabyte."""
    arn = await connected(calling, "/of/*")
    http = {"PathParameterValues": ["$.detail.path"], "HeaderParameters": {"X-More": "$.detail.header"}}
    await rule(calling, arn, HttpParameters=http)
    bad = [{"path": "x", "header": "a\r\nX-Evil: 1"}, {"path": ".."}, {"path": ""}, {"path": "x" * 70_000}]
    await put(calling, *bad)
    await eventually(lambda: _dead(calling, len(bad)))
    assert {one.code for one in await letters(calling)} == {"INVALID_PARAMETER"}
    assert calling.endpoint.heard == []


async def test_an_endpoint_of_tokens_gets_its_own_head_and_its_reason_bears_no_secret(calling):
    """Without a path the parameters follow the root; no parameter says for which host or how long the request is."""
    own = {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"},
        "AuthorizationEndpoint": calling.endpoint.url,
        "HttpMethod": "GET",
        "OAuthHttpParameters": {
            "HeaderParameters": [{"Key": "Host", "Value": "elsewhere"}, {"Key": "X-More", "Value": "1"}]
        },
    }
    await connected(calling, kind=OAUTH, parameters={"OAuthParameters": own})
    await eventually(lambda: _state(calling, "DEAUTHORIZED"))
    (asked,) = calling.endpoint.heard
    assert asked.path.startswith("/?grant_type=client_credentials&client_id=me&client_secret=s3cret")
    assert asked.headers["x-more"] == "1"
    assert asked.headers["host"] == urlsplit(calling.endpoint.url).netloc
    assert "s3cret" not in str(await calling.events("DescribeConnection", Name="c"))
    with pytest.raises(egress.Unusable) as refusal:
        calling.app.egress.check("https://[::1]:99999/token?client_secret=s3cret")
    assert str(refusal.value) == "'https://[::1]:99999/token' names no port"
    for name in ("Transfer-Encoding", " host "):
        key = {"ApiKeyAuthParameters": {"ApiKeyName": name, "ApiKeyValue": "v"}}
        making = calling.events("CreateConnection", Name="k", AuthorizationType="API_KEY", AuthParameters=key)
        assert "is no header for a key" in (await refused(making))[1]


async def test_a_slow_endpoint_of_tokens_holds_no_places_of_other_deliveries(calling):
    """Events of more sources than there are places for wait for one token: those to another destination pass them."""
    own = {
        "ClientParameters": {"ClientID": "me", "ClientSecret": "s3cret"},
        "AuthorizationEndpoint": f"{calling.endpoint.url}/silent",
        "HttpMethod": "POST",
    }
    await rule(calling, await connected(calling, name="slow", kind=OAUTH, parameters={"OAuthParameters": own}))
    await calling.events("PutRule", Name="r", EventPattern='{"source": [{"prefix": "shop"}]}')
    await calling.events("PutRule", Name="good", EventPattern='{"source": ["good"]}')
    good = {"Id": "t", "Arn": await connected(calling, "/good"), "RoleArn": calling.role}
    await calling.events("PutTargets", Rule="good", Targets=[good])
    for number in range(8):
        many = [{"Source": f"shop{number}{one}", "DetailType": "Ordered", "Detail": "{}"} for one in range(10)]
        await calling.events("PutEvents", Entries=many)
    await eventually(lambda: calling.endpoint.heard)
    await calling.events("PutEvents", Entries=[{"Source": "good", "DetailType": "Ordered", "Detail": "{}"}])
    await eventually(lambda: [one for one in calling.endpoint.heard if one.path == "/good"])
    assert await letters(calling) == []


def test_a_host_that_is_called_like_an_account_takes_none_of_its_share():
    shares = egress.Shares()

    async def all_of_host():
        async with contextlib.AsyncExitStack() as held:
            for number in range(32):
                await held.enter_async_context(shares.take(OTHER, f"{number:012}"))
            for number in range(48):
                await held.enter_async_context(shares.take(f"h{number}.example", OTHER))
            with pytest.raises(egress.Occupied):
                await held.enter_async_context(shares.take("one.example", OTHER))

    asyncio.run(all_of_host())


async def test_lists_are_paged(calling):
    for number in range(5):
        await connected(calling, f"/{number}", name=f"c{number}")
    for operation, member in (("ListConnections", "Connections"), ("ListApiDestinations", "ApiDestinations")):
        names, more = [], {}
        while more is not None:
            page = await calling.events(operation, Limit=2, NamePrefix="c", **more)
            names += [one["Name"] for one in page[member]]
            more = {"NextToken": page["NextToken"]} if "NextToken" in page else None
        assert names == [f"c{number}" for number in range(5)]
    arn = (await calling.events("DescribeConnection", Name="c3"))["ConnectionArn"]
    (one,) = (await calling.events("ListApiDestinations", ConnectionArn=arn))["ApiDestinations"]
    assert one["Name"] == "c3"
    assert (await calling.events("ListConnections", ConnectionState="DEAUTHORIZED"))["Connections"] == []
    changed = await calling.events("UpdateApiDestination", Name="c3", HttpMethod="PUT", Description="d")
    assert changed["ApiDestinationState"] == "ACTIVE"
    assert (await calling.events("DescribeApiDestination", Name="c3"))["HttpMethod"] == "PUT"
