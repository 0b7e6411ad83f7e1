"""The global condition keys of every way in, by one table: which a request has, and what they say."""

from __future__ import annotations

import dataclasses
import http.cookiejar
import json
import socket
import ssl
import subprocess
import urllib.parse
import urllib.request
from typing import Any

import botocore.exceptions
import pytest
from penstock_issuer import issuer_at
from penstock_live import live_server
from penstock_ports import reserved_port

from penstock.egress import EgressSettings
from penstock.identity import authority, context, decisions
from penstock.identity.operations import assumed_roles, web_identities
from penstock.wire.message import client_address

ACCOUNT = "111111111111"
ANY = object()  # there, whatever it says
ALWAYS = {"currenttime": ANY, "epochtime": ANY, "principalaccount": ACCOUNT, "requestedregion": "us-east-1"}
USER = {
    "principalarn": f"arn:aws:iam::{ACCOUNT}:user/ann", "principaltype": "User", "principalisawsservice": "false",
    "username": "ann", "userid": ANY,
}  # fmt: skip
ROLE = {
    "principalarn": f"arn:aws:iam::{ACCOUNT}:role/seen", "principaltype": "AssumedRole", "principalisawsservice": "false",
    "userid": ANY, "tokenissuetime": ANY, "multifactorauthpresent": "false",
}  # fmt: skip
SERVICE = {
    "principalarn": "codepipeline.amazonaws.com", "principalisawsservice": "true", "userid": "codepipeline.amazonaws.com",
    "sourceaccount": ACCOUNT, "sourcearn": f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:demo",
    "principalservicename": "codepipeline.amazonaws.com",
    "principalservicenameslist": ("codepipeline.amazonaws.com", "codepipeline.us-east-1.amazonaws.com"),
}  # fmt: skip
NEAR = {"sourceip": "127.0.0.1", "useragent": ANY}
PLAIN, SAFE = {"securetransport": "false"}, {"securetransport": "true"}
BEHALF = {
    "calledvia": ("penstock.amazonaws.com",),
    "calledviafirst": "penstock.amazonaws.com",
    "calledvialast": "penstock.amazonaws.com",
}
WAYS: dict[str, dict[str, Any]] = {
    "http": {**ALWAYS, **USER, **NEAR, **PLAIN, "viaawsservice": "false"},
    "https": {**ALWAYS, **USER, **NEAR, **SAFE, "viaawsservice": "false"},
    "console": {**ALWAYS, **USER, **NEAR, **PLAIN, "viaawsservice": "false", "multifactorauthpresent": "false"},
    "consoles": {**ALWAYS, **USER, **NEAR, **SAFE, "viaawsservice": "false", "multifactorauthpresent": "false"},
    "git": {**ALWAYS, **USER, **NEAR, **PLAIN, "viaawsservice": "false"},
    "role over http": {**ALWAYS, **ROLE, **NEAR, **PLAIN, "viaawsservice": "false", "sourceidentity": "ann"},
    "role in process": {**ALWAYS, **ROLE, **SAFE, "viaawsservice": "false"},
    "vouched for": {
        **ALWAYS, **ROLE, **SAFE, "viaawsservice": "false", "multifactorauthpresent": "true", "multifactorauthage": "0",
        "federatedprovider": f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example",
    },
    "token of an issuer": {
        **{key: value for key, value in ALWAYS.items() if key != "principalaccount"}, **NEAR, **PLAIN, "viaawsservice": "false",
        "principalisawsservice": "false", "userid": "anonymous", "federatedprovider": ANY,
    },
    "service that assumes": {**ALWAYS, **SERVICE, **SAFE, "viaawsservice": "false"},
    "on behalf of a user": {**ALWAYS, **USER, **NEAR, **PLAIN, **BEHALF, "viaawsservice": "true"},
}  # fmt: skip
EVERY = sorted(key.removeprefix("aws:") for key in context._VALUES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the servers keep their data."""
    return tmp_path_factory.mktemp("ways")


@pytest.fixture(scope="module")
def seen(folder):
    """way in → (action → its keys)"""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    way = [""]

    class Noted(context.RequestContext):
        def __init__(self, call, action, *more):
            super().__init__(call, action, *more)
            found.setdefault(way[0], {}).setdefault(action, {key.removeprefix("aws:"): self[key] for key in self})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(authority, "RequestContext", Noted)
        patched.setattr(decisions, "RequestContext", Noted)
        patched.setattr(assumed_roles, "RequestContext", Noted)
        patched.setattr(web_identities, "RequestContext", Noted)
        with issuer_at(folder) as issuer, live_server(folder / "plain", components=(trusting(issuer),)) as live:
            keys = people(live)
            way[0] = "http"
            live.client("codepipeline", keys=keys).list_pipelines()
            way[0] = "console"
            browse(live)
            way[0] = "git"
            clone(live, keys)
            way[0] = "role over http"
            made = live.client("sts", keys=keys).assume_role(
                RoleArn=f"arn:aws:iam::{ACCOUNT}:role/seen", RoleSessionName="s1", SourceIdentity="ann"
            )["Credentials"]
            theirs = {
                "aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"],
                "aws_session_token": made["SessionToken"],
            }  # fmt: skip
            live.client("codepipeline", keys=theirs).list_pipelines()
            way[0] = "service that assumes"
            session, _ = live.run(assume(live))
            way[0] = "role in process"
            live.run(live.app.invoke(session, "codepipeline", "ListPipelines", {}, region="us-east-1"))
            way[0] = "vouched for"
            provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example"
            vouched = dataclasses.replace(session, mfa=live.app.clock.now(), provider=provider)
            live.run(live.app.invoke(vouched, "codepipeline", "ListPipelines", {}, region="us-east-1"))
            way[0] = "token of an issuer"
            show(live, issuer)
            way[0] = "on behalf of a user"
            archive(live, keys)
        with live_server(folder / "tls", tls=True) as live:
            keys = people(live)
            way[0] = "https"
            live.client("codepipeline", keys=keys).list_pipelines()
            way[0] = "consoles"
            cookie = browse(live)
            # A neighbour's host, or somebody on the way of a plain request, cannot set one of this name.
            assert (cookie.name, cookie.path, cookie.secure) == ("__Host-penstock-session", "/", True)
            assert not cookie.domain_specified
            assert cookie.has_nonstandard_attr("HttpOnly")
    return found


def people(live) -> dict[str, str]:
    iam = live.client("iam")
    iam.create_user(UserName="ann")
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=json.dumps(everything))
    iam.create_login_profile(UserName="ann", Password="a long password")
    principal = {"Service": "codepipeline.amazonaws.com", "AWS": f"arn:aws:iam::{ACCOUNT}:user/ann"}
    actions = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    trust = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": principal, "Action": actions}}
    iam.create_role(RoleName="seen", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(RoleName="seen", PolicyName="p", PolicyDocument=json.dumps(everything))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def trusting(issuer) -> EgressSettings:
    return EgressSettings(egress_networks=("127.0.0.0/8",), egress_ca_file=str(issuer.ca_file))


def show(live, issuer) -> None:
    iam = live.client("iam")
    made = iam.create_open_id_connect_provider(Url=issuer.url, ClientIDList=["sts.amazonaws.com"])
    principal = {"Federated": made["OpenIDConnectProviderArn"]}
    allow = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": allow})
    iam.create_role(RoleName="vouched", AssumeRolePolicyDocument=trust)
    live.client("sts").assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/vouched", RoleSessionName="s1", WebIdentityToken=issuer.token()
    )


async def assume(live):
    return await live.app.identity.assume(
        role_arn=f"arn:aws:iam::{ACCOUNT}:role/seen", service="codepipeline.amazonaws.com", session_name="run",
        region="us-east-1", account=ACCOUNT, source_arn=f"arn:aws:codepipeline:us-east-1:{ACCOUNT}:demo",
    )  # fmt: skip


def browse(live) -> http.cookiejar.Cookie:
    """Sign in to the console and look at a page; the cookie of the session."""
    safe = ssl.create_default_context(cafile=live.running_app.ca_file) if live.running_app.ca_file else None
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(jar), *([urllib.request.HTTPSHandler(context=safe)] if safe else [])
    )
    form = urllib.parse.urlencode({"account": ACCOUNT, "user": "ann", "password": "a long password"}).encode()
    browser.open(f"{live.url}/console/login", form).read()
    browser.open(f"{live.url}/console/").read()
    (cookie,) = jar
    return cookie


def git(live, keys, *arguments: str, cwd=None) -> None:
    address = urllib.parse.urlsplit(live.url)
    user, password = (
        urllib.parse.quote(keys[name], safe="") for name in ("aws_access_key_id", "aws_secret_access_key")
    )
    url = f"{address.scheme}://{user}:{password}@{address.netloc}/v1/repos/ways"
    environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "HOME": "/nonexistent"}
    identity = ("-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *identity, *(url if part == "URL" else part for part in arguments)],
        env=environment, cwd=cwd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def clone(live, keys) -> None:
    live.client("codecommit").create_repository(repositoryName="ways")
    git(live, keys, "ls-remote", "URL")


def archive(live, keys) -> None:
    work = live.data_dir.parent / "work"
    work.mkdir()
    git(live, keys, "init", cwd=work)
    git(live, keys, "commit", "--allow-empty", "-m", "x", cwd=work)
    git(live, keys, "push", "URL", "HEAD:main", cwd=work)
    commit = live.client("codecommit").get_branch(repositoryName="ways", branchName="main")["branch"]["commitId"]
    live.client("s3").create_bucket(Bucket="ways-archive")
    live.client("penstock", keys=keys).upload_repository_archive(
        repositoryName="ways", commitId=commit, bucketName="ways-archive", objectKey="a.zip"
    )


ASKED = dict.fromkeys(WAYS, "codepipeline:ListPipelines") | {
    "git": "codecommit:GitPull", "token of an issuer": "sts:AssumeRoleWithWebIdentity", "service that assumes": "sts:AssumeRole", "on behalf of a user": "s3:PutObject",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", EVERY)
def test_a_key_says_the_same_whatever_way_a_request_came(seen, way, key):
    said = seen[way][ASKED[way]].get(key)
    expected = WAYS[way].get(key)
    assert said is not None if expected is ANY else said == expected


@pytest.mark.parametrize(
    ("via", "called", "principal", "origin"),
    [
        ("http", "codepipeline:ListPipelines", f"arn:aws:iam::{ACCOUNT}:user/ann", ""),
        ("console", "codepipeline:ListPipelines", f"arn:aws:iam::{ACCOUNT}:user/ann", ""),
        ("git", "codecommit:GitPull", f"arn:aws:iam::{ACCOUNT}:user/ann", ""),
        ("git", "codecommit:GitPush", f"arn:aws:iam::{ACCOUNT}:user/ann", ""),
        ("invoke", "sts:AssumeRole", "codepipeline.amazonaws.com", ""),
        ("invoke", "codepipeline:ListPipelines", f"arn:aws:sts::{ACCOUNT}:assumed-role/seen/run", ""),
        ("invoke", "s3:PutObject", f"arn:aws:iam::{ACCOUNT}:user/ann", "penstock.amazonaws.com"),
    ],
)
def test_a_call_is_logged_whatever_way_it_came(seen, folder, via, called, principal, origin):
    (log,) = (folder / "plain").rglob("requests.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    found = [
        line
        for line in lines
        if (line["via"], f"{line['service']}:{line['operation']}", line["principal"]) == (via, called, principal)
    ]
    assert found
    for line in found:
        assert (line["origin"], line["account"], line["region"], line["status"], line["code"]) == (
            origin,
            ACCOUNT,
            "us-east-1",
            200,
            "",
        )
        assert line["ms"] > 0
        assert line["source"] == ("" if principal.endswith(("run", ".com")) else "127.0.0.1")
    assert len({line["id"] for line in lines}) == len(lines)


def test_every_key_can_be_asked_for(seen):
    assert {key for way in WAYS.values() for key in way} == set(EVERY)


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("::ffff:10.1.2.3", 5), "10.1.2.3"), (("10.1.2.3", 5), "10.1.2.3"), (("fe80::1%eth0", 5), "fe80::1"),
        (("2001:db8::1", 5), "2001:db8::1"), (None, ""), (("", 0), ""),
    ],
)  # fmt: skip
def test_an_address_has_one_spelling(client, address):
    assert client_address({"client": client}) == address


def test_a_deny_by_an_ipv4_range_holds_on_a_server_of_both_protocols(live_factory):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6 sockets that take IPv4")
    port = reserved_port()
    with live_factory(host="::", allow_plain_http=True, port=port, public_url=f"http://127.0.0.1:{port}") as live:
        keys = people(live)
        live.client("codepipeline", keys=keys).list_pipelines()
        deny = {
            "Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}},
        }  # fmt: skip
        document = json.dumps({"Version": "2012-10-17", "Statement": deny})
        live.client("iam").put_user_policy(UserName="ann", PolicyName="near", PolicyDocument=document)
        with pytest.raises(botocore.exceptions.ClientError, match="explicit deny"):
            live.client("codepipeline", keys=keys).list_pipelines()


def test_a_link_to_choose_a_password_is_made_by_whoever_may_set_one(live):
    """The link makes its holder the user: who may make one for an administrator is an administrator."""
    iam = live.client("iam")
    iam.create_user(UserName="chief")
    may = {"links": ["penstock:CreateSignInLink"], "both": ["penstock:CreateSignInLink", "iam:*LoginProfile"]}
    for name, actions in may.items():
        iam.create_user(UserName=f"makes-{name}")
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=f"makes-{name}", PolicyName="p", PolicyDocument=policy)
        key = iam.create_access_key(UserName=f"makes-{name}")["AccessKey"]
        keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
        ours = live.client("penstock", keys=keys)
        if name == "links":
            with pytest.raises(
                botocore.exceptions.ClientError, match="iam:CreateLoginProfile on resource: .*user/chief"
            ):
                ours.create_sign_in_link(userName="chief")
        else:
            assert "/console/welcome/" in ours.create_sign_in_link(userName="chief")["url"]
