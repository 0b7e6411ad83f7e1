"""The pages over HTTP: who sees what, what forms do, and what hostile input becomes."""

from __future__ import annotations

import re
import urllib.parse

import httpx
import pytest
from penstock_console import Visitor, allow, gate, pipeline, source, stage_of, user, waits, zipped
from penstock_waiting import until

# --- signing in -------------------------------------------------------------------------------------------------------


def test_a_stranger_is_sent_to_sign_in_and_back(live, world):
    visitor = Visitor(live)
    answer = visitor.get("pipelines/shop-web")
    assert urllib.parse.urlsplit(answer.url).path == "/console/login"
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(answer.url).query) == {"next": ["/console/pipelines/shop-web"]}
    back = visitor.post(
        "login?next=/console/pipelines/shop-web",
        {"account": "111111111111", "user": "jonas.lind", "password": "correct horse"},
        token=False,
    )
    assert back.url == f"{live.url}/console/pipelines/shop-web"
    assert back.status == 200


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://bad.example/",
        "//bad.example/",
        "/\\bad.example",
        "/console//bad.example",
        "javascript:alert(1)",
        "/console/\r\nx: y",
        "/other",
    ],
)
def test_signing_in_leads_nowhere_else(live, world, elsewhere):
    visitor = Visitor(live)
    where = f"login?next={urllib.parse.quote(elsewhere, safe='')}"
    answer = visitor.post(where, {"user": "jonas.lind", "password": "correct horse"}, token=False)
    assert answer.url == f"{live.url}/console/pipelines"
    assert "x" not in answer.headers


def test_what_was_wrong_is_said_beside_the_field(live, world):
    user(live, "careless", allow("*"))
    visitor = Visitor(live)
    wrong = visitor.post("login", {"user": "careless", "password": "wrong"}, token=False)
    assert wrong.status == 403
    assert "do not belong together. 4 tries are left before a pause of 5 min." in wrong.visible_text
    assert 'aria-invalid="true" aria-describedby="pw-e"' in wrong.text
    assert 'value="careless"' in wrong.text
    assert "wrong" not in re.sub(r"<[^>]*class=[^>]*>", "", wrong.text)  # a password is never sent back
    unknown = visitor.post("login", {"user": "no-one", "password": "wrong"}, token=False)
    assert "do not belong together." in unknown.visible_text
    assert "Type your user name." in visitor.post("login", {"user": "", "password": "x"}, token=False).visible_text
    assert (
        "Type your password." in visitor.post("login", {"user": "careless", "password": ""}, token=False).visible_text
    )
    for _ in range(4):
        paused = visitor.post("login", {"user": "careless", "password": "wrong"}, token=False)
    assert "last try before a pause of 5 min" in paused.visible_text
    assert (
        "Too many tries"
        in visitor.post("login", {"user": "careless", "password": "correct horse"}, token=False).visible_text
    )


def test_a_form_from_another_site_signs_nobody_in(live, world):
    fields = {"user": "jonas.lind", "password": "correct horse"}
    answer = Visitor(live).post("login", fields, token=False, Origin="https://bad.example")
    assert answer.status == 403


def test_the_cookie_is_sealed_and_dies_with_the_password(live, world):
    user(live, "leaver", allow("*"))
    visitor = Visitor(live, "leaver")
    (cookie,) = visitor.jar
    assert cookie.name == "penstock-session"
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"
    assert cookie.path == "/console/"
    assert visitor.get("pipelines").url.endswith("/console/pipelines")
    good = cookie.value
    for forged in (good[:-3] + "abc", good[:40], "x", "=" * 5000, "é"):
        cookie.value = forged
        assert "/console/login" in visitor.get("pipelines").url
    cookie.value = good
    live.client("iam").update_login_profile(UserName="leaver", Password="another horse")
    assert "/console/login" in visitor.get("pipelines").url


