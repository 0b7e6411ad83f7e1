"""Hosts that join: one invitation, one key, one host; renewed, revoked and joined again."""

import datetime as dt
import json

import boto3
import botocore
import botocore.config
import botocore.exceptions
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from penstock_certificates import Holder, authority, create_session, name_of, send_any, signed_headers

from penstock import MODELS

ACCOUNT = "111111111111"
TARGET = "Penstock_20261101"


@pytest.fixture(scope="module")
def role(live):
    anchor = live.client("penstock").create_host_authority()["trustAnchorArn"]
    statement = {
        "Effect": "Allow", "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": {"ArnEquals": {"aws:SourceArn": anchor}},
    }  # fmt: skip
    trust = json.dumps({"Version": "2012-10-17", "Statement": statement})
    return live.client("iam").create_role(RoleName="hosts", AssumeRolePolicyDocument=trust, Path="/fleet/")["Role"][
        "Arn"
    ]


@pytest.fixture(scope="module")
def stranger(live):
    """A client without any key, as a host's that joins."""
    session = boto3.session.Session(region_name="us-east-1")
    session._loader.search_paths.append(str(MODELS))
    config = botocore.config.Config(retries={"total_max_attempts": 1}, signature_version=botocore.UNSIGNED)
    return session.client("penstock", endpoint_url=live.url, config=config)


