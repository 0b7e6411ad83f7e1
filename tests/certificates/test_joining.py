"""What joining leaves in the database, on either one."""

import json
import re

import penstock_identity_harness
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from penstock_certificates import name_of
from penstock_identity_harness import ACCOUNT, REGION, allow, document, refused

import penstock.certificates
import penstock.deployments
import penstock.fleet
from penstock.certificates import records
from penstock.certificates.chains import Untrusted, roots_of, trusted_path
from penstock.wire.call import ANONYMOUS, service_session
from penstock.wire.errors import ExpiredSession

TRUST = document(
    {
        "Effect": "Allow",
        "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }
)


@pytest.fixture
async def harness(any_store, clock, tmp_path):
    components = (penstock.certificates.component, penstock.deployments.component, penstock.fleet.component)
    async with penstock_identity_harness.harness_on(
        any_store, clock, tmp_path, *components, regions=("eu-west-1",)
    ) as made:
        yield made


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


async def test_the_authority_gets_another_key_and_its_hosts_renew(harness, clock):
    owner = await harness.administrator()
    role = await harness.role("hosts", TRUST)

    async def ours(operation, *, by=owner, **input):
        return await harness.app.invoke(by, "penstock", operation, input, region=REGION)

    async def roots():
        anchor = {"trustAnchorId": (await ours("CreateHostAuthority"))["trustAnchorArn"]}
        found = await harness.app.invoke(owner, "rolesanywhere", "GetTrustAnchor", anchor, region=REGION)
        return roots_of(found["trustAnchor"]["source"]["sourceData"]["x509CertificateData"])

    async def trusted(pem):
        leaf = x509.load_pem_x509_certificate(pem.encode())
        try:
            return trusted_path(leaf, [], await roots(), now=clock.now())[-1]
        except Untrusted:
            return None

    async def join(name):
        token = (await ours("InviteHost", name=name, roleArn=role))["token"]
        joins = {"token": token, "certificateSigningRequest": signing_request()}

        async def renew():  # asked again with the same key
            return (await ours("JoinHost", by=ANONYMOUS, **joins))["certificate"]

        return renew, await renew()

    renew_1, first = await join("web-1")
    renew_2, second = await join("web-2")
    (before,) = await roots()
    made = await ours("RotateHostAuthority")
    after, still = await roots()
    assert (made["hosts"], still) == (2, before)
    assert made["certificate"].encode() == after.public_bytes(serialization.Encoding.PEM)
    assert await trusted(first) == before
    assert await trusted(await renew_1()) == after
    assert await trusted(second) == before, "web-2 has not renewed yet"
    assert await trusted(await renew_2()) == after
    assert (await roots(), await trusted(first)) == ([after], None)
    # A host that does not renew keeps the former key trusted for as long as its certificate is good.
    assert (await ours("RotateHostAuthority"))["hosts"] == 2
    await renew_1()
    assert len(await roots()) == 2
    clock.advance(15 * 24 * 3600_000)
    renew_1, _ = await join("web-1")
    assert len(await roots()) == 1
    assert (await ours("RotateHostAuthority"))["hosts"] == 1
    for _ in range(8):
        await ours("RotateHostAuthority")
    assert "Wait until they have renewed theirs" in (await refused(ours("RotateHostAuthority")))[1]
    # Somebody else may have the key: nothing that it has signed is trusted, and no session that hosts have.
    host = service_session(
        "rolesanywhere.amazonaws.com", ACCOUNT, (await ours("CreateHostAuthority"))["trustAnchorArn"]
    )
    input = {"RoleArn": role, "RoleSessionName": "web-1"}
    given = (await harness.app.invoke(host, "sts", "AssumeRole", input, region=REGION))["Credentials"]
    await harness.session(given["AccessKeyId"], given["SessionToken"])
    last = await renew_1()
    assert (await ours("RotateHostAuthority", trustFormer=False))["hosts"] == 0
    assert (len(await roots()), await trusted(last)) == (1, None)
    with pytest.raises(ExpiredSession):
        await harness.session(given["AccessKeyId"], given["SessionToken"])
    clock.advance(1000)
    _, newest = await join("web-1")
    assert await trusted(newest) is not None


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
