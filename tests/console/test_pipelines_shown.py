"""A pipeline's page, its forms and its decisions, from what operations answer: which stage is held, closed, failed, and what is offered to whom."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from penstock_looking import ACCOUNT, ANN, NOW, Looking, location, opens

from penstock.console.pages import approval, parallel, pipeline, pipelines
from penstock.console.pages.runs import Change, Run

EVERY = (
    "StartPipelineExecution", "StopPipelineExecution", "DisableStageTransition", "EnableStageTransition", "RetryStageExecution",
)  # fmt: skip


def run(number, state="InProgress", **more):
    given = {"started": NOW - 9_000, "updated": NOW - 4_000, "trigger": "Push", "by": "", "why": ""}
    return Run(id=f"e{number}", number=number, state=state, **(given | more))


def action(name, status="", **more):
    latest = {"status": status, "actionExecutionId": f"x-{name}", **more} if status else None
    return {"actionName": name, **({"latestExecution": latest} if latest else {})}


def stage(name, status="", number=1, *actions, inbound=(), **more):
    latest = {"latestExecution": {"pipelineExecutionId": f"e{number}", "status": status}} if status else {}
    return {
        "stageName": name, "actionStates": list(actions), "inboundExecutions": [{"pipelineExecutionId": f"e{one}"} for one in inbound], **latest, **more,
    }  # fmt: skip


CLOSED = {"enabled": False, "disabledReason": "frozen", "lastChangedBy": ANN, "lastChangedAt": NOW - 60_000}


def made(state, *, runs=(run(1), run(2)), starts=None, declared=("x",)):
    known = {one.id: one for one in runs}
    plan = {"name": state["stageName"], "actions": [{"name": one} for one in declared]}
    return pipeline._stage("p", 2, plan, state, runs=known, starts=starts or {})


@pytest.mark.parametrize(
    ("status", "shown", "holder", "working", "retry", "failed"),
    [
        ("InProgress", "InProgress", True, True, False, False),
        ("Stopping", "Stopping", True, True, False, False),
        ("Succeeded", "Succeeded", False, False, False, False),
        ("Failed", "Failed", False, False, True, True),
        ("Stopped", "Stopped", False, False, True, False),
        ("", "", False, False, False, False),
    ],
)
def test_how_a_stage_stands(status, shown, holder, working, retry, failed):
    found = made(stage("A", status))
    one = found["last"]
    assert (one.number if one else None) == (1 if status else None)
    assert (found["shown"], found["working"], found["failed"]) == (shown, working, failed)
    assert (found["holder"], found["retry"]) == (one if holder else None, one if retry else None)


def test_a_stage_that_waits_for_a_decision_is_held_and_does_not_work():
    found = made(stage("A", "InProgress", 1, action("x", "InProgress", token="t")))
    assert (found["shown"], found["working"], found["holder"].number) == ("Waiting", False, 1)
    assert found["groups"][0]["tiles"][0]["review"] == "/console/pipelines/p/approvals/A/x"
    side = made(stage("A", "InProgress", 1, action("x", "InProgress", token="t"), inside=[]))
    assert (side["holder"], side["side_by_side"], side["groups"][0]["tiles"][0]["review"]) == (None, True, "")


def test_since_when_a_stage_is_held_and_when_it_ended():
    state = stage(
        "A", "InProgress", 1, action("x", "Succeeded", lastStatusChange=40), action("y", "InProgress", lastStatusChange=30), action("z"),
    )  # fmt: skip
    found = made(state, starts={"x-x": 20, "x-y": 10, "x-other": 1}, declared=("x", "y", "z"))
    assert (found["held_since"], found["ended"]) == (10, 40)
    assert [(tile["since"], tile["took"]) for tile in found["groups"][0]["tiles"]] == [(None, 20), (10, None), (None, None)]  # fmt: skip
    found = made(stage("A", "InProgress", 1, action("x", "InProgress")))
    assert (found["held_since"], found["ended"]) == (None, None)


@pytest.mark.parametrize(
    ("inbound", "transition", "status", "enters"),
    [
        ((2,), {}, "InProgress", "It enters when run 1 leaves."),
        ((2,), {}, "Succeeded", ""),
        ((2,), CLOSED, "Succeeded", "It enters when the transition is opened."),
        ((9,), CLOSED, "InProgress", ""),
        ((9, 2), {"enabled": True}, "InProgress", "It enters when run 1 leaves."),
    ],
)
def test_what_waits_before_a_stage(inbound, transition, status, enters):
    found = made(stage("A", status, inbound=inbound, inboundTransitionState=transition))
    assert found["enters"] == enters
    assert [one.number for one in found["waiting"]] == [one for one in inbound if one == 2]
    closed = transition is CLOSED
    assert (found["enabled"], found["reason"], found["closed_by"], found["closed_at"]) == (
        (False, "frozen", "ann", NOW - 60_000) if closed else (True, "", "", None)
    )


def test_actions_stand_in_the_order_in_which_they_run():
    plan = {"name": "A", "actions": [{"name": "c", "runOrder": 2}, {"name": "a"}, {"name": "b", "runOrder": 1}, {"name": "d", "runOrder": 10}]}  # fmt: skip
    found = pipeline._groups("p", plan, stage("A"), None, {})
    assert [(group["order"], [tile["name"] for tile in group["tiles"]]) for group in found] == [
        (1, ["a", "b"]),
        (2, ["c"]),
        (10, ["d"]),
    ]


@pytest.mark.parametrize(
    ("latest", "tile"),
    [
        ({}, {"state": "", "run": None, "error": ""}),
        ({"status": "Failed", "errorDetails": {"message": "no"}, "summary": "s"}, {"state": "Failed", "run": 1, "error": "no"}),
        ({"status": "Failed", "summary": "s"}, {"error": "s"}),
        ({"status": "Succeeded", "summary": "s", "externalExecutionUrl": "/there"}, {"error": "", "link": "/there", "review": ""}),
        ({"status": "Succeeded", "token": "t"}, {"state": "Succeeded", "review": ""}),
        ({"status": "InProgress"}, {"state": "InProgress", "review": "", "since": None, "took": None, "meta": ""}),
        ({"status": "InProgress", "percentComplete": 0}, {"meta": "0% done"}),
        ({"status": "InProgress", "percentComplete": 50, "summary": "half way\nmore"}, {"meta": "50% done · half way"}),
        ({"status": "Succeeded", "percentComplete": 100, "summary": "s"}, {"meta": ""}),
    ],
)  # fmt: skip
def test_what_a_tile_says(latest, tile):
    state = {"latestExecution": latest} if latest else {}
    found = pipeline._tile("p", "A", {"name": "x"}, state, run=run(1), starts={}, side_by_side=False)
    assert found | tile == found
    assert pipeline._tile("p", "A", {"name": "x"}, state, run=None, starts={}, side_by_side=False)["run"] is None


def test_what_is_released_from_where():
    plan = {"name": "S", "actions": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}
    state = {
        "actionStates": [
            action("a", "Succeeded", summary="\nsay\nmore", lastStatusChange=5) | {"currentRevision": {"revisionId": "r1", "created": 3}},
            action("b", "Succeeded", summary="at r2", lastStatusChange=5) | {"currentRevision": {"revisionId": "r2"}},
        ]
    }  # fmt: skip
    found = pipeline._sources(plan, state, {("S", "a"): {"subject": "shop", "part": "main"}})
    assert found == [
        {"where": "shop", "branch": "main", "revision": "r1", "summary": "say", "at": 3},
        {"where": "b", "branch": "", "revision": "r2", "summary": "", "at": 5},
        {"where": "c", "branch": "", "revision": "", "summary": "", "at": None},
    ]


# --- its page -----------------------------------------------------------------------------------------------------------


def summary(number, status, **more):
    return {
        "pipelineExecutionId": f"e{number}", "executionNumber": number, "status": status, "startTime": NOW - 9_000, "lastUpdateTime": NOW - 4_000, **more,
    }  # fmt: skip


def declaration(*stages, **more):
    plan = [{"name": name, "actions": [{"name": "x"}]} for name in stages]
    return {"pipeline": {"name": "p", "version": 3, "stages": plan, **more}}


def answers(*states, runs=(), declared=("S", "A", "B"), described=(), **more):
    return {
        "GetPipeline": declaration(*declared, **more),
        "GetPipelineState": {"stageStates": list(states)},
        "ListPipelineExecutions": {"pipelineExecutionSummaries": list(runs)},
        "ListActionExecutions": {"actionExecutionDetails": []},
        "DescribePipelineActions": {"actions": list(described)},
    }


# Run 3 waits before A, which is closed and where run 2 has failed; run 1 is in B.
BUSY = answers(
    stage("S", "Succeeded", 3, action("x", "Succeeded")),
    stage("A", "Failed", 2, action("x", "Failed", errorDetails={"message": "no <room>"}), inbound=(3,), inboundTransitionState=CLOSED),
    stage("B", "InProgress", 1, action("x", "InProgress")),
    runs=[summary(3, "InProgress"), summary(2, "Failed"), summary(1, "InProgress")],
)  # fmt: skip


async def test_an_action_says_in_which_other_region_it_runs():
    """And nobody looks for the hosts of its deployment group in this one."""
    group = {"summary": "CodeDeploy, web", "entityType": "codedeploy:deploymentgroup", "subject": "shop", "part": "web"}
    described = [{"stageName": "A", "actionName": "x", "region": "eu-west-1", **group}]
    states = [stage(name, "Succeeded", 1, action("x", "Succeeded")) for name in ("S", "A", "B")]
    look = Looking(answers(*states, runs=[summary(1, "Succeeded")], described=described), path={"name": "p"})
    text = await look.shown(pipeline.PAGE)
    assert re.findall(r'<span class="tile__meta">([^<]+)</span>', text) == ["CodeDeploy, web · in eu-west-1"]


@pytest.mark.parametrize(
    ("may", "offered"),
    [
        ((), []),
        (("StartPipelineExecution",), ["release"]),
        (("StopPipelineExecution",), ["stop-3", "stop-1"]),
        (("DisableStageTransition",), ["gate-of-B"]),
        (("EnableStageTransition",), ["gate-of-A", "gate-of-A"]),
        (("RetryStageExecution",), ["retry-A"]),
        (EVERY, ["release", "gate-of-A", "gate-of-A", "retry-A", "gate-of-B", "stop-3", "stop-1"]),
    ],
)
async def test_who_may_act_on_a_pipeline_is_offered_to(may, offered):
    text = await Looking(BUSY, may=may, path={"name": "p"}).shown(pipeline.PAGE)
    assert opens(text) == offered
    assert set(re.findall(r'<dialog id="([^"]*)"', text)) - {"keys"} == set(offered)
    assert ("Act</span>" in text) == ("StopPipelineExecution" in may)


async def test_what_a_busy_pipeline_says():
    look = Looking(BUSY, may=EVERY, path={"name": "p"})
    values = await pipeline.load(look)
    assert values["lede"] == "Run 2 failed in A. Run 3 waits before A. Run 1 is in B."
    assert [one["where"] for one in values["sources"]] == [
        one["name"] for one in BUSY["GetPipeline"]["pipeline"]["stages"][0]["actions"]
    ]
    assert (values["next_number"], values["mode"], values["type"], values["pipeline_version"]) == (4, "SUPERSEDED", "V1", 3)  # fmt: skip
    assert [(one["index"], one["name"], one["flows"]) for one in values["stages"]] == [(1, "S", False), (2, "A", False), (3, "B", True)]  # fmt: skip
    text = look.fragment("pipeline.html", **values)
    for said in (
        "<b>Closed</b> by ann", "“frozen”", "no &lt;room&gt;", "It enters when the transition is opened.",
        "ann closed it: “frozen”. Run 3 waits before the stage and enters at once.", 'href="#run-1" data-run="1">Run 1</a> holds it',
        "It is in B. No further action starts", "Retry A in run 2?", 'name="execution" value="e2"', "Superseded mode",
    ):  # fmt: skip
        assert said in text, said
    assert text.index("gate-A") < text.index("gate-B")
    assert 'id="gate-S"' not in text


@pytest.mark.parametrize(
    ("before", "here", "enabled", "flows"),
    [
        ("InProgress", "", True, True),
        ("InProgress", "", False, False),
        ("InProgress", "InProgress", False, True),
        ("Succeeded", "", True, False),
        ("Succeeded", "InProgress", True, True),
    ],
)
async def test_between_which_stages_something_flows(before, here, enabled, flows):
    states = stage("S", before), stage("A", here, 2, inboundTransitionState={"enabled": enabled})
    look = Looking(answers(*states, runs=[summary(2, "InProgress"), summary(1, "InProgress")]), path={"name": "p"})
    values = await pipeline.load(look)
    assert [one["flows"] for one in values["stages"]] == [False, flows]


async def test_a_pipeline_that_has_not_run():
    text = await Looking(answers(stage("S"), stage("A")), may=EVERY, path={"name": "p"}).shown(pipeline.PAGE)
    assert opens(text) == ["release", "gate-of-A"]
    for said in ("This pipeline has not run yet. It runs when", "Idle · no run yet", "No further action" not in text and "Release the newest"):  # fmt: skip
        assert said in text


@pytest.mark.parametrize(("count", "said"), [(19, False), (20, True)])
async def test_a_page_says_that_it_lists_the_newest_twenty_runs(count, said):
    runs = [summary(number, "Succeeded") for number in range(count, 0, -1)]
    text = await Looking(answers(stage("S"), stage("A"), runs=runs), path={"name": "p"}).shown(pipeline.PAGE)
    assert ("the newest 20" in text) is said
    assert len(re.findall(r'<tr id="run-', text)) == count


def conditioned(gate, status, *rules, **more):
    """A member of GetPipelineState's stage: a condition with its rules."""
    states = [{"ruleName": name, "latestExecution": latest} if latest else {"ruleName": name} for name, latest in rules]
    latest = {"latestExecution": {"status": status, **more}} if status else {}
    return {f"{gate}ConditionState": {**latest, "conditionStates": [{"ruleStates": states, **latest}]}}


