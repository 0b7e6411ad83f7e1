"""A deployment's page: the sentence, the bar, the hosts and what their hooks say, live, with real agents."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_fleet import fleet
from penstock_waiting import until

from penstock.console.pages.budgets import budget, lede, sentence
from penstock.console.pages.hosts import Fleet, quiet, silence
from penstock.console.pages.hostview import warnings_of


@pytest.fixture(scope="module")
def hosts(live, world, tmp_path_factory):
    with fleet(live, tmp_path_factory.mktemp("fleet"), "web-a1", "web-a2") as running:
        yield running


def test_hosts_and_hooks_are_reported_as_they_change(live, jonas, hosts):
    id_ = hosts.release("one", printed="up <b>now</b>")
    with jonas.stream(f"deployments/{id_}/live") as stream:
        stream.until(lambda seen: "[stdout]up" in seen.blocks.get("host-hook", ""))
        assert "&lt;b&gt;now&lt;/b&gt;" in stream.blocks["host-hook"]
        page = jonas.get(f"deployments/{id_}")
        assert "checkout-api to production" in page.visible_text
        assert "1 of 2 must stay healthy; 0 are" in page.visible_text
        assert "1 host is being changed." in page.visible_text
        assert "Stop this deployment?" in page.visible_text
        data = json.loads(re.search(r'<script type="application/json" id="host-data">(.*?)</script>', page.text)[1])
        assert data["names"] == ["web-a1", "web-a2"]
        assert sorted(data["codes"]) == ["i", "p"]
        hosts.let_go("one")
        stream.until(
            lambda seen: (
                "Succeeded" in seen.blocks.get("deployment-state", "")
                and ">ss<" in seen.blocks["host-codes"]
                and "finished" in seen.blocks["host-hook"]
            )
        )
    page = jonas.get(f"deployments/{id_}?host=web-a2&event=Install")
    assert "1 of 2 had to stay healthy; 2 were healthy at the end." in page.visible_text
    assert re.search(r'aria-current="true"[^>]*>\s*<th scope="row"><a[^>]*>web-a2', page.text)
    assert "Stop…" not in page.text
    listed = jonas.get("deployments")
    assert id_ in listed.text
    assert "2 of 2" in listed.visible_text
    assert id_ in jonas.get("deployments?application=checkout-api&group=production").text


def test_a_host_that_has_not_begun_is_followed_from_the_start(jonas, hosts, monkeypatch):
    """No event says that a lifecycle event begins: the page must look by itself while a host is being changed."""
    monkeypatch.setattr("penstock.console.pages.deployment._QUIET_SECONDS", 3600)
    hosts.pause()
    try:
        id_ = hosts.release("late", printed="at last")
        until(lambda: hosts.status(id_) == "InProgress")
        with jonas.stream(f"deployments/{id_}/live") as stream:
            stream.receive()
            assert "Nothing has been done here yet." in stream.blocks["host-hook"]
            hosts.pause(go_on=True)
            stream.until(lambda seen: "[stdout]at last" in seen.blocks["host-hook"])
            hosts.let_go("late")
            stream.until(lambda seen: "Succeeded" in seen.blocks["deployment-state"])
    finally:
        hosts.pause(go_on=True)


def test_a_rollback_is_reported_on_both_sides(live, jonas, hosts):
    good = hosts.release("good", waits=False)
    until(lambda: hosts.status(good) == "Succeeded")
    bad = hosts.release("bad", printed="broken", code=3, waits=False)
    until(lambda: hosts.status(bad) == "Failed")
    info = live.client("codedeploy").get_deployment(deploymentId=bad)["deploymentInfo"]
    rollback = info["rollbackInfo"]["rollbackDeploymentId"]
    until(lambda: hosts.status(rollback) == "Succeeded")
    page = jonas.get(f"deployments/{bad}")
    assert "Rolled back to bundles/good.zip" in page.visible_text
    assert f'href="/console/deployments/{rollback}"' in page.text
    assert "1 host has failed." in page.visible_text
    assert "ScriptFailed" in page.visible_text
    other = jonas.get(f"deployments/{rollback}")
    assert "This deployment is a rollback." in other.visible_text
    assert f'href="/console/deployments/{bad}"' in other.text


def test_stopping_with_and_without_going_back(live, jonas, hosts):
    id_ = hosts.release("slow")
    until(lambda: hosts.status(id_) == "InProgress")
    until(lambda: "[stdout]starting" in jonas.get(f"deployments/{id_}").visible_text)
    answer = jonas.post(f"deployments/{id_}/stop", {"how": "leave"})
    assert "The deployment is stopping." in answer.visible_text
    hosts.let_go("slow")
    until(lambda: hosts.status(id_) == "Stopped")
    assert "rollbackInfo" not in live.client("codedeploy").get_deployment(deploymentId=id_)["deploymentInfo"]
    again = jonas.post(f"deployments/{id_}/stop", {"how": "leave"})
    assert again.status == 400
    assert "The request was refused" in again.visible_text


def test_bad_addresses_are_reported_with_a_reason(jonas, hosts):
    assert jonas.get("deployments/d-AAAAAAAAA").status == 404
    assert jonas.get("deployments/nonsense").status == 400
    id_ = hosts.release("addressed")
    hosts.let_go("addressed")
    until(lambda: hosts.status(id_) == "Succeeded")
    for query in ("host=%00", "host=../../x", "event=<script>", "page=-1", "page=99999999", "page=x"):
        page = jonas.get(f"deployments/{id_}?{query}")
        assert page.status == 200
        assert "<script>" not in page.text


counts = st.integers(min_value=0, max_value=20_000)


@given(
    st.fixed_dictionaries({name: counts for name in ("Pending", "InProgress", "Succeeded", "Failed", "Skipped")}),
    counts,
    counts,
    st.booleans(),
    counts,
)
def test_the_bar_is_never_longer_than_the_fleet(overview, required, healthy, going, silent):
    total = sum(overview.values())
    got = budget(
        {
            "status": "InProgress" if going else "Failed",
            "deploymentOverview": overview,
            "healthOverview": {"required": required, "healthy": healthy, "hosts": total},
        },
        silent={"Pending": min(silent, overview["Pending"]), "InProgress": min(silent, overview["InProgress"])},
    )
    if not total:
        assert got is None
        return
    at = 0.0
    for segment in got["segments"]:
        assert segment["x"] >= at - 0.25
        assert segment["width"] > 0
        at = segment["x"] + segment["width"]
    assert at <= 101
    assert got["floor"] is None or 0 <= got["floor"] <= 100


def _drawn(status, counts, *, required, healthy, hosts=None, silent=None):
    info = {
        "status": status,
        "deploymentOverview": counts,
        "healthOverview": {"required": required, "healthy": healthy, "hosts": hosts or sum(counts.values())},
    }
    got = budget(info, silent=silent or {})
    return [(one["tone"], one["text"]) for one in got["segments"]], got["sentence"], got["more"]


@pytest.mark.parametrize(
    ("drawn", "bar", "said", "more"),
    [
        (  # hosts that no deployment has succeeded on are not drawn healthy
            _drawn("Failed", {"Failed": 1, "Skipped": 2}, required=2, healthy=0),
            [("idle", "2 not healthy, not changed"), ("bad", "1 failed")],
            "2 of 3 had to stay healthy; 0 were healthy at the end.",
            "1 host has failed. 2 hosts were not changed.",
        ),
        (
            _drawn("InProgress", {"Pending": 199, "Failed": 1}, required=199, healthy=194),
            [("old", "194 healthy, not changed"), ("idle", "5 not healthy, not changed"), ("bad", "1 failed")],
            "199 of 200 must stay healthy; 194 are.",
            "1 host has failed.",
        ),
        (  # silent hosts are neither busy nor healthy
            _drawn("InProgress", {"Pending": 4, "InProgress": 6}, required=3, healthy=4, silent={"InProgress": 5}),
            [("old", "4 healthy, not changed"), ("run", "1 changing"), ("idle", "5 silent")],
            "3 of 10 must stay healthy; 4 are.",
            "1 host is being changed. 5 hosts are silent. 1 more may go down before it stops.",
        ),
        (  # a host that works is not taken for one of the silent, which are still pending
            _drawn("InProgress", {"Pending": 4, "InProgress": 1}, required=4, healthy=0, silent={"Pending": 3}),
            [("run", "1 changing"), ("idle", "1 not healthy, not changed"), ("idle", "3 silent")],
            "4 of 5 must stay healthy; 0 are.",
            "1 host is being changed. 3 hosts are silent.",
        ),
        (  # hosts outside the deployment that are healthy count, and have no part in the bar
            _drawn("InProgress", {"Pending": 1, "Succeeded": 1}, required=3, healthy=4, hosts=5),
            [("good", "1 on the new version"), ("idle", "1 not healthy, not changed")],
            "3 of 5 must stay healthy; 4 are.",
            "1 more may go down before it stops.",
        ),
        *(
            (
                _drawn(status, {"Pending": pending, "InProgress": 2 - pending}, required=1, healthy=healthy, hosts=3),
                bar,
                said,
                more,
            )
            for status, pending, healthy, bar, said, more in (
                (
                    "InProgress",
                    1,
                    1,
                    [("run", "1 changing"), ("idle", "1 not healthy, not changed")],
                    "1 of 3 must stay healthy; 1 is.",
                    "1 host is being changed. The next host starts when one is healthy again.",
                ),
                (
                    "InProgress",
                    0,
                    1,
                    [("run", "2 changing")],
                    "1 of 3 must stay healthy; 1 is.",
                    "2 hosts are being changed.",
                ),
                ("InProgress", 2, 1, [("idle", "2 not healthy, not changed")], "1 of 3 must stay healthy; 1 is.", ""),
                (
                    "InProgress",
                    1,
                    0,
                    [("run", "1 changing"), ("idle", "1 not healthy, not changed")],
                    "1 of 3 must stay healthy; 0 are.",
                    "1 host is being changed.",
                ),
                (
                    "Stopped",
                    1,
                    1,
                    [("run", "1 changing"), ("idle", "1 not healthy, not changed")],
                    "1 of 3 had to stay healthy; 1 was healthy at the end.",
                    "",
                ),
            )
        ),
        (
            _drawn("Succeeded", {"Succeeded": 3}, required=0, healthy=3),
            [("good", "3 on the new version")],
            "No host had to stay healthy; 3 were healthy at the end.",
            "",
        ),
    ],
)
def test_sentence_and_bar_agree(drawn, bar, said, more):
    assert drawn == (bar, said, more)


@pytest.mark.parametrize(
    ("required", "healthy", "hosts", "going", "said"),
    [
        (0, 0, 3, True, "All 3 hosts may be out at once. None is ready yet."),
        (0, 2, 3, True, "All 3 hosts may be out at once. 2 are ready."),
        (0, 1, 1, True, "The only host may be out. 1 is ready."),
        (1, 1, 2, True, "1 of 2 must stay healthy; 1 is."),
        (1, 0, 2, False, "1 of 2 had to stay healthy; 0 were healthy at the end."),
        (0, 1, 2, False, "No host had to stay healthy; 1 was healthy at the end."),
    ],
)
def test_how_many_must_stay_healthy(required, healthy, hosts, going, said):
    assert sentence(required, healthy, hosts, going=going) == said


@pytest.mark.parametrize(
    ("status", "counts", "said"),
    [
        ("Queued", {}, "Will put new on the hosts of web, where it replaces old."),
        ("InProgress", {"Pending": 2, "InProgress": 1}, "Putting new on 3 hosts, where it replaces old."),
        (
            "Succeeded",
            {"Succeeded": 194, "Failed": 6},
            "Put new on 194 of 200 hosts in 1 min 10 s; 6 failed. It replaced old.",
        ),
        ("Failed", {"Failed": 1}, "Put new on 0 of 1 host in 1 min 10 s; 1 failed."),
    ],
)
def test_a_deployment_speaks_in_its_own_tense(status, counts, said):
    info = {
        "status": status, "deploymentOverview": counts, "deploymentGroupName": "web", "startTime": 100_000, "completeTime": 170_000,
    }  # fmt: skip
    assert lede(info, "new", "old") == said


def test_silent_hosts_are_marked_where_something_is_to_come():
    hosts = Fleet(names=["a", "b", "c"], statuses={"a": "Pending", "b": "InProgress", "c": "Succeeded"})
    assert quiet(hosts, ["a", "b", "c", "elsewhere"]).codes == "uus"
    assert silence([], where="web") == ""
    assert silence(["a"], where="web").startswith("1 host of web is silent: a.")
    assert silence(list("abcde"), where="web", total=200).startswith(
        "5 of 200 hosts of web are silent: a, b, c and 2 more."
    )


def test_an_agents_warning_is_shown_beside_what_succeeded():
    events = [
        {"state": "Succeeded", "message": "archive-reuse. Warning: The hook AfterInstal is no lifecycle event."},
        {"state": "Succeeded", "message": "Succeeded"},
        {"state": "Failed", "message": "Warning: this one is the verdict already"},
    ]
    assert warnings_of(events) == ["The hook AfterInstal is no lifecycle event."]
