"""The page on which people look after their own sign-in, and what operators do with sessions."""

from __future__ import annotations

import re
import urllib.parse

import botocore.exceptions
import pytest
from penstock_console import PASSWORD, Visitor, allow, user
from penstock_live import live  # noqa: F401 - the fixture

from penstock.console.pages.security import browser_of

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
    assert "Type your present password." in change(here, "", NEW).visible_text
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
    assert "A policy keeps you from changing your password." in page.visible_text
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
