"""Trust anchors, profiles and revocation lists, on either database."""

import json

import pytest
from cryptography.hazmat.primitives import serialization
from penstock_certificates import authority
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, document

from penstock.certificates import mappings
from penstock.certificates.operations import subjects
from penstock.store.retention import Sweeper
from penstock.wire.call import Call, Certified
from penstock.wire.errors import AccessDenied, ServiceError

ROOT, STRANGER = authority("Root"), authority("Stranger")
TRUST = document(
    {
        "Effect": "Allow", "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    }
)  # fmt: skip
NOWHERE = "11111111-2222-4333-8444-555555555555"


async def refused(awaitable):
    """(code, message) of what a call is refused with."""
    with pytest.raises((ServiceError, AccessDenied)) as caught:
        await awaitable
    return getattr(caught.value, "wire_code", "AccessDeniedException"), caught.value.message


def source(pem):
    return {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": pem}}


@pytest.fixture
def ask(harness, owner):
    async def asked(operation, *, by=None, **input):
        return await harness.app.invoke(by or owner, "rolesanywhere", operation, input, region=REGION)

    return asked


@pytest.fixture
async def anchor(ask):
    return (await ask("CreateTrustAnchor", name="office", source=source(ROOT.pem), enabled=True))["trustAnchor"]


async def test_an_anchor_is_made_read_changed_and_forgotten(ask, anchor):
    assert (
        anchor["trustAnchorArn"] == f"arn:aws:rolesanywhere:us-east-1:{ACCOUNT}:trust-anchor/{anchor['trustAnchorId']}"
    )
    assert anchor["source"] == source(ROOT.pem)
    by_arn = anchor["trustAnchorArn"]
    for named in (anchor["trustAnchorId"], by_arn):
        assert (await ask("GetTrustAnchor", trustAnchorId=named))["trustAnchor"] == anchor
    changed = (await ask("UpdateTrustAnchor", trustAnchorId=by_arn, name="home"))["trustAnchor"]
    assert (changed["name"], changed["source"]) == ("home", source(ROOT.pem))
    changed = (await ask("UpdateTrustAnchor", trustAnchorId=by_arn, source=source(STRANGER.pem)))["trustAnchor"]
    assert (changed["name"], changed["source"]) == ("home", source(STRANGER.pem))
    assert not (await ask("DisableTrustAnchor", trustAnchorId=by_arn))["trustAnchor"]["enabled"]
    assert (await ask("EnableTrustAnchor", trustAnchorId=by_arn))["trustAnchor"]["enabled"]
    assert (await ask("DeleteTrustAnchor", trustAnchorId=by_arn))["trustAnchor"]["name"] == "home"
    assert await refused(ask("GetTrustAnchor", trustAnchorId=by_arn)) == (
        "ResourceNotFoundException", f"There is no trust anchor {by_arn}.",
    )  # fmt: skip


async def test_what_is_no_authority_is_refused(ask):
    for pem, why in (("x", "it is not one or more X.509 certificates in PEM form"), (ROOT.issue().pem, "not that of")):
        code, message = await refused(ask("CreateTrustAnchor", name="x", source=source(pem)))
        assert code == "ValidationException"
        assert why in message
    cloud = {"sourceType": "AWS_ACM_PCA", "sourceData": {"acmPcaArn": "arn:aws:acm-pca:us-east-1:1:x"}}
    for more in (
        {"source": cloud}, {"source": source(ROOT.pem), "crlDpRevocationEnabled": True}, {"source": {}},
        {"source": source(ROOT.pem), "notificationSettings": [{"enabled": True, "event": "CA_CERTIFICATE_EXPIRY"}]},
        {"source": source(ROOT.pem), "aliasName": "a"},
    ):  # fmt: skip
        assert (await refused(ask("CreateTrustAnchor", name="x", **more)))[0] == "ValidationException"
    assert (await ask("ListTrustAnchors"))["trustAnchors"] == []


async def test_a_profile_names_roles_that_its_maker_may_pass(harness, ask):
    role = await harness.role("host", TRUST)
    statements = [{"Effect": "Allow", "Action": "rolesanywhere:*", "Resource": "*"}]
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role}
    elsewhere = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    unable = await harness.user("unable", document(*statements, {**passing, "Condition": elsewhere}))
    code, message = await refused(ask("CreateProfile", by=unable, name="p", roleArns=[role]))
    assert code == "AccessDeniedException"
    assert f"iam:PassRole on resource: {role}" in message
    here = {"StringEquals": {"iam:PassedToService": "rolesanywhere.amazonaws.com"}}
    able = await harness.user("able", document(*statements, {**passing, "Condition": here}))
    made = (await ask("CreateProfile", by=able, name="p", roleArns=[role, role]))["profile"]
    assert made | {"profileId": "", "profileArn": "", "createdAt": 0, "updatedAt": 0} == {
        "profileId": "", "profileArn": "", "createdAt": 0, "updatedAt": 0, "name": "p", "requireInstanceProperties": False,
        "enabled": False, "createdBy": able.arn, "roleArns": [role], "managedPolicyArns": [], "durationSeconds": 3600,
        "acceptRoleSessionName": False, "attributeMappings": mappings.to_api(mappings.DEFAULT),
    }  # fmt: skip
    other = await harness.role("other", TRUST)
    named = {"profileId": made["profileId"]}
    assert (await refused(ask("UpdateProfile", by=able, **named, roleArns=[other])))[0] == "AccessDeniedException"
    given = {
        "name": "q",
        "durationSeconds": 900,
        "acceptRoleSessionName": True,
        "sessionPolicy": allow("s3:*"),
        "managedPolicyArns": ["a"],
    }
    changed = (await ask("UpdateProfile", by=able, **named, **given))["profile"]
    assert {name: changed[name] for name in given} == given
    assert changed["roleArns"] == [role]
    assert (await ask("EnableProfile", **named))["profile"]["enabled"]
    assert not (await ask("DisableProfile", **named))["profile"]["enabled"]
    assert (await ask("ListProfiles"))["profiles"] == [(await ask("GetProfile", **named))["profile"]]
    assert (await refused(ask("UpdateProfile", **named, managedPolicyArns=[str(n) for n in range(11)])))[
        0
    ] == "ValidationException"
    await ask("DeleteProfile", **named)
    assert (await refused(ask("GetProfile", **named)))[0] == "ResourceNotFoundException"


async def test_a_revocation_list_is_one_of_the_anchors_authorities(ask, anchor):
    leaf = ROOT.issue().certificate
    of_it = {"trustAnchorArn": anchor["trustAnchorArn"]}
    code, message = await refused(ask("ImportCrl", name="l", crlData=STRANGER.revoke(), **of_it))
    assert code == "ValidationException"
    assert "none of the trust anchor's authorities has signed it" in message
    first = (await ask("ImportCrl", name="l", crlData=ROOT.revoke(), enabled=True, **of_it))["crl"]
    assert (first["trustAnchorArn"], first["enabled"]) == (anchor["trustAnchorArn"], True)
    named, newer = {"crlId": first["crlArn"]}, ROOT.revoke(leaf)
    assert (await ask("UpdateCrl", **named, name="m", crlData=newer))["crl"]["crlData"] == newer
    assert (await refused(ask("UpdateCrl", **named, crlData=STRANGER.revoke())))[0] == "ValidationException"
    assert not (await ask("DisableCrl", **named))["crl"]["enabled"]
    assert (await ask("EnableCrl", **named))["crl"]["enabled"]
    assert [one["crlId"] for one in (await ask("ListCrls"))["crls"]] == [first["crlId"]]
    for number in range(9):
        await ask("ImportCrl", name=f"l{number}", crlData=ROOT.revoke(), **of_it)
    assert "at most 10" in (await refused(ask("ImportCrl", name="x", crlData=ROOT.revoke(), **of_it)))[1]
    assert (await ask("DeleteCrl", **named))["crl"]["name"] == "m"
    assert (await refused(ask("GetCrl", **named)))[0] == "ResourceNotFoundException"
    await ask("DeleteTrustAnchor", trustAnchorId=anchor["trustAnchorId"])
    assert (await ask("ListCrls"))["crls"] == []


async def test_tags_and_what_policies_ask_of_them(harness, ask, anchor):
    arn = anchor["trustAnchorArn"]
    await ask("TagResource", resourceArn=arn, tags=[{"key": "team", "value": "blue"}, {"key": "x", "value": ""}])
    await ask("UntagResource", resourceArn=arn, tagKeys=["x"])
    assert (await ask("ListTagsForResource", resourceArn=arn))["tags"] == [{"key": "team", "value": "blue"}]
    blue = {
        "Effect": "Allow", "Action": "rolesanywhere:Get*", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "blue"}},
    }  # fmt: skip
    reader = await harness.user("reader", document(blue))
    assert (await ask("GetTrustAnchor", by=reader, trustAnchorId=arn))["trustAnchor"] == anchor
    await ask("TagResource", resourceArn=arn, tags=[{"key": "team", "value": "red"}])
    assert (await refused(ask("GetTrustAnchor", by=reader, trustAnchorId=arn)))[0] == "AccessDeniedException"
    for key in ("aws:x", "team"):
        twice = [{"key": key, "value": "v"}] * 2
        assert (await refused(ask("TagResource", resourceArn=arn, tags=twice)))[0] == "ValidationException"
    making = await harness.user("making", allow("rolesanywhere:CreateTrustAnchor"))
    tagged = {"name": "x", "source": source(ROOT.pem), "tags": [{"key": "a", "value": "b"}]}
    assert "rolesanywhere:TagResource" in (await refused(ask("CreateTrustAnchor", by=making, **tagged)))[1]
    made = (await ask("CreateTrustAnchor", **tagged))["trustAnchor"]
    assert (await ask("ListTagsForResource", resourceArn=made["trustAnchorArn"]))["tags"] == tagged["tags"]
    for missing in (
        arn.replace(anchor["trustAnchorId"], NOWHERE),
        "arn:aws:s3:::b",
        "x",
        arn.replace("trust-anchor", "subject"),
    ):
        assert (await refused(ask("ListTagsForResource", resourceArn=missing)))[0] == "ResourceNotFoundException"