def test_signing_out(live, world):
    visitor, elsewhere = Visitor(live, "jonas.lind"), Visitor(live, "jonas.lind")
    (copy,) = [cookie for cookie in visitor.jar if cookie.name == "penstock-session"]
    value = copy.value
    assert visitor.post("logout", {}, token=False).url.endswith("/console/pipelines")  # not by a foreign form
    out = visitor.post("logout", {})
    assert "You are signed out." in out.visible_text
    assert "/console/login" in visitor.get("pipelines").url
    thief = Visitor(live)
    copy.value = value
    thief.jar.set_cookie(copy)
    assert "/console/login" in thief.get("pipelines").url
    assert elsewhere.get("pipelines").url.endswith("/console/pipelines")  # another browser stays signed in


def test_an_unknown_name_is_answered_like_a_known_one(live, world):
    user(live, "resident", allow("*"))
    known, unknown = (
        Visitor(live).post("login", {"user": name, "password": "wrong"}, token=False) for name in ("resident", "ghosts")
    )
    assert known.status == unknown.status == 403
    assert known.text.replace("resident", "X") == unknown.text.replace("ghosts", "X")


# --- what is shown to whom --------------------------------------------------------------------------------------------


def test_every_answer_has_a_strict_policy(jonas):
    for path in ("pipelines", "pipelines/shop-web", "builds", "deployments", "nowhere", "pipelines/none"):
        answer = jonas.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"\sstyle=|\son[a-z]+=|<script(?![^>]*(src=|application/json))", answer.text)


def test_a_pipeline_is_reported_first_in_a_sentence(jonas):
    page = jonas.get("pipelines/shop-web")
    assert page.status == 200
    assert "Run 1 waits for a decision in Approve." in page.visible_text
    assert "Run 1 holds it" in page.visible_text
    assert 'href="/console/pipelines/shop-web/approvals/Approve/Release"' in page.text
    assert "aws codepipeline get-pipeline-state --name shop-web" in page.visible_text
    assert "Behind this page: GetPipelineState" in page.visible_text
    assert "1 waits for a decision." in jonas.get("pipelines").visible_text


def test_the_first_page_is_the_list(live, jonas):
    assert jonas.get("").url == f"{live.url}/console/pipelines"


def test_what_may_not_be_done_is_not_offered_and_refused(live, world):
    reader = Visitor(live, "reader")
    page = reader.get("pipelines/shop-web")
    assert page.status == 200
    for act in ("Release change", "Stop…", "gate__switch", "Retry…"):
        assert act not in page.text
    decision = reader.get("pipelines/shop-web/approvals/Approve/Release")
    assert "You have no permission to decide this." in decision.visible_text
    assert "Approve</button>" not in decision.text
    refused = reader.post("pipelines/shop-web/start", {})
    assert refused.status == 403
    assert "codepipeline:StartPipelineExecution" in refused.visible_text
    assert reader.get("builds").status == 403
    assert 'href="/console/builds"' not in page.text  # a list that may not be seen is not offered
    assert 'href="/console/pipelines"' in page.text


def test_who_may_nothing_reads_why(live, world):
    nobody = Visitor(live, "nobody")
    page = nobody.get("pipelines")
    assert page.status == 403
    assert "You have no access" in page.visible_text
    assert "is not authorized to perform: codepipeline:ListPipelines" in page.visible_text
    assert "Ask an administrator of account 111111111111 for codepipeline:ListPipelines." in page.visible_text
    assert "shop-web" not in page.text
    message = re.search(r'data-copy="penstock why ([\w-]+)"', page.text)[1]
    told = live.client("sts").decode_authorization_message(EncodedMessage=message)["DecodedMessage"]
    assert '"action":"codepipeline:ListPipelines"' in told
    with nobody.stream("pipelines/live") as stream:
        event, data = stream.next()
        assert event == "gone"
        assert "not authorized" in data["message"]


def test_nothing_is_here(jonas):
    assert jonas.get("nowhere").status == 404
    gone = jonas.get("pipelines/no-such")
    assert gone.status == 404
    assert "Not found" in gone.visible_text
    assert jonas.get("static/../site.py").status == 404
    assert jonas.get("static/..%2Fsite.py").status == 404


