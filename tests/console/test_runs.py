"""Runs of a pipeline, from what operations answer: their row, stages, reasons, and how far back they are looked for."""

from __future__ import annotations

import pytest
from penstock_looking import Looking

from penstock.console.pages import runs
from penstock.console.pages.runs import Change, Run
from penstock.webpages.listing import Cell
from penstock.wire.errors import error_class

CHANGE = Change(action="S", revision="0123456789", summary="say more", url="")


def run(number=7, state="InProgress", **more):
    given = {"started": 1_000, "updated": 4_000, "trigger": "Release", "by": "", "why": ""}
    return Run(id=f"e{number}", number=number, state=state, **(given | more))


@pytest.mark.parametrize(
    ("state", "stops", "took"),
    [
        ("InProgress", True, None),
        ("Waiting", True, None),
        ("Stopping", False, None),
        ("Succeeded", False, 3_000),
        ("Failed", False, 3_000),
        ("Superseded", False, 3_000),
    ],
)
def test_a_run_in_the_table_of_runs(state, stops, took):
    one = run(
        state=state, why="why", decided=5, by="ann", changes=[CHANGE, CHANGE], marks=["Failed"], sentence="Run 7: so"
    )
    row = runs.run_row(one, acts=True)
    assert (row.id, row.run, row.chosen) == ("run-7", 7, False)
    assert list(row.cells) == [
        Cell(text="7", title="e7"),
        Cell(state=state, below="why", below_at=5),
        Cell(marks=["Failed"], text="Run 7: so"),
        Cell(code="01234567", title="0123456789", text="say more"),
        Cell(person="ann"),
        Cell(at=1_000),
        Cell(since=1_000) if took is None else Cell(took=took),
        Cell(opens="stop-7", text="Stop…", title="Stop run 7") if stops else None,
    ]
    assert list(runs.run_row(one, acts=False).cells) == list(row.cells)[:-1]


def test_a_run_of_which_little_is_known():
    cells = runs.run_row(run(decided=5), acts=False).cells
    assert (cells[1], cells[3], cells[4]) == (Cell(state="InProgress"), None, "Release")


def test_the_column_that_stops_is_for_those_who_may():
    heads = ["Run", "State", "Stages", "Change", "Started by", "Started", "Took"]
    assert [column.head for column in runs.run_columns(acts=False)] == heads
    assert [column.head for column in runs.run_columns(acts=True)] == [*heads, "Act"]


def summary(number, status="Succeeded", **more):
    return {
        "pipelineExecutionId": f"e{number}", "executionNumber": number, "status": status, "startTime": 1_000, "lastUpdateTime": 4_000, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("CreatePipeline", "Created with the pipeline"),
        ("StartPipelineExecution", "Release"),
        ("PollForSourceChanges", "Push"),
        ("CloudWatchEvent", "Event"),
        ("Webhook", "Webhook"),
        ("WebhookV2", "Webhook"),
        ("ManualRollback", "Rollback"),
        ("AutomatedRollback", "Rollback"),
        ("Levitation", "Levitation"),
    ],
)
def test_what_started_a_run(kind, shown):
    assert runs._run(summary(1, trigger={"triggerType": kind})).trigger == shown


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"statusSummary": "a", "stopTrigger": {"reason": "b"}}, "a"),
        ({"stopTrigger": {"reason": "b"}}, "b"),
        ({}, ""),
    ],
)
def test_why_a_run_stands_so_by_what_it_says_itself(more, why):
    assert runs._run(summary(1, **more)).why == why


def did(stage, action, status, category="Build", *, at=1_000, **result):
    return {
        "stageName": stage, "actionName": action, "status": status, "startTime": at, "lastUpdateTime": at + 50, "actionExecutionId": f"{stage}{action}",
        "input": {"actionTypeId": {"category": category}}, "output": {"executionResult": result}, "pipelineExecutionId": "e7",
    }  # fmt: skip


