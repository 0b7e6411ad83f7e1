"""What a form may hold, where it may lead and whose it is; cookies of those on the way in; and the region that is shown."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import quote

import pytest
from penstock_looking import Looking, location
from starlette.requests import Request
from starlette.responses import Response

from penstock.console import cookies, forms
from penstock.console.pages import home
from penstock.console.signin import SignIn
from penstock.console.web import _MISSING
from penstock.wire.errors import AccessDenied, Refused, error_class

HTTP = {"type": "http", "method": "POST", "scheme": "http", "server": ("here", 80), "path": "/", "query_string": b"", "headers": []}  # fmt: skip


def request(*pieces, **more):
    sent = iter(pieces)
    left = [len(pieces)]

    async def receive():
        left[0] -= 1
        return {"type": "http.request", "body": next(sent), "more_body": left[0] > 0}

    return Request(HTTP | more, receive)


@pytest.mark.parametrize(
    ("pieces", "form"),
    [
        ((b"a=1&b=", b"2&a=3"), {"a": "3", "b": "2"}),
        ((b"a=&b",), {"a": "", "b": ""}),
        ((b"a=x%0D%0Ay%0Az",), {"a": "x\ny\nz"}),
        ((b"a=%C3%A9+%FF",), {"a": "é \N{REPLACEMENT CHARACTER}"}),
        ((b"a=" + b"x" * ((64 << 10) - 2),), {"a": "x" * ((64 << 10) - 2)}),
        ((b"a=" + b"x" * ((64 << 10) - 1),), {}),
        ((b"a=" + b"x" * (32 << 10), b"x" * (32 << 10)), {}),
        (("&".join(f"n{at}=" for at in range(100)).encode(),), {f"n{at}": "" for at in range(100)}),
        (("&".join(f"n{at}=" for at in range(101)).encode(),), {}),
        ((b"",), {}),
    ],
)
async def test_what_a_form_holds(pieces, form):
    assert await forms.read_form(request(*pieces)) == form


@pytest.mark.parametrize(
    ("origin", "same"),
    [
        (None, True),
        (b"https://here:8443", True),
        (b"http://here:8443", True),
        (b"https://here", False),
        (b"https://here:8443.bad.example", False),
        (b"null", False),
        (b"", False),
    ],
)
def test_whose_form_it_is(origin, same):
    headers = [(b"host", b"here:8443"), *([] if origin is None else [(b"origin", origin)])]
    assert forms.same_origin(request(headers=headers)) is same


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/console/builds?project=a", True),
        ("/console/", True),
        ("/console/" + "x" * 1_015, True),
        ("/console/" + "x" * 1_016, False),
        ("/console", False),
        ("/consoles/", False),
        ("//bad.example/console/", False),
        ("/console//bad.example", False),
        ("/console/\\bad.example", False),
        ("/console/\n", False),
        ("https://bad.example/console/", False),
        ("", False),
    ],
)
def test_where_a_visitor_may_be_sent(path, kept):
    assert forms.own_path(path) == (path if kept else "/console/")


@pytest.mark.parametrize(
    ("scheme", "public", "name", "path", "secure"),
    [
        ("https", "http://here", "__Host-penstock-sso", "/", True),
        ("http", "https://here", "__Host-penstock-sso", "/", True),
        ("http", "http://here", "penstock-sso", "/console/", False),
    ],
)
def test_cookies_of_those_on_the_way_in(scheme, public, name, path, secure):
    app = SimpleNamespace(public_url=public)
    for value, age in (("v", 600), ("", 0)):
        answer = Response()
        cookies.hold(app, request(scheme=scheme), answer, cookies.ISSUER, value)
        said = answer.headers["set-cookie"].split("; ")
        assert said[0] == f"{name}={value or chr(34) * 2}"
        assert {f"Max-Age={age}", f"Path={path}", "HttpOnly", "SameSite=lax"} <= set(said)
        assert ("Secure" in said) is secure
    there = request(scheme=scheme, headers=[(b"cookie", f"{name}=v; other=w".encode())])
    assert cookies.held(app, there, cookies.ISSUER) == "v"
    assert cookies.held(app, request(scheme=scheme), cookies.ISSUER) == ""
    answer = Response()
    cookies.leave(app, request(scheme=scheme), answer)
    assert f"Path={path}" in answer.headers["set-cookie"]
    assert 'penstock-session=""; ' in answer.headers["set-cookie"]


def test_a_form_comes_with_the_token_of_its_session():
    token = cookies._form_token("id")
    assert len(token) == 32
    assert token != cookies._form_token("ie")
    visitor = SimpleNamespace(token=token)
    assert cookies.same_token(visitor, token)
    for wrong in ("", token[:-1], token + "x", "\ud800"):
        assert not cookies.same_token(visitor, wrong)


@pytest.mark.parametrize(
    ("section", "leads"), [("builds", "/console/builds"), ("security", "/console/"), ("", "/console/")]
)
async def test_another_region_is_shown_from_now_on(section, leads):
    look = Looking({}, form={"region": "us-east-1", "section": section})
    look.sections = [SimpleNamespace(path="builds")]
    answer = await home.choose_region(look)
    assert location(answer) == leads
    said = set(answer.headers["set-cookie"].split("; "))
    assert {"penstock-region=us-east-1", "Max-Age=31536000", "Path=/console/", "HttpOnly", "SameSite=lax", "Secure"} == said  # fmt: skip
    look.form = {"region": "x" * 50}
    with pytest.raises(Refused) as refused:
        await home.choose_region(look)
    assert refused.value.message == f"This installation has no region {'x' * 40!r}. It serves us-east-1."


async def test_the_first_page_is_the_first_list_that_a_visitor_may_see():
    look = Looking({})
    assert location(await home.home(look)) == "/console/pipelines"
    look.sections = [SimpleNamespace(path="builds"), SimpleNamespace(path="keys")]
    assert location(await home.home(look)) == "/console/builds"


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("User: x is not authorized to perform: codebuild:StopBuild on resource: y", "codebuild:StopBuild"),
        ("not authorized to perform: route-53:Get", "route-53:Get"),
        ("You may not.", None),
    ],
)
def test_what_is_missing_is_said_by_its_action(message, missing):
    found = _MISSING.search(message)
    assert (found[1] if found else None) == missing


async def test_who_comes_from_another_page_signs_in_from_ours():
    elsewhere = {"headers": [(b"host", b"here"), (b"origin", b"https://bad.example")]}
    app = SimpleNamespace(settings=SimpleNamespace(account="1" * 12))
    signing = SignIn(SimpleNamespace(app=app))
    for page in (signing.page, signing.factor, signing.passkey):
        answer = await page(request(b"user=a&password=b", **elsewhere))
        assert (answer.status_code, answer.body) == (403, b"Sign in from this console's own page.")


def test_a_way_back_is_quoted():
    look = Looking({})
    assert (
        location(look.back("builds", "a b/c:1@x", query="said=so"))
        == f"/console/builds/{quote('a b/c', safe='')}:1@x?said=so"
    )
    assert location(look.back("builds")) == "/console/builds"


@pytest.mark.parametrize(
    ("token", "headers", "ended"),
    [
        ("the token", [], ["s"]),
        ("another", [], []),
        ("the token", [(b"origin", b"https://bad.example")], []),
        (None, [], []),  # nobody is signed in
    ],
)
async def test_signing_out_ends_the_session_of_who_says_so(token, headers, ended):
    over = []

    async def end_session(id_):
        over.append(id_)

    async def visitor_of(_request):
        return None if token is None else SimpleNamespace(token="the token", session_id="s")

    app = SimpleNamespace(public_url="http://here", identity=SimpleNamespace(end_session=end_session))
    signing = SignIn(SimpleNamespace(app=app, visitor_of=visitor_of))
    body = b"" if token is None else f"token={quote(token)}".encode()
    answer = await signing.out(request(body, headers=[(b"host", b"here"), *headers]))
    assert over == ended
    out = bool(ended) or token is None
    assert location(answer) == ("/console/login?out" if out else "/console/")
    assert ("set-cookie" in answer.headers) is out


@pytest.mark.parametrize(
    ("method", "raised", "status", "title"),
    [
        ("GET", error_class("Odd", 404)("so"), 404, "Not found"),
        ("GET", error_class("PipelineNotFoundException", 400)("so"), 404, "Not found"),
        ("GET", error_class("GroupDoesNotExistException", 400)("so"), 404, "Not found"),
        ("GET", error_class("Odd", 400)("so"), 400, "The request was refused"),
        ("GET", error_class("Odd", 503)("so"), 503, "The request was refused"),
        ("GET", Refused("so"), 400, "The request was refused"),
        ("GET", AccessDenied("so"), 403, "You have no access"),
        ("POST", AccessDenied("so"), 403, "You have no permission to do this"),
        ("GET", KeyError("secret"), 500, "The server failed"),
    ],
)
async def test_what_went_wrong_is_a_page(monkeypatch, method, raised, status, title):
    look = Looking({})
    console = look._console

    async def visitor_of(_request):
        return look.visitor

    async def page(view):
        assert view.form == {}
        raise raised

    monkeypatch.setattr(console, "visitor_of", visitor_of)
    sent = b"token=the+token" if method == "POST" else b""
    answer = await console._answer(page)(request(sent, method=method))
    text = answer.body.decode()
    assert (answer.status_code, f"<h1>{title}</h1>" in text) == (status, True)
    assert ("so" in text, "secret" in text) == (True, False)
    if method == "POST":  # nothing is done for a form of another session
        answer = await console._answer(page)(request(b"token=another", method=method))
        assert (answer.status_code, "This form is too old" in answer.body.decode()) == (403, True)


@pytest.mark.parametrize(("method", "leads"), [("GET", "/console/builds"), ("POST", "/console/")])
async def test_who_is_not_signed_in_comes_back_after_signing_in(monkeypatch, method, leads):
    console = Looking({})._console

    async def visitor_of(_request):
        return None

    monkeypatch.setattr(console, "visitor_of", visitor_of)
    answer = await console._answer(home.home)(request(method=method, path="/console/builds"))
    assert location(answer) == f"/console/login?next={leads}"