# --- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "0" * 32, "é"])
def test_a_form_without_our_token_does_nothing(live, jonas, token):
    before = len(
        live.client("codepipeline").list_pipeline_executions(pipelineName="shop-web")["pipelineExecutionSummaries"]
    )
    answer = jonas.post("pipelines/shop-web/start", {"token": token}, token=False)
    assert answer.status == 403
    assert "too old" in answer.visible_text
    foreign = jonas.post("pipelines/shop-web/start", {}, Origin="https://bad.example")
    assert foreign.status == 403
    after = live.client("codepipeline").list_pipeline_executions(pipelineName="shop-web")["pipelineExecutionSummaries"]
    assert len(after) == before


def test_transitions_close_with_a_reason_and_open(live, jonas):
    closed = jonas.post("pipelines/shop-web/stages/Watch/close", {"reason": "Freeze until Monday"})
    assert "The transition is closed." in closed.visible_text
    assert "Closed by jonas.lind" in closed.visible_text
    assert "“Freeze until Monday”" in closed.visible_text
    state = stage_of(live, "shop-web", "Watch")["inboundTransitionState"]
    assert (state["enabled"], state["disabledReason"]) == (False, "Freeze until Monday")
    assert jonas.post("pipelines/shop-web/stages/Watch/close", {"reason": "a:b"}).status == 400
    jonas.post("pipelines/shop-web/stages/Watch/open", {})
    assert stage_of(live, "shop-web", "Watch")["inboundTransitionState"]["enabled"]


def test_a_run_from_release_to_the_end(live, world, jonas):
    live.client("s3").put_object(Bucket="releases", Key="round.zip", Body=zipped(index__html="one"))
    pipeline(live, "round", world, source("round.zip"), gate("Ask", "Release"))
    until(lambda: waits(live, "round", "Ask"))
    page = jonas.get("pipelines/round/approvals/Ask/Release")
    assert "Your decision" in page.visible_text
    assert "Let run 1 pass Ask?" in page.visible_text
    approval = re.search(r'name="approval" value="([^"]+)"', page.text)[1]
    rejected = jonas.post(
        "pipelines/round/approvals/Ask/Release",
        {"approval": approval, "decision": "Rejected", "summary": "<b>Not yet</b>"},
    )
    assert "Rejected. The run has failed here." in rejected.visible_text
    assert "&lt;b&gt;Not yet&lt;/b&gt;" in rejected.text
    assert "Run 1 failed in Ask." in rejected.visible_text
    assert "Rejected in Ask by jonas.lind: “<b>Not yet</b>”" in rejected.visible_text
    again = jonas.post(
        "pipelines/round/approvals/Ask/Release", {"approval": approval, "decision": "Approved", "summary": ""}
    )
    assert again.status == 400
    assert "already been approved or rejected" in again.visible_text
    run = re.search(r'name="execution" value="([^"]+)"', rejected.text)[1]
    assert (
        "The stage is being retried."
        in jonas.post("pipelines/round/stages/Ask/retry", {"execution": run, "how": "failed"}).visible_text
    )
    token = until(lambda: waits(live, "round", "Ask"))
    jonas.post("pipelines/round/approvals/Ask/Release", {"approval": token, "decision": "Approved", "summary": ""})
    until(lambda: stage_of(live, "round", "Ask")["latestExecution"]["status"] == "Succeeded")
    assert "Released." in jonas.post("pipelines/round/start", {}).visible_text
    until(lambda: waits(live, "round", "Ask"))
    page = jonas.get("pipelines/round")
    assert "Run 2 waits for a decision in Ask." in page.visible_text
    second = re.search(r'action="/console/(pipelines/round/runs/[^/]+/stop)"', page.text)[1]
    stopped = jonas.post(second, {"how": "abandon", "reason": "Wrong branch"})
    assert "The run is stopping." in stopped.visible_text
    # It was abandoned: the approval is over at once, and the run does not wait for it.
    until(lambda: "Wrong branch" in jonas.get("pipelines/round").visible_text)

    def newest():
        listed = live.client("codepipeline").list_pipeline_executions(pipelineName="round")
        return listed["pipelineExecutionSummaries"][0]

    until(lambda: newest()["status"] == "Stopped", why=newest)
    second_run = newest()
    assert _statuses(live, "round", second_run["pipelineExecutionId"])["Release"] == "Abandoned"