def stage(name, execution="", status="", *, token="", inbound=()):
    latest = {"token": token, "status": "InProgress"} if token else {}
    return {
        "stageName": name,
        "actionStates": [{"actionName": "x"}, {"actionName": "y", "latestExecution": latest}],
        "inboundExecutions": [{"pipelineExecutionId": one} for one in inbound],
        **({"latestExecution": {"pipelineExecutionId": execution, "status": status}} if execution else {}),
    }


@pytest.mark.parametrize(
    ("state", "details", "stages", "marks", "after"),
    [
        ("Failed", [did("A", "x", "Succeeded"), did("A", "y", "Failed")], [stage("A")], ["Failed"], "Failed"),
        ("Failed", [did("A", "x", "Failed"), did("A", "y", "Abandoned")], [stage("A")], ["Failed"], "Failed"),
        ("Failed", [did("A", "x", "Abandoned"), did("A", "y", "InProgress")], [stage("A")], ["Abandoned"], "Failed"),
        ("Failed", [did("A", "x", "InProgress"), did("A", "y", "Succeeded")], [stage("A")], ["InProgress"], "Failed"),
        # The newest attempt counts.
        ("Succeeded", [did("A", "x", "Succeeded"), did("A", "x", "Failed")], [stage("A")], ["Succeeded"], "Succeeded"),
        ("InProgress", [did("B", "x", "InProgress", "Approval"), did("A", "x", "Succeeded")], [stage("A"), stage("B"), stage("C")], ["Succeeded", "Waiting", ""], "Waiting"),
        ("Stopped", [did("A", "x", "InProgress", "Approval")], [stage("A")], ["InProgress"], "Stopped"),
        # What the pipeline's state says of this run.
        ("InProgress", [did("A", "x", "Succeeded")], [stage("A", "e7", "InProgress")], ["InProgress"], "InProgress"),
        ("Stopping", [did("A", "x", "Succeeded")], [stage("A", "e7", "Stopping")], ["InProgress"], "Stopping"),
        ("InProgress", [did("A", "x", "Succeeded")], [stage("A", "e7", "Succeeded")], ["Succeeded"], "InProgress"),
        ("InProgress", [], [stage("A", "e7", "InProgress", token="t")], ["Waiting"], "Waiting"),
        ("InProgress", [did("A", "x", "Succeeded")], [stage("A", "e8", "InProgress", token="t")], ["Succeeded"], "InProgress"),
        ("InProgress", [], [stage("A")], [""], "InProgress"),
    ],
)  # fmt: skip
def test_how_the_stages_of_a_run_stand(state, details, stages, marks, after):
    one = run(state=state)
    assert runs._marks(one, details, [each["stageName"] for each in stages], stages) == marks
    assert one.state == after


@pytest.mark.parametrize(
    ("inbound", "why", "said"),
    [(("e7",), "", "Waits before A"), (("e6", "e7"), "", "Waits before A"), (("e7",), "b", "b"), (("e8",), "", "")],
)
def test_a_run_says_before_which_stage_it_waits(inbound, why, said):
    one = run(why=why)
    runs._marks(one, [], ["A", "B"], [stage("A", inbound=inbound), stage("B", inbound=inbound)])
    assert one.why == said


@pytest.mark.parametrize(
    ("state", "details", "why", "decided"),
    [
        ("Failed", [did("A", "x", "Failed", errorDetails={"message": "\nno room\nmore"}, externalExecutionSummary="s")], "A, x: no room", 1_050),
        ("Failed", [did("A", "x", "Failed", externalExecutionSummary="s")], "A, x: s", 1_050),
        ("Failed", [did("A", "x", "Failed")], "A, x", 1_050),
        ("Failed", [did("A", "y", "Succeeded"), did("A", "x", "Failed", at=9)], "A, x", 59),
        ("Failed", [did("B", "x", "Failed"), did("A", "x", "Failed", at=9)], "B, x", 1_050),
        # What was tried again and succeeded is no reason.
        ("Failed", [did("A", "x", "Succeeded"), did("A", "x", "Failed"), did("A", "y", "Failed", at=9)], "A, y", 59),
        ("Failed", [did("A", "x", "Failed", "Approval") | {"updatedBy": "arn:aws:iam::1:user/bo"}], "Rejected in A by bo", 1_050),
        ("Failed", [did("A", "x", "Succeeded")], "", None),
        ("Succeeded", [did("A", "x", "Failed")], "", None),
    ],
)  # fmt: skip
def test_why_a_run_has_failed(state, details, why, decided):
    one = run(state=state)
    runs._explain(one, details)
    assert (one.why, one.decided) == (why, decided)


