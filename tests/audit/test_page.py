"""The page of the console that says who did what."""

from __future__ import annotations

import html
import re

import orjson
import pytest
from penstock_console import Visitor, allow, user
from penstock_looking import NOW, Looking

from penstock.audit import pages
from penstock.webpages.listing import Cell
from penstock.wire.errors import AccessDenied


@pytest.fixture(scope="module")
def ann(live):
    user(live, "ann", allow("cloudtrail:LookupEvents", "codepipeline:ListPipelines"))
    return Visitor(live, "ann")


EVENT = {
    "EventTime": NOW, "EventSource": "iam.amazonaws.com", "EventName": "CreateUser", "Username": "ann",
    "Resources": [{"ResourceName": "bob"}, {"ResourceName": "arn:bob"}],
    "CloudTrailEvent": orjson.dumps({"sourceIPAddress": "192.0.2.7", "userIdentity": {}}).decode(),
}  # fmt: skip
REFUSED = orjson.dumps(
    {"sourceIPAddress": "x", "userIdentity": {"invokedBy": "sns"}, "errorCode": "AccessDenied", "errorMessage": "no"}
).decode()


async def test_how_a_call_is_shown():
    by_service = {name: value for name, value in EVENT.items() if name != "Username"}
    listed = {"Events": [EVENT, by_service | {"Resources": [], "CloudTrailEvent": REFUSED}], "NextToken": "t/2"}
    look = Looking({"LookupEvents": listed}, query="EventName=CreateUser&from=t&Username=")
    listing = await pages.events(look)
    asked = {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "CreateUser"}], "NextToken": "t"}
    assert look.inputs("LookupEvents") == [asked]
    assert listing.lede == "2 calls on this page, 1 of them refused or failed."
    assert (
        listing.command
        == "aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=CreateUser"
    )
    assert (listing.filtered, listing.next_page) == ("CreateUser", "EventName=CreateUser&from=t%2F2")
    one, other = ([(cell.at, cell.text, cell.href, cell.below) if isinstance(cell, Cell) else cell for cell in row.cells] for row in listing.rows)  # fmt: skip
    assert one == [
        (NOW, "", "", ""), (None, "ann", "?Username=ann", ""), (None, "iam CreateUser", "?EventName=CreateUser", ""), (None, "Done", "", ""),
        (None, "bob", "?ResourceName=bob", ""), "192.0.2.7",
    ]  # fmt: skip
    assert other[1] == (None, "sns", "", "")
    assert other[3:] == [(None, "AccessDenied", "", "no"), (None, "", "", ""), "x"]
    every = await pages.events(look := Looking({"LookupEvents": {"Events": []}}))
    assert look.inputs("LookupEvents") == [{}]
    assert (every.lede, every.filtered, every.next_page) == (
        "0 calls on this page, 0 of them refused or failed.",
        "",
        "",
    )
    assert every.command == "aws cloudtrail lookup-events"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({}, ""),
        ({"a": {"IsLogging": True}}, "1 trail writes them to buckets."),
        ({"a": {"IsLogging": True}, "b": {"IsLogging": True}}, "2 trails write them to buckets."),
        ({"a": {"IsLogging": True}, "b": {"IsLogging": False}}, "Trails that are stopped: b."),
        ({"a": {"IsLogging": False}, "b": {"IsLogging": True, "LatestDeliveryError": "AccessDenied"}}, "Trails that cannot write: b (AccessDenied)."),
        ({"a": AccessDenied(), "b": {"IsLogging": True}}, "1 trail writes them to buckets."),
        ({"a": AccessDenied()}, ""),
    ],
)  # fmt: skip
async def test_how_trails_are(states, said):
    def state(Name):
        if isinstance(states[Name], Exception):
            raise states[Name]
        return states[Name]

    listed = {"trailList": [{"Name": name, "TrailARN": name} for name in states]}
    look = Looking({"DescribeTrails": listed, "GetTrailStatus": state})
    assert await pages._trails(look) == said
    assert await pages._trails(Looking({})) == ""


def test_calls_are_listed_and_narrowed_to_one_user(live, ann):
    live.client("iam").create_user(UserName="shown")
    text = ann.get("audit").visible_text
    assert "iam CreateUser" in text
    assert "administrator" in text
    narrowed = ann.get("audit?ResourceName=shown").visible_text
    assert "iam CreateUser" in narrowed
    assert "LookupEvents" not in narrowed.partition("shown")[0]
    assert "1 call on this page" in narrowed


def test_who_was_refused_is_shown_with_the_reason(live, ann):
    assert ann.get("builds").status == 403
    text = ann.get("audit?EventName=ListBuilds").visible_text
    assert "AccessDenied" in text
    assert "is not authorized to perform: codebuild:ListBuilds" in text


def test_more_calls_than_a_page_has_are_on_the_next_one(live, ann):
    for _ in range(60):
        live.client("sts").get_caller_identity()
    page = ann.get("audit?EventName=GetCallerIdentity")
    assert "50 calls on this page" in page.visible_text
    (address,) = re.findall(r'href="(\?EventName=GetCallerIdentity&amp;from=[^"]+)"', page.text)
    rest = ann.get(f"audit{html.unescape(address)}").visible_text
    (count,) = re.findall(r"(\d+) calls on this page", rest)
    assert 10 <= int(count) < 50


def test_who_may_not_look_events_up_is_not_offered_the_page(live):
    user(live, "bob", allow("codepipeline:ListPipelines"))
    bob = Visitor(live, "bob")
    assert "/console/audit" not in bob.get("pipelines").text
    assert bob.get("audit").status == 403
