"""CreateSession over HTTP, as AWS's credential helper asks for it; and every way to get one without the right to it."""

import datetime as dt
import json
import time

import botocore.exceptions
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from penstock_certificates import (
    DAY,
    NOW,
    authority,
    create_session,
    name_of,
    send,
    send_any,
    signed_headers,
    usage,
)
from penstock_waiting import until

ACCOUNT, OTHER = "111111111111", "222222222222"
ROOT, STRANGER = authority("Root", after=NOW + 9 * DAY), authority("Stranger")
MIDDLE = ROOT.issue("Middle", authority=True)
WEB = ROOT.issue(subject=name_of("web-1", ORGANIZATION_NAME="Acme", ORGANIZATIONAL_UNIT_NAME="Shop"))


def trust(arn="*", **conditions):
    statement = {
        "Effect": "Allow", "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        "Condition": {"ArnLike": {"aws:SourceArn": arn}, **conditions},
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


@pytest.fixture(scope="module")
def arns(live):
    """An anchor, a profile and a role of its, as CreateSession takes them."""
    anywhere, iam = live.client("rolesanywhere"), live.client("iam")
    source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": ROOT.pem}}
    anchor = anywhere.create_trust_anchor(name="office", source=source, enabled=True)["trustAnchor"]["trustAnchorArn"]
    only_shop = {"StringEquals": {"aws:PrincipalTag/x509Subject/OU": "Shop"}}
    role = iam.create_role(RoleName="web", AssumeRolePolicyDocument=trust(anchor, **only_shop))["Role"]["Arn"]
    may = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}}
    iam.put_role_policy(RoleName="web", PolicyName="p", PolicyDocument=json.dumps(may))
    profile = anywhere.create_profile(name="web", roleArns=[role], enabled=True, durationSeconds=3600)["profile"]
    return {"trustAnchorArn": anchor, "profileArn": profile["profileArn"], "roleArn": role}


def keys_of(answer):
    found = answer["credentialSet"][0]["credentials"]
    return {
        "aws_access_key_id": found["accessKeyId"], "aws_secret_access_key": found["secretAccessKey"],
        "aws_session_token": found["sessionToken"],
    }  # fmt: skip


def shop(issuer=ROOT, **how):
    return issuer.issue(subject=name_of("web-1", ORGANIZATIONAL_UNIT_NAME="Shop"), **how)


def test_a_certificate_gives_a_session_of_the_role(live, arns):
    status, answer = create_session(live.url, WEB, arns)
    assert status == 201, answer
    serial = f"{WEB.certificate.serial_number:x}"
    serial = serial if len(serial) % 2 == 0 else f"0{serial}"
    one = answer["credentialSet"][0]
    assert one["assumedRoleUser"]["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/web/{serial}"
    assert (one["roleArn"], one["sourceIdentity"]) == (arns["roleArn"], "CN=web-1")
    assert answer["subjectArn"].startswith(f"arn:aws:rolesanywhere:us-east-1:{ACCOUNT}:subject/")
    lasts = dt.datetime.fromisoformat(one["credentials"]["expiration"]).timestamp() - time.time()
    assert 3000 < lasts <= 3601
    keys = keys_of(answer)
    assert live.client("sts", keys=keys).get_caller_identity()["Arn"] == one["assumedRoleUser"]["arn"]
    live.client("s3", keys=keys).list_buckets()
    with pytest.raises(botocore.exceptions.ClientError):
        live.client("iam", keys=keys).list_users()


@pytest.mark.parametrize(
    ("holder", "how"),
    [
        (WEB, {"in_body": True}),
        (shop(key=rsa.generate_private_key(65537, 2048)), {}),
        (shop(MIDDLE), {"chain": (MIDDLE,)}),
        (shop(key=ec.generate_private_key(ec.SECP384R1())), {"more": {"durationSeconds": 900}}),
    ],
)  # fmt: skip
def test_other_keys_chains_and_forms_do_too(live, arns, holder, how):
    status, answer = create_session(live.url, holder, arns, **how)
    assert status == 201, answer


def test_the_session_has_the_names_of_the_certificate_as_tags(live, arns):
    """A role that asks for them says so: which certificate it is that of the same authority obtains it."""
    iam = live.client("iam")
    for operator, expected in (("StringEquals", 201), ("StringNotEquals", 403)):
        tags = {
            "x509Subject/CN": "web-1",
            "x509Subject/O": "Acme",
            "x509Issuer/CN": "Root",
            "x509SAN/DNS/2": "b.example",
        }
        both = {f"aws:PrincipalTag/{name}": value for name, value in tags.items()} | {"sts:SourceIdentity": "CN=web-1"}
        iam.update_assume_role_policy(RoleName="web", PolicyDocument=trust(arns["trustAnchorArn"], **{operator: both}))
        names = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.DNSName("b.example")])
        named = ROOT.issue(
            subject=name_of("web-1", ORGANIZATION_NAME="Acme"),
            extensions=((usage(digital_signature=True), True), (names, False)),
        )
        assert create_session(live.url, named, arns)[0] == expected
    only_shop = {"StringEquals": {"aws:PrincipalTag/x509Subject/OU": "Shop"}}
    iam.update_assume_role_policy(RoleName="web", PolicyDocument=trust(arns["trustAnchorArn"], **only_shop))