def _statuses(live, name, execution):
    listed = live.client("codepipeline").list_action_executions(
        pipelineName=name, filter={"pipelineExecutionId": execution}
    )["actionExecutionDetails"]
    return {one["actionName"]: one["status"] for one in reversed(listed)}


def test_retrying_all_runs_what_had_succeeded_too(live, world, jonas):
    """Asked for all actions, the one that had passed runs again; asked for the failed ones, it keeps its result."""
    live.client("s3").put_object(Bucket="releases", Key="again.zip", Body=zipped(index__html="one"))
    both = gate("Ask", "First")
    both["actions"].append(gate("Ask", "Second")["actions"][0])
    pipeline(live, "again", world, source("again.zip"), both)

    def tokens():
        actions = stage_of(live, "again", "Ask")["actionStates"]
        return {one["actionName"]: one.get("latestExecution", {}).get("token", "") for one in actions}

    def answer(action, decision):
        until(lambda: tokens()[action])
        jonas.post(
            f"pipelines/again/approvals/Ask/{action}",
            {"approval": tokens()[action], "decision": decision, "summary": "seen"},
        )

    def attempts(action):
        listed = live.client("codepipeline").list_action_executions(pipelineName="again")["actionExecutionDetails"]
        return sum(one["actionName"] == action for one in listed)

    for how, expected in (("failed", 1), ("all", 2)):
        answer("First", "Approved") if how == "failed" else None
        answer("Second", "Rejected")
        until(lambda: stage_of(live, "again", "Ask")["latestExecution"]["status"] == "Failed")
        run = stage_of(live, "again", "Ask")["latestExecution"]["pipelineExecutionId"]
        jonas.post("pipelines/again/stages/Ask/retry", {"execution": run, "how": how})
        until(lambda: tokens()["Second"])
        assert attempts("First") == expected


def test_a_rejection_needs_a_comment_and_stays_readable(live, world, jonas):
    live.client("s3").put_object(Bucket="releases", Key="kept.zip", Body=zipped(index__html="one"))
    pipeline(live, "kept", world, source("kept.zip"), gate("Ask", "Release"))
    token = until(lambda: waits(live, "kept", "Ask"))
    where = "pipelines/kept/approvals/Ask/Release"
    refused = jonas.post(where, {"approval": token, "decision": "Rejected", "summary": "  "})
    assert refused.status == 400
    assert "Write a comment before you reject." in refused.visible_text
    assert stage_of(live, "kept", "Ask")["latestExecution"]["status"] == "InProgress"
    jonas.post(where, {"approval": token, "decision": "Rejected", "summary": "Prices are wrong"})
    until(lambda: stage_of(live, "kept", "Ask")["latestExecution"]["status"] == "Failed")
    live.client("codepipeline").start_pipeline_execution(name="kept")
    until(lambda: waits(live, "kept", "Ask"))
    # A later run is in the stage now: who rejected the first, and why, is still shown, here and in the API.
    assert "Rejected in Ask by jonas.lind: “Prices are wrong”" in jonas.get("pipelines/kept").visible_text
    listed = live.client("codepipeline").list_action_executions(pipelineName="kept")["actionExecutionDetails"]
    (rejected,) = [one for one in listed if one["status"] == "Failed"]
    assert rejected["updatedBy"].endswith(":user/jonas.lind")
    assert rejected["output"]["executionResult"]["externalExecutionSummary"] == "Prices are wrong"


