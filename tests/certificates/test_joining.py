"""What joining leaves in the database, on either one."""

import asyncio
import json
import re

import penstock_identity_harness
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from penstock_certificates import authority, name_of
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, document, refused

import penstock.certificates
import penstock.deployments
import penstock.fleet
from penstock.certificates import authority as issuing
from penstock.certificates import records
from penstock.certificates.chains import roots_of, trusted_path
from penstock.certificates.errors import AccessDeniedException
from penstock.certificates.operations import authorities, hosts, sessions
from penstock.wire.call import ANONYMOUS, Call, service_session
from penstock.wire.errors import AccessDenied, ExpiredSession

TRUST = document(
    {
        "Effect": "Allow",
        "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    }
)


COMPONENTS = (penstock.certificates.component, penstock.deployments.component, penstock.fleet.component)


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    async with penstock_identity_harness.harness_on(
        any_store, clock, tmp_path, *COMPONENTS, regions=("eu-west-1",)
    ) as made:
        yield made


@pytest.fixture
async def on_sqlite(store, clock, tmp_path):
    """For what both databases would do alike."""
    async with penstock_identity_harness.harness_on(store, clock, tmp_path, *COMPONENTS) as made:
        yield made, Hosts(made, await made.administrator())


class Hosts:
    """What an operator, and hosts, ask our own service for."""

    def __init__(self, harness, owner):
        self.app, self.owner = harness.app, owner

    async def ask(self, operation, *, by=None, region=REGION, **input):
        return await self.app.invoke(by or self.owner, "penstock", operation, input, region=region)

    async def roots(self):
        anchor = {"trustAnchorId": (await self.ask("CreateHostAuthority"))["trustAnchorArn"]}
        found = await self.app.invoke(self.owner, "rolesanywhere", "GetTrustAnchor", anchor, region=REGION)
        return roots_of(found["trustAnchor"]["source"]["sourceData"]["x509CertificateData"])

    async def join(self, name, role, request=None):
        """The certificate (PEM) of a host that joins."""
        token = (await self.ask("InviteHost", name=name, roleArn=role))["token"]
        joins = {"token": token, "certificateSigningRequest": request or signing_request()}
        return (await self.ask("JoinHost", by=ANONYMOUS, **joins))["certificate"]

    def _signed(self, pem):
        return Call(
            app=self.app, session=ANONYMOUS, account="", region=REGION, service="", operation="", request_id="r", via="http",
            now=self.app.clock.now(), certificate=x509.load_pem_x509_certificate(pem.encode()).public_bytes(serialization.Encoding.DER),
        )  # fmt: skip

    async def shown(self, pem):
        """The authority that vouches for a certificate which signs a request; None when nobody trusts it."""
        anchor = (await self.ask("CreateHostAuthority"))["trustAnchorArn"]
        try:
            trusted = await sessions.trust(self.app, self._signed(pem), anchor)
        except AccessDeniedException:
            return None
        return next(
            one for one in await self.roots() if trusted.certificate.issuer == one.subject and _vouches(one, trusted)
        )

    async def renew(self, pem):
        """The certificate that a host gets for its present one."""
        input = {"trustAnchorArn": (await self.ask("CreateHostAuthority"))["trustAnchorArn"]}
        input["certificateSigningRequest"] = signing_request()
        return (await hosts.renew_host_certificate(self.app, self._signed(pem), input))["certificate"]


def _vouches(root, trusted):
    try:
        trusted.certificate.verify_directly_issued_by(root)
    except InvalidSignature:
        return False
    return True


@pytest.fixture
async def hosted(harness):
    return Hosts(harness, await harness.administrator())


def signing_request():
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name_of("x")).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def test_an_invitation_that_does_not_work_says_why(harness):
    owner = await harness.administrator()
    role = await harness.role("hosts", TRUST)

    async def ours(operation, *, by=owner, **input):
        return await harness.app.invoke(by, "penstock", operation, input, region=REGION)

    async def said(token, request):
        code, message = await refused(
            ours("JoinHost", by=ANONYMOUS, token=token, certificateSigningRequest=request or signing_request())
        )
        assert (code, "Ask for a new one: penstock hosts join " in message) == ("InvalidInvitationException", True)
        return message

    first = (await ours("InviteHost", name="web-1", roleArn=role))["token"]
    second = (await ours("InviteHost", name="web-1", roleArn=role))["token"]
    assert "was followed by a newer one" in await said(first, None)
    request = signing_request()
    await ours("JoinHost", by=ANONYMOUS, token=second, certificateSigningRequest=request)
    assert "was used already, with another key" in await said(second, None)
    await ours("RevokeHost", name="web-1")
    assert "was revoked" in await said(second, request)
    for unknown in (second[:-4], "a" * 40):
        assert "is not one of this installation" in await said(unknown, request)
    anchor = (await ours("CreateHostAuthority"))["trustAnchorArn"]
    await harness.app.invoke(owner, "rolesanywhere", "DeleteTrustAnchor", {"trustAnchorId": anchor}, region=REGION)
    assert "an authority that was deleted" in await said(first, request)


