"""What people are shown of messages: each form that services publish in, whatever it holds, within the bounds of every chat."""

import json

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from penstock_examples import examples

from penstock.topics.chat import formats
from penstock.topics.chat.form import Published
from penstock.topics.notices import TITLE, Notice, Tone, notice_of

SITE = "https://penstock.test"
APPROVAL = {
    "region": "us-east-1",
    "consoleLink": "https://evil.test/console",
    "approval": {
        "pipelineName": "shop", "stageName": "Release", "actionName": "Ask me", "token": "1", "expires": "2026-12-07T20:22Z",
        "approvalReviewLink": "https://evil.test/approve", "customData": "Is 1.4 good to go?", "externalEntityLink": "https://stage.test/",
        "changes": [{"id": "0a1b2c3d4e5f6a7b", "summary": "Mend the till"}],
    },
}  # fmt: skip
TRIGGER = {
    "eventTriggerName": "all", "applicationName": "shop", "deploymentId": "d-ABC123DEF", "deploymentGroupName": "web", "status": "FAILED",
    "deploymentOverview": '{"Succeeded":1,"Failed":2,"Skipped":0,"InProgress":0,"Pending":0}',
    "errorInformation": '{"ErrorCode":"HEALTH_CONSTRAINTS","ErrorMessage":"Too few are healthy."}',
    "rollbackInformation": '{"RollbackMessage":"d-2 goes back."}',
}  # fmt: skip
ALARM = {
    "AlarmName": "errors", "NewStateValue": "ALARM", "NewStateReason": "3 > 1", "StateChangeTime": "2026-11-30",
    "Trigger": {"Namespace": "Shop", "MetricName": "Errors"},
}  # fmt: skip


def event(source, **detail):
    return {"source": source, "detail-type": "Order Placed", "detail": detail}


PIPELINE = {"pipeline": "shop", "execution-id": "3f5b", "state": "FAILED", "stage": "Build", "action": "compile"}
ASKS = PIPELINE | {"state": "STARTED", "action": "Ask", "type": {"category": "Approval"}}
FORMS = [
    (APPROVAL, "Approval needed: shop, Release", Tone.WAITS, [("Approve or reject", "/pipelines/shop/approvals/Release/Ask%20me"), ("See the pipeline", "/pipelines/shop")]),
    (TRIGGER, "Deployment of shop to web failed", Tone.BAD, [("See the deployment", "/deployments/d-ABC123DEF")]),
    ({"eventTriggerName": "i", "deploymentId": "d-1", "instanceId": "arn:aws:x:instance/web-1", "instanceStatus": "Succeeded"}, "Host web-1: Succeeded", Tone.GOOD, [("See the deployment", "/deployments/d-1")]),
    (ALARM, "Alarm errors is in alarm", Tone.BAD, []),
    (event("aws.codepipeline", **PIPELINE), "shop, Build, compile failed", Tone.BAD, [("See the pipeline", "/pipelines/shop")]),
    (event("aws.codepipeline", **ASKS), "shop, Build, Ask waits for an approval", Tone.WAITS, [("Approve or reject", "/pipelines/shop/approvals/Build/Ask"), ("See the pipeline", "/pipelines/shop")]),
    (event("aws.codebuild", **{"project-name": "web", "build-status": "SUCCEEDED", "build-id": "arn:aws:codebuild:r:1:build/web:1"}), "Build of web succeeded", Tone.GOOD, [("See the log", "/builds/web%3A1")]),
    (event("aws.codebuild", **{"project-name": "web", "completed-phase": "BUILD", "completed-phase-status": "FAILED"}), "Phase BUILD of a build of web failed", Tone.BAD, []),
    (event("aws.codedeploy", application="shop", deploymentGroup="web", deploymentId="d-1", state="START"), "Deployment of shop to web has begun", Tone.PLAIN, [("See the deployment", "/deployments/d-1")]),
    (event("aws.codecommit", event="referenceUpdated", repositoryName="shop", referenceType="branch", referenceName="main", commitId="0a1b"), "Branch main of shop was updated", Tone.PLAIN, []),
    (event("aws.cloudwatch", alarmName="errors", state={"value": "OK"}), "Alarm errors is well again", Tone.GOOD, []),
    (event("shop", number=7, nested={}), "Order Placed", Tone.PLAIN, []),
]  # fmt: skip


