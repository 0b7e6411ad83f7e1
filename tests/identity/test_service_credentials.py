"""Service-specific credentials: who has which, what they open, and that nothing but a digest of their passwords is kept."""

import hashlib

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, document, refused

from penstock.identity.service_credentials import credentials
from penstock.wire.errors import AccessDenied, UnknownAccessKey

GIT = "codecommit.amazonaws.com"


@pytest.fixture
def harness(on_sqlite):
    return on_sqlite


async def made(harness, name="ann", **more):
    answer = await harness.iam("CreateServiceSpecificCredential", UserName=name, ServiceName=GIT, **more)
    return answer["ServiceSpecificCredential"]


def named(credential, **more):
    return {"UserName": "ann", "ServiceSpecificCredentialId": credential["ServiceSpecificCredentialId"], **more}


async def enter(harness, credential, password=None, service=GIT):
    session = harness.app.identity.service_session
    return await session(service, credential["ServiceUserName"], password or credential["ServicePassword"])


async def closed(harness, credential, *how):
    with pytest.raises(UnknownAccessKey):
        await enter(harness, credential, *how)


async def test_a_user_has_two_which_are_shown_once(harness, clock):
    iam = harness.iam
    ann = await harness.user("ann")
    one, two = await made(harness), await made(harness)
    assert set(one) == {
        "CreateDate", "ServiceName", "ServicePassword", "ServiceSpecificCredentialId", "ServiceUserName", "Status", "UserName",
    }  # fmt: skip
    shown = (one["UserName"], one["ServiceName"], one["Status"], one["CreateDate"])
    assert shown == ("ann", GIT, "Active", clock.now())
    assert (one["ServiceUserName"], two["ServiceUserName"]) == (f"ann-at-{ACCOUNT}", f"ann+1-at-{ACCOUNT}")
    assert (one["ServiceSpecificCredentialId"][:4], len(one["ServiceSpecificCredentialId"])) == ("ACCA", 21)
    assert await refused(made(harness)) == (
        "LimitExceeded",
        "Cannot exceed quota for ServiceSpecificCredentialsPerUser: 2",
    )
    listed = (await iam("ListServiceSpecificCredentials", UserName="ann"))["ServiceSpecificCredentials"]
    without = [{name: value for name, value in each.items() if name != "ServicePassword"} for each in (one, two)]
    assert sorted(listed, key=str) == sorted(without, key=str)
    kept = await harness.app.store.read(lambda conn: conn.execute(credentials.select()).all())
    assert {row.digest for row in kept} == {
        hashlib.sha256(each["ServicePassword"].encode()).hexdigest() for each in (one, two)
    }
    assert not any(each["ServicePassword"] in repr(kept) for each in (one, two))
    session = await enter(harness, one)
    assert (session.arn, session.account, session.principal_id) == (ann.arn, ACCOUNT, ann.principal_id)
    assert session.access_key_id == one["ServiceSpecificCredentialId"]


async def test_only_its_own_password_opens_it_for_its_own_service(harness):
    await harness.user("ann")
    one, two = await made(harness), await made(harness)
    for wrong in (two["ServicePassword"], one["ServicePassword"].swapcase(), "x", "\ud800", "é"):
        await closed(harness, one, wrong)
    await closed(harness, one, None, "cassandra.amazonaws.com")
    for name in ("ann", f"bob-at-{ACCOUNT}", f"ann-at-{OTHER}", f"ANN-at-{ACCOUNT}", "\0", "x" * 5000, ""):
        await closed(harness, one | {"ServiceUserName": name})
    await enter(harness, one)