def test_a_link_that_acts_is_not_a_link(live, world, jonas):
    live.client("s3").put_object(Bucket="releases", Key="link.zip", Body=zipped(index__html="one"))
    pipeline(
        live, "link", world, source("link.zip"),
        gate("Ask", "Release", ExternalEntityLink="javascript:alert(1)", CustomData="Two\nlines\n"),
    )  # fmt: skip
    until(lambda: waits(live, "link", "Ask"))
    page = jonas.get("pipelines/link/approvals/Ask/Release")
    assert page.status == 200
    assert "javascript:" not in page.text
    assert ">Two lines</h1>" in page.text


def test_a_form_that_is_too_large_is_no_form(jonas):
    answer = jonas.post("pipelines/shop-web/stages/Watch/close", {"reason": "x" * 70_000})
    assert answer.status == 403


# --- live -------------------------------------------------------------------------------------------------------------


def test_a_pipeline_reports_what_changed_and_nothing_else(live, world, jonas):
    with jonas.stream("pipelines/shop-web/live") as stream:
        assert stream.receive() == "now"
        assert "stage-Approve" in stream.blocks
        stream.blocks.clear()
        live.client("codepipeline").start_pipeline_execution(name="shop-web")
        stream.until(
            lambda seen: (
                "waits before Approve" in seen.blocks.get("stage-Approve", "")
                and "Waits before Approve" in seen.blocks.get("run-2", "")
            )
        )
        assert "stage-Watch" not in stream.blocks
        assert "gate-Watch" not in stream.blocks
        assert "run-1" not in stream.blocks


def test_many_streams_and_a_limit(live, world):
    visitor = Visitor(live, "reader")
    opened = [visitor.stream("pipelines/shop-web/live") for _ in range(100)]
    streams = [one.__enter__() for one in opened]
    try:
        assert {one.status for one in streams} == {200}
        assert all(one.receive() == "now" for one in streams)
        with visitor.stream("pipelines/shop-web/live") as further:
            assert further.status == 429
        assert visitor.get("pipelines").status == 200
    finally:
        for one in opened:
            one.__exit__(None, None, None)

    def has_space() -> bool:
        with visitor.stream("pipelines/shop-web/live") as again:
            return again.status == 200

    until(has_space)


def test_a_stream_ends_when_its_visitor_is_not_signed_in_any_more(live, world):
    user(live, "gone", allow("codepipeline:*"))
    visitor = Visitor(live, "gone")
    with visitor.stream("pipelines/live") as stream:
        assert stream.receive() == "now"
        live.client("iam").delete_login_profile(UserName="gone")
        live.client("codepipeline").start_pipeline_execution(name="shop-web")
        while (event := stream.receive()) == "now":
            pass
        assert event == "gone"


def test_streams_end_when_the_server_drains(live_factory):
    with live_factory() as server:
        user(server, "jonas.lind", allow("*"))
        visitor = Visitor(server, "jonas.lind")
        stack = visitor.stream("pipelines/live")
        stream = stack.__enter__()
        assert stream.receive() == "now"
        assert "No pipelines yet." in visitor.get("pipelines").visible_text
        assert "No deployments yet" in visitor.get("deployments").visible_text
    assert stream.next() == ("", None)
    stack.__exit__(None, None, None)


def test_another_region_is_chosen_and_kept(live_factory):
    with live_factory(regions=("eu-west-1",)) as server:
        user(server, "jonas.lind", allow("*"))
        visitor = Visitor(server, "jonas.lind")
        here = visitor.get("builds")
        assert "<option selected>us-east-1</option>" in here.text
        there = visitor.post("region", {"region": "eu-west-1", "section": "builds"})
        assert there.url == f"{server.url}/console/builds"
        assert "<option selected>eu-west-1</option>" in there.text
        assert "111111111111 · eu-west-1" in visitor.get("pipelines").visible_text  # still signed in, still there
        wrong = visitor.post("region", {"region": "mars-1", "section": "builds"})
        assert wrong.status == 400
        assert "It serves us-east-1, eu-west-1." in wrong.visible_text
        assert "111111111111 · eu-west-1" in visitor.get("pipelines").visible_text
        # An address may name one, which then stays: what such a page leads to lies there as well.
        assert "111111111111 · us-east-1" in visitor.get("builds?region=us-east-1").visible_text
        assert "111111111111 · us-east-1" in visitor.get("pipelines?region=mars-1").visible_text
        missing = visitor.get("pipelines/nobody?region=eu-west-1")
        assert missing.status == 404
        assert "This is the region eu-west-1: choose another one above, if it is there." in missing.visible_text
        assert "111111111111 · us-east-1" in visitor.get("pipelines").visible_text
        elsewhere = visitor.post("region", {"region": "us-east-1", "section": "//bad.example"})
        assert elsewhere.url == f"{server.url}/console/pipelines"