async def test_rules_stand_before_and_after_the_actions_and_a_condition_may_be_overridden():
    entry = conditioned(
        "beforeEntry", "Failed", ("hours", {"status": "Failed", "errorDetails": {"message": "no <room>"}})
    )
    given = answers(
        stage("S", "Succeeded", 2, action("x", "Succeeded")),
        stage("A", "Failed", 1, action("x"), **entry, **conditioned("onSuccess", "", ("errors", None))),
        runs=[summary(2, "InProgress"), summary(1, "Failed", statusSummary="The condition failed.")],
    )
    look = Looking(given, may=("OverrideStageCondition",), path={"name": "p"})
    values = await pipeline.load(look)
    groups = values["stages"][1]["groups"]
    assert [(group["label"], [tile["name"] for tile in group["tiles"]]) for group in groups] == [
        ("Before entry", ["hours"]),
        ("", ["x"]),
        ("On success", ["errors"]),
    ]
    assert (groups[0]["tiles"][0]["error"], groups[2]["tiles"][0]["state"]) == ("no <room>", "")
    text = await look.shown(pipeline.PAGE)
    assert opens(text) == ["override-A"]
    for said in ("Before entry", "no &lt;room&gt;", "Override the condition of A?", 'name="condition" value="BEFORE_ENTRY"', "Run 1 continues with the first action"):  # fmt: skip
        assert said in text, said
    assert opens(await Looking(given, path={"name": "p"}).shown(pipeline.PAGE)) == []
    declared = {"name": "A", "actions": [], "beforeEntry": {"conditions": [{"result": "SKIP", "rules": []}]}}
    assert pipeline._override(declared, given["GetPipelineState"]["stageStates"][1]) == ""


