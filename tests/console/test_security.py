"""The page on which people look after their own sign-in, and what operators do with sessions."""

from __future__ import annotations

import base64
import html
import re
import time
import urllib.parse

import botocore.exceptions
import pytest
from penstock_console import PASSWORD, Visitor, allow, user
from penstock_live import live  # noqa: F401 - the fixture

from penstock.identity import totp
from penstock.identity.pages import browser_of
from penstock.wire.errors import AccessDenied

NEW = "another horse 2"


@pytest.fixture(scope="module")
def people(live):  # noqa: F811
    """Somebody without any policy, as most are who only approve; and somebody whom a policy keeps from it."""
    user(live, "ines", None)
    denied = {"Effect": "Deny", "Action": ["iam:ChangePassword", "penstock:EndConsoleSessions"], "Resource": "*"}
    user(live, "kiosk", {"Version": "2012-10-17", "Statement": [denied]})


def change(visitor: Visitor, old: str, new: str, again: str | None = None):
    fields = {"old": old, "new": new, "again": new if again is None else again}
    return visitor.post("security/password", fields, token=visitor.get("security").token)


def test_a_password_is_changed_and_other_sessions_end(live, people):  # noqa: F811
    here, elsewhere = Visitor(live, "ines"), Visitor(live, "ines")
    assert "Type your current password." in change(here, "", NEW).visible_text
    assert "The two new passwords differ." in change(here, PASSWORD, NEW, "x").visible_text
    assert "minimum length of 8" in change(here, PASSWORD, "short").visible_text
    assert "The old password was incorrect." in change(here, "wrong", NEW).visible_text
    assert elsewhere.get("security").url.endswith("/console/security")
    done = change(here, PASSWORD, NEW)
    assert "The password is changed." in done.visible_text
    assert here.get("security").url.endswith("/console/security")
    assert "/console/login" in elsewhere.get("security").url
    assert Visitor(live, "ines", NEW)
    change(here, NEW, PASSWORD)


def test_wrong_old_passwords_are_counted_as_at_the_sign_in_page(live, people):  # noqa: F811
    user(live, "guessed", None)
    visitor = Visitor(live, "guessed")
    for _ in range(5):
        refused = change(visitor, "wrong", NEW)
    assert "last try before a pause of 5 min" in refused.visible_text
    assert "Too many tries" in change(visitor, PASSWORD, NEW).visible_text


def test_sessions_are_listed_and_ended(live, people):  # noqa: F811
    here, there = Visitor(live, "ines"), Visitor(live, "ines")
    page = here.get("security", **{"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/150.0"})
    assert page.visible_text.count("This browser") == 1
    handles = set(re.findall(r'name="session" value="([0-9a-f]{64})"', page.text))
    mine = {one["sessionId"] for one in sessions(live, "ines")} - handles
    assert len(mine) == 1
    for handle in handles:
        said = here.post("security/sessions", {"session": handle}, token=page.token)
    assert "Signed out there." in said.visible_text
    assert "/console/login" in there.get("security").url
    other = Visitor(live, "ines")
    out = here.post("security/sessions", {}, token=page.token)
    assert "You are signed out." in out.visible_text
    assert "/console/login" in other.get("security").url
    assert sessions(live, "ines") == []


def sessions(live, name: str):  # noqa: F811
    return live.client("penstock").list_console_sessions(userName=name)["sessions"]


def test_an_operator_sees_and_ends_the_sessions_of_a_user(live, people):  # noqa: F811
    visitor, penstock = Visitor(live, "ines"), live.client("penstock")
    (one,) = sessions(live, "ines")
    assert one["sourceAddress"] == "127.0.0.1"
    assert one["userAgent"].startswith("Python-urllib/")
    assert 0 < (one["endTime"] - one["lastRequestTime"]).total_seconds() <= 3600
    penstock.end_console_sessions(userName="ines", sessionIds=["nothing"])
    assert visitor.get("security").url.endswith("/console/security")
    penstock.end_console_sessions(userName="ines")
    assert "/console/login" in visitor.get("security").url
    with pytest.raises(penstock.exceptions.NoSuchUserException):
        penstock.list_console_sessions(userName="nobody-here")


def test_a_policy_may_keep_somebody_from_it(live, people):  # noqa: F811
    visitor = Visitor(live, "kiosk")
    page = visitor.get("security")
    assert "A policy does not let you change your password." in page.visible_text
    for where, fields in (("password", {"old": PASSWORD, "new": NEW, "again": NEW}), ("sessions", {})):
        assert "explicit deny" in visitor.post(f"security/{where}", fields, token=page.token).visible_text
    assert Visitor(live, "kiosk").get("security").status == 200