def request_of(key=None, name="whatever it calls itself"):
    """A signing request (PEM) and its key."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(name_of(name)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode(), key


def joined(live, stranger, role, name, **more):
    """A host that has joined, and the ARNs that it was told."""
    token = live.client("penstock").invite_host(name=name, roleArn=role, **more)["token"]
    request, key = request_of()
    answer = stranger.join_host(token=token, certificateSigningRequest=request)
    return Holder(x509.load_pem_x509_certificate(answer["certificate"].encode()), key), answer


def arns_of(answer):
    return {name: answer[name] for name in ("trustAnchorArn", "profileArn", "roleArn")}


def code_of(call, *arguments, **given):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **given)
    return caught.value.response["Error"]["Code"]


def renew(live, holder, anchor):
    """Status and document of RenewHostCertificate, and the key that it is asked for."""
    request, key = request_of()
    body = json.dumps({"trustAnchorArn": anchor, "certificateSigningRequest": request}).encode()
    form = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{TARGET}.RenewHostCertificate"}
    headers = signed_headers(holder, "POST", f"{live.url}/", body, service="penstock", headers=form)
    status, text = send_any(f"{live.url}/", headers, body)
    return status, json.loads(text), key


def test_a_host_joins_and_is_the_instance_of_its_name(live, stranger, role):
    host, answer = joined(live, stranger, role, "web-1", tags=[{"Key": "fleet", "Value": "web"}])
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/hosts/web-1"
    assert (answer["sessionArn"], answer["region"], answer["roleArn"]) == (session, "us-east-1", role)
    found = live.client("codedeploy").get_on_premises_instance(instanceName="web-1")["instanceInfo"]
    assert (found["iamSessionArn"], found["tags"]) == (session, [{"Key": "fleet", "Value": "web"}])
    lasts = answer["expires"] - dt.datetime.now(dt.UTC)
    assert dt.timedelta(days=13) < lasts <= dt.timedelta(days=14)
    assert host.certificate.subject == name_of("web-1")
    status, session_given = create_session(live.url, host, arns_of(answer))
    assert status == 201, session_given
    assert session_given["credentialSet"][0]["assumedRoleUser"]["arn"] == session
    listed = {one["name"]: one for one in live.client("penstock").list_host_certificates()["hosts"]}["web-1"]
    serial = int(listed["serialNumber"], 16)
    assert (listed["state"], listed["roleArn"], serial) == ("Joined", role, host.certificate.serial_number)


def test_an_invitation_is_for_one_key_once(live, stranger, role):
    token = live.client("penstock").invite_host(name="once", roleArn=role)["token"]
    request, _ = request_of()
    first = stranger.join_host(token=token, certificateSigningRequest=request)
    again = stranger.join_host(token=token, certificateSigningRequest=request)  # the first answer was lost
    assert {name: again[name] for name in arns_of(again)} == arns_of(first)
    thief, _ = request_of()
    invalid = "InvalidInvitationException"
    assert code_of(stranger.join_host, token=token, certificateSigningRequest=thief) == invalid
    for bad in ("x", token[:-4], token[4:], "A" * 2048, "ä"):
        assert code_of(stranger.join_host, token=bad, certificateSigningRequest=thief) == invalid
    assert code_of(live.client("penstock").invite_host, name="once", roleArn=role) == "HostJoinedException"
    replaced = live.client("penstock").invite_host(name="twice", roleArn=role)["token"]
    live.client("penstock").invite_host(name="twice", roleArn=role)
    assert code_of(stranger.join_host, token=replaced, certificateSigningRequest=thief) == invalid


def test_what_is_no_signing_request_is_refused(live, stranger, role):
    token = live.client("penstock").invite_host(name="unready", roleArn=role)["token"]
    forged, key = request_of()
    other, _ = request_of()
    der = bytearray(x509.load_pem_x509_csr(forged.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    mangled = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    weak, _ = request_of(rsa.generate_private_key(65537, 1024))
    for bad in ("x", authority().pem, mangled, weak, request_of(ec.generate_private_key(ec.SECP192R1()))[0]):
        assert code_of(stranger.join_host, token=token, certificateSigningRequest=bad) == "ValidationException"
    assert stranger.join_host(token=token, certificateSigningRequest=other)["sessionArn"].endswith("/unready")


def test_a_host_renews_its_certificate_and_nobody_elses(live, stranger, role):
    host, answer = joined(live, stranger, role, "renewing")
    status, renewed, key = renew(live, host, answer["trustAnchorArn"])
    assert status == 200, renewed
    newer = Holder(x509.load_pem_x509_certificate(renewed["certificate"].encode()), key)
    assert newer.certificate.subject == name_of("renewing")
    for holder in (host, newer):  # the older one is good until its end: the answer may have been lost
        assert create_session(live.url, holder, arns_of(answer))[0] == 201
    assert renew(live, Holder(host.certificate, key), answer["trustAnchorArn"])[0] == 400
    foreign = authority("Other")
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": foreign.pem}}
    anchor = live.client("rolesanywhere").create_trust_anchor(name="other", source=source, enabled=True)["trustAnchor"]
    status, refused, _ = renew(live, foreign.issue("renewing"), anchor["trustAnchorArn"])
    assert (status, "are renewed there" in refused["message"]) == (400, True)
    assert renew(live, foreign.issue("renewing"), answer["trustAnchorArn"])[0] == 403
    assert code_of(
        live.client("penstock").renew_host_certificate, trustAnchorArn=answer["trustAnchorArn"], certificateSigningRequest="x"
    ) == "IncompleteSignatureException"  # fmt: skip


def test_hosts_do_not_notice_that_the_authority_has_another_key(live, stranger, role):
    host, answer = joined(live, stranger, role, "steady")
    live.client("penstock").rotate_host_authority()
    assert create_session(live.url, host, arns_of(answer))[0] == 201
    status, renewed, key = renew(live, host, answer["trustAnchorArn"])
    assert status == 200, renewed
    newer = Holder(x509.load_pem_x509_certificate(renewed["certificate"].encode()), key)
    issuers = [
        one.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value for one in (host, newer)
    ]
    assert issuers[0] != issuers[1]
    assert create_session(live.url, newer, arns_of(answer))[0] == 201
    arn = f"arn:aws:penstock:us-east-1:{ACCOUNT}:host/steady"
    asked = [{"AttributeKey": "ResourceName", "AttributeValue": arn}]
    named = {one["EventName"] for one in live.client("cloudtrail").lookup_events(LookupAttributes=asked)["Events"]}
    assert named == {"InviteHost", "JoinHost", "RenewHostCertificate"}


def test_a_host_takes_no_role_but_its_own(live, stranger, role):
    """Both are roles of the hosts' profile, and trust the authority."""
    document = live.client("iam").get_role(RoleName="hosts")["Role"]["AssumeRolePolicyDocument"]
    made = live.client("iam").create_role(RoleName="databases", AssumeRolePolicyDocument=json.dumps(document))["Role"][
        "Arn"
    ]
    _, databases = joined(live, stranger, made, "db-1")
    host, answer = joined(live, stranger, role, "web-2")
    assert create_session(live.url, host, arns_of(answer))[0] == 201
    status, refused = create_session(live.url, host, arns_of(answer) | {"roleArn": databases["roleArn"]})
    assert (status, "does not let this certificate assume" in refused["message"]) == (403, True)