async def test_a_run_that_is_checked_says_so_and_a_skipped_stage_is_marked():
    given = answers(
        stage("S", "Skipped", 1, action("x")),
        stage(
            "A", "InProgress", 1, action("x"), **conditioned("onSuccess", "InProgress", ("r", {"status": "InProgress"}))
        ),
        runs=[summary(1, "InProgress")],
    )
    (one,) = (await pipeline.load(Looking(given, path={"name": "p"})))["runs"]
    assert (one.why, one.marks) == ("Checks a condition of A", ["Skipped", "InProgress"])


async def test_a_stage_may_be_rolled_back_to_runs_that_succeeded_in_it():
    def details(filter, **_):
        done = {"stageName": "A", "actionName": "x", "status": "Succeeded", "startTime": 1, "lastUpdateTime": 2}
        failed = filter["pipelineExecutionId"] == "e4"
        return {
            "actionExecutionDetails": [{**done, "actionExecutionId": "a", **({"status": "Failed"} if failed else {})}]
        }

    given = answers(
        stage("S", "Succeeded", 4, action("x", "Succeeded")),
        stage("A", "Failed", 4, action("x", "Failed")),
        runs=[
            summary(4, "Failed"),
            summary(3, "Succeeded", executionType="ROLLBACK"),
            summary(5, "Failed", statusSummary="The condition ON_SUCCESS of stage A failed: smoke."),
            summary(2, "Succeeded", executionType="STANDARD"),
            summary(1, "Succeeded"),
        ],
    ) | {"ListActionExecutions": details}
    text = await Looking(given, may=("RollbackStage",), path={"name": "p"}).shown(pipeline.PAGE)
    assert opens(text) == ["rollback-A"]
    assert re.findall(r'<option value="([^"]*)">(Run [0-9])', text) == [("e2", "Run 2"), ("e1", "Run 1")]