def test_what_a_run_says_itself_is_its_reason():
    one = run(state="Failed", why="Superseded")
    runs._explain(one, [did("A", "x", "Failed")])
    assert (one.why, one.decided) == ("Superseded", None)


@pytest.mark.parametrize(
    ("latest", "waits"),
    [
        ({"token": "t", "status": "InProgress"}, True),
        ({"token": "t", "status": "Succeeded"}, False),
        ({"status": "InProgress"}, False),
        ({}, False),
    ],
)
def test_what_waits_for_a_decision_has_a_token_and_is_in_progress(latest, waits):
    action = {"actionName": "y", "latestExecution": latest}
    states = {"actionStates": [{"actionName": "x"}, action]}
    assert runs.open_approval(states) == (action if waits else None)


def listing(*pages):
    """ListPipelineExecutions, and pages after the first by their number."""

    def answer(nextToken="0", **_):
        at = int(nextToken)
        more = {"nextToken": str(at + 1)} if at + 1 < len(pages) else {}
        return {"pipelineExecutionSummaries": pages[at], **more}

    return answer


NOTHING_DONE = {"actionExecutionDetails": []}


async def test_the_newest_runs_say_how_far_they_came():
    done = {
        "actionExecutionDetails": [did("B", "x", "Failed", errorDetails={"message": "no"}), did("A", "x", "Succeeded")]
    }
    look = Looking({"ListPipelineExecutions": listing([summary(2, "Failed"), summary(1)]), "ListActionExecutions": done})  # fmt: skip
    second, first = await runs.recent(look, "p", [stage("A"), stage("B"), stage("C")])
    assert (second.sentence, second.why, second.marks) == ("Run 2: failed, reached B", "B, x: no", ["Succeeded", "Failed", ""])  # fmt: skip
    assert first.sentence == "Run 1: succeeded, reached B"
    assert look.inputs("ListPipelineExecutions") == [{"pipelineName": "p", "maxResults": 20}]
    assert look.inputs("ListActionExecutions") == [
        {"pipelineName": "p", "filter": {"pipelineExecutionId": one}, "maxResults": 100} for one in ("e2", "e1")
    ]
    look = Looking({"ListPipelineExecutions": listing([summary(1)]), "ListActionExecutions": NOTHING_DONE})
    assert [one.sentence for one in await runs.recent(look, "p", [stage("A")])] == ["Run 1: succeeded"]


async def test_of_a_parallel_pipeline_every_run_that_has_not_ended_is_found():
    """Behind the newest twenty only those that go on, in five pages of a hundred."""

    def page(at):
        numbers = range(600 - 100 * at, 500 - 100 * at, -1)
        return [summary(number, "InProgress" if number in (577, 410, 101, 100) else "Succeeded") for number in numbers]

    look = Looking(
        {"ListPipelineExecutions": listing(*map(page, range(6))), "ListActionExecutions": NOTHING_DONE},
    )
    found = await runs.recent(look, "p", [], parallel=True)
    assert [one.number for one in found] == [*range(600, 580, -1), 577, 410, 101]
    asked = look.inputs("ListPipelineExecutions")
    assert [one.get("nextToken") for one in asked] == [None, "1", "2", "3", "4"]
    assert {one["maxResults"] for one in asked} == {100}
    look = Looking({"ListPipelineExecutions": listing([summary(1)]), "ListActionExecutions": NOTHING_DONE})
    assert len(await runs.recent(look, "p", [], parallel=True)) == len(look.inputs("ListPipelineExecutions")) == 1


async def test_the_newest_run_alone():
    look = Looking({"ListPipelineExecutions": listing([summary(2), summary(1)])})
    found = await runs.newest(look, "p")
    assert found is not None
    assert found.number == 2
    assert look.inputs("ListPipelineExecutions") == [{"pipelineName": "p", "maxResults": 1}]
    assert await runs.newest(Looking({"ListPipelineExecutions": listing([])}), "p") is None


