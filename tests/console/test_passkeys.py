"""Passkeys as their users meet them: in a real browser with its virtual authenticator, and the pages by hand."""

from __future__ import annotations

import html
import json
import re
import urllib.parse
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from penstock_authenticator import Authenticator
from penstock_browser import Sight, browser  # noqa: F401 - the fixture
from penstock_console import PASSWORD, Visitor, user
from penstock_live import live  # noqa: F401 - the fixture
from penstock_waiting import until

from penstock.pools import PASSKEYS
from penstock.wire.errors import Throttled

ACCOUNT = "111111111111"


@pytest.fixture(scope="module")
def here(live):  # noqa: F811
    """The server by the name at which its passkeys work."""
    port = urllib.parse.urlsplit(live.url).port
    return SimpleNamespace(url=f"http://localhost:{port}", live=live)


@contextmanager
def sight(browser, where, **options):  # noqa: F811
    """A page with an authenticator of its own, whose user is there and says yes; nothing may go wrong in it."""
    found = Sight(browser, where.url)
    client = found.context.new_cdp_session(found.page)
    client.send("WebAuthn.enable")
    how = {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
        "isUserVerified": True, "automaticPresenceSimulation": True,
    }  # fmt: skip
    made = client.send("WebAuthn.addVirtualAuthenticator", {"options": how | options})["authenticatorId"]
    found.send = lambda name, **more: client.send(f"WebAuthn.{name}", {"authenticatorId": made, **more})
    yield found
    found.context.close()
    assert [one for one in found.wrong if "status of 403" not in one] == []


def add(found, name):
    """Add a passkey under Security, by hand."""
    page = found.go("security")
    page.get_by_text("Add a passkey").click()
    page.get_by_label("Name of the device").fill(name)
    page.locator("#add-passkey").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Make the passkey").click()


def sign_in(found, name):
    page = found.go("login?next=/console/security")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    return page


def arrive(page, path):
    """Wait for a page, whose address also stands in the query of the sign-in page."""
    page.wait_for_url(lambda url: urllib.parse.urlsplit(url).path == f"/console/{path}")