async def test_a_stage_that_is_deployed_warns_of_silent_hosts():
    described = [{"stageName": "A", "actionName": "x", "entityType": "codedeploy:deploymentgroup", "subject": "shop", "part": "web", "summary": "to web"}]  # fmt: skip
    given = answers(stage("S"), stage("A"), described=described) | {"ListHosts": {"hosts": [{"name": "h1"}]}}
    look = Looking(given, path={"name": "p"})
    text = await look.shown(pipeline.PAGE)
    assert '<span class="tile__meta">to web</span>' in text
    assert "1 host of web is silent: h1." in text
    assert look.inputs("ListHosts") == [{"connected": False, "applicationName": "shop", "deploymentGroupName": "web"}]


async def test_a_stream_redraws_the_table_of_runs_when_there_are_others():
    given = answers(stage("S"), stage("A"), runs=[summary(1, "Succeeded")])
    look = Looking(given, path={"name": "p"})
    take, concerns = await pipeline.live(look)
    first, second = (await take()).blocks, (await take()).blocks
    every = ["lede", "sources", "stage-S", "dialogs-S", "stage-A", "dialogs-A", "gate-A", "runs", "run-1", "stop-dialogs"]  # fmt: skip
    assert [*first] == every
    assert [*second] == [one for one in every if one != "runs"]
    given["ListPipelineExecutions"]["pipelineExecutionSummaries"].insert(0, summary(2, "InProgress"))
    assert "runs" in (await take()).blocks
    event = {"account": ACCOUNT, "region": "us-east-1", "type": "codepipeline.run", "payload": {"pipeline": "p"}}
    assert concerns(SimpleNamespace(**event))
    for wrong in ({"account": "2" * 12}, {"region": "eu"}, {"type": "codebuild.x"}, {"payload": {"pipeline": "q"}}):
        assert not concerns(SimpleNamespace(**event | wrong))


