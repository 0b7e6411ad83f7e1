"""A deployment's page and lists of builds and deployments, from what operations answer: hosts, the chosen one, banners, facts, rows."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from penstock_looking import NOW, Looking, location, opens

from penstock.console.pages import builds, deployment, deployments, hosts, hostview
from penstock.console.pages.hosts import Fleet
from penstock.wire.errors import AccessDenied, error_class

PAGE = deployment.PAGE
GONE = error_class("DeploymentGroupDoesNotExistException", 400)("gone")


def fleet(**statuses):
    return Fleet(names=list(statuses), statuses=statuses)


@pytest.mark.parametrize(
    ("statuses", "asked", "kept", "chosen", "then"),
    [
        ({}, "", "", "", ""),
        ({"a": "Pending", "b": "Pending"}, "", "", "a", ""),
        ({"a": "Pending", "b": "InProgress", "c": "Failed"}, "", "", "c", "c"),
        ({"a": "Pending", "b": "InProgress", "c": "InProgress"}, "", "", "b", "b"),
        ({"a": "Failed", "b": "Pending"}, "b", "", "b", ""),
        ({"a": "Failed", "b": "Pending"}, "z", "", "a", "a"),
        ({"a": "Failed", "b": "Failed"}, "", "b", "b", "b"),
        ({"a": "Failed", "b": "InProgress"}, "", "b", "b", "b"),
        ({"a": "InProgress", "b": "Succeeded"}, "", "b", "a", "a"),
        ({"a": "Succeeded", "b": "Succeeded"}, "", "b", "b", "b"),
        ({"a": "Succeeded"}, "", "gone", "a", "gone"),
    ],
)
def test_which_host_is_shown(statuses, asked, kept, chosen, then):
    look = Looking({}, query=f"host={asked}")
    if kept:
        look.memory["chosen"] = kept
    assert deployment._chosen(look, fleet(**statuses)) == chosen
    assert look.memory.get("chosen", "") == then


@pytest.mark.parametrize(("count", "chosen"), [(12, "h00"), (13, "h05")])
def test_a_page_of_many_hosts_stays_at_the_one_it_shows(count, chosen):
    statuses = {f"h{number:02}": "Succeeded" for number in range(count)} | {"h00": "InProgress"}
    look = Looking({})
    look.memory["chosen"] = "h05"
    assert deployment._chosen(look, fleet(**statuses)) == chosen


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("99999", 99_999), ("100000", 1), ("", 1), ("-1", 1), ("x", 1)])
def test_which_page_is_asked_for(text, number):
    assert deployment._number(text) == number


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("Pipeline shop, execution 00000000-0000-0000-0000-000000000000", "shop"),
        ("Pipeline shop, execution 1", ""),
        ("by Pipeline shop, execution 00000000-0000-0000-0000-000000000000", ""),
        (None, ""),
    ],
)
def test_which_pipeline_a_deployment_names(description, name):
    assert deployment._pipeline({"description": description}) == name


def test_counts_are_of_the_hosts_once_there_are_some():
    none = dict.fromkeys(hosts.CODES, 0)
    assert deployment._counts(fleet(), {"Pending": 2}) == none | {"Pending": 2}
    assert deployment._counts(fleet(a="Unknown", b="Pending", c="Pending"), {"Pending": 3}) == none | {"Unknown": 1, "Pending": 2}  # fmt: skip


# --- banners and facts --------------------------------------------------------------------------------------------------

TO = {"revision": {"s3Location": {"bucket": "b", "key": "k"}}}


@pytest.mark.parametrize(
    ("back", "title", "tone", "act"),
    [
        ({"status": "Succeeded", **TO}, "Rolled back to b/k.", "bad", "View"),
        ({"status": "Failed", **TO}, "The rollback to b/k failed.", "bad", "View"),
        ({"status": "Stopped", **TO}, "The rollback to b/k was stopped.", "bad", "View"),
        ({"status": "InProgress", **TO, "deploymentOverview": {"Succeeded": 1, "Pending": 2}}, "Rolling back to b/k: 1 of 3 hosts is back.", "warn", "Follow"),
        ({"status": "Queued", **TO, "deploymentOverview": {"Pending": 1}}, "Rolling back to b/k: 0 of 1 host is back.", "warn", "Follow"),
        ({"status": "Created"}, "Rolling back to the version before.", "warn", "Follow"),
        (None, "Rolling back to the version before.", "warn", "View"),
    ],
)  # fmt: skip
async def test_what_became_of_a_rollback(back, title, tone, act):
    look = Looking({"GetDeployment": {"deploymentInfo": back}} if back else {})
    info = {"rollbackInfo": {"rollbackDeploymentId": "d-2"}}
    said = {"tone": tone, "title": title, "text": "The deployment was stopped.", "other": "d-2", "act": act}
    assert await deployment._banner(look, info) == said
    assert look.asked == [("GetDeployment", {"deploymentId": "d-2"})]
    info["errorInformation"] = {"message": "too many"}
    assert (await deployment._banner(look, info))["text"] == "too many"


async def test_a_deployment_that_is_a_rollback_says_so_and_others_say_nothing():
    look = Looking({})
    assert await deployment._banner(look, {"rollbackInfo": {"rollbackTriggeringDeploymentId": "d-1"}, **TO}) == {
        "tone": "warn", "title": "This deployment is a rollback.", "other": "d-1", "act": "View",
        "text": "It puts b/k back on the hosts that d-1 had started on.",
    }  # fmt: skip
    assert await deployment._banner(look, {}) is None
    assert look.asked == []


@pytest.mark.parametrize(
    ("rollback", "said"),
    [
        (None, "as set in the group"),
        ({"enabled": False, "events": ["DEPLOYMENT_FAILURE"]}, "no"),
        ({"enabled": True, "events": ["DEPLOYMENT_FAILURE"]}, "on failure (set in the deployment)"),
        ({"enabled": True, "events": ["DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST", "X"]}, "on alarm, on stop, on X (set in the deployment)"),
    ],
)  # fmt: skip
def test_when_a_deployment_rolls_back(rollback, said):
    info = {"deploymentId": "d-1"} | ({"autoRollbackConfiguration": rollback} if rollback else {})
    assert deployment._facts(info, {}) == [("Rolls back", said, False), ("Id", "d-1", True)]
    assert deployment._rolls_back(info) is bool(rollback and rollback["enabled"])


@pytest.mark.parametrize(
    ("kind", "rule"), [("HOST_COUNT", "2 hosts"), ("FLEET_PERCENT", "2 % of the hosts"), ("X", None)]
)
def test_facts_of_a_deployment(kind, rule):
    info = {
        "deploymentId": "d-1", **TO, "previousRevision": {"revisionType": "String"}, "deploymentConfigName": "CodeDeployDefault.OneAtATime",
        "fileExistsBehavior": "DISALLOW", "description": "so", "startTime": NOW, "completeTime": NOW + 70_000,
    }  # fmt: skip
    assert deployment._facts(info, {"minimumHealthyHosts": {"type": kind, "value": 2}}) == [
        ("Revision", "b/k", True), ("Replaces", "String", True), ("Configuration", "OneAtATime", False), *([("Minimum", rule, False)] if rule else []),
        ("Rolls back", "as set in the group", False), ("Existing files", "Disallow", False), ("Description", "so", False), ("Took", "1 min 10 s", False),
        ("Id", "d-1", True),
    ]  # fmt: skip


# --- its page -----------------------------------------------------------------------------------------------------------


def answers(status="InProgress", statuses=None, **more):
    """A deployment to hosts of these statuses."""
    statuses = {"h1": "InProgress", "h2": "Pending", "h3": "Pending"} if statuses is None else statuses
    counts = {}
    for one in statuses.values():
        counts[one] = counts.get(one, 0) + 1
    info = {
        "deploymentId": "d-1", "status": status, "applicationName": "shop", "deploymentGroupName": "web", "deploymentOverview": counts,
        "startTime": NOW - 9_000, "deploymentConfigName": "c", **more,
    }  # fmt: skip

    def targets(targetFilters=None, **_):
        wanted = targetFilters["TargetStatus"] if targetFilters else set(statuses.values())
        return {"targetIds": [name for name, one in statuses.items() if one in wanted]}

    def target(targetId, **_):
        return {"deploymentTarget": {"instanceTarget": {"status": statuses[targetId], "lifecycleEvents": []}}}

    return {"GetDeployment": {"deploymentInfo": info}, "ListDeploymentTargets": targets, "GetDeploymentTarget": target}


def looking(given, may=(), query="", **more):
    return Looking(given, may=may, path={"id": "d-1"}, query=query, **more)


@pytest.mark.parametrize(
    ("status", "may", "stops", "lives"),
    [
        ("InProgress", ("StopDeployment",), ["stop-it"], True),
        ("Queued", ("StopDeployment",), ["stop-it"], True),
        ("Ready", ("StopDeployment",), ["stop-it"], True),
        ("InProgress", (), [], True),
        ("Succeeded", ("StopDeployment",), [], False),
        ("Stopped", ("StopDeployment",), [], False),
    ],
)
async def test_who_may_stop_a_deployment_that_goes_on_is_offered_to(status, may, stops, lives):
    text = await looking(answers(status), may).shown(PAGE)
    assert opens(text) == stops
    assert ("Stop this deployment?" in text) == bool(stops)
    assert ('data-live="/console/deployments/d-1/live"' in text) == lives


@pytest.mark.parametrize(("enabled", "checked"), [(True, "back"), (False, "leave")])
async def test_stopping_rolls_back_by_default_where_the_deployment_does(enabled, checked):
    given = answers(autoRollbackConfiguration={"enabled": enabled, "events": []})
    text = await looking(given, ("StopDeployment",)).shown(PAGE)
    assert re.findall(r'name="how" value="(\w+)" checked', text) == [checked]


@pytest.mark.parametrize(("how", "back"), [("back", True), ("leave", False), ("", False)])
async def test_a_deployment_is_stopped_as_it_was_said(how, back):
    look = looking({"StopDeployment": {}}, form={"how": how})
    assert location(await PAGE.forms["stop"](look)) == "/console/deployments/d-1?said=deployment-stopping"
    assert look.asked == [("StopDeployment", {"deploymentId": "d-1", "autoRollbackEnabled": back})]


async def test_hosts_of_a_deployment_that_has_not_begun_are_not_asked_for():
    for status in ("Created", "Queued"):
        look = looking(answers(status))
        values = await deployment.load(look)
        assert (values["hosts"].names, values["chosen"], values["host"]["name"]) == ([], "", "")
        assert look.inputs("ListDeploymentTargets") == []
    assert (await deployment.load(looking(answers("InProgress"))))["hosts"].names == ["h1", "h2", "h3"]


async def test_silent_hosts_matter_until_the_deployment_is_over():
    silent = {"ListHosts": {"hosts": [{"name": "h2"}, {"name": "elsewhere"}]}}
    look = looking(answers() | silent)
    values = await deployment.load(look)
    assert values["hosts"].codes == "iup"
    assert values["silence"].startswith("1 of 3 hosts of web is silent: h2.")
    assert (values["counts"]["Unknown"], values["counts"]["Pending"]) == (1, 1)
    assert "1 silent" in look.fragment("_budget.html", **values)
    look = looking(answers("Succeeded") | silent)
    assert (await deployment.load(look))["silence"] == ""
    assert look.inputs("ListHosts") == []
    # Before it begins every silent host of the group is named.
    assert (await deployment.load(looking(answers("Queued") | silent)))["silence"].startswith(
        "2 hosts of web are silent"
    )


MANY = {f"h{number:03}": "Pending" for number in range(401)}


@pytest.mark.parametrize(
    ("query", "page", "first", "count", "ways"),
    [
        ("", 1, "h000", 200, [2]),
        ("page=0", 1, "h000", 200, [2]),
        ("page=2", 2, "h200", 200, [1, 3]),
        ("page=3", 3, "h400", 1, [2]),
        ("page=4", 3, "h400", 1, [2]),
    ],
)
async def test_hosts_stand_on_pages_of_two_hundred(query, page, first, count, ways):
    look = looking(answers(statuses=MANY), query=query)
    values = await deployment.load(look)
    assert (values["page"], values["pages"], values["rows"][0], len(values["rows"])) == (page, 3, first, count)
    rows = values["host_rows"]
    assert (rows[0].id, rows[-1].id) == (f"host-{200 * page - 200}", f"host-{200 * page - 201 + count}")
    more = f"&page={page}" if page > 1 else ""
    assert rows[0].cells[0].href == f"/console/deployments/d-1?host={first}{more}#the-host"
    assert [row.chosen for row in rows] == [row.cells[0].text == "h000" for row in rows]
    text = look.fragment("_host_table.html", **values)
    assert [int(one) for one in re.findall(r'href="\?page=(\d+)"', text)] == ways
    assert f"Hosts {200 * page - 199} to {200 * page - 200 + count} of 401" in text


async def test_as_many_hosts_as_fit_need_one_page():
    assert (await deployment.load(looking(answers(statuses=dict(list(MANY.items())[:200])))))["pages"] == 1
    assert (await deployment.load(looking(answers(statuses=dict(list(MANY.items())[:201])))))["pages"] == 2
    assert (await deployment.load(looking(answers(statuses={}))))["pages"] == 1


async def test_the_grid_cannot_end_its_element():
    values = await deployment.load(looking(answers(statuses={"</script>&": "Failed"})))
    assert not set("<&") & set(values["grid"])
    told = json.loads(values["grid"])
    assert (told["names"], told["codes"], told["chosen"]) == (["</script>&"], "f", "</script>&")
    assert told["labels"]["u"] == "Silent"


async def test_a_stream_redraws_the_table_when_other_hosts_are_listed():
    statuses = {"h1": "InProgress", "h2": "Pending"}
    look = looking(answers(statuses=statuses))
    take, concerns = await deployment.live(look)
    assert concerns(SimpleNamespace(aggregate="deployment/d-1"))
    assert not concerns(SimpleNamespace(aggregate="deployment/d-10"))
    first, second = await take(), await take()
    assert (first.every, second.every) == (0.5, 0.5)
    every = [
        "deployment-state", "deployment-acts", "banner", "budget", "silence", "lede", "facts", "grid-head", "host-codes", "host-table", "zones", "host-0", "host-1",
        "stop-message", "host-head", "host-steps", "host-hook",
    ]  # fmt: skip
    assert [*first.blocks] == every
    assert [*second.blocks] == [one for one in every if one not in ("host-table", "zones")]
    assert first.blocks["host-codes"] == '<span id="host-codes" hidden>ip</span>'
    assert "1 host finishes the lifecycle event" in first.blocks["stop-message"].lower()


@pytest.mark.parametrize(
    ("status", "back", "every"), [("Succeeded", None, 15), ("Failed", "InProgress", 1), ("Failed", "Succeeded", 15)]
)
async def test_a_rollback_that_goes_on_is_looked_at_often(status, back, every):
    given = answers(status, {"h1": "Succeeded"})
    own = given["GetDeployment"]
    if back:
        own["deploymentInfo"]["rollbackInfo"] = {"rollbackDeploymentId": "d-2"}
        given["GetDeployment"] = lambda deploymentId: own if deploymentId == "d-1" else {"deploymentInfo": {"status": back}}  # fmt: skip
    look = looking(given)
    take, _ = await deployment.live(look)
    assert (await take()).every == every
    text = look.fragment("deployment.html", **await deployment.load(look))
    assert (" data-live=" in text) == (every == 1)


async def test_a_configuration_is_asked_for_once_and_may_be_hidden():
    look = looking(answers() | {"GetDeploymentConfig": {"deploymentConfigInfo": {"minimumHealthyHosts": {"type": "HOST_COUNT", "value": 1}}}})  # fmt: skip
    for _ in range(2):
        assert ("Minimum", "1 host", False) in (await deployment.load(look))["facts"]
    assert look.inputs("GetDeploymentConfig") == [{"deploymentConfigName": "c"}]
    assert "Minimum" not in str((await deployment.load(looking(answers())))["facts"])


# --- hosts --------------------------------------------------------------------------------------------------------------


async def test_the_most_frequent_status_is_not_asked_for():
    statuses = {"a": "Pending", "b": "Succeeded", "c": "Pending", "d": "Failed"}
    look = looking(answers(statuses=statuses))
    counts = {"Succeeded": 1, "Pending": 2, "Failed": 1, "Skipped": 0}
    found = await hosts.fleet(look, "d-1", counts)
    assert (found.names, found.statuses, found.codes) == (["a", "b", "c", "d"], statuses, "pspf")
    asked = look.inputs("ListDeploymentTargets")
    assert [one.get("targetFilters", {}).get("TargetStatus") for one in asked] == [None, ["Succeeded"], ["Failed"]]
    assert {one["deploymentId"] for one in asked} == {"d-1"}
    await hosts.fleet(look, "d-1", counts)  # the names are known
    assert len(look.inputs("ListDeploymentTargets")) == 5
    found = await hosts.fleet(looking(answers(statuses={"a": "Pending"})), "d-1", {})
    assert found.statuses == {"a": "Pending"}


def pages(member, *each):
    def answer(nextToken="0", **_):
        at = int(nextToken)
        return {member: each[at], **({"nextToken": str(at + 1)} if at + 1 < len(each) else {})}

    return answer


async def test_hosts_and_silent_hosts_come_in_pages():
    look = looking({"ListDeploymentTargets": pages("targetIds", ["a"], ["b"]), "ListHosts": pages("hosts", [{"name": "x"}], [{"name": "y"}])})  # fmt: skip
    assert (await hosts.fleet(look, "d-1", {"Pending": 2})).names == ["a", "b"]
    assert await hosts.silent_hosts(look, "shop", "web") == ["x", "y"]
    group = {"connected": False, "applicationName": "shop", "deploymentGroupName": "web"}
    assert look.inputs("ListHosts")[1] == {**group, "nextToken": "1"}


async def test_no_more_hosts_are_read_than_a_page_shows(monkeypatch):
    monkeypatch.setattr(hosts, "_MOST", 2)
    look = looking({"ListDeploymentTargets": pages("targetIds", *"abc"), "ListHosts": pages("hosts", *([{"name": n}] for n in "abc"))})  # fmt: skip
    assert (await hosts.fleet(look, "d-1", {"Pending": 3})).names == ["a", "b"]
    assert await hosts.silent_hosts(look, "shop", "web") == ["a", "b"]


async def test_silent_hosts_are_asked_for_again_after_fifteen_seconds():
    look = looking({"ListHosts": {"hosts": [{"name": "x"}]}})
    for after, asked in ((0, 1), (14_999, 1), (1, 2), (14_999, 2)):
        look.clock.advance(after)
        assert await hosts.silent_hosts(look, "shop", "web") == ["x"]
        assert len(look.asked) == asked
    assert await hosts.silent_hosts(looking({"ListHosts": GONE}), "shop", "web") == []
    assert await hosts.silent_hosts(looking({}), "shop", "web") == []


def test_at_most_three_silent_hosts_are_named():
    assert hosts.silence(["a", "b", "c"], where="web") == (
        "3 hosts of web are silent: a, b, c. A deployment fails on a silent host. Start the agent there, or deregister the host."
    )
    assert "a, b, c and 1 more." in hosts.silence(list("abcd"), where="web", total=4)


# --- the host that is shown ---------------------------------------------------------------------------------------------


def told(name, status, *, tail="", **diagnostics):
    return {"lifecycleEventName": name, "status": status, "startTime": NOW - 3_000, "diagnostics": {"logTail": tail, **diagnostics}}  # fmt: skip


@pytest.mark.parametrize(
    ("events", "asked", "shown"),
    [
        ([], "", None),
        ([told("A", "Succeeded"), told("B", "Failed"), told("C", "InProgress")], "", "B"),
        ([told("A", "Succeeded"), told("B", "Failed"), told("C", "Failed")], "", "B"),
        ([told("A", "Succeeded"), told("C", "InProgress")], "", "C"),
        ([told("A", "Succeeded"), told("C", "InProgress")], "A", "A"),
        ([told("A", "Succeeded", tail="x"), told("B", "Succeeded"), told("C", "Pending")], "Z", "A"),
        ([told("A", "Succeeded", tail="x"), told("B", "Succeeded", tail="y"), told("C", "Succeeded")], "", "B"),
        ([told("A", "Succeeded"), told("B", "Succeeded"), told("C", "Pending")], "", "B"),
        ([told("A", "Pending")], "", None),
    ],
)
def test_which_event_of_a_host_is_shown(events, asked, shown):
    found = hostview._select([hostview._event(one, NOW) for one in events], asked)
    assert (found["name"] if found else None) == shown


@pytest.mark.parametrize(
    ("event", "verdict"),
    [
        (told("A", "Succeeded", message="m"), ""),
        (told("A", "Failed"), "it failed without a message"),
        (told("A", "Failed", message="m", errorCode="Success"), "m"),
        (told("A", "Failed", message="m", errorCode="ScriptFailed", scriptName="run.sh"), "ScriptFailed: run.sh: m"),
    ],
)
def test_the_verdict_on_a_hook(event, verdict):
    assert hostview._verdict(hostview._event(event, NOW)) == verdict


@pytest.mark.parametrize(
    ("event", "since", "took"),
    [
        ({"status": "InProgress", "startTime": NOW - 5}, 5, None),
        ({"status": "InProgress"}, None, None),
        ({"status": "Succeeded", "startTime": 3, "endTime": 10}, None, 7),
        ({"status": "Pending", "endTime": 10}, None, None),
    ],
)
def test_times_of_an_event(event, since, took):
    found = hostview._event({"lifecycleEventName": "A", **event}, NOW)
    assert (found["name"], found["state"], found["since"], found["took"], found["message"]) == ("A", event["status"], since, took, "")  # fmt: skip


async def shown(events, status="InProgress", *, silent=False, asked="", **more):
    target = {"status": status, "targetArn": "arn:x", "lastUpdatedAt": 9, "lifecycleEvents": events}
    look = looking({"GetDeploymentTarget": {"deploymentTarget": {"instanceTarget": target}}, **more})
    return look, await hostview.host_model(look, "d-1", "h1", asked, silent=silent)


@pytest.mark.parametrize(
    ("status", "silent", "state", "going"),
    [
        ("InProgress", False, "InProgress", True),
        ("InProgress", True, "Unknown", True),
        ("Pending", False, "Pending", False),
    ],
)
async def test_how_a_host_stands(status, silent, state, going):
    look, found = await shown([], status, silent=silent)
    assert (found["state"], found["going"], found["silent"], found["hook"], found["shown"]) == (state, going, silent, None, "")  # fmt: skip
    assert (found["name"], found["arn"], found["updated"]) == ("h1", "arn:x", 9)
    said = "This host is silent" if silent else "Nothing has been done here yet."
    assert said in look.fragment("_host_hook.html", host=found)


@pytest.mark.parametrize(
    ("log", "numbers", "gap"),
    [
        ({"log": "a\nb\n"}, [1, 2], None),
        ({"log": "\n".join("abc")}, [1, 2, 3], None),
        ({"log": "\n".join("abcd")}, [2, 3, 4], "1 line before these is left out."),
        ({"log": "\n".join("abcde")}, [3, 4, 5], "2 lines before these are left out."),
        ({"log": ""}, [1], None),  # what the agent kept of it
        (GONE, [1], None),
        (AccessDenied("no"), [1], None),
    ],
)
async def test_what_a_hook_printed(monkeypatch, log, numbers, gap):
    monkeypatch.setattr(hostview, "_MOST_LINES", 3)
    look, found = await shown([told("A", "Succeeded", tail="kept")], GetHookLog=log)
    assert [number for number, _ in found["hook"]["lines"]] == numbers
    assert found["hook"]["over"]
    assert look.inputs("GetHookLog") == [{"deploymentId": "d-1", "targetId": "h1", "lifecycleEventName": "A"}]
    text = look.fragment("_host_hook.html", host=found)
    assert re.findall(r'log__gap">([^<]*)', text) == ([gap] if gap else [])


@pytest.mark.parametrize(
    ("status", "over", "said"), [("InProgress", False, "No output yet."), ("Failed", True, "No output.")]
)
async def test_a_hook_that_printed_nothing(status, over, said):
    look, found = await shown([told("A", status)], GetHookLog={"log": ""})
    assert (found["hook"]["over"], found["hook"]["lines"]) == (over, [])
    assert said in look.fragment("_host_hook.html", host=found)


async def test_a_host_that_is_not_there_is_none():
    look = looking({"GetDeploymentTarget": GONE})
    assert await hostview.host_model(look, "d-1", "h1", "", silent=False) == hostview.NO_HOST


# --- lists --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "below", "done", "failed", "since", "took"),
    [
        ({"status": "InProgress", "deploymentOverview": {"Succeeded": 1, "Pending": 2}}, "", "1 of 3", "", NOW, None),
        ({"status": "Failed", "deploymentOverview": {"Failed": 2}, "errorInformation": {"code": "HEALTH"}, "completeTime": NOW + 5}, "HEALTH", "0 of 2", "2 failed", None, 5),
        ({"status": "Succeeded", "creator": "codeDeployRollback", "completeTime": NOW + 5}, "a rollback", "", "", None, 5),
    ],
)  # fmt: skip
def test_a_deployment_in_the_list(info, below, done, failed, since, took):
    row = deployments._row({"deploymentId": "d-1", "applicationName": "a b", "deploymentGroupName": "g", "startTime": NOW, "createTime": 7, **TO, **info})  # fmt: skip
    ident, state, to, what, count, at, lasts = row.cells
    assert (ident.code, ident.href) == ("d-1", "/console/deployments/d-1")
    assert (state.state, state.below) == (info["status"], below)
    assert (to.text, to.href) == ("a b, g", "?application=a+b&group=g")
    assert (what.text, what.title, at.at) == ("b/k", "b/k", 7)
    assert (count.text, count.below, lasts.since, lasts.took) == (done, failed, since, took)


@pytest.mark.parametrize(
    ("given", "below", "code", "since", "took"),
    [
        ({"buildStatus": "IN_PROGRESS", "currentPhase": "BUILD", "sourceVersion": "0123456789"}, "in BUILD", "01234567", NOW, None),
        ({"buildStatus": "FAILED", "buildComplete": True, "endTime": NOW + 5, "phases": [{"phaseType": "INSTALL", "phaseStatus": "FAILED"}]}, "in INSTALL", "", None, 5),
        ({"buildStatus": "SUCCEEDED", "buildComplete": True, "currentPhase": "COMPLETED", "resolvedSourceVersion": "b/" + "k" * 50, "sourceVersion": "x"}, "", "b/" + "k" * 38, None, None),
    ],
)  # fmt: skip
def test_a_build_in_the_list(given, below, code, since, took):
    row = builds._row({"id": "shop:7", "projectName": "shop", "buildNumber": 7, "startTime": NOW, "initiator": "ann", **given})  # fmt: skip
    name, state, project, revision, by, at, lasts = row.cells
    assert (name.text, name.href) == ("shop\N{NO-BREAK SPACE}7", "/console/builds/shop:7")
    assert (state.state, state.below) == (given["buildStatus"], below)
    assert (project.href, revision.code, by, at.at) == ("?project=shop", code, "ann", NOW)
    assert (lasts.since, lasts.took) == (since, took)


async def test_builds_of_one_project_and_of_all():
    listed = {"ids": ["a:2", "a:1"], "nextToken": "t"}
    got = {"builds": [{"id": one, "projectName": "a", "buildStatus": "FAILED", "buildComplete": True} for one in ("a:1", "a:2")]}  # fmt: skip
    look = Looking({"ListBuildsForProject": listed, "BatchGetBuilds": got}, query="project=a&from=f")
    listing = await builds.load(look)
    assert look.asked[0] == ("ListBuildsForProject", {"projectName": "a", "sortOrder": "DESCENDING", "nextToken": "f"})
    assert [row.cells[0].href for row in listing.rows] == ["/console/builds/a:2", "/console/builds/a:1"]
    assert (listing.heading, listing.filtered, listing.next_page) == ("Builds of a", "a", "project=a&from=t")
    assert listing.command == "aws codebuild list-builds-for-project --project-name a"
    look = Looking({"ListBuilds": {}, "ListProjects": {"projects": ["a", "b"]}})
    listing = await builds.load(look)
    assert [*look.asked] == [("ListBuilds", {"sortOrder": "DESCENDING"}), ("ListProjects", {"sortBy": "NAME"})]
    assert listing.empty.text.endswith("Start one of 2 projects:")
    assert listing.empty.command == "aws codebuild start-build --project-name a"
    assert (listing.heading, listing.filtered, listing.next_page) == ("", "", "")
    listing = await builds.load(Looking({"ListBuilds": {}}))
    assert listing.empty.text.endswith("It needs a project first:")
    assert listing.empty.command.startswith("aws codebuild create-project")


@pytest.mark.parametrize(
    ("query", "narrowed"),
    [
        ("application=a&group=g", {"applicationName": "a", "deploymentGroupName": "g"}),
        ("application=a", {}),
        ("group=g", {}),
    ],
)
async def test_deployments_to_one_group_and_to_all(query, narrowed):
    got = {"deploymentsInfo": [{"deploymentId": "d", "applicationName": "a", "deploymentGroupName": "g", "status": "Failed"}]}  # fmt: skip
    look = Looking({"ListDeployments": {"deployments": ["d"], "nextToken": "t"}, "BatchGetDeployments": got}, query=query)  # fmt: skip
    listing = await deployments.load(look)
    assert look.asked == [("ListDeployments", narrowed), ("BatchGetDeployments", {"deploymentIds": ["d"]})]
    assert (listing.heading, listing.filtered) == (("a to g", "a, g") if narrowed else ("", ""))
    assert listing.next_page == ("application=a&group=g&from=t" if narrowed else "from=t")
    assert listing.command.endswith("--application-name a --deployment-group-name g" if narrowed else "list-deployments")  # fmt: skip


async def test_what_makes_the_first_deployment():
    listing = await deployments.load(Looking({"ListDeployments": {}, "ListApplications": {"applications": ["a"]}}))
    assert listing.empty.text.endswith("A pipeline creates one, or this command:")
    assert listing.empty.command.startswith("aws deploy create-deployment --application-name a ")
    listing = await deployments.load(Looking({"ListDeployments": {}}))
    assert listing.empty.text.endswith("It needs an application first:")
    assert listing.empty.command.startswith("aws deploy create-application")