LONG_AGO = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=6)
SMALL = rsa.generate_private_key(65537, 1024)
SLOW = rsa.generate_private_key(65537, 2048)
REFUSED = {
    "another authority's": (shop(STRANGER), {}, 403, "Untrusted certificate"),
    "expired": (shop(after=NOW - DAY / 2), {}, 403, "has expired"),
    "not valid yet": (shop(before=NOW + DAY / 2), {}, 403, "is not valid before"),
    "no chain": (shop(MIDDLE), {}, 403, "leads to none"),
    "a chain that is none": (shop(MIDDLE), {"chain": (STRANGER,)}, 403, "leads to none"),
    "the authority": (ROOT, {}, 403, "is that of an authority"),
    "no right to sign": (
        shop(extensions=((usage(key_agreement=True), True),)), {}, 403, "digitalSignature",
    ),
    "somebody else's certificate": (WEB, {"key": STRANGER.key}, 400, "does not match the key of the certificate"),
    "another host's serial number": (WEB, {"serial": 4711}, 400, "serial number of the certificate"),
    "a short key": (shop(key=SMALL), {}, 400, "is not taken"),
    "an old request": (WEB, {"at": LONG_AGO}, 400, "Signature expired"),
    "a request of the future": (WEB, {"at": dt.datetime.now(dt.UTC) + dt.timedelta(minutes=20)}, 400, "not yet current"),
    "another region": (WEB, {"region": "eu-west-1"}, 400, ""),
    "the algorithm of another key": (WEB, {"algorithm": "AWS4-X509-RSA-SHA256"}, 400, "does not match the key"),
    "an unknown algorithm": (WEB, {"algorithm": "AWS4-X509-MD5"}, 400, "signing algorithm"),
    "a role that does not trust it": (ROOT.issue("mail-1"), {}, 403, "Unable to assume role for"),
    "longer than the role lets": (WEB, {"more": {"durationSeconds": 50}}, 400, "durationSeconds"),
    "a name of its own": (WEB, {"more": {"roleSessionName": "root"}}, 403, "does not accept names"),
    "a name that is no tag": (
        ROOT.issue(subject=name_of("web-1", ORGANIZATIONAL_UNIT_NAME="Shop;")), {}, 403,
        "Some attributes failed to be mapped into session tags. Issuer: [  ]; Subject: [ OU ]; SAN: [  ]",
    ),
    "no subject": (ROOT.issue(subject=x509.Name([])), {}, 403, "has no subject"),
    "no source identity": (ROOT.issue("Web Server"), {}, 403, "source identity"),
}  # fmt: skip


@pytest.mark.parametrize("attack", REFUSED)
def test_nobody_else_gets_one(live, arns, attack):
    holder, how, status, message = REFUSED[attack]
    found, answer = create_session(live.url, holder, arns, **how)
    assert (found, "credentialSet" in answer) == (status, False), answer
    assert message in answer.get("message", ""), answer