# --- what is done to it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "form", "operation", "input", "said"),
    [
        ("start", {}, "StartPipelineExecution", {"name": "p"}, "released"),
        ("runs/{execution}/stop", {"reason": " why "}, "StopPipelineExecution", {"pipelineName": "p", "pipelineExecutionId": "e", "abandon": False, "reason": "why"}, "stopping"),
        ("runs/{execution}/stop", {"reason": " ", "how": "abandon"}, "StopPipelineExecution", {"pipelineName": "p", "pipelineExecutionId": "e", "abandon": True}, "stopping"),
        ("stages/{stage}/close", {"reason": "why"}, "DisableStageTransition", {"pipelineName": "p", "stageName": "A", "transitionType": "Inbound", "reason": "why"}, "closed"),
        ("stages/{stage}/open", {}, "EnableStageTransition", {"pipelineName": "p", "stageName": "A", "transitionType": "Inbound"}, "opened"),
        ("stages/{stage}/retry", {"execution": "e2"}, "RetryStageExecution", {"pipelineName": "p", "stageName": "A", "pipelineExecutionId": "e2", "retryMode": "FAILED_ACTIONS"}, "retried"),
        ("stages/{stage}/retry", {"execution": "e2", "how": "all"}, "RetryStageExecution", {"pipelineName": "p", "stageName": "A", "pipelineExecutionId": "e2", "retryMode": "ALL_ACTIONS"}, "retried"),
        ("stages/{stage}/rollback", {"target": "e2"}, "RollbackStage", {"pipelineName": "p", "stageName": "A", "targetPipelineExecutionId": "e2"}, "rolled-back"),
        ("stages/{stage}/override", {"execution": "e2", "condition": "ON_SUCCESS"}, "OverrideStageCondition", {"pipelineName": "p", "stageName": "A", "pipelineExecutionId": "e2", "conditionType": "ON_SUCCESS"}, "overridden"),
    ],
)  # fmt: skip
async def test_forms_of_a_pipeline(act, form, operation, input, said):
    look = Looking({operation: {}}, path={"name": "p", "execution": "e", "stage": "A"}, form=form)
    assert location(await pipeline.PAGE.forms[act](look)) == f"/console/pipelines/p?said={said}"
    assert look.asked == [(operation, input)]


