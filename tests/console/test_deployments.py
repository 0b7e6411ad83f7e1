"""A deployment's page: the sentence, the bar, the hosts and what their hooks say, live, with real agents."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penstock_console import until
from penstock_fleet import fleet

from penstock.console.pages.deployment import budget


@pytest.fixture(scope="module")
def hosts(live, world, tmp_path_factory):
    with fleet(live, tmp_path_factory.mktemp("fleet"), "web-a1", "web-a2") as running:
        yield running


def test_hosts_and_hooks_are_told_as_they_change(live, jonas, hosts):
    id_ = hosts.release("one", words="up <b>now</b>")
    with jonas.stream(f"deployments/{id_}/live") as stream:
        stream.until(lambda seen: "[stdout]up" in seen.blocks.get("host-hook", ""))
        assert "&lt;b&gt;now&lt;/b&gt;" in stream.blocks["host-hook"]
        page = jonas.get(f"deployments/{id_}")
        assert "checkout-api to production" in page.words
        assert "1 of 2 must stay healthy; 0 are" in page.words
        assert "1 host is being changed." in page.words
        assert "Stop this deployment?" in page.words
        data = json.loads(re.search(r'<script type="application/json" id="host-data">(.*?)</script>', page.text)[1])
        assert data["names"] == ["web-a1", "web-a2"]
        assert sorted(data["codes"]) == ["i", "p"]
        hosts.let_go("one")
        stream.until(lambda seen: "Succeeded" in seen.blocks.get("deployment-state", ""))
        assert ">ss<" in stream.blocks["host-codes"]
        assert "finished" in stream.blocks["host-hook"]
    page = jonas.get(f"deployments/{id_}?host=web-a2&event=Install")
    assert "1 of 2 must stay healthy; 2 are" in page.words
    assert re.search(r'aria-current="true"[^>]*>\s*<th scope="row"><a[^>]*>web-a2', page.text)
    assert "Stop…" not in page.text
    listed = jonas.get("deployments")
    assert id_ in listed.text
    assert "2 of 2" in listed.words
    assert id_ in jonas.get("deployments?application=checkout-api&group=production").text


def test_a_host_that_has_not_begun_is_followed_from_the_start(jonas, hosts, monkeypatch):
    """No event says that a lifecycle event begins: the page must look by itself while a host is being changed."""
    monkeypatch.setattr("penstock.console.pages.deployment._QUIET_SECONDS", 3600)
    hosts.pause()
    try:
        id_ = hosts.release("late", words="at last")
        until(lambda: hosts.status(id_) == "InProgress")
        with jonas.stream(f"deployments/{id_}/live") as stream:
            stream.look()
            assert "Nothing has been done here yet." in stream.blocks["host-hook"]
            hosts.pause(go_on=True)
            stream.until(lambda seen: "[stdout]at last" in seen.blocks["host-hook"])
            hosts.let_go("late")
            stream.until(lambda seen: "Succeeded" in seen.blocks["deployment-state"])
    finally:
        hosts.pause(go_on=True)


def test_a_rollback_is_told_on_both_sides(live, jonas, hosts):
    good = hosts.release("good", waits=False)
    until(lambda: hosts.status(good) == "Succeeded")
    bad = hosts.release("bad", words="broken", code=3, waits=False)
    until(lambda: hosts.status(bad) == "Failed")
    info = live.client("codedeploy").get_deployment(deploymentId=bad)["deploymentInfo"]
    rollback = info["rollbackInfo"]["rollbackDeploymentId"]
    until(lambda: hosts.status(rollback) == "Succeeded")
    page = jonas.get(f"deployments/{bad}")
    assert "Rolled back to bundles/good.zip" in page.words
    assert f'href="/console/deployments/{rollback}"' in page.text
    assert "1 host has failed." in page.words
    assert "ScriptFailed" in page.words
    other = jonas.get(f"deployments/{rollback}")
    assert "This deployment is a rollback." in other.words
    assert f'href="/console/deployments/{bad}"' in other.text


def test_stopping_with_and_without_going_back(live, jonas, hosts):
    id_ = hosts.release("slow")
    until(lambda: hosts.status(id_) == "InProgress")
    until(lambda: "[stdout]starting" in jonas.get(f"deployments/{id_}").words)
    answer = jonas.post(f"deployments/{id_}/stop", {"how": "leave"})
    assert "The deployment is stopping." in answer.words
    hosts.let_go("slow")
    until(lambda: hosts.status(id_) == "Stopped")
    assert "rollbackInfo" not in live.client("codedeploy").get_deployment(deploymentId=id_)["deploymentInfo"]
    again = jonas.post(f"deployments/{id_}/stop", {"how": "leave"})
    assert again.status == 400
    assert "That did not work" in again.words


def test_bad_addresses_are_told_in_words(jonas, hosts):
    assert jonas.get("deployments/d-AAAAAAAAA").status == 404
    assert jonas.get("deployments/nonsense").status == 400
    id_ = re.search(r"/console/deployments/(d-[A-Z0-9]+)", jonas.get("deployments").text)[1]
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
)
def test_the_bar_is_never_longer_than_the_fleet(overview, required, healthy, going):
    total = sum(overview.values())
    shown = budget(
        {
            "status": "InProgress" if going else "Failed",
            "deploymentOverview": overview,
            "healthOverview": {"required": required, "healthy": healthy, "hosts": total},
        }
    )
    if not total:
        assert shown is None
        return
    at = 0.0
    for segment in shown["segments"]:
        assert segment["x"] >= at - 0.25
        assert segment["width"] > 0
        at = segment["x"] + segment["width"]
    assert at <= 101
    assert shown["floor"] is None or 0 <= shown["floor"] <= 100
    assert shown["enough"] == (healthy >= required)