def test_an_access_key_looks_after_nobodys_sign_in(live, people):  # noqa: F811
    """It may be stolen, and must not become a session or keep its owner out."""
    key = live.client("iam").create_access_key(UserName="ines")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: iam:ChangePassword"):
        live.client("iam", keys=keys).change_password(OldPassword=PASSWORD, NewPassword=NEW)
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: penstock:EndConsole"):
        live.client("penstock", keys=keys).end_console_sessions(userName="ines")


def test_everybodys_sessions_are_for_operators(live, people):  # noqa: F811
    """Who may see those of a user, or their own, may not see all."""
    user(live, "clerk", allow("penstock:*", resource="arn:aws:iam::111111111111:user/*"))
    key = live.client("iam").create_access_key(UserName="clerk")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    clerk = live.client("penstock", keys=keys)
    assert clerk.list_console_sessions(userName="clerk")["sessions"] == []
    for act in (clerk.list_console_sessions, clerk.end_console_sessions):
        with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform: penstock:"):
            act(everybody=True)


def test_in_the_console_nobody_looks_after_the_sign_in_of_others(live, people):  # noqa: F811
    visitor = Visitor(live, "ines")
    Visitor(live, "kiosk")
    (other,) = sessions(live, "kiosk")[-1:]
    visitor.post("security/sessions", {"session": other["sessionId"]}, token=visitor.get("security").token)
    assert other["sessionId"] in {one["sessionId"] for one in sessions(live, "kiosk")}