async def test_a_session_that_is_not_the_hosts_is_not_the_host(harness, clock, monkeypatch):
    """Whoever may assume the role of a host too could else name a session as the host is named, and be it."""
    owner = await harness.administrator()
    account = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    role = await harness.role("hosts", document(json.loads(TRUST)["Statement"][0], account))
    other = await harness.role("other", document(account), allow("sts:*"))
    eve = await harness.user("eve", allow("sts:*"))
    chained = await harness.assumed(other, by=eve)

    async def ours(operation, *, by=owner, **input):
        return await harness.app.invoke(by, "penstock", operation, input, region=REGION)

    async def given(by, name="web-1"):
        input = {"RoleArn": role, "RoleSessionName": name}
        made = (await harness.app.invoke(by, "sts", "AssumeRole", input, region=REGION))["Credentials"]
        return made["AccessKeyId"], made["SessionToken"]

    async def over(keys):
        with pytest.raises(ExpiredSession):
            await harness.session(*keys)

    before = await given(eve)
    await harness.session(*before)
    token = (await ours("InviteHost", name="web-1", roleArn=role))["token"]
    anchor = (await ours("CreateHostAuthority"))["trustAnchorArn"]
    await over(before)
    for by in (eve, chained, owner):
        code, message = await refused(given(by))
        assert (code, "belongs to a host that has joined" in message) == ("AccessDenied", True)
        await harness.session(*await given(by, "web-2"))
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)
    joins = {"token": token, "certificateSigningRequest": signing_request()}
    await ours("JoinHost", by=ANONYMOUS, **joins)
    session = await given(host)
    assert (await harness.session(*session)).arn.endswith(":assumed-role/hosts/web-1")
    # A certificate that was looked at before the revocation gets no session that outlives it, neither at that moment nor later.
    change, meanwhile = harness.app.identity.change, []

    async def slowly(tx):
        clock.advance(1000)
        meanwhile.append(await given(host))
        return await change(tx)

    with monkeypatch.context() as patched:
        patched.setattr(harness.app.identity, "change", slowly)
        await ours("RevokeHost", name="web-1")
    for one in (session, *meanwhile):
        await over(one)
    assert (await refused(given(host)))[0] == "AccessDenied"
    clock.advance(1000)
    joins["token"] = (await ours("InviteHost", name="web-1", roleArn=role))["token"]
    await ours("JoinHost", by=ANONYMOUS, **joins)
    await harness.session(*await given(host))
    await over(session)
    await over(meanwhile[0])
    # The name stays the host's when the role is made anew, or when the authority is gone.
    await harness.app.invoke(owner, "rolesanywhere", "DeleteTrustAnchor", {"trustAnchorId": anchor}, region=REGION)
    assert (await refused(given(eve)))[0] == "AccessDenied"


