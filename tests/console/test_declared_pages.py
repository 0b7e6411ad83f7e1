"""Pages that components declare, and lists, whatever is in them."""

from __future__ import annotations

import contextlib
import re
from types import SimpleNamespace
from typing import ClassVar

import httpx
import pytest

from penstock import console
from penstock.app import compose
from penstock.application import Settings
from penstock.component import Component, operations_of
from penstock.console.pages import builds, deployments, pipelines
from penstock.console.web import Console
from penstock.webpages.listing import Cell, Column, Empty, Listing, Row, following
from penstock.webpages.page import Group, Nav, Page
from penstock.webpages.view import Visitor
from penstock.wire.call import PrincipalKind, Session
from penstock.wire.errors import AccessDenied
from penstock.wire.services import Service

ME = Session(account="1" * 12, kind=PrincipalKind.USER, arn="arn:aws:iam::111111111111:user/me", principal_id="AIDA")


class _Identity:
    """Lets everybody do what it is told to."""

    def __init__(self, *allowed):
        self.allowed = allowed

    async def authorize(self, call, action, resources):
        if action not in self.allowed:
            raise AccessDenied(f"not authorized to perform: {action}")


@contextlib.asynccontextmanager
async def _browser(store, tmp_path, monkeypatch, *components, allowed=()):
    """A browser whose user is signed in to a console with these components."""

    async def me(_console, _request):
        return Visitor(session=ME, user_name="me", token="the token", session_id="s")

    monkeypatch.setattr(Console, "visitor_of", me)
    settings = Settings(data_dir=tmp_path / "data", master_key_file=tmp_path / "key")
    identity = Component(name="identity", state=None, identity=_Identity(*allowed))
    every = [identity, console.component, *components]
    made = [one if callable(one) else (lambda _app, one=one: one) for one in every]
    async with compose(settings, components=made, store=store) as app:
        transport = httpx.ASGITransport(app=app.mounts["/console/"])
        async with httpx.AsyncClient(transport=transport, base_url="http://here/console/") as browser:
            yield browser


def _things(tmp_path, did):
    folder = tmp_path / "things"
    folder.mkdir(exist_ok=True)
    (folder / "thing.html").write_text(
        '{% extends "base.html" %}{% block main %}{% include "things/_name.html" %}{% endblock %}'
    )
    (folder / "_name.html").write_text("<h1>The thing {{ name }}</h1>")

    async def one(view):
        return {"name": view.path["name"]}

    async def fixed(view):
        return view.back("things", "of-old")

    async def paint(view):
        did.append((view.path["name"], dict(view.form)))
        return view.back("things", view.path["name"])

    async def every(view):
        await view.call("sts", "GetCallerIdentity")
        return Listing(
            lede="One thing <i>.",
            columns=(Column("Thing"), Column("Size", "num"), Column("Who", "by")),
            rows=[Row((Cell(text="a<b", href="/console/things/a%3Cb"), 0, None))] if "full" in view.query else (),
            empty=Empty(icon="box", title="No things yet", text="Make one:", command="make <thing>"),
            behind="GetCallerIdentity",
            command="aws sts get-caller-identity",
            next_page=following("t/1", of="x y"),
        )

    return Component(
        name="things",
        state=None,
        services=(Service("sts"),),
        operations=(_operations(),),
        pages=(
            Page(path="things/{name}", load=one, template="things/thing.html", forms={"paint": paint}),
            Page(path="things/new", load=fixed),
            Page(
                path="things",
                title="Things",
                load=every,
                nav=Nav(group=Group.WATCH, service="sts", operation="GetCallerIdentity", key="t"),
                events="things.",
            ),
        ),
        templates=folder,
    )


def _operations():
    async def get(state, call, input):
        return {}

    return SimpleNamespace(__name__=get.__module__, get=operations_of("sts")("GetCallerIdentity")(get))


async def test_a_component_has_pages_templates_and_forms_of_its_own(store, tmp_path, monkeypatch):
    did = []
    things = _things(tmp_path, did)
    async with _browser(store, tmp_path, monkeypatch, things, allowed=["sts:GetCallerIdentity"]) as browser:
        page = await browser.get("things/a%3Cb")
        assert "<h1>The thing a&lt;b</h1>" in page.text  # what a component's template prints is escaped too
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await browser.get("things/new")).headers[
            "location"
        ] == "/console/things/of-old"  # not a thing named new
        painted = await browser.post("things/red/paint", data={"token": "the token", "colour": "blue"})
        assert (painted.status_code, painted.headers["location"]) == (303, "/console/things/red")
        assert did == [("red", {"colour": "blue"})]
        for wrong in ({"colour": "blue"}, {"token": "another", "colour": "blue"}):
            assert (await browser.post("things/red/paint", data=wrong)).status_code == 403
        elsewhere = {"origin": "https://bad.example"}
        assert (
            await browser.post("things/red/paint", data={"token": "the token"}, headers=elsewhere)
        ).status_code == 403
        assert len(did) == 1
        # Its address shows nothing, and a page without forms takes none.
        assert (await browser.get("things/red/paint")).status_code == 404
        assert (await browser.post("things", data={"token": "the token"})).status_code == 404


