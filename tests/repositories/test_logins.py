"""Who calls a repository at exact bounds: signed passwords, their clocks, hosts and regions, and what is asked before Git runs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.repositories import access, git_login
from penstock.wire.call import ANONYMOUS, Origin, PrincipalKind, Session
from penstock.wire.errors import SignatureExpired, SignatureMismatch, UnknownAccessKey

SIGNED = 1_767_225_600_000  # 2026-01-01T00:00:00Z in ms


def login_at(stamp: str = "20260101T000000", host: str = "h", path: str = "/v1/repos/x") -> git_login.GitLogin:
    """What the helper makes of the secret `s` for us-east-1."""
    request = hashlib.sha256(f"GIT\n{path}\n\nhost:{host}\n\nhost\n".encode()).hexdigest()
    key = b"AWS4s"
    for part in (stamp[:8], "us-east-1", "codecommit", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{stamp[:8]}/us-east-1/codecommit/aws4_request\n{request}"
    login = git_login.parse_git_login("AKIDX", f"{stamp}Z{hmac.digest(key, text.encode(), 'sha256').hex()}")
    assert login is not None
    return login


def verify(login, *, now: int = SIGNED, host: str = "h") -> None:
    git_login.verify_git_login(login, secret="s", region="us-east-1", host=host, path="/v1/repos/x", now=now)


@pytest.mark.parametrize("late", [-300_000, 0, 900_000])
def test_a_login_lives_from_five_minutes_before_its_time_to_fifteen_behind_it(late):
    verify(login_at(), now=SIGNED + late)


@pytest.mark.parametrize("late", [-300_001, 900_001])
def test_a_login_of_another_time_says_both_times(late):
    with pytest.raises(SignatureExpired, match=r"made at 20260101T000000Z; it is 202\d{5}T\d{6}Z\."):
        verify(login_at(), now=SIGNED + late)


@pytest.mark.parametrize(
    ("signed", "host", "good"),
    [("h", "h:8470", True), ("h", "h", True), ("::1", "::1", True), ("h", "h:1:2", False), ("h:1", "h:1", False)],
)
def test_the_port_of_a_host_is_not_signed(signed, host, good):
    with contextlib.nullcontext() if good else pytest.raises(SignatureMismatch):
        verify(login_at(host=signed), host=host)


@pytest.mark.parametrize(
    "password",
    ["20260101T000000Z" + "a" * 63, "20260101T000000Z" + "a" * 65, "20260101T000000Z" + "A" * 64, "20260101T000000" + "a" * 64],
)  # fmt: skip
def test_whatever_else_is_an_ordinary_password(password):
    assert git_login.parse_git_login("k", password) is None


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "This repository needs Git credentials or an access key."),
        ("Bearer x", "Git signs in by basic authentication here."),
        ("Basic", "The Authorization header cannot be read."),
        ("Basic !!!", "The Authorization header cannot be read."),
        ("Basic " + base64.b64encode(b"nocolon").decode(), "The Authorization header cannot be read."),
        ("Basic " + base64.b64encode(b"\xff:").decode(), "The Authorization header cannot be read."),
        ("Basic " + base64.b64encode(b"a:" + b"b" * 24_575).decode(), "Git signs in by basic authentication here."),
    ],
)
def test_why_a_header_is_no_login(header, said):
    with pytest.raises(access.Unauthenticated) as refused:
        access._basic(header)
    assert str(refused.value) == said


def test_the_longest_header_and_any_case_of_its_scheme_are_read():
    encoded = base64.b64encode(b"a:" + b"b" * 24_574).decode()
    assert len(encoded) == 32_768
    assert access._basic(f"BASIC {encoded}") == ("a", "b" * 24_574)
    assert access._basic("basic " + base64.b64encode(b"a:b:c").decode() + " ") == ("a", "b:c")


@pytest.mark.parametrize(
    ("host", "regions"),
    [
        ("git-codecommit.eu-west-1.amazonaws.com", ("eu-west-1",)),
        ("git-codecommit-fips.eu-west-1.amazonaws.com", ("eu-west-1",)),
        ("git-codecommit.eu-west-9.amazonaws.com", ("us-east-1", "eu-west-1")),
        ("x.git-codecommit.eu-west-1.amazonaws.com", ("us-east-1", "eu-west-1")),
        ("localhost", ("us-east-1", "eu-west-1")),
    ],
)
def test_a_host_name_of_aws_names_the_region(host, regions):
    app = SimpleNamespace(settings=SimpleNamespace(all_regions=lambda: ("us-east-1", "eu-west-1")))
    assert access._regions(app, host) == regions  # type: ignore[arg-type]


def test_a_login_is_for_the_region_that_it_was_signed_for(monkeypatch):
    monkeypatch.setattr(access.time, "time", lambda: SIGNED / 1000)
    credential = SimpleNamespace(secret="s")
    arguments = (credential, ("eu-west-1", "us-east-1", "eu-west-2"), "h", "/v1/repos/x")
    assert access._signed_region(login_at(), *arguments) == "us-east-1"  # type: ignore[arg-type]
    with pytest.raises(SignatureMismatch):
        access._signed_region(login_at(), credential, ("eu-west-1",), "h", "/v1/repos/x")  # type: ignore[arg-type]


async def test_a_repository_is_looked_for_in_every_region_in_turn():
    asked = []

    async def read(_find, account, region, name):
        asked.append((account, region, name))
        return "row" if region == "eu-west-1" and name == "there" else None

    app = SimpleNamespace(store=SimpleNamespace(read=read))
    visitor = access.Visitor(ANONYMOUS, ("us-east-1", "eu-west-1", "eu-west-2"))
    assert await access.repository(app, visitor, "there") == ("row", "eu-west-1")  # type: ignore[arg-type]
    assert await access.repository(app, visitor, "gone") == (None, "us-east-1")  # type: ignore[arg-type]
    assert [region for _, region, _ in asked] == ["us-east-1", "eu-west-1", "us-east-1", "eu-west-1", "eu-west-2"]


async def test_what_is_asked_before_git_runs():
    asked = []

    async def authorize(call, action, resources):
        asked.append((call.operation, call.via, call.source_ip, call.secure, call.now, action, resources))

    app = SimpleNamespace(
        identity=SimpleNamespace(authorize=authorize, used=lambda *_: None),
        ids=SimpleNamespace(uuid=lambda: "u"),
        clock=SimpleNamespace(now=lambda: 5),
    )
    session = Session(account="1" * 12, kind=PrincipalKind.ROOT, arn="a", principal_id="1")
    origin = Origin(via="git", source_ip="10.0.0.1", secure=False)
    await access.authorize(
        app,  # type: ignore[arg-type]
        access.Visitor(session, ("cn-north-1",)),
        action="codecommit:GitPush",
        name="x",
        region="cn-north-1",
        origin=origin,
    )
    arn = "arn:aws-cn:codecommit:cn-north-1:111111111111:x"
    assert asked == [("GitPush", "git", "10.0.0.1", False, 5, "codecommit:GitPush", [arn])]


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "asked", "said"),
    [
        (basic("K", "s"), ("K", ""), ""), (basic("K%a%2Fb", "s"), ("K", "a/b"), ""), (basic("K", "wrong"), ("K", ""), "neither Git credentials"),
        (basic("gone", "s"), ("gone", ""), "neither Git credentials"),
    ],
)  # fmt: skip
async def test_who_signs_in_with_a_key(authorization, asked, said):
    keys = []

    async def credential(key, token):
        keys.append((key, token))
        if key == "gone":
            raise UnknownAccessKey
        return SimpleNamespace(secret="s", session="the session")

    settings = SimpleNamespace(all_regions=lambda: ("us-east-1", "eu-west-1"))
    app: Any = SimpleNamespace(identity=SimpleNamespace(credential=credential), settings=settings)
    with pytest.raises(access.Unauthenticated, match=said) if said else contextlib.nullcontext():
        found = await access.visitor(app, authorization=authorization, host="h", path="/v1/repos/x")
        assert (found.session, found.regions) == ("the session", ("us-east-1", "eu-west-1"))
    assert keys == [asked]


async def test_who_signs_in_by_the_helper(monkeypatch):
    keys = []

    async def credential(key, token):
        keys.append((key, token))
        return SimpleNamespace(secret="s", session="the session")

    monkeypatch.setattr(access.time, "time", lambda: SIGNED / 1000)
    login = login_at()
    settings = SimpleNamespace(all_regions=lambda: ("eu-west-1", "us-east-1"))
    app: Any = SimpleNamespace(identity=SimpleNamespace(credential=credential), settings=settings)
    header = basic("AKIDX%to%2Fken", f"{login.timestamp}Z{login.signature}")
    found = await access.visitor(app, authorization=header, host="h", path="/v1/repos/x")
    assert (found.session, found.regions, keys) == ("the session", ("us-east-1",), [("AKIDX", "to/ken")])
    with pytest.raises(access.Unauthenticated, match="neither Git credentials"):
        await access.visitor(app, authorization=header, host="h", path="/v1/repos/y")