# --- builds -----------------------------------------------------------------------------------------------------------


def test_a_build_and_its_log(live, world, jonas, builds):
    id_ = builds.start(7)
    builds.say(
        id_,
        "[Container] 2026/11/21 06:00:00.000000 Phase is DOWNLOAD_SOURCE",
        "[Container] 2026/11/21 06:00:01.000000 Entering phase BUILD",
        "[Container] 2026/11/21 06:00:01.000000 Running command npm ci",
        "\x1b[33mwarn\x1b[0m <script>alert(1)</script>",
        "\u202eevil",
    )
    page = jonas.get(f"builds/{id_}")
    assert "shop 7" in page.visible_text
    assert '<span class="a-bold">$ npm ci</span>' in page.text
    assert '<span class="a-yellow">warn</span> &lt;script&gt;alert(1)&lt;/script&gt;' in page.text
    assert "[U+202E]evil" in page.text
    assert "\u202e" not in page.text
    assert page.text.index('id="lines-DOWNLOAD_SOURCE"') < page.text.index('id="lines-BUILD"')
    cursor = re.search(r'data-after="([^"]+)"', page.text)[1]
    with jonas.stream(f"builds/{id_}/live?after={urllib.parse.quote(cursor)}") as stream:
        stream.receive()
        assert not stream.added  # the page has them
        builds.say(id_, "six", "seven <b>")
        stream.until(lambda seen: "seven" in seen.added.get("lines-BUILD", ""))
        assert 'id="L6"' in stream.added["lines-BUILD"]
        assert "seven &lt;b&gt;" in stream.added["lines-BUILD"]
        again = stream.cursor
    builds.say(id_, "eight")
    with jonas.stream(f"builds/{id_}/live", **{"last-event-id": again}) as stream:
        stream.until(lambda seen: "eight" in seen.added.get("lines-BUILD", ""))
        assert "seven" not in stream.added["lines-BUILD"]
        assert 'id="L8"' in stream.added["lines-BUILD"]
        builds.say(id_, "[Container] 2026/11/21 06:00:09.000000 Entering phase POST_BUILD", "last words")
        builds.end(id_, "FAILED", contexts=[{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "exit status 2"}])
        while stream.receive() != "end":
            pass
        assert "last words" in stream.added["lines-POST_BUILD"]
        assert 'id="POST_BUILD"' in stream.added["log"]
        assert "exit status 2" in stream.blocks["failure"]
    raw = jonas.get(f"builds/{id_}/log")
    assert raw.headers["content-type"] == "text/plain; charset=utf-8"
    assert "warn <script>alert(1)</script>\n[U+202E]evil\nsix\n" in raw.text
    assert "Failed in BUILD" in jonas.get(f"builds/{id_}").visible_text


def test_a_long_log_shows_its_two_ends(jonas, builds):
    id_ = builds.start(8)
    builds.say(id_, *(f"line {number}" for number in range(1, 20_001)))
    page = jonas.get(f"builds/{id_}")
    assert "15,000 lines are left out here" in page.visible_text
    assert 'id="L500"' in page.text
    assert 'id="L501"' not in page.text
    assert 'id="L15501"' in page.text
    assert 'id="L20000"' in page.text
    assert jonas.get(f"builds/{id_}/log").text.count("\n") == 20_000


