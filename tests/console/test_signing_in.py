"""What the pages of signing in answer and put on record, by what identity says of the password, the code and the passkey."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from penstock_looking import ACCOUNT, ME, NOW, templates
from starlette.requests import Request

from penstock.console.signin import BUSY, SignIn
from penstock.console.web import Console
from penstock.store.clock import ManualClock
from penstock.webpages.view import NO_SCRIPT
from penstock.wire.errors import AccessDenied, Throttled, error_class
from penstock.wire.hiding import HIDDEN

WRONG = AccessDenied("Wrong user name or password.")
KNOWN = AccessDenied("This passkey may have been copied.", device="arn:x", why="May have been copied", account="2" * 12)
USER = SimpleNamespace(session=ME, user_name="ann", factors=("totp",), device="arn:app")


def console(**identity):
    """A console whose identity answers so: a value, or an error. What it puts on record is in `recorded`."""
    recorded, did = [], []

    def answering(name):
        async def answer(*given, **more):
            did.append((name, *given, *more.values()))
            if isinstance(identity[name], Exception):
                raise identity[name]
            return identity[name]

        return answer

    class Passkeys:
        show = staticmethod(answering("show"))
        begin = staticmethod(answering("begin"))

        @property
        def address(self):
            raise AccessDenied("Passkeys need TLS.")

    identity |= {"begin": SimpleNamespace(token="asked", options="{}", challenge="")}
    calls = {name: answering(name) for name in identity if name not in ("show", "begin")}
    app = SimpleNamespace(
        clock=ManualClock(NOW), templates={}, public_url="http://here", settings=SimpleNamespace(account=ACCOUNT, region="us-east-1"),
        identity=SimpleNamespace(**calls, single_sign_on=None, passkeys=Passkeys()),
        records=SimpleNamespace(event=lambda at, record, **where: recorded.append((at, record, where))),
    )  # fmt: skip
    made = Console(app)
    vars(made)["_templates"] = templates()
    return SignIn(made), recorded, did


def posted(**form):
    sent = iter([{"type": "http.request", "body": urlencode(form).encode(), "more_body": False}])

    async def receive():
        return next(sent)

    scope = {
        "type": "http", "method": "POST", "scheme": "http", "server": ("here", 80), "client": ("192.0.2.7", 1), "path": "/console/login", "query_string": b"",
        "headers": [(b"host", b"here"), (b"user-agent", b"x" * 1_025)],
    }  # fmt: skip
    return Request(scope, receive)


def failure(account=ACCOUNT, message="Failed authentication", **more):
    return (
        NOW,
        {
            "userIdentity": {"type": "IAMUser", "accountId": account, "accessKeyId": "", "userName": HIDDEN}, "eventSource": "signin.amazonaws.com",
            "eventName": "ConsoleLogin", "sourceIPAddress": "192.0.2.7", "userAgent": "x" * 1_024, "errorMessage": message, "requestParameters": None,
            "responseElements": {"ConsoleLogin": "Failure"}, "readOnly": False, "eventType": "AwsConsoleSignIn",
            "additionalEventData": {"LoginTo": "/console/", "MobileVersion": "No", "MFAUsed": "No", **more},
        },
        {"account": account, "region": "us-east-1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("form", "refused", "status", "said", "account"),
    [
        ({"user": " ann ", "password": "p"}, WRONG, 403, WRONG.message, ACCOUNT),
        ({"user": "ann", "password": "p", "account": " 222222222222 "}, WRONG, 403, WRONG.message, "2" * 12),
        ({"user": "ann", "password": "p", "account": "22222222222"}, WRONG, 403, WRONG.message, None),
        ({"user": "ann", "password": "p", "account": "2222222222222"}, WRONG, 403, WRONG.message, None),
        ({"user": "ann", "password": "p", "account": "shop"}, WRONG, 403, WRONG.message, None),
        ({"user": "ann", "password": "p"}, Throttled(), 503, BUSY, None),
        ({"user": " ", "password": "p"}, None, 403, "Type your user name.", None),
        ({"user": "ann"}, None, 403, "Type your password.", None),
    ],
)
async def test_a_refused_sign_in_is_said_and_is_on_record_where_there_is_an_account(
    form, refused, status, said, account
):
    signing, recorded, did = console(sign_in=refused)
    answer = await signing.page(posted(**form))
    assert answer.status_code == status
    assert said in answer.body.decode()
    assert recorded == ([failure(account)] if account else [])
    assert did == ([("sign_in", form.get("account", ACCOUNT).strip(), "ann", "p", "192.0.2.7")] if refused else [])


@pytest.mark.parametrize(
    ("form", "identity", "said", "record"),
    [
        ({"code": "1"}, {"show_factor": AccessDenied("Wrong code.")}, "Wrong code.", failure()),
        ({"passkey": "{}", "challenge": "c"}, {"show": KNOWN}, KNOWN.message, failure(message="Failed authentication. May have been copied", MFAIdentifier="arn:x")),
        ({"code": "1"}, {"show_factor": Throttled()}, BUSY, None),
        ({"code": " "}, {}, "Type a code.", None),
        ({"passkey": ""}, {}, NO_SCRIPT, None),
    ],
)  # fmt: skip
async def test_a_refused_second_step_is_said_and_is_on_record(form, identity, said, record):
    signing, recorded, did = console(second_step_user=USER, **identity)
    answer = await signing.factor(posted(step="s", **form))
    assert answer.status_code == 403
    assert said in answer.body.decode()
    assert recorded == ([record] if record else [])
    assert did[0] == ("second_step_user", "s")
    assert did[1:2] == ([("show", "c", "{}", "s") if "challenge" in form else ("show_factor", "s", "1")] if identity else [])  # fmt: skip


async def test_a_second_step_whose_first_is_over_begins_again():
    signing, recorded, _ = console(second_step_user=AccessDenied("Sign in again."))
    answer = await signing.factor(posted(step="s", code="1"))
    assert (answer.status_code, "Sign in again." in answer.body.decode(), recorded) == (403, True, [])


@pytest.mark.parametrize(
    ("refused", "record"),
    [
        (KNOWN, failure("2" * 12, "Failed authentication. May have been copied", MFAIdentifier="arn:x")),
        (AccessDenied("Nobody's passkey."), failure()),
        (Throttled(), None),
    ],
)
async def test_a_refused_passkey_is_said_and_is_on_record(refused, record):
    signing, recorded, _ = console(show=refused)
    answer = await signing.passkey(posted(passkey="{}"))
    assert answer.status_code == 403
    assert (BUSY if record is None else refused.message) in answer.body.decode().replace("&#39;", "'")
    assert recorded == ([record] if record else [])


async def test_whoever_has_signed_in_is_on_record_and_goes_where_they_wanted(monkeypatch):
    entered = []

    async def enter(_app, _request, answer, user):
        entered.append((answer, user))

    monkeypatch.setattr("penstock.console.cookies.enter", enter)
    for factors, mfa in (((), False), (("code",), True)):
        session = SimpleNamespace(account=ACCOUNT, mfa=mfa)
        monkeypatch.setattr("penstock.console.signin.identity_of", lambda one: {"of": one.account})
        signing, recorded, _ = console(expired="")
        user = SimpleNamespace(session=session, user_name="ann", factors=factors, device="arn:app" if mfa else "")
        answer = await signing.enter(posted(), user, "/console/builds")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/builds")
        assert entered.pop() == (answer, user)
        ((at, record, where),) = recorded
        assert (at, where, record["userIdentity"]) == (NOW, {"account": ACCOUNT, "region": "us-east-1"}, {"of": ACCOUNT})  # fmt: skip
        assert record["responseElements"] == {"ConsoleLogin": "Success"}
        assert "errorMessage" not in record
        shown = {"MFAUsed": "Yes", "MFAIdentifier": "arn:app"} if mfa else {"MFAUsed": "No"}
        assert record["additionalEventData"] == {"LoginTo": "/console/", "MobileVersion": "No", **shown}


INVITED = {"invited": SimpleNamespace(user_name="ann")}
SHORT = error_class("PasswordPolicyViolation")("Too short.")


@pytest.mark.parametrize(
    ("form", "identity", "status", "said"),
    [
        (None, {"invited": AccessDenied("The link is used up.")}, 403, "The link is used up."),
        (None, INVITED, 200, "ann"),
        ({"password": "p", "again": "q"}, INVITED, 403, "The two passwords differ."),
        ({"password": "p", "again": "p"}, INVITED | {"choose_password": AccessDenied("It is used up now.")}, 403, "It is used up now."),
        ({"password": "p", "again": "p"}, INVITED | {"choose_password": SHORT}, 403, "Too short."),
    ],
)  # fmt: skip
async def test_where_a_link_to_choose_a_password_leads(form, identity, status, said):
    signing, recorded, did = console(**identity)
    request = posted(**form or {})
    request.scope |= {"path_params": {"token": "t"}, "method": "GET" if form is None else "POST"}
    answer = await signing.welcome(request)
    assert (answer.status_code, recorded) == (status, [])
    assert said in answer.body.decode()
    assert did[1:] == ([("choose_password", "t", "p")] if "choose_password" in identity else [])


async def test_an_expired_password_is_chosen_anew_before_anything_else():
    signing, recorded, did = console(expired="token")
    user = SimpleNamespace(session=SimpleNamespace(account=ACCOUNT, mfa=False), user_name="ann", factors=(), device="")
    answer = await signing.enter(posted(), user, "/console/")
    assert answer.headers["location"] == "/console/welcome/token?expired"
    assert (recorded, did) == ([], [("expired", user)])