async def test_a_list_is_shown_to_those_whom_policy_lets_see_it(store, tmp_path, monkeypatch):
    things = _things(tmp_path, [])
    async with _browser(store, tmp_path, monkeypatch, things, allowed=["sts:GetCallerIdentity"]) as browser:
        assert (await browser.get("")).headers["location"] == "/console/things"  # the only list that it may see
        assert '<a href="/console/things">To the things</a>' in (await browser.get("nowhere")).text
        empty = (await browser.get("things")).text
        assert '<a href="/console/things" data-key="t" aria-current="page">Things</a>' in empty
        assert "<h2>Watch</h2>" in empty
        assert "<h2>Deliver</h2>" not in empty
        assert "<kbd>t</kbd></dt><dd>Things</dd>" in empty
        assert "No things yet" in empty
        assert 'data-copy="make &lt;thing&gt;"' in empty
        full = (await browser.get("things?full=1")).text
        assert 'data-live="/console/things/live?full=1"' in full
        assert "One thing &lt;i&gt;." in full
        assert '<th scope="row"><a href="/console/things/a%3Cb">a&lt;b</a></th>' in full
        assert '<td class="num">0</td>' in full
        assert '<td class="by"></td>' in full
        assert 'href="?of=x+y&amp;from=t%2F1">More</a>' in full
    async with _browser(store, tmp_path, monkeypatch, _things(tmp_path, [])) as browser:
        assert (await browser.get("things")).status_code == 403
        elsewhere = await browser.get("nowhere")
        assert elsewhere.status_code == 404
        # Nothing leads to what would be refused.
        assert (
            set(re.findall(r'<a [^>]*href="(/console/[^"]*)"', elsewhere.text)) - {"/console/", "/console/security"}
            == set()
        )


async def test_a_page_is_declared_once(store, tmp_path, monkeypatch):
    twice = Component(name="twice", state=None, pages=(Page(path="things", load=_things),))
    with pytest.raises(ValueError, match="twice: the console has a page 'things' already"):
        async with _browser(store, tmp_path, monkeypatch, _things(tmp_path, []), twice):
            pass


# --- what there is more of than fits ------------------------------------------------------------------------------------


class _View:
    """A visitor of lists that are longer than a page."""

    query: ClassVar = {}

    def __init__(self, **answers):
        self.answers = answers

    def listed_from(self):
        return {}

    async def call(self, service, operation, **input):
        answer = self.answers[operation]
        return answer(**input) if callable(answer) else answer

    async def allowed(self, service, operation, **input):
        return self.answers.get(operation)


IDS = [f"shop:{number}" for number in range(100)]
BUILDS = {
    "ListBuilds": {"ids": IDS, "nextToken": "older/1"},
    "BatchGetBuilds": lambda ids: {"builds": [{"id": id, "projectName": id, "buildStatus": "FAILED"} for id in ids]},
}
DEPLOYMENTS = {
    "ListDeployments": {"deployments": IDS, "nextToken": "older/1"},
    "BatchGetDeployments": lambda deploymentIds: {
        "deploymentsInfo": [
            {"deploymentId": id, "applicationName": id, "deploymentGroupName": "g", "status": "Failed"}
            for id in deploymentIds
        ]
    },
}
PIPELINES = {
    "ListPipelines": lambda maxResults: {
        "pipelines": [{"name": f"p-{number:02}"} for number in range(maxResults)],
        "nextToken": "older/1",
    },
    "GetPipelineState": {"stageStates": []},
    "ListPipelineExecutions": {"pipelineExecutionSummaries": []},
}


@pytest.mark.parametrize(
    ("module", "answers", "names"),
    [(builds, BUILDS, IDS), (deployments, DEPLOYMENTS, IDS), (pipelines, PIPELINES, [f"p-{n:02}" for n in range(40)])],
)
async def test_a_list_shows_all_of_its_page_and_leads_to_the_next(module, answers, names):
    listing = await module.PAGE.load(_View(**answers))
    got = [row.cells[0].text.rstrip("\N{NO-BREAK SPACE}") or row.cells[0].code for row in listing.rows]
    assert got == names
    assert listing.next_page == "from=older%2F1"