@pytest.mark.parametrize(
    ("cursor", "shown"),
    [*((cursor, True) for cursor in ("", "x", "1.BUILD", "9" * 30, "-1.BUILD.f/1")), ("5.BUILD.f/999999", False)],
)
def test_a_cursor_that_is_none_begins_anew_and_one_past_the_end_shows_nothing(jonas, builds, cursor, shown):
    id_ = builds.start(9)
    builds.say(id_, "the only line")
    with jonas.stream(f"builds/{id_}/live?after={urllib.parse.quote(cursor)}") as stream:
        assert stream.receive() == "now"
        assert ("the only line" in "".join(stream.added.values())) == shown


def test_a_failed_build_leads_to_the_line_that_failed(jonas, builds):
    id_ = builds.start(12)
    stamp = "[Container] 2026/11/21 06:00:01.000000"
    builds.say(
        id_, f"{stamp} Entering phase BUILD", *(f"line {number}" for number in range(400)), "src/shop.ts(3): error TS2304",
        f"{stamp} Command did not exit successfully tsc exit status 2", f"{stamp} Entering phase POST_BUILD", "bye",
    )  # fmt: skip
    builds.end(id_, "FAILED", contexts=[{"statusCode": "COMMAND_EXECUTION_ERROR", "message": "exit status 2"}])
    page = jonas.get(f"builds/{id_}")
    (line,) = re.findall(r'<a href="#(L\d+)" data-failed-line>', page.text)
    assert re.search(rf'id="{line}"[^\n]*src/shop.ts\(3\): error TS2304', page.text)
    # Every link of the list of phases leads to a part of the log.
    links = re.findall(r'<a href="#([A-Z_]+)" data-step>', page.text)
    assert "BUILD" in links
    assert all(f'id="{name}"' in page.text for name in links)
    assert "PROVISIONING" not in links


def test_stopping_a_build(jonas, builds):
    id_ = builds.start(10)
    assert "The build is stopping." in jonas.post(f"builds/{id_}/stop", {}).visible_text
    assert builds.stopped == [id_]
    assert jonas.get("builds/shop:none").status == 404
    assert "shop 10" in jonas.get("builds").visible_text


@pytest.mark.parametrize("name", ["x" * 300, "%00", "%ff", "console.css%00"])
def test_a_name_that_is_no_file_of_ours_is_not_looked_for(live, name):
    answer = httpx.get(f"{live.url}/console/static/{name}")
    assert answer.status_code == 404


def test_the_list_asks_the_same_however_many_pipelines_there_are(live, world, jonas, monkeypatch):
    asked: list[str] = []
    invoke = live.app.invoke

    async def counted(session, service, operation, input, **rest):
        asked.append(operation)
        return await invoke(session, service, operation, input, **rest)

    def visits(method):  # to the database
        visit = getattr(live.app.store, method)

        async def counted(*arguments, **rest):
            visited.append(method)
            return await visit(*arguments, **rest)

        monkeypatch.setattr(live.app.store, method, counted)

    visited: list[str] = []
    codepipeline = live.client("codepipeline")
    names = [f"zz-{number:02}" for number in range(45)]
    for name in names:
        pipeline(live, name, world, source("shop.zip"), gate("Wait", "Look"))
    for name in names:
        until(lambda name=name: waits(live, name, "Wait"))  # their first runs call operations too
    try:
        for method in ("read", "scan"):
            visits(method)
        monkeypatch.setattr(live.app, "invoke", counted)
        page = jonas.get("pipelines")
        assert page.text.count("/console/pipelines/zz-") > 0
        assert asked.count("ListPipelines") == 1
        assert asked.count("GetPipelineState") == asked.count("ListPipelineExecutions") == 40
        assert len(asked) == 1 + 2 * 40
        assert len(visited) <= 2 * 40 + 10
    finally:
        monkeypatch.undo()
        for name in names:
            codepipeline.delete_pipeline(name=name)