async def test_mappings_of_a_profile_are_put_and_deleted_by_field(harness, ask):
    role = await harness.role("host", TRUST)
    named = {"profileId": (await ask("CreateProfile", name="p", roleArns=[role]))["profile"]["profileArn"]}

    async def after(operation, field, **more):
        found = (await ask(operation, **named, certificateField=field, **more))["profile"]["attributeMappings"]
        assert (await ask("GetProfile", **named))["profile"]["attributeMappings"] == found
        return {one["certificateField"]: [rule["specifier"] for rule in one["mappingRules"]] for one in found}

    def rules(*specifiers):
        return {"mappingRules": [{"specifier": one} for one in specifiers]}

    usual = {"x509Issuer": ["*"], "x509SAN": ["DNS", "URI", "Name/*"], "x509Subject": ["*"]}
    assert await after("DeleteAttributeMapping", "x509SAN", specifiers=["Name"]) == usual | {"x509SAN": ["DNS", "URI"]}
    changed = await after("PutAttributeMapping", "x509Subject", **rules("CN", "OU"))
    assert changed == usual | {"x509SAN": ["DNS", "URI"], "x509Subject": ["CN", "OU"]}
    await ask("UpdateProfile", **named, name="q")
    await after("DeleteAttributeMapping", "x509SAN")
    assert await after("DeleteAttributeMapping", "x509Issuer", specifiers=["*"]) == {"x509Subject": ["CN", "OU"]}
    assert await after("DeleteAttributeMapping", "x509Subject") == {}
    assert await after("PutAttributeMapping", "x509Issuer", **rules("*")) == {"x509Issuer": ["*"]}
    bad = {"certificateField": "x509Issuer", "specifiers": ["cn"]}
    assert (await refused(ask("DeleteAttributeMapping", **named, **bad)))[0] == "ValidationException"