async def test_the_authority_gets_another_key_and_its_hosts_renew(harness, hosted, clock):
    role = await harness.role("hosts", TRUST)
    first, second = await hosted.join("web-1", role), await hosted.join("web-2", role)
    (before,) = await hosted.roots()
    made = await hosted.ask("RotateHostAuthority")
    after, still = await hosted.roots()
    assert (made["hosts"], still) == (2, before)
    assert made["certificate"].encode() == after.public_bytes(serialization.Encoding.PEM)
    assert await hosted.shown(first) == before
    newer = await hosted.renew(first)
    assert await hosted.shown(newer) == after
    assert await hosted.shown(second) == before, "web-2 has not renewed yet"
    # What was issued may never have arrived: the host uses what it has, until it shows another one.
    lost = await hosted.renew(second)
    assert await hosted.shown(second) == before
    assert len(await hosted.roots()) == 2
    assert await hosted.shown(await hosted.renew(second)) == after
    assert (await hosted.roots(), await hosted.shown(first)) == ([after], None)
    assert await hosted.shown(lost) == after
    # A host that does not renew keeps the former key trusted for as long as its certificate is good.
    assert (await hosted.ask("RotateHostAuthority"))["hosts"] == 2
    await hosted.shown(await hosted.renew(newer))
    assert len(await hosted.roots()) == 2
    clock.advance(15 * 24 * 3600_000)
    await hosted.join("web-1", role)
    assert len(await hosted.roots()) == 1
    assert (await hosted.ask("RotateHostAuthority"))["hosts"] == 1
    for _ in range(8):
        await hosted.ask("RotateHostAuthority")
    assert "Wait until they have renewed theirs" in (await refused(hosted.ask("RotateHostAuthority")))[1]
    # Somebody else may have the key: nothing that it has signed is trusted, and no session that hosts have.
    anchor = (await hosted.ask("CreateHostAuthority"))["trustAnchorArn"]
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)
    input = {"RoleArn": role, "RoleSessionName": "web-1"}
    given = (await harness.app.invoke(host, "sts", "AssumeRole", input, region=REGION))["Credentials"]
    await harness.session(given["AccessKeyId"], given["SessionToken"])
    last = await hosted.join("web-3", role)
    assert (await hosted.ask("RotateHostAuthority", trustFormer=False))["hosts"] == 0
    assert (len(await hosted.roots()), await hosted.shown(last)) == (1, None)
    with pytest.raises(ExpiredSession):
        await harness.session(given["AccessKeyId"], given["SessionToken"])
    assert await hosted.shown(await hosted.join("web-1", role)) is not None


async def test_two_rotations_at_once_are_one_after_the_other(harness, hosted):
    role = await harness.role("hosts", TRUST)
    first = await hosted.join("web-1", role)
    made = await asyncio.gather(*(hosted.ask("RotateHostAuthority") for _ in range(3)))
    roots = [one.public_bytes(serialization.Encoding.PEM).decode() for one in await hosted.roots()]
    assert {one["certificate"] for one in made} == set(roots[:3])
    assert (len(roots), (await hosted.ask("CreateHostAuthority"))["certificate"]) == (4, roots[0])
    newer, _ = await asyncio.gather(
        hosted.renew(first), hosted.ask("RotateHostAuthority", trustFormer=False), return_exceptions=True
    )
    (only,) = await hosted.roots()
    assert await hosted.shown(first) is None
    assert isinstance(newer, Exception) or await hosted.shown(newer) is None
    assert await hosted.shown(await hosted.join("web-1", role)) == only


async def test_nobody_trusts_hosts_by_another_anchor(on_sqlite):
    """Such an anchor would not know which hosts are revoked."""
    harness, hosted = on_sqlite
    own = (await hosted.ask("CreateHostAuthority"))["certificate"]
    await hosted.join("web-1", await harness.role("hosts", TRUST))
    await hosted.ask("RotateHostAuthority")
    rotated = (await hosted.ask("CreateHostAuthority"))["certificate"]
    other, root = await harness.administrator(OTHER), authority("Root").pem

    async def asked(operation, pem, by, **more):
        source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": pem}}
        given = {"source": source, **more}
        return await harness.app.invoke(by, "rolesanywhere", operation, given, region=REGION)

    made = (await asked("CreateTrustAnchor", root, hosted.owner, name="x"))["trustAnchor"]
    for pem in (own, rotated, root + own):
        for by in (hosted.owner, other):
            code, message = await refused(asked("CreateTrustAnchor", pem, by, name="x"))
            assert (code, "trusted by their own trust anchor alone" in message) == ("ValidationException", True)
        changing = asked("UpdateTrustAnchor", pem, hosted.owner, trustAnchorId=made["trustAnchorId"])
        assert (await refused(changing))[0] == "ValidationException"


