"""Single sign-on as a person sees it: a browser goes to an issuer and comes back."""

from __future__ import annotations

import json
import re
import types

import pytest
from penstock_browser import browser  # noqa: F401 - the fixture
from penstock_console import Visitor, allow
from penstock_issuer import issuer_at
from penstock_live import live_server

from penstock.console.forms import own_path
from penstock.egress import EgressSettings
from penstock.identity.settings import IdentitySettings
from penstock.webpages.addresses import is_at, place
from penstock.wire.errors import Throttled

ACCOUNT = "111111111111"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server and its issuer; two roles trust the group `team`, one the subject u-1 alone."""
    folder = tmp_path_factory.mktemp("sso")
    with issuer_at(folder) as issuer:
        settings = (
            EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=str(issuer.ca_file)),
            IdentitySettings(sign_in_issuer=issuer.url, sign_in_client="console", sign_in_label="Acme"),
        )
        with live_server(folder / "data", components=settings) as live:
            iam = live.client("iam")
            arn = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["console"])
            for name, claim, value in (
                ("reader", "groups", "team"),
                ("deployer", "groups", "team"),
                ("own", "sub", "u-1"),
            ):
                asked = {"ForAnyValue:StringEquals": {f"{issuer.provider}:{claim}": value}}
                statement = {
                    "Effect": "Allow", "Principal": {"Federated": arn["OpenIDConnectProviderArn"]},
                    "Action": "sts:AssumeRoleWithWebIdentity", "Condition": asked,
                }  # fmt: skip
                document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
                iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
                iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(allow("codepipeline:*")))
            yield live, issuer


@pytest.mark.needs("chromium")
def test_a_person_chooses_a_role_and_signs_out_everywhere(served, browser):  # noqa: F811
    live, issuer = served
    issuer.person = {"sub": "u-7", "groups": ["team"]}
    context = browser.new_context(ignore_https_errors=True)  # the issuer's authority is of this test
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{live.url}/console/security")
    page.get_by_role("link", name="Sign in with Acme").click()
    page.get_by_role("link", name="Let me in").click()
    page.get_by_role("button", name="deployer").click()
    page.wait_for_url("**/console/security")
    assert page.get_by_text("How u-7 signs in").is_visible()
    assert page.get_by_text("This browser").is_visible()
    assert page.get_by_role("heading", name="Password").count() == 0
    (event,) = live.run(entered(live))
    assert event.endswith(":assumed-role/deployer/u-7")
    page.get_by_role("button", name="Sign out everywhere").click()
    page.wait_for_url("**/console/login?out")
    page.goto(f"{live.url}/console/security")
    page.wait_for_url("**/console/login**")
    context.close()


async def entered(live) -> list[str]:
    """The ARNs of who is signed in by the issuer."""
    from penstock.identity import sign_in_records

    rows = await live.app.store.read(lambda conn: conn.execute(sign_in_records.console_sessions.select()).all())
    credential = live.app.identity.credential
    return [(await credential(row.access_key, row.token)).session.arn for row in rows if row.token]


def by_hand(live, issuer, **person) -> tuple[Visitor, str]:
    """A browser that has been let in by the issuer, and the path back with what it was given."""
    issuer.person = person
    visitor = Visitor(live)
    address = visitor.leads_to("sso?next=/console/security")
    return visitor, issuer.let_in(address).partition("/console/")[2]


def test_with_one_role_nobody_is_asked(served):
    live, issuer = served
    visitor, back = by_hand(live, issuer, sub="u-1")
    names = {cookie.name: cookie for cookie in visitor.jar}
    assert names["penstock-sso"].has_nonstandard_attr("HttpOnly")
    assert visitor.get(back).url.endswith("/console/security")
    assert {cookie.name for cookie in visitor.jar} == {"penstock-session"}
    assert "A policy does not let you" not in visitor.get("security").visible_text
    again = visitor.get(back)  # the code, and what the browser held, were good once
    assert "not begun in this browser" in again.visible_text


def test_an_operator_sees_and_ends_the_session_of_whoever_came_by_an_issuer(served):
    live, issuer = served
    penstock = live.client("penstock")
    before = {one["sessionId"] for one in penstock.list_console_sessions(everybody=True)["sessions"]}
    visitor, back = by_hand(live, issuer, sub="u-1")
    assert visitor.get(back).url.endswith("/console/security")
    found = penstock.list_console_sessions(everybody=True)["sessions"]
    (mine,) = [one for one in found if one["sessionId"] not in before]
    assert mine["userName"] == "u-1"
    assert mine["principalArn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/own/u-1"
    penstock.end_console_sessions(everybody=True, sessionIds=[mine["sessionId"]])
    assert "/console/login" in visitor.get("security").url
    assert mine not in penstock.list_console_sessions(everybody=True)["sessions"]
    with pytest.raises(penstock.exceptions.ValidationException, match="exclude each other"):
        penstock.end_console_sessions(everybody=True, userName="u-1")


def test_who_may_not_is_told_why_on_the_sign_in_page(served):
    live, issuer = served
    visitor, back = by_hand(live, issuer, sub="u-9")
    refused = visitor.get(back)
    assert refused.status == 403
    assert "Acme knows you, and no role here lets you in." in refused.visible_text
    assert "/console/login" in visitor.get("security").url


def test_a_way_back_of_another_browser_is_refused(served):
    """Nobody is signed in as somebody else by a link."""
    live, issuer = served
    _, back = by_hand(live, issuer, sub="u-1")
    assert "not begun in this browser" in Visitor(live).get(back).visible_text


def test_the_choice_is_a_form_of_this_console(served):
    live, issuer = served
    visitor, back = by_hand(live, issuer, sub="u-8", groups=["team"])
    page = visitor.get(back)
    assert "Choose a role" in page.visible_text
    offer = re.search(r'name="offer" value="([^"]+)"', page.text)[1]
    fields = {"offer": offer, "role": f"arn:aws:iam::{ACCOUNT}:role/reader", "target": "https://bad.example/"}
    assert visitor.post("sso/role", fields, token=False, Origin="https://bad.example").status == 403
    other = visitor.post("sso/role", fields | {"role": f"arn:aws:iam::{ACCOUNT}:role/own"}, token=False)
    assert "The role does not let you in" in other.visible_text
    visitor, back = by_hand(live, issuer, sub="u-8", groups=["team"])
    offer = re.search(r'name="offer" value="([^"]+)"', visitor.get(back).text)[1]
    assert visitor.post("sso/role", fields | {"offer": offer}, token=False).url.endswith("/console/pipelines")
    assert "signed in as u-8" in visitor.get("pipelines").text


def test_the_way_begins_at_the_public_address(served):
    """The issuer sends people back there, and only the cookie of that address comes with them."""
    live, _ = served
    there = live.url.replace("127.0.0.1", "localhost")
    visitor = Visitor(live)
    visitor.live = types.SimpleNamespace(url=there)
    assert visitor.leads_to("sso?next=/console/security") == f"{live.url}/console/sso?next=/console/security"


@pytest.mark.parametrize(
    ("said", "public"),
    [("ci.example", "https://ci.example"), ("ci.example", "https://CI.example:443"), ("[::1]:81", "http://[::1]:81")],
)
def test_an_address_is_the_same_with_the_port_that_its_scheme_has_anyway(said, public):
    assert is_at(said, public)
    assert place("//ci.example:bad") == ("", None)


def test_too_many_at_once_are_asked_to_try_again(served, monkeypatch):
    live, issuer = served

    async def full(*_):
        raise Throttled

    visitor, back = by_hand(live, issuer, sub="u-1")
    monkeypatch.setattr(live.app.identity.issuers, "fetch", full)
    monkeypatch.setattr(live.app.identity.single_sign_on, "_discovered", {})
    for path in ("sso", back):
        page = visitor.get(path)
        assert page.status in (403, 503)
        assert "Too many people are signing in" in page.visible_text


def test_a_way_on_that_fills_a_cookie_is_not_kept():
    assert own_path("/console/" + "x" * 1015) != "/console/"
    assert own_path("/console/" + "x" * 1016) == "/console/"