def test_a_foreign_certificate_gets_no_session_of_a_host(live, stranger):
    """Its authority may choose any serial number, and somebody any name of a session; hosts are known by their sessions."""
    anywhere, iam = live.client("rolesanywhere"), live.client("iam")
    statement = {
        "Effect": "Allow", "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    }  # fmt: skip
    trust = json.dumps({"Version": "2012-10-17", "Statement": statement})
    shared = iam.create_role(RoleName="shared", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    foreign = authority("Customer")
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": foreign.pem}}
    anchor = anywhere.create_trust_anchor(name="customer", source=source, enabled=True)["trustAnchor"]["trustAnchorArn"]
    for name in ("shared-1", "abcd"):
        _, answer = joined(live, stranger, shared, name)
    hosts = arns_of(answer) | {"trustAnchorArn": anchor}
    refusal = "belongs to a host that has joined by certificate"
    status, refused = create_session(live.url, foreign.issue("pc-1", serial=0xABCD), hosts)
    assert (status, refusal in refused.get("message", "")) == (403, True)
    anywhere.update_profile(profileId=answer["profileArn"].rpartition("/")[2], acceptRoleSessionName=True)
    own = anywhere.create_profile(name="own", roleArns=[shared], enabled=True, acceptRoleSessionName=True)["profile"]
    for profile in (answer["profileArn"], own["profileArn"]):
        for name, expected in (("shared-1", 403), ("pc-1", 201)):
            given = {**hosts, "profileArn": profile}
            status, found = create_session(live.url, foreign.issue("pc-1"), given, more={"roleSessionName": name})
            assert (status, refusal in found.get("message", "")) == (expected, expected == 403)
    # A session says no path of its role: one that is made anew elsewhere gives the same sessions.
    iam.delete_role(RoleName="shared")
    moved = iam.create_role(RoleName="shared", AssumeRolePolicyDocument=trust, Path="/moved/")["Role"]["Arn"]
    anywhere.update_profile(profileId=own["profileArn"].rpartition("/")[2], roleArns=[moved])
    given = {"trustAnchorArn": anchor, "profileArn": own["profileArn"], "roleArn": moved}
    status, found = create_session(live.url, foreign.issue("pc-1"), given, more={"roleSessionName": "shared-1"})
    assert (status, refusal in found.get("message", "")) == (403, True)


def test_a_revoked_host_is_out_until_it_is_invited_again(live, stranger, role):
    ours = live.client("penstock")
    host, answer = joined(live, stranger, role, "lost")
    given = create_session(live.url, host, arns_of(answer))[1]["credentialSet"][0]["credentials"]
    keys = {"aws_access_key_id": given["accessKeyId"], "aws_secret_access_key": given["secretAccessKey"]}
    keys["aws_session_token"] = given["sessionToken"]
    assert live.client("sts", keys=keys).get_caller_identity()["Arn"] == answer["sessionArn"]
    ours.revoke_host(name="lost")
    assert code_of(live.client("sts", keys=keys).get_caller_identity) == "ExpiredToken"
    for status, refused in (
        create_session(live.url, host, arns_of(answer)),
        renew(live, host, answer["trustAnchorArn"])[:2],
    ):
        assert (status, "has been revoked" in refused["message"]) == (403, True)
    info = live.client("codedeploy").get_on_premises_instance(instanceName="lost")["instanceInfo"]
    assert "deregisterTime" in info
    assert code_of(ours.revoke_host, name="nobody") == "HostNotFoundException"
    newer, again = joined(live, stranger, role, "lost")
    assert create_session(live.url, newer, arns_of(again))[0] == 201
    assert create_session(live.url, host, arns_of(again))[0] == 403
    states = {one["name"]: one["state"] for one in ours.list_host_certificates()["hosts"]}
    assert states["lost"] == "Joined"


def test_an_invitation_needs_the_rights_to_what_it_does(live, role):
    iam = live.client("iam")
    allowed = {
        "penstock:InviteHost": f"arn:aws:penstock:us-east-1:{ACCOUNT}:host/mine-*", "iam:PassRole": role,
        "codedeploy:RegisterOnPremisesInstance": "*", "codedeploy:AddTagsToOnPremisesInstances": "*",
    }  # fmt: skip
    for number, missing in enumerate((*allowed, None)):
        name = f"inviter-{number}"
        iam.create_user(UserName=name)
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": on} for action, on in allowed.items() if action != missing
        ]
        document = {"Version": "2012-10-17", "Statement": statements}
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        keys = {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}
        invite = live.client("penstock", keys=keys).invite_host
        given = {"name": f"mine-{number}", "roleArn": role, "tags": [{"Key": "a", "Value": "b"}]}
        if missing:
            assert code_of(invite, **given) == "AccessDeniedException", missing
        else:
            assert invite(**given)["token"]
            assert code_of(invite, **given | {"name": "others"}) == "AccessDeniedException"
    ours = live.client("penstock")
    for bad in ("x", f"arn:aws:iam::{ACCOUNT}:role/nobody"):
        assert code_of(ours.invite_host, name="x-1", roleArn=bad) == "ValidationException"
    for bad in ("-x", "a/b", "a" * 65):
        assert code_of(ours.invite_host, name=bad, roleArn=role) == "ValidationException"
    iam.create_user(UserName="taken")
    live.client("codedeploy").register_on_premises_instance(
        instanceName="taken", iamUserArn=f"arn:aws:iam::{ACCOUNT}:user/taken"
    )
    assert code_of(ours.invite_host, name="taken", roleArn=role) == "ValidationException"


def test_the_hosts_anchor_trusts_no_other_authority(live, role):
    anchor = live.client("penstock").create_host_authority()["trustAnchorArn"]
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": authority("Other").pem}}
    anywhere = live.client("rolesanywhere")
    assert code_of(anywhere.update_trust_anchor, trustAnchorId=anchor, source=source) == "ValidationException"
    anywhere.update_trust_anchor(trustAnchorId=anchor, name="hosts")