def test_what_is_asked_for_must_be_there_enabled_and_named(live, arns):
    anywhere, iam = live.client("rolesanywhere"), live.client("iam")
    other = iam.create_role(RoleName="other", AssumeRolePolicyDocument=trust())["Role"]["Arn"]
    nowhere = "11111111-2222-4333-8444-555555555555"
    for change, status, message in (
        ({"roleArn": other}, 403, "does not let this certificate assume"),
        ({"profileArn": arns["profileArn"][:-36] + nowhere}, 404, "There is no profile"),
        ({"trustAnchorArn": arns["trustAnchorArn"][:-36] + nowhere}, 404, "There is no trust anchor"),
        ({"trustAnchorArn": arns["trustAnchorArn"].replace(ACCOUNT, OTHER)}, 404, "There is no trust anchor"),
        ({"trustAnchorArn": arns["profileArn"]}, 404, "There is no trust anchor"),
        ({"profileArn": "x"}, 404, "There is no profile"),
        ({"roleArn": "x"}, 403, "does not let"),
    ):
        found, answer = create_session(live.url, WEB, arns | change)
        assert (found, message in answer["message"]) == (status, True), answer
    found, answer = create_session(live.url, WEB, {name: arns[name] for name in arns if name != "roleArn"})
    assert (found, answer["message"]) == (400, "The roleArn is missing.")
    found, answer = create_session(live.url, WEB, arns, more={"roleArn": other})
    assert (found, answer["message"]) == (400, "Exactly one roleArn is required.")
    for switch, named, arn in (
        ("trust_anchor", "trustAnchorId", arns["trustAnchorArn"]), ("profile", "profileId", arns["profileArn"]),
    ):  # fmt: skip
        getattr(anywhere, f"disable_{switch}")(**{named: arn})
        found, answer = create_session(live.url, WEB, arns)
        getattr(anywhere, f"enable_{switch}")(**{named: arn})
        assert (found, "is disabled" in answer["message"]) == (403, True)
        assert create_session(live.url, WEB, arns)[0] == 201


def test_a_profile_narrows_shortens_and_names(live, arns):
    anywhere = live.client("rolesanywhere")
    nothing = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}
    named = {"profileId": arns["profileArn"]}
    anywhere.update_profile(**named, durationSeconds=900, acceptRoleSessionName=True, sessionPolicy=json.dumps(nothing))
    status, answer = create_session(live.url, WEB, arns, more={"roleSessionName": "blue", "durationSeconds": 43200})
    assert status == 201, answer
    one = answer["credentialSet"][0]
    assert one["assumedRoleUser"]["arn"].endswith("/web/blue")
    assert dt.datetime.fromisoformat(one["credentials"]["expiration"]).timestamp() - time.time() <= 901
    with pytest.raises(botocore.exceptions.ClientError, match="session policy"):
        live.client("s3", keys=keys_of(answer)).list_buckets()
    anywhere.update_profile(**named, durationSeconds=7200)
    status, answer = create_session(live.url, WEB, arns)
    assert (status, "MaxSessionDuration" in answer["message"]) == (403, True)
    anywhere.update_profile(
        **named, durationSeconds=3600, acceptRoleSessionName=False,
        sessionPolicy=json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}),
    )  # fmt: skip


def test_a_profile_may_ask_what_it_is_used_on_and_narrow_by_a_managed_policy(live, arns):
    iam, anywhere = live.client("iam"), live.client("rolesanywhere")
    nothing = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}}
    policy = iam.create_policy(PolicyName="narrow", PolicyDocument=json.dumps(nothing))["Policy"]["Arn"]
    profile = anywhere.create_profile(
        name="careful", roleArns=[arns["roleArn"]], enabled=True, requireInstanceProperties=True, managedPolicyArns=[policy]
    )["profile"]  # fmt: skip
    asked = arns | {"profileArn": profile["profileArn"]}
    status, answer = create_session(live.url, WEB, asked)
    assert (status, answer["message"]) == (400, "The profile requires instanceProperties.")
    status, answer = create_session(live.url, WEB, asked, more={"instanceProperties": {"rack": "7"}})
    assert status == 201, answer
    with pytest.raises(botocore.exceptions.ClientError, match="session policy"):
        live.client("s3", keys=keys_of(answer)).list_buckets()