def test_a_user_who_is_allowed_changes_the_password_by_a_key_as_on_aws(live, people):  # noqa: F811
    user(live, "program", allow("iam:ChangePassword", resource="*"))
    key = live.client("iam").create_access_key(UserName="program")["AccessKey"]
    iam = live.client(
        "iam", keys={"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    )
    with pytest.raises(botocore.exceptions.ClientError, match="The old password was incorrect.") as wrong:
        iam.change_password(OldPassword="wrong", NewPassword=NEW)
    assert wrong.value.response["Error"]["Code"] == "AccessDenied"
    with pytest.raises(iam.exceptions.PasswordPolicyViolationException):
        iam.change_password(OldPassword=PASSWORD, NewPassword="short")
    iam.change_password(OldPassword=PASSWORD, NewPassword=NEW)
    assert urllib.parse.urlsplit(Visitor(live, "program", NEW).get("security").url).path == "/console/security"


# --- second factors ---------------------------------------------------------------------------------------------------


def code(seed: str, steps: int) -> str:
    """What an authenticator app shows, so many half minutes from now."""
    return totp.code_of(base64.b32decode(seed), int(time.time() * 1000) // totp.STEP_MS + steps)


def field(answer, name: str) -> str:
    return html.unescape(re.search(rf'name="{name}" value="([^"]*)"', answer.text)[1])


def second_step(live, name: str):  # noqa: F811
    """A browser that has shown the password, and the page that asks for more."""
    visitor = Visitor(live)
    page = visitor.post("login?next=/console/security", {"user": name, "password": PASSWORD}, token=False)
    assert "Second factor" in page.visible_text
    assert "/console/login" in visitor.get("security").url  # not signed in yet
    return visitor, field(page, "step")


def test_an_app_is_set_up_asked_for_and_removed(live):  # noqa: F811
    user(live, "mara", None)
    here, elsewhere = Visitor(live, "mara"), Visitor(live, "mara")
    token = here.get("security").token
    wrong = here.post("security/apps", {"name": "phone", "password": "x"}, token=token)
    assert "That is not your password." in wrong.visible_text
    for _ in range(2):  # who leaves the page begins again
        page = here.post("security/apps", {"name": "my phone", "password": PASSWORD}, token=token)
    serial, seed = field(page, "serial"), field(page, "seed")
    assert serial.endswith(":mfa/mara/my-phone")
    assert '<path d="M' in page.text
    shown = {"serial": serial, "seed": seed}
    again = here.post("security/apps/enable", {**shown, "code1": "000000", "code2": "12"}, token=token)
    assert "not two codes in a row" in again.visible_text
    assert field(again, "seed") == seed
    both = {"code1": code(seed, -1), "code2": code(seed, 0)}
    done = here.post("security/apps/enable", {**shown, **both}, token=token)
    recovery = re.findall(r"<li>([A-Z2-7-]{29})</li>", done.text)
    assert len(recovery) == 10
    assert "my-phone" in here.get("security").visible_text
    assert "/console/login" in elsewhere.get("security").url

    visitor, step = second_step(live, "mara")
    where = "login/factor?next=/console/security"
    assert "Type a code." in visitor.post(where, {"step": step, "code": " "}, token=False).visible_text
    used = visitor.post(where, {"step": step, "code": both["code2"]}, token=False)
    assert "wrong, or was used already" in used.visible_text
    assert "Sign in again" in visitor.post(where, {"step": "x", "code": "1"}, token=False).visible_text
    crossed = visitor.post(where, {"step": step, "code": recovery[0]}, token=False, Origin="https://bad.example")
    assert crossed.status == 403
    assert visitor.post(where, {"step": step, "code": recovery[0]}, token=False).url.endswith("/console/security")

    token = visitor.get("security").token
    assert "Type your password." in visitor.post("security/recovery-codes", {}, token=token).visible_text
    new = visitor.post("security/recovery-codes", {"password": PASSWORD}, token=token)
    other, step = second_step(live, "mara")
    assert other.post(where, {"step": step, "code": recovery[1]}, token=False).status == 403
    fresh = re.findall(r"<li>([A-Z2-7-]{29})</li>", new.text)
    assert other.post(where, {"step": step, "code": fresh[0]}, token=False).status == 200
    gone = other.post(
        "security/apps/remove", {"serial": serial, "password": PASSWORD}, token=other.get("security").token
    )
    assert "no second factor any more" in gone.visible_text
    assert live.client("iam").list_virtual_mfa_devices()["VirtualMFADevices"] == []
    assert Visitor(live, "mara").get("security").url.endswith("/console/security")


def test_a_link_to_choose_a_password_asks_for_the_factor_too(live):  # noqa: F811
    user(live, "otto", None)
    iam = live.client("iam")
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName="otto")["VirtualMFADevice"]
    seed = made["Base32StringSeed"].decode()
    codes = {"AuthenticationCode1": code(seed, -1), "AuthenticationCode2": code(seed, 0)}
    iam.enable_mfa_device(UserName="otto", SerialNumber=made["SerialNumber"], **codes)
    link = live.client("penstock").create_sign_in_link(userName="otto")["url"]
    visitor = Visitor(live)
    page = visitor.post(link.partition("/console/")[2], {"password": NEW, "again": NEW}, token=False)
    assert "Second factor" in page.visible_text
    assert "/console/login" in visitor.get("security").url
    iam.deactivate_mfa_device(UserName="otto", SerialNumber=made["SerialNumber"])  # as for somebody who lost the phone
    assert Visitor(live, "otto", NEW).get("security").url.endswith("/console/security")


def test_recovery_codes_are_made_by_their_own_user_only(live, people):  # noqa: F811
    with pytest.raises(botocore.exceptions.ClientError, match="made by their own user only"):
        live.client("penstock").create_recovery_codes(userName="ines")


def test_a_session_that_may_not_begin_is_said_on_the_sign_in_page_and_is_no_success(live, monkeypatch):  # noqa: F811
    """As where another device became a factor since the password was shown."""
    user(live, "hasty", None)
    recorded = []

    async def refuse(*_, **__):
        raise AccessDenied("This user signs in with a second factor. Sign in again and show it.")

    monkeypatch.setattr(live.app.identity, "begin_session", refuse)
    monkeypatch.setattr(live.app.records, "event", lambda _now, record, **_: recorded.append(record))
    page = Visitor(live).post("login", {"user": "hasty", "password": PASSWORD}, token=False)
    assert (page.status, "Sign in again and show it." in page.visible_text) == (403, True)
    assert [one["responseElements"] for one in recorded if one.get("eventName") == "ConsoleLogin"] == [
        {"ConsoleLogin": "Failure"}
    ]


def test_an_installation_without_an_issuer_has_no_pages_for_one(live):  # noqa: F811
    for path in ("sso", "sso/done"):
        assert Visitor(live).get(path).status == 404
    assert "or with a password" not in Visitor(live).get("login").text


@pytest.mark.parametrize(
    ("agent", "shown"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/20 Safari/605.1", "Safari on macOS"),
        ("curl/8.1", "curl/8.1"),
        ("", "Unknown browser"),
    ],
)
def test_what_a_browser_is_called(agent, shown):
    assert browser_of(agent) == shown
