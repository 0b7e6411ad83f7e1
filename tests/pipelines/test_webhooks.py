"""Webhooks: what they take, what they compare, and what strangers may send them."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import re
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from penstock_examples import examples
from penstock_identity_harness import trusting
from penstock_waiting import until

from penstock.pipelines import jsonpaths
from penstock.pipelines.webhooks import NotJson, comes_from, document_of, is_signed, unmatched

# The members of a push that GitHub's documentation shows, as far as filters look at them.
PUSH = {
    "ref": "refs/heads/main",
    "created": False,
    "size": 2,
    "base_ref": None,
    "commits": [{"id": "a1", "modified": ["README.md"]}, {"id": "b2", "modified": []}],
    "repository": {"full_name": "octo/shop", "odd key": 1, "owner": {"name": "octo"}},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [PUSH]),
        ("$.ref", ["refs/heads/main"]),
        ("$['ref']", ["refs/heads/main"]),
        ('$["repository"].full_name', ["octo/shop"]),
        ("$.repository['odd key']", [1]),
        ("$.commits[0].id", ["a1"]),
        ("$.commits[-1].id", ["b2"]),
        ("$.commits[2].id", []),
        ("$.commits[*].id", ["a1", "b2"]),
        ("$.commits.*.id", ["a1", "b2"]),
        ("$..id", ["a1", "b2"]),
        ("$.commits..[0]", [PUSH["commits"][0], "README.md"]),
        ("$..name", ["octo"]),
        ("$.missing.ref", []),
        ("$.ref.ref", []),
        ("$.ref[0]", []),
        ("$.base_ref", [None]),
    ],
)
def test_a_path_selects(path, found):
    assert jsonpaths.select(PUSH, jsonpaths.parse(path)) == found


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("ref", "begins with $"),
        ("", "begins with $"),
        ("$ref", "at character 2, 'ref' is no step"),
        ("$.", "at character 2, '.' is no step"),
        ("$..", "no step"),
        ("$.a b", "at character 4, ' b' is no step"),
        ("$[?(@.a == 1)]", "at character 2, '[?(@.a == ' is no step"),
        ("$[0:2]", "no step"),
        ("$['a','b']", "no step"),
        ("$.length()", "at character 9, '()' is no step"),
        ("$['a", "no step"),
        ("$" + ".a" * 21, "more than 20 steps"),
    ],
)
def test_what_is_no_path_is_refused_with_the_place(path, says):
    with pytest.raises(jsonpaths.BadPath) as caught:
        jsonpaths.parse(path)
    assert says in str(caught.value)


def test_a_path_looks_at_a_bounded_part_of_a_document():
    nested = {}
    for _ in range(500):
        nested = {"a": nested, "b": [nested]}  # as text it would be huge; as a value it is shared
    with pytest.raises(jsonpaths.TooMuch):
        jsonpaths.select(nested, jsonpaths.parse("$..a..a..a"))
    assert unmatched(nested, [{"jsonPath": "$..b..b"}], {}) == "$..b..b looks at too many values of the document"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(_JSON, st.lists(st.sampled_from(["a", "b", 0, 1, -1]), max_size=4))
@settings(max_examples=examples(300), deadline=None)
def test_a_path_of_names_and_numbers_is_what_indexing_finds(document, steps):
    value, missing = document, False
    for step in steps:
        try:
            if isinstance(step, str) != isinstance(value, dict):
                raise KeyError
            value = value[step]
        except (KeyError, IndexError, TypeError):
            missing = True
            break
    text = "$" + "".join(f".{step}" if isinstance(step, str) else f"[{step}]" for step in steps)
    assert jsonpaths.select(document, jsonpaths.parse(text)) == ([] if missing else [value])


@pytest.mark.parametrize(
    ("filters", "why"),
    [
        ([], ""),
        ([{"jsonPath": "$.ref"}], ""),
        ([{"jsonPath": "$.ref", "matchEquals": "refs/heads/{Branch}"}], ""),
        ([{"jsonPath": "$.ref", "matchEquals": "refs/heads/next"}], "$.ref is not refs/heads/next"),
        ([{"jsonPath": "$.none"}], "there is nothing at $.none"),
        ([{"jsonPath": "$.created", "matchEquals": "false"}, {"jsonPath": "$.size", "matchEquals": "2"}], ""),
        ([{"jsonPath": "$.base_ref", "matchEquals": "null"}], ""),
        ([{"jsonPath": "$.commits", "matchEquals": "[]"}], "$.commits is not []"),
        ([{"jsonPath": "$..id", "matchEquals": "b2"}], ""),
        ([{"jsonPath": "$.ref", "matchEquals": "{Owner}"}], "the target action's configuration has no Owner"),
        ([{"jsonPath": "$.ref"}, {"jsonPath": "$.none"}], "there is nothing at $.none"),
    ],
)
def test_all_filters_have_to_match(filters, why):
    assert unmatched(PUSH, filters, {"Branch": "main"}) == why


def test_signatures_are_those_of_github():
    # From GitHub's "Validating webhook deliveries".
    body, secret = b"Hello, World!", "It's a Secret to Everybody"
    signature = b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert is_signed(body, {b"x-hub-signature-256": signature}, secret)
    assert not is_signed(body, {b"x-hub-signature-256": signature[:-1] + b"8"}, secret)
    assert not is_signed(body + b"!", {b"x-hub-signature-256": signature}, secret)
    older = f"sha1={hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()}".encode()
    assert is_signed(body, {b"x-hub-signature": older}, secret)
    # Where there are both, the older one does not make up for the newer.
    assert not is_signed(body, {b"x-hub-signature": older, b"x-hub-signature-256": b"sha256="}, secret)
    assert not is_signed(body, {}, secret)


def test_documents_come_as_json_or_in_a_form():
    form = b"application/x-www-form-urlencoded; charset=utf-8"
    assert document_of(b'{"a": 1}', b"application/json") == {"a": 1}
    assert document_of(urlencode({"payload": '{"a": 1}'}).encode(), form) == {"a": 1}
    for body, kind, says in (
        (b"", b"", "the body is no JSON"),
        (b"[" * 100_000, b"", "the body is no JSON"),
        (b"a=1", form, "no field `payload`"),
        (b"\xff", form, "cannot be read"),
        (b"&".join([b"a=1"] * 50), form, "cannot be read"),
    ):
        with pytest.raises(NotJson, match=re.escape(says)):
            document_of(body, kind)


def test_addresses_are_those_of_a_range():
    assert comes_from("192.0.2.7", "192.0.2.0/24")
    assert not comes_from("192.0.3.7", "192.0.2.0/24")
    assert comes_from("2001:db8::1", "2001:db8::/32")
    assert not comes_from("2001:db8::1", "192.0.2.0/24")
    assert not comes_from("", "192.0.2.0/24")


# Over the wire.


@pytest.fixture(scope="module")
def world(live):
    """A pipeline with a source that waits for nothing, and an approval."""
    iam, s3 = live.client("iam"), live.client("s3")
    role = iam.create_role(RoleName="hooked", AssumeRolePolicyDocument=trusting(Service="codepipeline.amazonaws.com"))[
        "Role"
    ]["Arn"]
    s3.create_bucket(Bucket="hooked")
    s3.put_bucket_versioning(Bucket="hooked", VersioningConfiguration={"Status": "Enabled"})

    def kind(category, provider):
        return {"category": category, "owner": "AWS", "provider": provider, "version": "1"}

    source = {
        "name": "Fetch", "actionTypeId": kind("Source", "S3"), "outputArtifacts": [{"name": "App"}],
        "configuration": {"S3Bucket": "hooked", "S3ObjectKey": "app.zip", "PollForSourceChanges": "false"},
    }  # fmt: skip
    declaration = {
        "name": "shop", "roleArn": role, "artifactStore": {"type": "S3", "location": "hooked"}, "executionMode": "PARALLEL", "pipelineType": "V2",
        "stages": [
            {"name": "Source", "actions": [source]},
            {"name": "Ask", "actions": [{"name": "Ask", "actionTypeId": kind("Approval", "Manual")}]},
        ],
    }  # fmt: skip
    live.client("codepipeline").create_pipeline(pipeline=declaration)
    return declaration


def definition(name="push", **changes):
    return {
        "name": name,
        "targetPipeline": "shop",
        "targetAction": "Fetch",
        "filters": [{"jsonPath": "$.ref", "matchEquals": "refs/heads/main"}],
        "authentication": "UNAUTHENTICATED",
        "authenticationConfiguration": {},
        **changes,
    }


def send(url, body=b"{}", method="POST", **headers):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request(method, parts.path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def refused(function, **input):
    with pytest.raises(ClientError) as caught:
        function(**input)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def started_by(live, arn):
    listed = live.client("codepipeline").list_pipeline_executions(pipelineName="shop")["pipelineExecutionSummaries"]
    return [one for one in listed if one["trigger"] == {"triggerType": "Webhook", "triggerDetail": arn}]


def test_a_push_starts_the_pipeline_once_however_often_it_is_delivered(live, world):
    client = live.client("codepipeline")
    secret = {"authentication": "GITHUB_HMAC", "authenticationConfiguration": {"SecretToken": "hush"}}
    put = client.put_webhook(webhook=definition("github", **secret), tags=[{"key": "team", "value": "web"}])["webhook"]
    assert put["definition"] == definition(
        "github", authentication="GITHUB_HMAC", authenticationConfiguration={"SecretToken": "****"}
    )
    assert (put["arn"], put["tags"]) == (
        "arn:aws:codepipeline:us-east-1:111111111111:webhook:github",
        [{"key": "team", "value": "web"}],
    )
    assert "lastTriggered" not in put
    body = json.dumps(PUSH).encode()
    signed = {
        "X_Hub_Signature_256": f"sha256={hmac.new(b'hush', body, hashlib.sha256).hexdigest()}",
        "X_GitHub_Delivery": "72d3162e",
    }
    for _ in range(2):
        status, text = send(put["url"], body, **signed)
        assert status == 200, text
        assert re.fullmatch(r"Started execution [0-9a-f-]{36} of shop\.\n", text)
    (execution,) = started_by(live, put["arn"])
    assert execution["pipelineExecutionId"] in text
    # Without a signature, with another's, for another branch.
    assert send(put["url"], body)[0] == 403
    shown = client.list_webhooks()["webhooks"][0]
    assert (shown["url"], shown["errorCode"]) == (put["url"], "InvalidSignature")
    assert "hush" not in str(shown)
    other = json.dumps({"ref": "refs/heads/next"}).encode()
    status, text = send(
        put["url"], other, X_Hub_Signature_256=f"sha256={hmac.new(b'hush', other, hashlib.sha256).hexdigest()}"
    )
    assert (status, text) == (200, "Nothing was started: $.ref is not refs/heads/main.\n")
    assert len(started_by(live, put["arn"])) == 1
    # Its definition changes, its address and tags do not.
    changed = client.put_webhook(webhook=definition("github", filters=[]))["webhook"]
    assert (changed["url"], changed["tags"], changed["definition"]["filters"]) == (put["url"], put["tags"], [])
    assert send(put["url"], b"no JSON, and nobody asks for it")[0] == 200
    shown = client.list_webhooks()["webhooks"][0]
    assert "errorCode" not in shown
    assert shown["lastTriggered"] >= execution["startTime"]
    assert len(started_by(live, put["arn"])) == 2
    # Tags by its ARN; deleted, it answers nobody, and deleting it again is no error.
    client.tag_resource(resourceArn=put["arn"], tags=[{"key": "stage", "value": "test"}])
    client.untag_resource(resourceArn=put["arn"], tagKeys=["team"])
    assert client.list_tags_for_resource(resourceArn=put["arn"])["tags"] == [{"key": "stage", "value": "test"}]
    for _ in range(2):
        client.delete_webhook(name="github")
    assert send(put["url"], body)[0] == 404
    again = client.put_webhook(webhook=definition("github"))["webhook"]
    assert again["url"] != put["url"]
    client.delete_webhook(name="github")


def test_only_addresses_of_its_range_may_send(live, world):
    client = live.client("codepipeline")
    by_address = {"authentication": "IP", "authenticationConfiguration": {"AllowedIPRange": "192.0.2.0/24"}}
    url = client.put_webhook(webhook=definition("addressed", filters=[], **by_address))["webhook"]["url"]
    assert send(url) == (403, "This address may not send to this webhook.\n")
    by_address["authenticationConfiguration"]["AllowedIPRange"] = "127.0.0.0/8"
    client.put_webhook(webhook=definition("addressed", filters=[], **by_address))
    assert send(url)[0] == 200
    client.delete_webhook(name="addressed")


def test_bad_requests_of_strangers_are_answered(live, world):
    client = live.client("codepipeline")
    hook = client.put_webhook(webhook=definition("strange"))["webhook"]
    url = hook["url"]
    assert send(url, method="GET") == (405, "Webhooks are sent by POST.\n")
    assert send(url, b"{")[0] == 400
    assert client.list_webhooks()["webhooks"][0]["errorCode"] == "InvalidBody"
    assert send(url, b"{}", Content_Length=str(6 * 1024 * 1024))[0] == 413
    assert send(url, json.dumps({"ref": "refs/heads/main", "filling": "x" * 1_000_000}).encode())[0] == 200
    for wrong in (
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url[:-48],
        url + "/",
        re.sub(r"[0-9a-f-]{36}", "0" * 36, url),
    ):
        assert send(wrong) == (404, "There is no webhook at this address.\n")
    client.delete_webhook(name="strange")


def test_a_webhook_without_its_pipeline_says_so(live, world):
    client = live.client("codepipeline")
    client.create_pipeline(pipeline={**world, "name": "brief"})
    url = client.put_webhook(webhook=definition("orphan", targetPipeline="brief", filters=[]))["webhook"]["url"]
    client.delete_pipeline(name="brief")
    assert send(url) == (409, "There is no pipeline brief with an action Fetch.\n")
    (shown,) = client.list_webhooks()["webhooks"]
    assert (shown["errorCode"], shown["errorMessage"]) == (
        "PipelineNotFoundException",
        "There is no pipeline brief with an action Fetch.",
    )
    client.delete_webhook(name="orphan")


def test_bad_definitions_are_refused(live, world):
    put = live.client("codepipeline").put_webhook
    refusals = (
        ({"targetPipeline": "none"}, "PipelineNotFoundException", "does not have a pipeline with name 'none'"),
        ({"targetAction": "Ask"}, "ValidationException", "must be a source action of pipeline 'shop', which has Fetch"),
        ({"filters": [{"jsonPath": "$[?(@.a)]"}]}, "InvalidWebhookFilterPatternException", "at character 2"),
        (
            {"filters": [{"jsonPath": "$.a"}] * 6},
            "ValidationException",
            "Member must have length less than or equal to 5",
        ),
        (
            {"authentication": "GITHUB_HMAC"},
            "InvalidWebhookAuthenticationParametersException",
            "Optional['authenticationConfig' should contain only one property: 'SecretToken']",
        ),
        (
            {
                "authentication": "IP",
                "authenticationConfiguration": {"SecretToken": "s", "AllowedIPRange": "10.0.0.0/8"},
            },
            "InvalidWebhookAuthenticationParametersException",
            "only one property: 'AllowedIPRange'",
        ),
        (
            {"authentication": "IP", "authenticationConfiguration": {"AllowedIPRange": "10.0.0.1/8"}},
            "InvalidWebhookAuthenticationParametersException",
            "no range of addresses",
        ),
        (
            {"authenticationConfiguration": {"SecretToken": "s"}},
            "InvalidWebhookAuthenticationParametersException",
            "should contain no property",
        ),
    )
    for changes, code, says in refusals:
        found, message = refused(put, webhook=definition(**changes))
        assert (found, says in message) == (code, True), (changes, message)


def test_lists_have_pages_and_the_address_is_for_who_may_list(live, world):
    client = live.client("codepipeline")
    for name in ("a", "b", "c"):
        client.put_webhook(webhook=definition(name))
    pages = list(client.get_paginator("list_webhooks").paginate(PaginationConfig={"PageSize": 2}))
    assert [[one["definition"]["name"] for one in page["webhooks"]] for page in pages] == [["a", "b"], ["c"]]
    assert refused(client.list_webhooks, NextToken="made up")[0] == "InvalidNextTokenException"
    for name in ("a", "b", "c"):
        client.delete_webhook(name=name)


def test_a_flood_is_throttled_by_sender(live, world):
    url = live.client("codepipeline").put_webhook(webhook=definition("flooded"))["webhook"]["url"]
    assert until(lambda: send(url, b"{}")[0] == 429)
    live.client("codepipeline").delete_webhook(name="flooded")