def test_a_profile_says_which_names_are_tags(live, arns):
    """A role that asks for one that is not mapped does not let the certificate in, and no unfit value is in the way."""
    anywhere, named = live.client("rolesanywhere"), {"profileId": arns["profileArn"].rpartition("/")[2]}
    subject = {"certificateField": "x509Subject", **named}
    usual = anywhere.get_profile(**named)["profile"]["attributeMappings"]
    assert usual == [
        {"certificateField": "x509Issuer", "mappingRules": [{"specifier": "*"}]},
        {"certificateField": "x509SAN", "mappingRules": [{"specifier": "DNS"}, {"specifier": "URI"}, {"specifier": "Name/*"}]},
        {"certificateField": "x509Subject", "mappingRules": [{"specifier": "*"}]},
    ]  # fmt: skip
    unfit = ROOT.issue(subject=name_of("web-1", ORGANIZATIONAL_UNIT_NAME="Shop", ORGANIZATION_NAME="Acme; Sons"))
    for rules, expected in ((["CN"], (403, 403)), (["CN", "OU"], (201, 201)), (["*"], (201, 403))):
        changed = anywhere.put_attribute_mapping(**subject, mappingRules=[{"specifier": one} for one in rules])
        assert changed["profile"]["attributeMappings"][2]["mappingRules"] == [{"specifier": one} for one in rules]
        assert tuple(create_session(live.url, one, arns)[0] for one in (WEB, unfit)) == expected
    anywhere.put_attribute_mapping(**subject, mappingRules=[{"specifier": "CN"}, {"specifier": "OU"}])
    for _ in range(2):
        left = anywhere.delete_attribute_mapping(**subject, specifiers=["CN"])["profile"]["attributeMappings"]
        assert left[2]["mappingRules"] == [{"specifier": "OU"}]
    assert create_session(live.url, WEB, arns)[0] == 201
    anywhere.delete_attribute_mapping(**subject)
    assert create_session(live.url, WEB, arns)[0] == 403
    anywhere.put_attribute_mapping(**subject, mappingRules=[{"specifier": "*"}])
    assert anywhere.get_profile(**named)["profile"]["attributeMappings"] == usual


def test_a_subject_is_known_by_the_certificates_that_it_has_shown(live, arns):
    anywhere = live.client("rolesanywhere")
    name = name_of("seen-1", ORGANIZATIONAL_UNIT_NAME="Shop")
    first, second = ROOT.issue(subject=name, serial=0xABC), ROOT.issue(subject=name)
    described = {"instanceProperties": {"rack": "7"}}
    status, answer = create_session(live.url, first, arns, more=described)
    assert status == 201, answer
    assert create_session(live.url, second, arns | {"roleArn": arns["roleArn"] + "x"})[0] == 403
    for stranger in (STRANGER.issue(subject=name), ROOT.issue(subject=name, after=NOW - DAY / 2)):
        assert create_session(live.url, stranger, arns)[0] == 403
    id = answer["subjectArn"].rpartition("/")[2]
    known = anywhere.get_subject(subjectId=id)["subject"]
    assert (known["subjectArn"], known["x509Subject"], known["enabled"]) == (
        answer["subjectArn"],
        name.rfc4514_string(),
        True,
    )
    newest, older = known["credentials"]
    assert (newest["x509CertificateData"], newest["failed"]) == (second.pem, True)
    assert (older["x509CertificateData"], older["failed"]) == (first.pem, False)
    assert (older["serialNumber"], older["issuer"], older["enabled"]) == ("0abc", "CN=Root", True)
    (properties,) = known["instanceProperties"]
    assert (properties["properties"], properties["failed"]) == ({"rack": "7"}, False)
    assert known["createdAt"] == older["seenAt"] <= newest["seenAt"] == known["lastSeenAt"] == known["updatedAt"]
    pages = anywhere.get_paginator("list_subjects").paginate(pageSize=1)
    listed = [one for page in pages for one in page["subjects"] if one["subjectId"] == id]
    unlisted = {"credentials", "instanceProperties"}
    assert listed == [{key: value for key, value in known.items() if key not in unlisted}]
    arn = {"resourceArn": answer["subjectArn"]}
    anywhere.tag_resource(**arn, tags=[{"key": "a", "value": "b"}])
    assert create_session(live.url, first, arns)[0] == 201
    assert anywhere.list_tags_for_resource(**arn)["tags"] == [{"key": "a", "value": "b"}]
    shown = anywhere.get_subject(subjectId=id)["subject"]["credentials"]
    assert [(one["serialNumber"], one["failed"]) for one in shown][0] == ("0abc", False)