async def test_the_sessions_of_hosts_end_with_their_anchor(on_sqlite):
    harness, hosted = on_sqlite
    role = await harness.role("hosts", TRUST)
    await hosted.join("web-1", role)
    anchor = (await hosted.ask("CreateHostAuthority"))["trustAnchorArn"]
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)
    input = {"RoleArn": role, "RoleSessionName": "web-1"}
    given = (await harness.app.invoke(host, "sts", "AssumeRole", input, region=REGION))["Credentials"]
    await harness.session(given["AccessKeyId"], given["SessionToken"])
    gone = {"trustAnchorId": anchor}
    await harness.app.invoke(hosted.owner, "rolesanywhere", "DeleteTrustAnchor", gone, region=REGION)
    with pytest.raises(ExpiredSession):
        await harness.session(given["AccessKeyId"], given["SessionToken"])


async def test_an_authority_that_goes_meanwhile_is_not_rotated(on_sqlite, monkeypatch):
    _, hosted = on_sqlite
    await hosted.ask("CreateHostAuthority")
    monkeypatch.setattr(authorities.records, "find", lambda *_, **__: None)
    assert await refused(hosted.ask("RotateHostAuthority")) == (
        "ValidationException",
        "The authority was deleted this moment. Ask again.",
    )


async def test_a_session_counts_under_the_invitation_that_it_was_given_for(harness, hosted, clock):
    """Whatever the clocks of the processes say that have invited the host, and given the session."""
    role = await harness.role("hosts", TRUST)
    await hosted.join("web-1", role)
    anchor = (await hosted.ask("CreateHostAuthority"))["trustAnchorArn"]
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)

    async def given():
        input = {"RoleArn": role, "RoleSessionName": "web-1"}
        made = (await harness.app.invoke(host, "sts", "AssumeRole", input, region=REGION))["Credentials"]
        return made["AccessKeyId"], made["SessionToken"]

    clock.advance(60_000)
    stolen = await given()
    await hosted.ask("RevokeHost", name="web-1")
    for back in (0, 60_000, 60_000):
        clock.advance(-back)
        await hosted.join("web-1", role)
        newer = await given()
        await harness.session(*newer)
        with pytest.raises(ExpiredSession):
            await harness.session(*stolen)
        await hosted.ask("RevokeHost", name="web-1")
        with pytest.raises(ExpiredSession):
            await harness.session(*newer)


async def test_a_session_that_was_asked_for_before_the_revocation_is_not_handed_out(on_sqlite, monkeypatch):
    """Even when the host was invited again meanwhile, so that its name is its own again."""
    harness, hosted = on_sqlite
    role = await harness.role("hosts", TRUST)
    pem = await hosted.join("web-1", role)
    made = await hosted.ask("CreateHostAuthority")
    asked = {"trustAnchorArn": made["trustAnchorArn"], "profileArn": made["profileArn"], "roleArn": role}
    invoke = harness.app.invoke

    async def slowly(session, service, operation, *more, **how):
        if operation == "AssumeRole":
            monkeypatch.undo()
            await hosted.ask("RevokeHost", name="web-1")
            await hosted.join("web-1", role)
        return await invoke(session, service, operation, *more, **how)

    monkeypatch.setattr(harness.app, "invoke", slowly)
    code, message = await refused(sessions.create_session(harness.app, hosted._signed(pem), asked))
    assert (code, "has been revoked" in message) == ("AccessDeniedException", True)