async def test_what_is_noted_of_subjects_is_bounded(harness, ask, owner, clock, monkeypatch):
    monkeypatch.setattr(subjects, "MAX_SUBJECTS", 3)

    async def noted(holder, account=ACCOUNT, **input):
        clock.advance(1000)
        call = Call(
            app=harness.app, session=owner, account="", region=REGION, service="", operation="", request_id="r",
            now=clock.now(), via="http", certificate=holder.certificate.public_bytes(serialization.Encoding.DER),
            memo={"who": Certified(account, "", "")},
        )  # fmt: skip
        return (await subjects.note(harness.app, call, input, failed=False)).rpartition("/")[2]

    elsewhere = await noted(ROOT.issue("a"), OTHER)
    a, b, c = [await noted(ROOT.issue(name)) for name in "abc"]
    assert await noted(ROOT.issue("a")) == a
    d = await noted(ROOT.issue("d"))
    assert {one["subjectId"] for one in (await ask("ListSubjects"))["subjects"]} == {a, c, d}
    assert (await refused(ask("GetSubject", subjectId=elsewhere)))[0] == "ResourceNotFoundException"
    assert await noted(ROOT.issue("b")) == b
    shown = [ROOT.issue("d") for _ in range(11)]
    for number, holder in enumerate(shown):
        await noted(holder, instanceProperties={"number": str(number)})
    again = clock.now() + 1000
    await noted(shown[5], instanceProperties={"number": "5"})
    found = (await ask("GetSubject", subjectId=d))["subject"]
    newest = [shown[number].pem for number in (5, 10, 9, 8, 7, 6, 4, 3, 2, 1)]
    assert [one["x509CertificateData"] for one in found["credentials"]] == newest
    said = [one["properties"]["number"] for one in found["instanceProperties"]]
    assert said == ["5", "10", "9", "8", "7", "6", "4", "3", "2", "1"]
    assert (found["credentials"][0]["seenAt"], found["lastSeenAt"]) == (again, again)
    clock.advance(366 * 86400_000)
    await Sweeper(harness.app.store, expiring=harness.app.expiring).sweep()
    assert (await ask("ListSubjects"))["subjects"] == []


