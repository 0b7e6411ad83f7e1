"""When keys and passwords were last used: noted in memory, written now and then, and reported."""

import csv
import io

import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, OTHER, allow, refused, trusting

from penstock.identity import records
from penstock.identity.last_uses import EVERY_MS

HOME = "192.0.2.1"
SECOND, DAY = 1000, 86_400_000


async def last_used(harness, key, **more):
    return await harness.iam("GetAccessKeyLastUsed", AccessKeyId=key, **more)


async def written(harness, key):
    def read(conn):
        found = conn.exec_driver_sql(f"SELECT used, used_service, used_region FROM iam_access_keys WHERE id = '{key}'")  # noqa: S608
        return tuple(found.one())

    return await harness.app.store.read(read)


async def test_the_last_use_of_a_key_is_known_at_once_and_written_now_and_then(harness, clock):
    ann = await harness.user("ann")
    key, uses = ann.access_key_id, harness.app.identity.uses
    unused = {"UserName": "ann", "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}
    assert await last_used(harness, key) == unused
    first = clock.now()
    harness.app.identity.used(ann, "s3", "eu-west-1")
    used = {"LastUsedDate": first, "ServiceName": "s3", "Region": "eu-west-1"}
    assert (await last_used(harness, key))["AccessKeyLastUsed"] == used
    await uses.write()
    assert await written(harness, key) == (first, "s3", "eu-west-1")
    # A key that is used all the time is written once in a quarter of an hour.
    clock.advance(EVERY_MS - SECOND)
    harness.app.identity.used(ann, "iam", "us-east-1")
    await uses.write()
    assert await written(harness, key) == (first, "s3", "eu-west-1")
    assert (await last_used(harness, key))["AccessKeyLastUsed"]["ServiceName"] == "iam"
    second = clock.now()
    clock.advance(SECOND)
    await uses.write()
    assert await written(harness, key) == (second, "iam", "us-east-1")
    # What is written and old is in the database only, where other processes find it too.
    clock.advance(EVERY_MS)
    await uses.write()
    assert uses.of(key) is None
    assert (await last_used(harness, key))["AccessKeyLastUsed"] == {
        "LastUsedDate": second,
        "ServiceName": "iam",
        "Region": "us-east-1",
    }
    # The end of a process writes what is left.
    clock.advance(SECOND)
    harness.app.identity.used(ann, "sts", "us-east-1")
    await uses.write(all_=True)
    assert (await written(harness, key))[1] == "sts"


async def test_keys_that_are_due_together_are_written_in_several_looks(harness):
    """Thousands of hosts come together after a restart, and their keys stay due together ever after."""
    ann, uses = await harness.user("ann"), harness.app.identity.uses
    for number in range(1000):
        uses.note(f"AKIA{number:016}", "codedeploy", "us-east-1")
    uses.note(ann.access_key_id, "s3", "us-east-1")
    await uses.write()
    assert (await written(harness, ann.access_key_id))[1] is None
    await uses.write()
    assert (await written(harness, ann.access_key_id))[1] == "s3"


async def test_keys_of_nobody_and_of_others_are_refused_alike(harness):
    ann = await harness.user("ann")
    other = await harness.administrator(OTHER)
    for key in (ann.access_key_id, "AKIAUNKNOWNUNKNOWN12"):
        assert await refused(last_used(harness, key, by=other)) == (
            "AccessDenied",
            f"User: {other.arn} is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key {key}",
        )


async def test_the_last_use_of_a_role_is_known_at_once_and_written_now_and_then(harness, clock):
    arn = await harness.role("r", trusting(AWS=f"arn:aws:iam::{ACCOUNT}:root"), allow("iam:*"))
    session = await harness.assumed(arn, by=await harness.user("ann", allow("sts:AssumeRole")))
    uses = harness.app.identity.uses

    async def last():
        found = await harness.iam("GetRole", RoleName="r")
        assert "RoleLastUsed" not in (await harness.iam("ListRoles"))["Roles"][0]
        (details,) = (await harness.iam("GetAccountAuthorizationDetails", Filter=["Role"]))["RoleDetailList"]
        assert details["RoleLastUsed"] == found["Role"]["RoleLastUsed"]
        return found["Role"]["RoleLastUsed"]

    assert await last() == {}
    harness.app.identity.used(session, "s3", "eu-west-1")
    first = {"LastUsedDate": clock.now(), "Region": "eu-west-1"}
    assert await last() == first
    await uses.write()
    # A call in process, of a service under the role, is a use too; the role's is written once in a quarter of an hour.
    clock.advance(EVERY_MS - SECOND)
    await harness.iam("ListRoles", by=session)
    second = {"LastUsedDate": clock.now(), "Region": "us-east-1"}
    assert await last() == second
    await uses.write()
    c = records.roles.c
    read = sa.select(c.used, c.used_region)
    row = await harness.app.store.read(lambda conn: conn.execute(read).one())
    assert tuple(row) == (first["LastUsedDate"], "eu-west-1")
    clock.advance(SECOND)
    await uses.write()
    clock.advance(EVERY_MS)
    await uses.write()
    assert uses.of(session.entity) is None
    assert await last() == second
    # A role of the same name is another one.
    await harness.iam("DeleteRolePolicy", RoleName="r", PolicyName="p0")
    await harness.iam("DeleteRole", RoleName="r")
    await harness.role("r", trusting(AWS=f"arn:aws:iam::{ACCOUNT}:root"))
    assert await last() == {}


async def test_whose_password_has_signed_in(harness, clock):
    """To the console: who has not shown the second factor yet, or changes the password, has not signed in."""
    ann, identity = await harness.user("ann", allow("iam:*")), harness.app.identity
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")

    async def said():
        shown = (await harness.iam("GetUser", UserName="ann"))["User"].get("PasswordLastUsed")
        (listed,) = [one for one in (await harness.iam("ListUsers"))["Users"] if one["UserName"] == "ann"]
        assert listed.get("PasswordLastUsed") == shown
        return shown

    user = await identity.sign_in(account=ACCOUNT, user_name="ann", password="correct horse", address=HOME)
    await harness.iam("ChangePassword", OldPassword="correct horse", NewPassword="another horse", by=ann)
    assert await said() is None
    clock.advance(SECOND)
    await identity.begin_session(user, address=HOME, agent="")
    assert await said() == clock.now()
    administrator = (await harness.iam("GetUser", UserName="administrator"))["User"]
    assert "PasswordLastUsed" not in administrator


async def test_sessions_of_users_note_nothing(harness):
    ann = await harness.user("ann")
    lent = (await harness.sts("GetSessionToken", by=ann))["Credentials"]
    harness.app.identity.used(await harness.session(lent["AccessKeyId"], lent["SessionToken"]), "s3", "us-east-1")
    assert harness.app.identity.uses.of(lent["AccessKeyId"]) is None


async def test_the_report_has_every_user_with_what_was_used(harness, clock):
    assert await refused(harness.iam("GetCredentialReport")) == (
        "ReportNotPresent",
        "There is no credential report. Ask for one by GenerateCredentialReport.",
    )
    ann = await harness.user("ann")
    made = clock.now()
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")
    await harness.iam("CreateUser", UserName="Bob,B")
    await harness.iam("UpdateAccountPasswordPolicy", MaxPasswordAge=10, MinimumPasswordLength=8)
    clock.advance(DAY)
    signed_in = clock.now()
    identity = harness.app.identity
    user = await identity.sign_in(account=ACCOUNT, user_name="ann", password="correct horse", address=HOME)
    await identity.begin_session(user, address=HOME, agent="")
    harness.app.identity.used(ann, "codepipeline", "eu-west-1")
    assert await harness.iam("GenerateCredentialReport") == {"State": "COMPLETE"}
    report = await harness.iam("GetCredentialReport")
    assert (report["ReportFormat"], report["GeneratedTime"]) == ("text/csv", signed_in)
    rows = {row["user"]: row for row in csv.DictReader(io.StringIO(report["Content"].decode()))}
    assert list(rows) == ["<root_account>", "administrator", "ann", "Bob,B"]
    assert len(rows["ann"]) == 22
    shown = {name: value for name, value in rows["ann"].items() if value not in ("N/A", "false")}
    assert shown == {
        "user": "ann",
        "arn": ann.arn,
        "user_creation_time": "2027-01-15T08:00:00+00:00",
        "password_enabled": "true",
        "password_last_used": "2027-01-16T08:00:00+00:00",
        "password_last_changed": "2027-01-15T08:00:00+00:00",
        "password_next_rotation": "2027-01-25T08:00:00+00:00",
        "access_key_1_active": "true",
        "access_key_1_last_rotated": "2027-01-15T08:00:00+00:00",
        "access_key_1_last_used_date": "2027-01-16T08:00:00+00:00",
        "access_key_1_last_used_region": "eu-west-1",
        "access_key_1_last_used_service": "codepipeline",
    }
    assert (rows["Bob,B"]["password_enabled"], rows["Bob,B"]["access_key_1_active"]) == ("false", "false")
    assert rows["<root_account>"]["arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert made == signed_in - DAY
    # It is made anew after four hours.
    await harness.iam("DeleteUser", UserName="Bob,B")
    for hours, fresh in ((3, False), (1, True)):
        clock.advance(hours * 3_600_000)
        await harness.iam("GenerateCredentialReport")
        content = (await harness.iam("GetCredentialReport"))["Content"]
        assert (b"Bob" not in content) is fresh