# --- decisions ----------------------------------------------------------------------------------------------------------

WHERE = {"name": "p", "stage": "A", "action": "x"}


@pytest.mark.parametrize(
    ("form", "result", "said"),
    [
        ({"decision": "Approved", "approval": "t"}, {"status": "Approved", "summary": ""}, "approved"),
        ({"decision": "Rejected", "approval": "t", "summary": " no "}, {"status": "Rejected", "summary": "no"}, "rejected"),
    ],
)  # fmt: skip
async def test_a_decision_is_handed_over(form, result, said):
    look = Looking({"PutApprovalResult": {}}, path=WHERE, form=form)
    assert location(await approval.PAGE.forms[""](look)) == f"/console/pipelines/p?said={said}"
    where = {"pipelineName": "p", "stageName": "A", "actionName": "x", "token": "t"}
    # Whoever may not look at the pipeline may decide all the same.
    assert look.asked[0] == ("PutApprovalResult", {**where, "result": result})
    assert {name for name, _ in look.asked[1:]} <= {"GetPipeline"}


def asking(*, following=None, **more):
    detail = {
        "pipelineExecutionId": "e1", "stageName": "A", "actionName": "x", "status": "InProgress", "startTime": NOW - 60_000, "lastUpdateTime": NOW - 60_000,
        "actionExecutionId": "a2", "input": {"actionTypeId": {"category": "Approval"}},
    }  # fmt: skip
    earlier = detail | {"stageName": "S", "status": "Succeeded", "lastUpdateTime": NOW - 50_000, "input": {}, "actionExecutionId": "a1"}  # fmt: skip
    given = answers(
        stage("S", "Succeeded", 1, action("x", "Succeeded")),
        stage("A", "InProgress", 1, action("x", "InProgress", token="t"), inbound=(2,)),
        following or stage("B"),
        runs=[summary(2, "InProgress"), summary(1, "InProgress", sourceRevisions=[{"revisionId": "r1"}])],
        described=[{"stageName": "A", "actionName": "x", "question": "Put  it\nthere?", "entityUrl": "https://there.example"}],
    )  # fmt: skip
    given["ListActionExecutions"] = lambda filter, **_: {
        "actionExecutionDetails": [detail, earlier] if filter["pipelineExecutionId"] == "e1" else []
    }
    return given | more


@pytest.mark.parametrize(("may", "buttons"), [(("PutApprovalResult",), 2), ((), 0)])
async def test_who_may_decide_is_asked(may, buttons):
    look = Looking(asking(), may=may, path=WHERE)
    values = await approval.load(look)
    text = look.fragment("approval.html", **values)
    assert len(re.findall(r'name="decision" value="(Approved|Rejected)"', text)) == buttons
    assert (values["question"], values["open"], values["approval"], values["run_state"]) == ("Put it there?", True, "t", "Waiting")  # fmt: skip
    assert values["asked"] == NOW - 60_000
    assert values["expires"] == NOW - 60_000 + 7 * 86_400_000
    assert values["leads"] == "Once it is approved, run 1 continues to B at once."
    assert [one.number for one in values["waiting"]] == [2]
    assert values["passed"] == "1 of 1 passed"
    assert [(one["name"], one["state"], one["took"]) for one in values["checks"]] == [("S, x", "Succeeded", 10_000)]
    assert [(one["run"], one["change"].revision) for one in values["changes"]] == [(1, "r1")]
    assert values["which"] == ""