def test_each_form_is_recognised_and_links_lead_here_alone():
    for form, title, tone, links in FORMS:
        found = notice_of(json.dumps(form), "a subject", SITE)
        assert (found.title, found.tone, found.known) == (title, tone, True), form
        assert list(found.links) == [(label, f"{SITE}/console{path}") for label, path in links], form
        assert notice_of(json.dumps(form), "", "").links == ()
    approval = notice_of(json.dumps(APPROVAL), "", SITE)
    assert approval.text == "Is 1.4 good to go?\n\nWhat it brings:\n• 0a1b2c3d4e Mend the till"
    assert dict(approval.facts) == {
        "Pipeline": "shop", "Action": "Release, Ask me", "To review": "https://stage.test/", "Until": "2026-12-07 20:22 UTC",
    }  # fmt: skip
    several = {"requiredApprovals": 2, "approvers": ["group/leads", "cy"], "selfApproval": False}
    for asked, said in (
        (several, "2 missing, from group/leads, cy, not from whoever started the run"),
        ({"approvers": ["ada"]}, "1 missing, from ada"),
        ({"requiredApprovals": "x", "approvers": 3, "selfApproval": True}, None),
    ):
        found = notice_of(json.dumps({**APPROVAL, "approval": {**APPROVAL["approval"], **asked}}), "", SITE)
        assert dict(found.facts).get("Approvals") == said
    trigger = notice_of(json.dumps(TRIGGER), "", SITE)
    assert trigger.text == "Too few are healthy.\nd-2 goes back."
    assert dict(trigger.facts)["Hosts"] == "1 succeeded, 2 failed"


@pytest.mark.parametrize(
    "text", ["Release 1.4 is live.", "{", '{"a": 1}', "[1]", '{"detail": 1, "source": "x"}', "{" * 2000]
)
def test_whatever_else_is_shown_as_text(text):
    assert notice_of(text, "Released", SITE) == Notice(title="Released", text=text)
    assert not notice_of(text, "", SITE).known


def test_nothing_steers_how_it_is_shown():
    found = notice_of("a\x1b[31mb\u202ec\r\n  d\x00\n\n", "Two\nlines\x07 \u2066of it", SITE)
    assert (found.title, found.text) == ("Two lines of it", "a [31mb c\n  d")


TEXTS = st.text(st.sampled_from("a&<>@*_`[](){}\\\"'|!#\x00\x1b\n\u202e\U0001f600 é/:?"), max_size=4_000)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, lambda below: st.lists(below, max_size=3))
NAMES = sorted(
    {name for form, *_ in FORMS for part in (form, *form.values()) if isinstance(part, dict) for name in part}
)


@st.composite
def forms(draw):
    """A form with anything in the place of some of its values, at either level."""
    form = json.loads(json.dumps(draw(st.sampled_from([form for form, *_ in FORMS]))))
    for part in (form, *(value for value in list(form.values()) if isinstance(value, dict))):
        for name in draw(st.lists(st.sampled_from(NAMES), max_size=4)):
            part[name] = draw(VALUES | st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=3))
    return form


@given(forms(), TEXTS)
@hypothesis_settings(max_examples=examples(300))
def test_no_message_breaks_a_format_or_its_bounds(form, subject):
    notice = notice_of(json.dumps(form), subject, SITE)
    assert 0 < len(notice.title) <= TITLE
    assert all(address.startswith(f"{SITE}/console/") for _, address in notice.links)
    assert all("\n" not in value and value.replace("\n", "").isprintable() for _, value in notice.facts)
    published = Published(
        id="m", topic="t", at=0, now=0, subject=subject, text="{}", attributes={}, notice=notice, secret=b"k" * 32
    )
    made = {name: json.loads(one.make(published)[1]) for name, one in formats().items()}
    assert len(one_line := json.dumps(made["teams"], ensure_ascii=False).encode()) <= 28_000, len(one_line)
    blocks = made["slack"]["blocks"]
    assert len(blocks) <= 50
    assert len(blocks[0]["text"]["text"]) <= 150
    for block in blocks[1:]:
        fields = block.get("fields", ())
        assert len(fields) <= 10
        assert all(len(field["text"]) <= 2_000 for field in fields)
        assert len(block.get("text", {}).get("text", "")) <= 3_000
    assert sum(len(json.dumps(block, ensure_ascii=False)) for block in blocks) <= 13_000
    # Whoever publishes mentions nobody: the only markup of Slack is our own links.
    said = json.dumps(made["slack"], ensure_ascii=False)
    assert said.count("<") == said.count(f"<{SITE}/console/") == len(notice.links)
    card = made["teams"]["attachments"][0]["content"]
    assert {one["type"] for one in card["body"]} == {"RichTextBlock"}
    assert "@" not in json.dumps(made["mattermost"]["attachments"], ensure_ascii=False).replace("@\u200b", "")