def test_a_revocation_list_ends_it(live, arns):
    lost = shop(serial=815)
    assert create_session(live.url, lost, arns)[0] == 201
    anywhere = live.client("rolesanywhere")
    made = anywhere.import_crl(
        name="l", crlData=ROOT.revoke(lost.certificate), trustAnchorArn=arns["trustAnchorArn"], enabled=True
    )["crl"]
    found, answer = create_session(live.url, lost, arns)
    assert (found, "revoked" in answer["message"]) == (403, True)
    assert create_session(live.url, WEB, arns)[0] == 201
    anywhere.disable_crl(crlId=made["crlId"])
    assert create_session(live.url, lost, arns)[0] == 201


def test_a_certificate_signs_nothing_but_requests_for_sessions(live, arns):
    refusal, unknown = (
        "signs requests for a session, and none for anything else",
        "mechanism you have provided is not supported",
    )
    asking = "Action=GetCallerIdentity&Version=2011-06-15"
    for service, method, path, body, message in (
        ("s3", "GET", "/", "", refusal), ("s3", "PUT", "/bucket/key", "x", refusal), ("rolesanywhere", "GET", "/trustanchors", "", refusal),
        ("rolesanywhere", "GET", "/none", "", unknown), ("none", "GET", "/none", "", unknown), ("sts", "POST", "/", asking, refusal),
    ):  # fmt: skip
        url = f"{live.url}{path}"
        form = {"content-type": "application/x-www-form-urlencoded"}
        headers = signed_headers(WEB, method, url, body.encode(), service=service, headers=form)
        status, answer = send_any(url, headers, body.encode(), method)
        assert status in (400, 403), service
        assert message in answer
    query = "&".join(f"{name}={value}" for name, value in arns.items())
    status, answer = send(f"{live.url}/sessions?{query}", {}, b"{}")
    assert (status, "Missing Authentication Token" in answer["message"]) == (400, True)
    body = json.dumps(arns).encode()
    headers = signed_headers(WEB, "POST", f"{live.url}/sessions", body)
    for change in ({"x-amz-x509": "AAAA"}, {"x-amz-x509": ""}, {"x-amz-x509-chain": "AAAA"}, {"x-amz-date": "x"}):
        status, answer = send(f"{live.url}/sessions", headers | change, body)
        assert status in (400, 403)
        assert "credentialSet" not in answer
    status, answer = send(f"{live.url}/sessions", headers, body.replace(b"web", b"xyz"))
    assert (status, "does not match" in answer["message"]) == (400, True)
    assert send(f"{live.url}/sessions", headers, body)[0] == 201


def test_a_session_is_on_record_with_the_certificate(live, arns):
    assert create_session(live.url, WEB, arns, more={"durationSeconds": 901})[0] == 201
    assert create_session(live.url, WEB, arns | {"roleArn": "x"})[0] == 403

    def recorded():
        attribute = {"AttributeKey": "EventName", "AttributeValue": "CreateSession"}
        found = live.client("cloudtrail").lookup_events(LookupAttributes=[attribute])["Events"]
        return [json.loads(one["CloudTrailEvent"]) for one in found]

    until(lambda: any(one.get("errorCode") for one in recorded()))
    until(lambda: any((one["requestParameters"] or {}).get("durationSeconds") == 901 for one in recorded()))
    one = next(one for one in recorded() if (one["requestParameters"] or {}).get("durationSeconds") == 901)
    assert one["userIdentity"]["accountId"] == ACCOUNT
    assert "CN=web-1" in one["userIdentity"]["principalId"]
    assert one["eventSource"] == "rolesanywhere.amazonaws.com"
    given = one["responseElements"]["credentialSet"][0]["credentials"]
    assert given["sessionToken"] == given["secretAccessKey"] == "HIDDEN_DUE_TO_SECURITY_REASONS"