async def test_what_the_actions_of_a_run_did_is_asked_once_when_it_has_ended():
    for state, asked in (("Succeeded", 1), ("InProgress", 2), ("Waiting", 2), ("Stopping", 2)):
        look = Looking({"ListActionExecutions": {"actionExecutionDetails": [did("A", "x", "Succeeded")]}})
        for _ in range(2):
            assert len(await runs.actions_of(look, "p", run(state=state))) == 1
        assert len(look.asked) == asked
    # A run that is retried is another.
    await runs.actions_of(look, "p", run(state="Failed"))
    await runs.actions_of(look, "p", run(state="Failed", updated=9_000))
    assert len(look.asked) == 4


async def test_an_older_run_takes_its_times_from_its_actions():
    details = [did("B", "x", "Succeeded", at=5_000), did("A", "x", "Succeeded", at=2_000)]
    answers = {
        "GetPipelineExecution": {"pipelineExecution": {"pipelineExecutionId": "e3", "executionNumber": 3, "status": "Succeeded"}},
        "ListActionExecutions": {"actionExecutionDetails": details},
    }  # fmt: skip
    look = Looking(answers)
    for _ in range(2):
        found = await runs.run_of(look, "p", "e3")
        assert found is not None
        assert (found.number, found.started, found.updated) == (3, 2_000, 5_050)
    assert look.inputs("GetPipelineExecution") == [{"pipelineName": "p", "pipelineExecutionId": "e3"}]
    found = await runs.run_of(Looking({**answers, "ListActionExecutions": NOTHING_DONE}), "p", "e3")
    assert found is not None
    assert (found.started, found.updated) == (0.0, 0.0)
    assert await runs.run_of(Looking({}), "p", "e3") is None


def actions(*pages):
    def answer(nextToken="0", **_):
        at = int(nextToken)
        more = {"nextToken": str(at + 1)} if at + 1 < len(pages) else {}
        details = [did("A", "x", "Succeeded", externalExecutionId=one) for one in pages[at]]
        return {"actionExecutionDetails": details, **more}

    return answer


BEHIND = {"pipelineExecution": {"executionNumber": 7}}
GONE = error_class("PipelineNotFoundException", 400)("gone")


@pytest.mark.parametrize(
    ("pages", "execution", "number", "looks"),
    [
        ((["b"],), BEHIND, 7, 1),
        ((["a"], ["a", "b"], ["c"]), BEHIND, 7, 2),
        ((["a"], ["c"]), BEHIND, None, 2),
        ((["b"],), {}, None, 1),
        ((["b"],), {"pipelineExecution": {}}, None, 1),
        ((*(["a"] for _ in range(4)), ["b"]), BEHIND, 7, 5),
        ((*(["a"] for _ in range(5)), ["b"]), BEHIND, None, 5),
    ],
)
async def test_the_run_behind_a_build(pages, execution, number, looks):
    look = Looking({"ListActionExecutions": actions(*pages), "GetPipelineExecution": execution})
    for _ in range(2):  # a live page asks once
        found = await runs.run_behind(look, "p", "b")
        assert found == ({"pipeline": "p", "number": number} if number else None)
    asked = look.inputs("ListActionExecutions")
    assert [one.get("nextToken") for one in asked] == [None, *map(str, range(1, looks))]
    assert {(one["pipelineName"], one["maxResults"]) for one in asked} == {("p", 100)}
    for one in look.inputs("GetPipelineExecution"):
        assert one == {"pipelineName": "p", "pipelineExecutionId": "e7"}


async def test_a_run_that_may_not_be_seen_is_behind_nothing():
    assert await runs.run_behind(Looking({}), "p", "b") is None
    assert await runs.run_behind(Looking({"ListActionExecutions": GONE}), "p", "b") is None
    assert await runs.run_behind(Looking({"ListActionExecutions": actions(["b"])}), "p", "b") is None
    look = Looking({})
    assert await runs.run_behind(look, "", "b") is None
    assert look.asked == []