async def test_a_credential_that_is_off_reset_or_gone_opens_nothing_at_once(either):
    iam = either.iam
    await either.user("ann")
    one = await made(either)
    await enter(either, one)
    await iam("UpdateServiceSpecificCredential", **named(one, Status="Inactive"))
    await closed(either, one)
    reset = (await iam("ResetServiceSpecificCredential", **named(one)))["ServiceSpecificCredential"]
    assert (reset["Status"], set(reset)) == ("Inactive", set(one))
    await closed(either, reset)
    await iam("UpdateServiceSpecificCredential", **named(one, Status="Active"))
    await closed(either, one)
    await enter(either, reset)
    assert await refused(iam("DeleteUser", UserName="ann")) == (
        "DeleteConflict",
        "Cannot delete entity, must delete access keys first.",
    )
    for key in (await iam("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]:
        await iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    assert await refused(iam("DeleteUser", UserName="ann")) == (
        "DeleteConflict",
        "Cannot delete entity, must remove referenced objects first.",
    )
    await iam("DeleteServiceSpecificCredential", **named(one))
    await closed(either, reset)
    gone = ("NoSuchEntity", f"No such credential {one['ServiceSpecificCredentialId']} exists")
    for operation, more in (("Delete", {}), ("Reset", {}), ("Update", {"Status": "Active"})):
        assert await refused(iam(f"{operation}ServiceSpecificCredential", **named(one, **more))) == gone
    await iam("DeleteUser", UserName="ann")


async def test_a_credential_keeps_its_name_and_nobody_else_gets_it(harness):
    await harness.user("ann")
    one = await made(harness)
    await harness.iam("UpdateUser", UserName="ann", NewUserName="anna")
    assert (await enter(harness, one)).arn == f"arn:aws:iam::{ACCOUNT}:user/anna"
    (listed,) = (await harness.iam("ListServiceSpecificCredentials", UserName="anna"))["ServiceSpecificCredentials"]
    assert (listed["UserName"], listed["ServiceUserName"]) == ("anna", f"ann-at-{ACCOUNT}")
    names = []
    for number in range(7):
        await harness.user("ann")
        names += [(await made(harness))["ServiceUserName"] for _ in range(2)]
        await harness.iam("UpdateUser", UserName="ann", NewUserName=f"former-{number}")
    assert names[:9] == [f"ann+{number}-at-{ACCOUNT}" for number in range(1, 10)]
    assert len({*names, one["ServiceUserName"]}) == 15


async def test_whose_are_listed(harness):
    iam = harness.iam
    everything = document({"Effect": "Allow", "Action": "iam:*", "Resource": "*"})
    ann, bob = await harness.user("ann", everything), await harness.user("bob", everything)
    theirs = await harness.user("ann", everything, account=OTHER)
    foreign = await iam("CreateServiceSpecificCredential", UserName="ann", ServiceName=GIT, by=theirs)
    ids = {each["ServiceSpecificCredentialId"] for each in (await made(harness), await made(harness, "bob"))}
    listed = "ListServiceSpecificCredentials"
    own = (await iam(listed, by=bob))["ServiceSpecificCredentials"]
    assert [each["UserName"] for each in own] == ["bob"]
    first = await iam(listed, AllUsers=True, ServiceName=GIT, MaxItems=1)
    second = await iam(listed, AllUsers=True, ServiceName=GIT, MaxItems=1, Marker=first["Marker"])
    assert (first["IsTruncated"], second["IsTruncated"]) == (True, False)
    pages = [page["ServiceSpecificCredentials"] for page in (first, second)]
    assert {each["ServiceSpecificCredentialId"] for page in pages for each in page} == ids
    assert (await refused(iam(listed, AllUsers=True, UserName="ann")))[0] == "ValidationError"
    # Those of another account are not there, by whatever name they are asked for.
    foreign = foreign["ServiceSpecificCredential"]
    said = f"No such credential {foreign['ServiceSpecificCredentialId']} exists"
    assert await refused(iam("DeleteServiceSpecificCredential", **named(foreign))) == ("NoSuchEntity", said)
    assert await refused(iam("ResetServiceSpecificCredential", **named(foreign), by=ann)) == ("NoSuchEntity", said)
    assert (await enter(harness, foreign)).account == OTHER


async def test_what_is_not_served_is_refused(harness):
    await harness.user("ann")
    create, unserved = "CreateServiceSpecificCredential", "cassandra.amazonaws.com"
    said = ("NoSuchEntity", f"No such service {unserved} is supported for Service Specific Credentials")
    assert await refused(harness.iam(create, UserName="ann", ServiceName=unserved)) == said
    assert await refused(harness.iam("ListServiceSpecificCredentials", UserName="ann", ServiceName=unserved)) == said
    assert (await refused(made(harness, CredentialAgeDays=30)))[0] == "ValidationError"
    assert await refused(made(harness, "nobody")) == ("NoSuchEntity", "The user with name nobody cannot be found.")
    one = await made(harness)
    expired = (
        "ValidationError",
        "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value set: "
        "[Active, Inactive]",
    )
    update = harness.iam("UpdateServiceSpecificCredential", **named(one, Status="Expired"))
    assert await refused(update) == expired
    (key,) = (await harness.iam("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    update = harness.iam("UpdateAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Expired")
    assert await refused(update) == expired


async def test_policies_say_who_makes_them_for_whom_and_for_what(harness):
    own = {"Effect": "Allow", "Action": "iam:*ServiceSpecificCredential*", "Resource": f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}"}  # fmt: skip
    asked = {"StringEquals": {"iam:ServiceSpecificCredentialServiceName": GIT}}
    ann = await harness.user("ann", document(own))
    await harness.user("bob", document(own | {"Condition": asked}))
    bob = await harness.session((await harness.iam("CreateAccessKey", UserName="bob"))["AccessKey"]["AccessKeyId"])
    create, given = "CreateServiceSpecificCredential", {"ServiceName": GIT}
    await harness.iam(create, UserName="ann", **given, by=ann)
    await harness.iam(create, UserName="bob", **given, by=bob)
    for by, name, service in ((ann, "bob", GIT), (bob, "bob", "cassandra.amazonaws.com")):
        with pytest.raises(AccessDenied):
            await harness.iam(create, UserName=name, ServiceName=service, by=by)
    with pytest.raises(AccessDenied):
        await harness.iam("ListServiceSpecificCredentials", AllUsers=True, by=ann)