async def test_of_two_regions_that_invite_a_host_one_has_it(harness, hosted):
    role = await harness.role("hosts", TRUST)
    both = [hosted.ask("InviteHost", name="web-1", roleArn=role, region=region) for region in (REGION, "eu-west-1")]
    found = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["ValidationException", "dict"], found
    won = REGION if isinstance(found[0], dict) else "eu-west-1"
    input = {"instanceNames": ["web-1"]}
    for region in (REGION, "eu-west-1"):
        listed = (await hosted.ask("ListHostCertificates", region=region))["hosts"]
        assert [one["state"] for one in listed] == ["Invited"] * (region == won)
        # Deployments of the other region would else wait for a host that nobody can be.
        known = await harness.app.invoke(
            hosted.owner, "codedeploy", "BatchGetOnPremisesInstances", input, region=region
        )
        assert [one["deregisterTime"] is None for one in known["instanceInfos"]] in (
            ([True],) if region == won else ([], [False])
        )


async def test_an_invitation_that_fails_registers_nothing(on_sqlite):
    harness, hosted = on_sqlite
    role = await harness.role("hosts", TRUST)
    actions = "penstock:InviteHost", "iam:PassRole", "codedeploy:*"
    unable = await harness.user(
        "unable", allow(*actions), document({"Effect": "Deny", "Action": "codedeploy:Add*", "Resource": "*"})
    )
    input, tags = {"instanceName": "web-1"}, [{"Key": "a", "Value": "b"}]
    for before in ("nobody", "a host that was revoked", "a host"):
        with pytest.raises(AccessDenied, match="codedeploy:AddTags"):
            await hosted.ask("InviteHost", by=unable, name="web-1", roleArn=role, tags=tags)
        known = await harness.app.invoke(hosted.owner, "codedeploy", "GetOnPremisesInstance", input, region=REGION)
        assert (known["instanceInfo"]["deregisterTime"] is None) is (before == "a host")
        await hosted.ask("InviteHost", name="web-1", roleArn=role)
        if before == "nobody":
            await hosted.ask("RevokeHost", name="web-1")


async def test_a_certificate_that_was_asked_for_before_the_revocation_is_not_issued(on_sqlite, monkeypatch):
    harness, hosted = on_sqlite
    pem = await hosted.join("web-1", await harness.role("hosts", TRUST))
    issue = issuing.issue

    def slowly(*given, **how):
        made = issue(*given, **how)
        revoking.set()
        return made

    revoking, write = asyncio.Event(), harness.app.store.write

    async def after_the_revocation(*given):
        if revoking.is_set():
            monkeypatch.undo()
            await hosted.ask("RevokeHost", name="web-1")
        return await write(*given)

    monkeypatch.setattr(issuing, "issue", slowly)
    monkeypatch.setattr(harness.app.store, "write", after_the_revocation)
    code, message = await refused(hosted.renew(pem))
    assert (code, "was revoked this moment" in message) == ("InvalidInvitationException", True)
    (known,) = (await hosted.ask("ListHostCertificates"))["hosts"]
    assert known["state"] == "Revoked"


async def test_a_revoked_host_is_forgotten_and_its_name_is_free(harness, hosted):
    account = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    role = await harness.role("hosts", document(json.loads(TRUST)["Statement"][0], account))
    await hosted.join("web-1", role)
    anchor = (await hosted.ask("CreateHostAuthority"))["trustAnchorArn"]
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)
    input = {"RoleArn": role, "RoleSessionName": "web-1"}

    async def given(by):
        made = (await harness.app.invoke(by, "sts", "AssumeRole", input, region=REGION))["Credentials"]
        return made["AccessKeyId"], made["SessionToken"]

    was = await given(host)
    for state in ("joined", "invited"):
        code, message = await refused(hosted.ask("ForgetHost", name="web-1"))
        assert (code, "Revoke it first: penstock hosts revoke web-1" in message) == ("ValidationException", True), state
        await hosted.ask("RevokeHost", name="web-1")
        await hosted.ask("InviteHost", name="web-1", roleArn=role)
    # As if the server had been killed when the host was revoked and not yet deregistered.
    await hosted.app.store.write(lambda conn: records.change_host(conn, (ACCOUNT, REGION), "web-1", invitation=""))
    assert (await refused(given(hosted.owner)))[0] == "AccessDenied"
    await hosted.ask("ForgetHost", name="web-1")
    info = {"instanceName": "web-1"}
    found = await harness.app.invoke(hosted.owner, "codedeploy", "GetOnPremisesInstance", info, region=REGION)
    assert found["instanceInfo"]["deregisterTime"]
    assert (await hosted.ask("ListHostCertificates"))["hosts"] == []
    await harness.session(*await given(hosted.owner))
    with pytest.raises(ExpiredSession):
        await harness.session(*was)
    for name in ("web-1", "web-2"):
        assert (await refused(hosted.ask("ForgetHost", name=name)))[0] == "HostNotFoundException"
    await hosted.join("web-1", role)