async def test_accounts_and_regions_are_apart(harness, ask, anchor):
    await harness.iam("CreateUser", UserName="u", by=await harness.administrator(OTHER))
    foreign = await harness.administrator(OTHER)
    for operation, input in (
        ("GetTrustAnchor", {"trustAnchorId": anchor["trustAnchorArn"]}), ("GetTrustAnchor", {"trustAnchorId": anchor["trustAnchorId"]}),
        ("DeleteTrustAnchor", {"trustAnchorId": anchor["trustAnchorId"]}),
        ("ImportCrl", {"name": "l", "crlData": ROOT.revoke(), "trustAnchorArn": anchor["trustAnchorArn"]}),
    ):  # fmt: skip
        assert (await refused(ask(operation, by=foreign, **input)))[0] in (
            "ResourceNotFoundException",
            "AccessDeniedException",
        )
    assert (await ask("ListTrustAnchors", by=foreign))["trustAnchors"] == []


async def test_lists_have_pages(ask):
    made = [
        (await ask("CreateTrustAnchor", name=f"a{number}", source=source(ROOT.pem)))["trustAnchor"]
        for number in range(3)
    ]
    first = await ask("ListTrustAnchors", pageSize=2)
    second = await ask("ListTrustAnchors", pageSize=2, nextToken=first["nextToken"])
    found = [one["trustAnchorId"] for one in first["trustAnchors"] + second["trustAnchors"]]
    assert found == sorted(one["trustAnchorId"] for one in made)
    assert "nextToken" not in second
    for bad in ({"nextToken": "x"}, {"pageSize": 0}, {"pageSize": 1001}):
        assert (await refused(ask("ListTrustAnchors", **bad)))[0] == "ValidationException"
    json.dumps(first)


async def test_a_place_has_so_many_of_a_kind_and_no_more(ask, anchor, monkeypatch):
    monkeypatch.setattr("penstock.certificates.operations.MAX_RESOURCES", 2)
    await ask("CreateTrustAnchor", name="second", source=source(ROOT.pem))
    assert await refused(ask("CreateTrustAnchor", name="third", source=source(ROOT.pem))) == (
        "ValidationException", "An account has at most 2 of these in a region.",
    )  # fmt: skip
    assert len((await ask("ListTrustAnchors"))["trustAnchors"]) == 2
    of_it = {"trustAnchorArn": anchor["trustAnchorArn"], "crlData": ROOT.revoke()}
    assert (await ask("ImportCrl", name="l", **of_it))["crl"]["name"] == "l"  # others are counted by themselves