def acts(live, name):  # noqa: F811
    """The newest records of who signed in, or of an operation."""
    looked = {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": name}]}
    return [json.loads(one["CloudTrailEvent"]) for one in live.client("cloudtrail").lookup_events(**looked)["Events"]]


@pytest.mark.needs("chromium")
def test_a_passkey_is_added_shown_after_the_password_and_in_its_place_and_removed(here, browser):  # noqa: F811
    user(here.live, "paula", None)
    with sight(browser, here) as found:
        page = sign_in(found, "paula")
        arrive(page, "security")
        add(found, "laptop")
        page.get_by_role("heading", name="Recovery codes").wait_for()
        (kept,) = found.send("getCredentials")["credentials"]
        assert (kept["rpId"], kept["isResidentCredential"]) == ("localhost", True)
        page.get_by_role("link", name="I have kept them").click()
        page.get_by_role("row", name="laptop").get_by_text("Never").wait_for()
        add(found, "again")  # which this authenticator has one of already
        page.get_by_text("This device has a passkey of yours").wait_for()
        # After the password.
        found.context.clear_cookies()
        page = sign_in(found, "paula")
        page.get_by_role("button", name="Show your passkey").click()
        arrive(page, "security")
        page.get_by_role("row", name="laptop").wait_for()
        assert page.get_by_role("row", name="laptop").get_by_text("Never").count() == 0
        # In its place: without a name, and without being asked for anything.
        found.context.clear_cookies()
        page = found.go("login?next=/console/security")
        page.get_by_role("link", name="Sign in with a passkey").click()
        arrive(page, "security")
        # Somebody who says no is told what there is, and asked again.
        found.context.clear_cookies()
        found.send("setUserVerified", isUserVerified=False)
        page = found.go("login/passkey?next=/console/security")
        page.get_by_text("No passkey was shown").wait_for()
        found.send("setUserVerified", isUserVerified=True)
        page.get_by_role("button", name="Show the passkey").click()
        arrive(page, "security")
        page.get_by_role("button", name="Remove the passkey laptop").click()
        page.get_by_role("dialog").get_by_label("Your password").fill(PASSWORD)
        page.get_by_role("button", name="Remove it").click()
        page.get_by_text("The passkey signs you in no more").wait_for()
        found.context.clear_cookies()
        page = found.go("login/passkey")
        page.get_by_text("No user here has this passkey any more").wait_for()
        page = sign_in(found, "paula")
        arrive(page, "security")
    until(lambda: acts(here.live, "RegisterPasskey"))
    one = acts(here.live, "RegisterPasskey")[-1]
    assert (one["userIdentity"]["userName"], one["requestParameters"]["name"]) == ("paula", "laptop")
    serial = one["responseElements"]["serialNumber"]
    assert serial.startswith(f"arn:aws:iam::{ACCOUNT}:u2f/user/paula/laptop-")

    def shown():
        return [one["additionalEventData"].get("MFAIdentifier") for one in acts(here.live, "ConsoleLogin")].count(
            serial
        )

    until(lambda: shown() == 3)


@pytest.mark.needs("chromium")
def test_a_browser_shows_no_passkey_at_another_address(here, browser):  # noqa: F811
    user(here.live, "otis", None)
    with sight(browser, here) as found:
        page = sign_in(found, "otis")
        arrive(page, "security")
        add(found, "laptop")
        page.get_by_role("heading", name="Recovery codes").wait_for()
        found.context.clear_cookies()
        found.url = here.live.url  # 127.0.0.1
        page = sign_in(found, "otis")
        page.get_by_text(f"Your passkeys work at {here.url} only.").wait_for()
        assert page.get_by_label("Recovery code").is_visible()
        page = found.go("login")
        page.get_by_role("link", name="Sign in with a passkey").click()
        arrive(page, "pipelines")
        assert page.url.startswith(here.url)


# --- by hand ----------------------------------------------------------------------------------------------------------


def options(answer) -> str:
    return html.unescape(re.search(r'data-options="([^"]*)"', answer.text)[1])


def field(answer, name: str) -> str:
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', answer.text)[1])


def begun(visitor, name="phone", password=PASSWORD):
    token = visitor.get("security").token
    return visitor.post("security/passkeys", {"name": name, "password": password}, token=token)


def registered(visitor, page, key, name="phone", **changed):
    fields = {"name": name, "challenge": field(page, "challenge"), "passkey": json.dumps(key.make(options(page)))}
    return visitor.post("security/passkeys/register", fields | changed, token=page.token)


@pytest.fixture(scope="module")
def vera(here):
    """Somebody with a passkey, and it."""
    user(here.live, "vera", None)
    visitor, key = Visitor(here, "vera"), Authenticator(here.url)
    assert "Recovery codes" in registered(visitor, begun(visitor), key).visible_text
    return key


def test_adding_one_takes_the_password_and_an_answer(here):
    user(here.live, "otto", None)
    visitor, key = Visitor(here, "otto"), Authenticator(here.url)
    assert "That is not your password." in begun(visitor, password="wrong").visible_text
    assert "Type a name" in begun(visitor, name=" ").visible_text
    page = begun(visitor, "my phone")
    assert field(page, "name") == "my-phone"
    without = registered(visitor, page, key, passkey="")
    assert "by JavaScript only" in without.visible_text
    # Who has not shown the password gets no challenge, whatever else is sent.
    unfit = (
        without,
        registered(visitor, page, key, passkey="{}"),
        registered(visitor, page, key, challenge="x"),
        registered(visitor, page, key, name="<b>"),
    )
    for one, why in zip(unfit[1:], ("was not taken", "started elsewhere", "failed to satisfy constraint"), strict=True):
        assert why in one.visible_text
    assert not any("data-options" in one.text or 'name="challenge"' in one.text for one in unfit)
    assert "Recovery codes" in registered(visitor, page, key).visible_text
    other = registered(visitor, begun(visitor, "second"), Authenticator(here.url), "second")
    assert "The passkey signs you in from now on." in other.visible_text
    serial = field(visitor.get("security"), "serial")
    wrong = visitor.post("security/passkeys/remove", {"serial": serial, "password": "x"}, token=other.token)
    assert "That is not your password." in wrong.visible_text


def test_an_answer_is_of_one_browser_and_of_one_time(here, vera):
    mine, other = Visitor(here), Visitor(here)
    page = mine.get("login/passkey?next=/console/security")
    other.get("login/passkey")
    answer = json.dumps(vera.show(options(page)))
    where = "login/passkey?next=/console/security"
    crossed = mine.post(where, {"passkey": answer}, token=False, Origin="https://evil.example")
    assert (crossed.status, "Sign in from this console" in crossed.text) == (403, True)
    assert "was not taken" in other.post(where, {"passkey": answer}, token=False).visible_text
    assert "started elsewhere" in Visitor(here).post(where, {"passkey": answer}, token=False).visible_text
    cookie = next(one for one in mine.jar if one.name == "penstock-passkey")
    assert (cookie.has_nonstandard_attr("HttpOnly"), cookie.path) == (True, "/console/")
    assert "by JavaScript only" in Visitor(here).post(where, {}, token=False).visible_text
    entered = mine.post(where, {"passkey": answer}, token=False)
    assert entered.url.endswith("/console/security")
    assert "penstock-passkey" not in {one.name for one in mine.jar}
    mine.jar.set_cookie(cookie)
    assert "given before" in mine.post(where, {"passkey": answer}, token=False).visible_text


def test_the_second_step_takes_a_passkey_or_a_recovery_code(here, vera):
    visitor = Visitor(here)
    page = visitor.post("login?next=/console/security", {"user": "vera", "password": PASSWORD}, token=False)
    step, where = field(page, "step"), "login/factor?next=/console/security"
    assert "Recovery code" in page.visible_text
    assert "authenticator app" not in page.visible_text
    without = visitor.post(where, {"step": step, "passkey": ""}, token=False)
    assert "by JavaScript only" in without.visible_text
    wrong = visitor.post(where, {"step": step, "passkey": "{}", "challenge": field(page, "challenge")}, token=False)
    assert "was not taken" in wrong.visible_text
    answer = {"passkey": json.dumps(vera.show(options(wrong))), "challenge": field(wrong, "challenge")}
    assert visitor.post(where, {"step": step, **answer}, token=False).url.endswith("/console/security")


def test_a_copy_is_on_record_and_shown_to_its_user(here, vera):
    first, visitor = Visitor(here), Visitor(here)
    shown = {"passkey": json.dumps(vera.show(options(first.get("login/passkey"))))}
    assert "was not taken" not in first.post("login/passkey", shown, token=False).visible_text
    before, vera.count = vera.count, 0
    page = visitor.get("login/passkey")
    said = visitor.post("login/passkey", {"passkey": json.dumps(vera.show(options(page)))}, token=False)
    assert "signed more often than it says now" in said.visible_text
    vera.count = before
    page = visitor.get("login/passkey?next=/console/security")
    entered = visitor.post(
        "login/passkey?next=/console/security", {"passkey": json.dumps(vera.show(options(page)))}, token=False
    )
    assert "It may have been copied" in entered.visible_text

    def recorded():
        return [one for one in acts(here.live, "ConsoleLogin") if "may have been copied" in one.get("errorMessage", "")]

    until(recorded)
    assert ":u2f/user/vera/phone-" in recorded()[0]["additionalEventData"]["MFAIdentifier"]


def test_elsewhere_the_pages_say_where_passkeys_work(here, vera, monkeypatch):
    visitor = Visitor(here.live)  # at 127.0.0.1
    assert (
        visitor.leads_to("login/passkey?next=/console/builds")
        == f"{here.url}/console/login/passkey?next=/console/builds"
    )
    user(here.live, "ossian", None)
    security = Visitor(here.live, "ossian").get("security")
    assert f"Passkeys work at {here.url} only." in security.visible_text
    monkeypatch.setattr(here.live.app, "public_url", "http://cd.example.com")
    page = Visitor(here.live).get("login")
    assert "with a passkey" not in page.visible_text
    assert "over https only" in Visitor(here.live).get("login/passkey").visible_text
    assert "over https only" in Visitor(here.live, "ossian").get("security").visible_text
    step = Visitor(here.live).post("login", {"user": "vera", "password": PASSWORD}, token=False)
    assert "over https only" in step.visible_text


def test_too_many_at_once_are_asked_to_try_again(here, vera, monkeypatch):
    async def full(*_, **__):
        raise Throttled

    visitor = Visitor(here)
    page = visitor.get("login/passkey")
    answer = json.dumps(vera.show(options(page)))
    second = Visitor(here)
    step = second.post("login", {"user": "vera", "password": PASSWORD}, token=False)
    monkeypatch.setattr(PASSKEYS, "run", full)
    said = visitor.post("login/passkey", {"passkey": answer}, token=False)
    fields = {"step": field(step, "step"), "challenge": field(step, "challenge"), "passkey": answer}
    for one in (said, second.post("login/factor", fields, token=False)):
        assert "Try again in a few seconds." in one.visible_text
