"""What joining leaves in the database, on either one."""

import penstock_identity_harness
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from penstock_certificates import name_of
from penstock_identity_harness import REGION, document, refused

import penstock.certificates
import penstock.deployments
import penstock.fleet
from penstock.wire.call import ANONYMOUS

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
    clock.advance(14 * 24 * 3600_000)
    assert (await states())["web-1"] == "Expired"
    await ours("InviteHost", name="web-1", roleArn=role)  # nobody's place is taken
    await ours("RevokeHost", name="web-1")
    assert (await states())["web-1"] == "Revoked"
    assert (await ours("InviteHost", **namesake))["token"]
    # With its trust anchor the authority goes, and every host of it; the next one begins anew.
    await harness.app.invoke(
        owner, "rolesanywhere", "DeleteTrustAnchor", {"trustAnchorId": made["trustAnchorArn"]}, region=REGION
    )
    assert await states() == {}
    assert (await ours("CreateHostAuthority"))["trustAnchorArn"] != made["trustAnchorArn"]
