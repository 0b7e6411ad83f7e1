"""The page of the console that says who did what."""

from __future__ import annotations

import html
import re

import pytest
from penstock_console import Visitor, allow, user


@pytest.fixture(scope="module")
def ann(live):
    user(live, "ann", allow("cloudtrail:LookupEvents", "codepipeline:ListPipelines"))
    return Visitor(live, "ann")


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
