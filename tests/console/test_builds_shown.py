"""A build's page and its log, from what operations answer: phases, folds, the line it opens at, what streams say and when they end."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from penstock_looking import NOW, Looking, location, opens

from penstock.console.pages import build, logs
from penstock.console.pages.logs import Line, Place
from penstock.wire.errors import AccessDenied, NotImplementedOperation, ServiceError, error_class

PAGE, RAW = build.PAGES
NO_STREAM = error_class("ResourceNotFoundException", 400)("no stream")
TOO_FAST = error_class("ThrottlingException", 400)("too fast")


def phase(name, status=None, took=None, **more):
    ended = {} if took is None else {"endTime": 1_000 + took}
    return {"phaseType": name, "startTime": 1_000, **({"phaseStatus": status} if status else {}), **ended, **more}


def row(name, state="", **more):
    return {"name": name, "state": state, "going": False, "since": None, "took": None, "code": "", "message": ""} | more


def test_the_phases_of_a_build_that_runs():
    phases = [phase("SUBMITTED", "SUCCEEDED", 0), phase("INSTALL")]
    rows = build._phases({"phases": phases, "currentPhase": "INSTALL"}, 4_000)
    assert [one["name"] for one in rows] == [
        "SUBMITTED", "QUEUED", "PROVISIONING", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "UPLOAD_ARTIFACTS", "FINALIZING",
    ]  # fmt: skip
    assert rows[0] == row("SUBMITTED", "SUCCEEDED", took=0)
    assert rows[1] == row("QUEUED")
    assert rows[4] == row("INSTALL", "InProgress", going=True, since=3_000)


@pytest.mark.parametrize(
    ("status", "complete", "current", "shown"),
    [
        ("IN_PROGRESS", False, "BUILD", row("BUILD", "InProgress", going=True, since=3_000)),
        ("SUCCEEDED", False, "BUILD", row("BUILD", "SUCCEEDED")),
        ("IN_PROGRESS", False, "INSTALL", row("BUILD", "IN_PROGRESS")),
        ("IN_PROGRESS", True, "BUILD", row("BUILD", "IN_PROGRESS")),
    ],
)
def test_only_the_phase_that_a_running_build_is_in_goes_on(status, complete, current, shown):
    given = {"phases": [phase("BUILD", status)], "currentPhase": current, "buildComplete": complete}
    assert build._phases(given, 4_000)[6] == shown


def test_a_phase_that_an_ended_build_did_not_reach_was_skipped_and_one_that_failed_says_why():
    contexts = [{"message": ""}, {"statusCode": "C", "message": "said"}, {"statusCode": "D", "message": "later"}]
    given = {"phases": [phase("BUILD", "FAILED", 2_500, contexts=contexts)], "buildComplete": True}
    rows = build._phases(given, 4_000)
    assert rows[5] == row("PRE_BUILD", "Skipped")
    assert rows[6] == row("BUILD", "FAILED", took=2_500, code="C", message="said")
    assert build._failure(rows) == rows[6]
    assert build._failure(rows[:6]) is None


@pytest.mark.parametrize(
    ("initiator", "pipeline"), [("codepipeline/shop", "shop"), ("ann", ""), ("x/codepipeline/shop", "")]
)
def test_which_pipeline_started_a_build(initiator, pipeline):
    assert build._pipeline(initiator) == pipeline


def lines(*phases):
    return [Line(number, name, f"line {number}") for number, name in enumerate(phases, 1)]


def model(**states):
    phases = [row(name, states.get(name, "SUCCEEDED")) for name in build.PHASES]
    return {"phases": phases, "failure": build._failure(phases)}


@pytest.mark.parametrize(
    ("states", "given", "folds"),
    [
        ({}, ["INSTALL", "BUILD", "INSTALL"], [("INSTALL", [1, 3], True), ("BUILD", [2], True)]),
        ({"BUILD": "FAILED"}, ["INSTALL", "BUILD", "ODD"], [("INSTALL", [1], False), ("BUILD", [2], True), ("ODD", [3], False)]),
        ({"BUILD": "FAULT"}, ["INSTALL"], [("INSTALL", [1], True)]),  # what failed has said nothing
        ({}, ["INSTALL"] * 299 + ["BUILD"], [("INSTALL", [*range(1, 300)], True), ("BUILD", [300], True)]),
        ({}, ["INSTALL"] * 300 + ["BUILD"], [("INSTALL", [*range(1, 301)], False), ("BUILD", [301], True)]),
        ({}, [], []),
    ],
)  # fmt: skip
def test_which_folds_of_a_log_stand_open(states, given, folds):
    found = build._folds(model(**states), lines(*given))
    assert [(one["phase"]["name"], [line.number for line in one["lines"]], one["open"]) for one in found] == folds


@pytest.mark.parametrize(
    ("texts", "at"),
    [
        (["a", "b", "[Container] x y ended", " "], 11),
        (["[Container] x y began", "[Container] x y ended"], 11),
        ([], 0),
    ],
)
def test_a_failed_build_is_opened_at_the_last_line_that_its_failed_phase_printed(texts, at):
    others = [Line(1, "INSTALL", "installed"), Line(99, "POST_BUILD", "late")]
    ours = [Line(number, "BUILD", text) for number, text in enumerate(texts, 10)]
    assert build._failed_line(model(BUILD="FAILED"), [others[0], *ours, others[1]]) == at
    assert build._failed_line(model(), ours) == 0


# --- its page -----------------------------------------------------------------------------------------------------------


def answers(status="SUCCEEDED", *, group="g", events=("one", "two"), **more):
    told = {
        "id": "shop:7", "projectName": "shop", "buildNumber": 7, "buildStatus": status, "buildComplete": status != "IN_PROGRESS",
        "startTime": NOW - 9_000, "initiator": "ann", "phases": [], "logs": {"groupName": group, "streamName": "s"}, **more,
    }  # fmt: skip

    def read(nextToken="0", limit=0, **_):
        at = int(nextToken)
        return {"events": [{"message": one} for one in events[at : at + limit]], "nextForwardToken": str(len(events))}

    return {"BatchGetBuilds": {"builds": [told]}, "GetLogEvents": read}


def looking(given, may=(), **more):
    return Looking(given, may=may, path={"id": "shop:7"}, **more)


@pytest.mark.parametrize(
    ("status", "may", "stops"),
    [
        ("IN_PROGRESS", ("StopBuild",), ["stop-it"]),
        ("IN_PROGRESS", (), []),
        ("SUCCEEDED", ("StopBuild",), []),
    ],
)
async def test_who_may_stop_a_build_that_runs_is_offered_to(status, may, stops):
    text = await looking(answers(status), may).shown(PAGE)
    assert opens(text) == stops
    assert ("Stop the build" in text) == bool(stops)
    assert ('data-live="/console/builds/shop:7/live?logged=DOWNLOAD_SOURCE" data-after="3.DOWNLOAD_SOURCE.2"' in text) == (status == "IN_PROGRESS")  # fmt: skip
    assert ("Follow" in text) == (status == "IN_PROGRESS")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (answers(), "penstock logs shop:7"),
        (answers(events=()), "Nothing was logged."),
        (answers("IN_PROGRESS", events=()), "Nothing is logged yet."),
        (answers(group=""), "This build keeps no log."),
        (answers(group=""), "aws codebuild batch-get-builds --ids shop:7"),
        (answers() | {"GetLogEvents": AccessDenied("You may not.")}, "You may not."),
        (answers() | {"GetLogEvents": NotImplementedOperation("none")}, "This server keeps no logs."),
        (answers() | {"GetLogEvents": NO_STREAM}, "Nothing was logged."),
        (answers(initiator="codepipeline/p"), 'the pipeline <a href="/console/pipelines/p">p</a>'),
        (answers("FAILED", phases=[phase("DOWNLOAD_SOURCE", "FAILED", 5)]), '<a href="#L2" data-failed-line>Open the log at line 2</a>'),
    ],
)  # fmt: skip
async def test_what_a_builds_page_says_of_its_log(given, said):
    assert said in await looking(given).shown(PAGE)


async def test_a_build_that_succeeded_has_failed_nowhere_whatever_its_phases_say():
    given = answers("SUCCEEDED", phases=[phase("DOWNLOAD_SOURCE", "FAILED", 5)])
    assert "DOWNLOAD_SOURCE failed" not in await looking(given).shown(PAGE)


async def test_a_page_leads_to_the_run_that_started_the_build():
    run = {
        "ListActionExecutions": {"actionExecutionDetails": [{"pipelineExecutionId": "e", "output": {"executionResult": {"externalExecutionId": "shop:7"}}}]},
        "GetPipelineExecution": {"pipelineExecution": {"executionNumber": 4}},
    }  # fmt: skip
    text = await looking(answers(initiator="codepipeline/p") | run).shown(PAGE)
    assert '<a href="/console/pipelines/p#run-4">run 4 of p</a>' in text


@pytest.mark.parametrize(
    ("count", "gap"), [(5, None), (6, "1 line is left out here"), (7, "2 lines are left out here"), (1_007, "1,002")]
)
async def test_of_a_long_log_a_page_shows_both_ends(monkeypatch, count, gap):
    monkeypatch.setattr(logs, "_HEAD", 3)
    monkeypatch.setattr(logs, "_TAIL", 2)
    look = looking(answers(events=[f"line {number}" for number in range(count)]))
    found = await logs.excerpt(look, "g", "s")
    assert [one.number for one in found.lines] == [1, 2, 3, count - 1, count]
    assert found.left_out == count - 5
    asked = look.inputs("GetLogEvents")
    assert asked[0] == {"logGroupName": "g", "logStreamName": "s", "startFromHead": True, "limit": 10_000}
    assert asked[1] == asked[0] | {"nextToken": str(count)}
    assert str(found.place) == f"{count + 1}.DOWNLOAD_SOURCE.{count}"
    fold = {"phase": row("BUILD"), "lines": found.lines, "open": True}
    html = look.fragment("_fold.html", fold=fold, left_out=found.left_out, left_out_after=3)
    assert re.findall(r'class="log__gap">([^;]*)', html) == ([] if gap is None else [gap if " " in gap else f"{gap} lines are left out here"])  # fmt: skip
    if gap:
        assert html.index('id="L3"') < html.index("log__gap") < html.index(f'id="L{count - 1}"')


async def test_the_gap_of_a_long_log_stands_behind_its_first_part():
    look = looking(answers(events=["x"] * 5_001))
    values = await build.load(look)
    assert (values["left_out"], values["left_out_after"]) == (1, 500)
    values = await build.load(looking(answers(events=["x"] * 5_000)))
    assert (values["left_out"], values["left_out_after"]) == (0, 0)


async def test_a_first_page_reads_so_many_pages_of_a_log_at_most(monkeypatch):
    monkeypatch.setattr(logs, "_PAGES", 3)
    endless = iter(range(1, 100))
    look = looking({"GetLogEvents": lambda **_: {"events": [{"message": "x"}], "nextForwardToken": str(next(endless))}})
    assert len((await logs.excerpt(look, "g", "s")).lines) == 3


async def test_nobody_has_such_a_build():
    with pytest.raises(ServiceError, match=r"There is no build shop:7\.") as found:
        await looking({"BatchGetBuilds": {"builds": []}}).shown(PAGE)
    assert found.value.status == 404


async def test_stopping_leads_back_to_the_build():
    look = looking(answers() | {"StopBuild": {}})
    answer = await PAGE.forms["stop"](look)
    assert location(answer) == "/console/builds/shop:7?said=build-stopping"
    assert look.inputs("StopBuild") == [{"id": "shop:7"}]


# --- its stream ---------------------------------------------------------------------------------------------------------


async def test_a_stream_adds_what_is_new_and_ends_after_a_second_quiet_look():
    events = ["a", "[Container] 1 2 Entering phase BUILD", "b"]
    given = answers("IN_PROGRESS", events=events)
    look = looking(given, ("GetLogEvents",), query="after=2.DOWNLOAD_SOURCE.1&logged=DOWNLOAD_SOURCE,NONE")
    take, concerns = await build.live(look)
    assert concerns(SimpleNamespace(aggregate="build/shop:7"))
    assert not concerns(SimpleNamespace(aggregate="build/shop:70"))
    first = await take()
    # The fold of the phase that the page has already is not made again.
    assert [name for name, _ in first.adds] == ["log", "lines-BUILD"]
    assert 'id="BUILD" open' in first.adds[0][1]
    assert [*re.findall(r'id="(L\d+)"', first.adds[1][1])] == ["L2", "L3"]
    assert (first.cursor, first.every, first.more, first.over) == ("4.BUILD.3", 0.4, True, False)
    assert look.inputs("GetLogEvents")[-1]["limit"] == 1_000
    assert set(re.findall(r'href="#([A-Z_]+)" data-step', first.blocks["phases"])) == {"DOWNLOAD_SOURCE", "BUILD"}
    again = await take()
    assert (again.adds, again.cursor, again.more, again.over) == ([], "4.BUILD.3", False, False)
    given["BatchGetBuilds"]["builds"][0]["buildComplete"] = True
    ends = [await take() for _ in range(2)]
    assert [(one.every, one.over) for one in ends] == [(5, False), (5, True)]


async def test_what_is_shipped_after_the_end_is_waited_for_again():
    events = ["a"]
    look = looking(answers(events=events), ("GetLogEvents",))
    take, _ = await build.live(look)
    assert [name for name, _ in (await take()).adds] == ["log", "lines-DOWNLOAD_SOURCE"]
    assert not (await take()).over
    events.append("late")
    take_late = await take()
    assert [name for name, _ in take_late.adds] == ["lines-DOWNLOAD_SOURCE"]
    assert [(await take()).over for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("group", "may"), [("g", ()), ("", ("GetLogEvents",))]
)  # fmt: skip
async def test_a_stream_of_who_may_not_read_the_log_has_the_rest(group, may):
    look = looking(answers("IN_PROGRESS", group=group), may)
    take, _ = await build.live(look)
    snapshot = await take()
    assert (snapshot.adds, snapshot.more) == ([], False)
    assert {"build-state", "build-acts", "lede", "phases", "facts", "failure"} <= set(snapshot.blocks)
    assert look.inputs("GetLogEvents") == []


async def test_heads_of_folds_are_of_phases_that_have_begun():
    look = looking(answers(phases=[phase("BUILD", "SUCCEEDED", 5)]))
    take, _ = await build.live(look)
    assert [name for name in (await take()).blocks if name.startswith("fold-")] == ["fold-BUILD"]


# --- its log ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cursor", "place"),
    [
        ("7.BUILD.f/12", Place(7, "BUILD", "f/12")),
        ("7.BUILD.", Place(7, "BUILD", "")),
        ("999999999.BUILD.x", Place(999_999_999, "BUILD", "x")),
        ("1000000000.BUILD.x", Place()),
        (f"7.BUILD.{'x' * 500}", Place(7, "BUILD", "x" * 500)),
        (f"7.BUILD.{'x' * 501}", Place()),
        (f"7.{'B' * 33}.x", Place()),
        ("7.build.x", Place()),
        ("7.BUILD.a b", Place()),
        ("", Place()),
    ],
)
def test_where_a_reader_is_comes_back_as_it_was_written(cursor, place):
    assert Place.from_cursor(cursor) == place
    if place != Place():
        assert str(place) == cursor


def test_a_reader_begins_at_line_1():
    assert Place() == Place(1, "DOWNLOAD_SOURCE", "")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain <b>", "plain &lt;b&gt;"),
        ("", " "),
        ("[Container] 2026/11/30 18:00:00 Running command make <all>", '<span class="a-bold">$ make &lt;all&gt;</span>'),
        ("[Container] 2026/11/30 18:00:00 Entering phase BUILD ", '<span class="a-dim">Entering phase BUILD</span>'),
    ],
)  # fmt: skip
def test_a_line_has_an_address_and_what_the_service_says_is_told_apart(text, html):
    assert Line(12, "BUILD", text).html == f'<div class="line" id="L12"><a class="ln" href="#L12">12</a>{html}</div>\n'


async def test_lines_are_numbered_and_belong_to_the_phase_that_was_announced():
    events = ["a\nb\n", "[Container] 1 2 Entering phase INSTALL\n", "Entering phase BUILD", "\n", "c"]
    look = looking(answers(events=events))
    found, place, more = await logs.further(look, "g", "s", Place(5, "QUEUED", "0"))
    assert [(line.number, line.phase, line.text) for line in found] == [
        (5, "QUEUED", "a"),
        (6, "QUEUED", "b"),
        (7, "INSTALL", "[Container] 1 2 Entering phase INSTALL"),
        (8, "INSTALL", "Entering phase BUILD"),
        (9, "INSTALL", ""),
        (10, "INSTALL", "c"),
    ]
    assert (place, more) == (Place(11, "INSTALL", "5"), True)


@pytest.mark.parametrize(
    ("answer", "token", "more"),
    [
        ({"events": [{"message": "a"}], "nextForwardToken": "2"}, "2", True),
        ({"events": [{"message": "a"}], "nextForwardToken": "1"}, "1", False),
        ({"events": [{"message": "a"}]}, "1", False),
        ({"events": [], "nextForwardToken": "2"}, "2", False),
    ],
)
async def test_when_there_is_more_of_a_log_already(answer, token, more):
    _, place, found = await logs.further(looking({"GetLogEvents": answer}), "g", "s", Place(1, "BUILD", "1"))
    assert (place.token, found) == (token, more)


async def test_a_log_that_was_not_begun_is_empty_and_other_refusals_are_said():
    place = Place(3, "BUILD", "t")
    assert await logs.further(looking({"GetLogEvents": NO_STREAM}), "g", "s", place) == ([], place, False)
    with pytest.raises(ServiceError, match="too fast"):
        await logs.further(looking({"GetLogEvents": TOO_FAST}), "g", "s", place)


async def test_the_raw_log_is_all_of_it_without_what_acts():
    look = looking(answers(events=["a\x1b[31mred\x1b[0m", "b"]))
    answer = await RAW.load(look)
    assert answer.media_type == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b"".join([piece async for piece in answer.body_iterator]) == b"ared\nb\n"
    first = {"logGroupName": "g", "logStreamName": "s"}
    assert look.inputs("GetLogEvents")[0] == {**first, "limit": 1}


async def test_a_build_without_a_log_and_a_reader_who_may_not_are_told_so():
    with pytest.raises(ServiceError, match="This build keeps no log"):
        await RAW.load(looking(answers(group="")))
    with pytest.raises(AccessDenied, match="may not"):
        await RAW.load(looking(answers() | {"GetLogEvents": AccessDenied("You may not.")}))