@pytest.mark.parametrize(
    ("following", "leads"),
    [
        (stage("B", "InProgress", 2), "After approval run 1 waits before B, because run 2 holds it."),
        (stage("B", "InProgress", 9), "After approval run 1 waits before B, because another run holds it."),
        (stage("B", "Failed", 2), "Once it is approved, run 1 continues to B at once."),
        (
            stage("B", inboundTransitionState=CLOSED),
            "After approval run 1 waits before B, because its transition is closed.",
        ),
    ],
)
async def test_what_stands_in_the_way_of_an_approval(following, leads):
    assert (await approval.load(Looking(asking(following=following), path=WHERE)))["leads"] == leads


async def test_nothing_to_decide():
    look = Looking(answers(stage("S"), stage("A", "Succeeded", 1, action("x", "Succeeded", token="t"))), path=WHERE)
    values = await approval.load(look)
    assert (values["open"], values["approval"], values["asked"], values["expires"], values["changes"]) == (False, "", None, None, [])  # fmt: skip


@pytest.mark.parametrize(
    ("latest", "said"),
    [
        ({"status": "Succeeded", "lastUpdatedBy": ANN, "summary": "ok"}, "Approved by ann: “ok”"),
        ({"status": "Failed", "lastUpdatedBy": ANN}, "Rejected by ann."),
        ({"status": "Failed", "summary": "no"}, "Rejected: “no”"),
        ({"status": "Succeeded"}, "Approved."),
        ({"status": "InProgress"}, "No run waits at this action."),
        ({}, "No run waits at this action."),
    ],
)
def test_what_became_of_a_decision(latest, said):
    assert approval._closed(latest) == said


def test_how_long_a_decision_is_waited_for():
    declared = {"actions": [{"name": "x"}, {"name": "y", "timeoutInMinutes": 5}]}
    assert (approval._minutes(declared, "y"), approval._minutes(declared, "x")) == (5, 10_080)


def test_the_last_attempt_of_each_action_counts_where_the_action_first_started():
    details = [{"stageName": "A", "actionName": name, "at": at} for at, name in enumerate("xyx")]
    assert [(one["actionName"], one["at"]) for one in approval._latest(details)] == [("x", 2), ("y", 1)]


def test_what_a_run_replaces_is_the_newest_earlier_run_that_passed():
    def passed(number, mark, revision=""):
        return run(number, marks=["Succeeded", mark], changes=[Change("S", revision, "", "")])

    runs = [passed(5, "Succeeded"), passed(4, ""), passed(3, "Failed"), passed(2, "Succeeded"), passed(1, "Succeeded")]
    found = approval._passed(runs, runs[1], 1)
    assert found is not None
    assert found.number == 2
    assert approval._passed(runs, runs[4], 1) is approval._passed(runs, None, 1) is None
    # Of a run that none has passed before, its own; what was there already is not said again.
    runs = [passed(4, "", "b"), passed(3, "", "b"), passed(2, "Succeeded", "a"), passed(1, "", "a")]
    assert [one["run"] for one in approval._changes(runs, runs[0], 1)] == [4]
    assert [one["run"] for one in approval._changes(runs[:1], runs[0], 1)] == [4]
    older = passed(9, "", "z")
    assert [one["run"] for one in approval._changes(runs, older, 1)] == [9]
    assert approval._changes(runs, None, 1) == []


# --- runs side by side --------------------------------------------------------------------------------------------------


def did(stage_name, name, status, category="Build", *, at=1, **more):
    return {
        "stageName": stage_name, "actionName": name, "status": status, "startTime": at, "lastUpdateTime": at + 5, "actionExecutionId": f"{name}{at}",
        "input": {"actionTypeId": {"category": category}}, **more,
    }  # fmt: skip