async def test_a_host_that_is_invited_for_another_role_leaves_its_former_one(on_sqlite, clock):
    harness, hosted = on_sqlite
    account = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": ["sts:AssumeRole", "sts:TagSession"]}
    trust = document(json.loads(TRUST)["Statement"][0], account)
    former, later = await harness.role("former", trust), await harness.role("later", TRUST)
    await hosted.join("web-1", former)
    anchor = (await hosted.ask("CreateHostAuthority"))["trustAnchorArn"]
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)
    clock.advance(14 * 24 * 3600_000 - 60_000)

    async def given(by):
        input = {"RoleArn": former, "RoleSessionName": "web-1"}
        made = (await harness.app.invoke(by, "sts", "AssumeRole", input, region=REGION))["Credentials"]
        return made["AccessKeyId"], made["SessionToken"]

    last = await given(host)
    clock.advance(120_000)  # the certificate has ended, and the session has not
    await harness.session(*last)
    info = {"instanceName": "web-1"}
    await harness.app.invoke(hosted.owner, "codedeploy", "DeregisterOnPremisesInstance", info, region=REGION)
    await hosted.join("web-1", later)
    with pytest.raises(ExpiredSession):
        await harness.session(*last)
    await harness.session(*await given(hosted.owner))


async def test_a_certificate_that_was_signed_while_the_authority_got_another_key_is_signed_again(harness, monkeypatch):
    """Else its host would hold one of a key that may be trusted no more the next moment."""
    owner = await harness.administrator()
    role = await harness.role("hosts", TRUST)

    async def ours(operation, *, by=owner, **input):
        return await harness.app.invoke(by, "penstock", operation, input, region=REGION)

    token = (await ours("InviteHost", name="web-1", roleArn=role))["token"]
    old = (await ours("CreateHostAuthority"))["certificate"]
    read, stale = records.authority, []

    def before_the_rotation(conn, place):
        return stale.pop() if stale else read(conn, place)

    stale.append(await harness.app.store.read(read, (ACCOUNT, REGION)))
    await ours("RotateHostAuthority")
    monkeypatch.setattr(records, "authority", before_the_rotation)
    joined = await ours("JoinHost", by=ANONYMOUS, token=token, certificateSigningRequest=signing_request())
    monkeypatch.undo()
    current = (await ours("CreateHostAuthority"))["certificate"]
    assert current != old
    leaf = x509.load_pem_x509_certificate(joined["certificate"].encode())
    assert trusted_path(leaf, [], roots_of(current), now=harness.app.clock.now())