def test_of_runs_side_by_side_what_asks_comes_first_then_what_goes_on_then_the_newest():
    def found(details):
        runs = [run(3), run(2), run(1, "Succeeded")]
        state = {"stageName": "A", "actionStates": [{"actionName": "x"}, {"actionName": "y"}]}
        (one,) = parallel.with_runs([state], runs, details)
        inside = [(each["run"].number, each["action"], each["since"]) for each in one["inside"]]
        return one.get("latestExecution"), inside, one["actionStates"]

    over = [did("A", "x", "Succeeded"), did("A", "y", "Succeeded")]
    works, asks = [did("A", "x", "InProgress", at=7)], [did("A", "y", "InProgress", "Approval", at=8, output={"executionResult": {"externalExecutionId": "t"}})]  # fmt: skip
    assert found({}) == (None, [], [{"actionName": "x"}, {"actionName": "y"}])
    assert found({"e1": over})[0] == {"pipelineExecutionId": "e1", "status": "Succeeded"}
    assert found({"e3": [did("B", "z", "Succeeded"), *over], "e1": over})[0] == {"pipelineExecutionId": "e3", "status": "Succeeded"}  # fmt: skip
    assert found({"e3": [did("B", "z", "InProgress"), *over], "e2": works})[:2] == (
        {"pipelineExecutionId": "e2", "status": "InProgress"}, [(2, "", 7)],
    )  # fmt: skip
    latest, inside, states = found({"e3": works, "e2": asks, "e1": over})
    assert latest == {"pipelineExecutionId": "e2", "status": "InProgress"}
    assert inside == [(2, "y", 8), (3, "", 7)]
    assert states[0] == {"actionName": "x"}
    assert (states[1]["latestExecution"]["token"], states[1]["latestExecution"]["lastStatusChange"]) == ("t", 13)
    assert "token" not in found({"e3": works})[2][0]["latestExecution"]


# --- the list of pipelines ----------------------------------------------------------------------------------------------


async def test_what_needs_somebody_stands_first():
    stands = {
        "a": ("Succeeded", [stage("S", "Succeeded")]), "b": ("InProgress", [stage("S", "Succeeded"), stage("A", "InProgress")]),
        "c": ("InProgress", [stage("A", "InProgress", 1, action("x", "InProgress", token="t"))]), "d": ("Failed", [stage("S", "Succeeded"), stage("A", "Failed")]),
        "e": ("Failed", [stage("A", "Failed")]), "f": ("", [stage("S")]), "g": ("Succeeded", [stage("A", "Failed")]),
    }  # fmt: skip
    look = Looking(
        {
            "ListPipelines": {"pipelines": [{"name": name} for name in "gfedcba"], "nextToken": "t"},
            "GetPipelineState": lambda name: {"stageStates": stands[name][1]},
            "ListPipelineExecutions": lambda pipelineName, **_: {
                "pipelineExecutionSummaries": [summary(1, stands[pipelineName][0])] if stands[pipelineName][0] else []
            },
        }
    )
    listing = await pipelines.load(look)
    assert listing.lede == "7 pipelines on this page. 2 have failed. 1 waits for a decision."
    rows = [(row.cells[0].text, row.cells[1].state, row.cells[1].below, [*row.cells[2].marks]) for row in listing.rows]
    assert rows == [
        ("d", "Failed", "in A", ["Succeeded", "Failed"]),
        ("e", "Failed", "in A", ["Failed"]),
        ("c", "Waiting", "in A", ["Waiting"]),
        ("b", "InProgress", "in A", ["Succeeded", "InProgress"]),
        ("a", "Succeeded", "", ["Succeeded"]),
        ("f", "", "", [""]),
        ("g", "Succeeded", "", ["Failed"]),
    ]
    assert listing.rows[2].cells[2].text == "c: Waiting for a decision in A"
    assert (listing.rows[5].cells[4], listing.rows[5].cells[5].text) == (None, "never")
    assert (listing.rows[0].cells[4], listing.rows[0].cells[5].at) == (1, NOW - 9_000)
    assert look.inputs("ListPipelines") == [{"maxResults": 40}]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((0, 0, 0, False), "No pipelines yet."),
        ((1, 0, 0, False), "1 pipeline. None has failed, and none waits for a decision."),
        ((1, 1, 0, True), "1 pipeline on this page. 1 has failed."),
        ((3, 2, 2, False), "3 pipelines. 2 have failed. 2 wait for a decision."),
        ((3, 0, 1, False), "3 pipelines. 1 waits for a decision."),
    ],
)
def test_how_pipelines_stand(given, said):
    count, failed, waiting, more = given
    assert pipelines._lede(count, failed, waiting, more=more) == said


async def test_pipelines_that_may_not_be_seen_are_not_shown():
    look = Looking({"ListPipelines": {"pipelines": [{"name": "a"}]}})
    listing = await pipelines.load(look)
    assert (listing.lede, list(listing.rows), listing.next_page) == ("No pipelines yet.", [], "")