async def test_invitations_joinings_and_revocations(harness, clock):
    owner = await harness.administrator()
    role = await harness.role("hosts", TRUST)

    async def ours(operation, *, by=owner, region=REGION, **input):
        return await harness.app.invoke(by, "penstock", operation, input, region=region)

    async def states():
        return {one["name"]: one["state"] for one in (await ours("ListHostCertificates"))["hosts"]}

    made = await ours("CreateHostAuthority")
    assert await ours("CreateHostAuthority") == made
    token = (await ours("InviteHost", name="web-1", roleArn=role))["token"]
    await ours("InviteHost", name="web-2", roleArn=role, tags=[{"Key": "a", "Value": "b"}])
    request = signing_request()
    joined = await ours("JoinHost", by=ANONYMOUS, token=token, certificateSigningRequest=request)
    assert joined["trustAnchorArn"] == made["trustAnchorArn"]
    assert await states() == {"web-1": "Joined", "web-2": "Invited"}
    again = await ours("JoinHost", by=ANONYMOUS, token=token, certificateSigningRequest=request)
    assert again["certificate"] != joined["certificate"]
    profile = await harness.app.invoke(
        owner, "rolesanywhere", "GetProfile", {"profileId": made["profileArn"]}, region=REGION
    )
    assert profile["profile"]["roleArns"] == [role]
    # Sessions say no region: one that has the same name and role elsewhere would be this host.
    namesake = {"name": "web-1", "roleArn": role, "region": "eu-west-1"}
    code, message = await refused(ours("InviteHost", **namesake))
    assert (code, "The region us-east-1 has a host web-1 of this role" in message) == ("ValidationException", True)
    invited = (await ours("InviteHost", name="web-3", roleArn=role))["token"]
    clock.advance(24 * 3600_000)
    late = await refused(ours("JoinHost", by=ANONYMOUS, token=invited, certificateSigningRequest=request))
    assert late[0] == "InvalidInvitationException"
    assert re.fullmatch(r"This invitation has expired at \S+Z\. Ask for a new one: penstock hosts join web-3", late[1])
    clock.advance(14 * 24 * 3600_000)
    assert (await states())["web-1"] == "Expired"
    await ours("InviteHost", name="web-1", roleArn=role)  # nobody's place is taken
    await ours("RevokeHost", name="web-1")
    assert (await states())["web-1"] == "Revoked"
    assert (await ours("InviteHost", **namesake))["token"]
    # It is a host of that region now. To revoke the one of before again does nothing to it.
    anchor = (await ours("CreateHostAuthority", region="eu-west-1"))["trustAnchorArn"]
    there = {"RoleArn": role, "RoleSessionName": "web-1"}
    host = service_session("rolesanywhere.amazonaws.com", ACCOUNT, anchor)
    for _ in range(2):
        keys = (await harness.app.invoke(host, "sts", "AssumeRole", there, region=REGION))["Credentials"]
        await ours("RevokeHost", name="web-1")
        await harness.session(keys["AccessKeyId"], keys["SessionToken"])
    # With its trust anchor the authority goes, and every host of it; the next one begins anew.
    await harness.app.invoke(
        owner, "rolesanywhere", "DeleteTrustAnchor", {"trustAnchorId": made["trustAnchorArn"]}, region=REGION
    )
    assert await states() == {}
    assert (await ours("CreateHostAuthority"))["trustAnchorArn"] != made["trustAnchorArn"]


async def test_hosts_go_with_their_own_anchor_alone_and_expire_to_the_millisecond(harness, hosted, clock):
    await hosted.join("web-1", await harness.role("hosts", TRUST))

    async def anywhere(operation, **input):
        return (await harness.app.invoke(hosted.owner, "rolesanywhere", operation, input, region=REGION))["trustAnchor"]

    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": authority("Other").pem}}
    other = await anywhere("CreateTrustAnchor", name="other", source=source)
    await anywhere("DeleteTrustAnchor", trustAnchorId=other["trustAnchorId"])
    (host,) = (await hosted.ask("ListHostCertificates"))["hosts"]
    assert (host["name"], host["state"]) == ("web-1", "Joined")
    left = host["expires"] - clock.now()
    clock.advance(left - 1)
    assert [one["state"] for one in (await hosted.ask("ListHostCertificates"))["hosts"]] == ["Joined"]
    clock.advance(1)
    assert [one["state"] for one in (await hosted.ask("ListHostCertificates"))["hosts"]] == ["Expired"]
    await anywhere("DeleteTrustAnchor", trustAnchorId=(await hosted.ask("CreateHostAuthority"))["trustAnchorArn"])
    assert (await hosted.ask("ListHostCertificates"))["hosts"] == []
