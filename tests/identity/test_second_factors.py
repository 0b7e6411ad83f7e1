"""Second factors: devices as IAM keeps them, codes that count once, sessions that say so, and what is left when an app is lost."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json

import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, allow, document, refused

from penstock.identity import second_factors, sign_in_records, totp
from penstock.wire.errors import AccessDenied

PASSWORD = "correct horse"
SERIAL = f"arn:aws:iam::{ACCOUNT}:mfa/ann"
STEP = totp.STEP_MS
WRONG = "000000"

# What either database may do differently is tested on both; the others take the quicker one.
SQLITE = pytest.mark.parametrize("any_url", ["sqlite"], indirect=True)


class Phone:
    """An authenticator app."""

    def __init__(self, harness, seed: bytes, *, ahead: int = 0) -> None:
        self._clock, self._seed, self._ahead = harness.app.clock, seed, ahead

    def code(self, steps: int = 0) -> str:
        return totp.code_of(self._seed, self._clock.now() // STEP + self._ahead + steps)


@pytest.fixture
async def ann(harness):
    await harness.user("ann", allow("*"))
    await harness.iam("CreateLoginProfile", UserName="ann", Password=PASSWORD)
    return harness


async def device(harness, name="ann", **more) -> Phone:
    made = (await harness.iam("CreateVirtualMFADevice", VirtualMFADeviceName=name))["VirtualMFADevice"]
    assert bytes(made["QRCodePNG"]).startswith(b"\x89PNG")
    return Phone(harness, base64.b32decode(bytes(made["Base32StringSeed"])), **more)


async def enable(harness, phone, serial=SERIAL, user="ann", **codes):
    shown = {"AuthenticationCode1": phone.code(-1), "AuthenticationCode2": phone.code(), **codes}
    return await harness.iam("EnableMFADevice", UserName=user, SerialNumber=serial, **shown)


@pytest.fixture
async def phone(ann) -> Phone:
    """The app of ann, which is a factor."""
    made = await device(ann)
    await enable(ann, made)
    return made


async def password(harness):
    return await harness.app.identity.sign_in(account=ACCOUNT, user_name="ann", password=PASSWORD, address="192.0.2.1")


async def step(harness) -> str:
    return harness.app.identity.second_step(await password(harness))


async def begin(harness, user) -> str:
    return await harness.app.identity.begin_session(user, address="192.0.2.1", agent="")


async def test_the_life_of_a_device(ann, clock):
    phone = await device(ann)
    assert await refused(ann.iam("CreateVirtualMFADevice", VirtualMFADeviceName="ann")) == (
        "EntityAlreadyExists",
        "MFA device already exists.",
    )
    listed = await ann.iam("ListVirtualMFADevices")
    assert listed == {"VirtualMFADevices": [{"SerialNumber": SERIAL}], "IsTruncated": False}
    assert await ann.iam("GetMFADevice", SerialNumber=SERIAL) == {"SerialNumber": SERIAL}
    for wrong in ({"AuthenticationCode2": WRONG}, {"AuthenticationCode1": phone.code()}):
        assert await refused(enable(ann, phone, **wrong)) == (
            "InvalidAuthenticationCode",
            "Authentication code for device is not valid.",
        )
    await enable(ann, phone)
    assert await refused(enable(ann, phone)) == ("EntityAlreadyExists", "MFA Device is already in use.")
    now = clock.now()
    own = {"UserName": "ann", "SerialNumber": SERIAL, "EnableDate": now}
    assert (await ann.iam("ListMFADevices", UserName="ann"))["MFADevices"] == [own]
    assert await ann.iam("GetMFADevice", SerialNumber=SERIAL, UserName="ann") == own
    (assigned,) = (await ann.iam("ListVirtualMFADevices", AssignmentStatus="Assigned"))["VirtualMFADevices"]
    assert (assigned["User"]["UserName"], assigned["EnableDate"]) == ("ann", now)
    assert (await ann.iam("ListVirtualMFADevices", AssignmentStatus="Unassigned"))["VirtualMFADevices"] == []
    summary = (await ann.iam("GetAccountSummary"))["SummaryMap"]
    assert (summary["MFADevices"], summary["MFADevicesInUse"]) == (1, 1)
    assert await refused(ann.iam("DeleteVirtualMFADevice", SerialNumber=SERIAL)) == (
        "DeleteConflict",
        "MFA VirtualDevice in use. Must deactivate first.",
    )
    await ann.user("bob")
    for operation in ("DeactivateMFADevice", "GetMFADevice"):
        assert await refused(ann.iam(operation, UserName="bob", SerialNumber=SERIAL)) == (
            "NoSuchEntity",
            f"MFA Device with serial number {SERIAL} does not exist.",
        )
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=SERIAL)
    await ann.iam("DeleteVirtualMFADevice", SerialNumber=SERIAL)
    assert (await refused(ann.iam("DeleteVirtualMFADevice", SerialNumber=SERIAL)))[0] == "NoSuchEntity"


@SQLITE
async def test_tags_and_bounds_of_devices(ann):
    tags = [{"Key": "owner", "Value": "ann"}]
    made = await ann.iam("CreateVirtualMFADevice", VirtualMFADeviceName="ann", Path="/a/", Tags=tags)
    serial = made["VirtualMFADevice"]["SerialNumber"]
    assert serial.endswith(":mfa/a/ann")
    await ann.iam("TagMFADevice", SerialNumber=serial, Tags=[{"Key": "team", "Value": "x"}])
    await ann.iam("UntagMFADevice", SerialNumber=serial, TagKeys=["owner"])
    assert (await ann.iam("ListMFADeviceTags", SerialNumber=serial))["Tags"] == [{"Key": "team", "Value": "x"}]
    assert await ann.app.identity.tags(serial) == {"team": "x"}
    assert (await refused(ann.iam("CreateVirtualMFADevice", VirtualMFADeviceName="x" * 300)))[0] == "ValidationError"
    for number in range(8):
        await enable(ann, await device(ann, f"d{number}"), f"arn:aws:iam::{ACCOUNT}:mfa/d{number}")
    assert await refused(enable(ann, await device(ann, "d8"), f"arn:aws:iam::{ACCOUNT}:mfa/d8")) == (
        "LimitExceeded",
        "Cannot exceed quota for MFADevicesPerUser: 8",
    )


@SQLITE
async def test_a_device_is_of_one_account(ann, phone):
    other = await ann.administrator("222222222222")
    for operation in ("GetMFADevice", "DeleteVirtualMFADevice", "ListMFADeviceTags"):
        # Its policy is for its own account, so the other account is not told either.
        with pytest.raises(Exception, match="does not exist"):
            await ann.iam(operation, SerialNumber=SERIAL, by=other)
    assert (await ann.iam("ListVirtualMFADevices", by=other))["VirtualMFADevices"] == []


@SQLITE
async def test_the_seed_rests_sealed(ann):
    phone = await device(ann)
    row = await ann.app.store.read(lambda conn: conn.execute(sa.select(sign_in_records.mfa_devices)).one())
    assert phone._seed not in row.seed
    assert base64.b32encode(phone._seed) not in row.seed


@SQLITE
async def test_a_password_alone_begins_no_session(ann, phone, clock):
    user = await password(ann)
    assert user.factors == ("totp",)
    with pytest.raises(AccessDenied, match="second factor"):
        await begin(ann, user)
    token = await step(ann)
    clock.advance(STEP)
    shown = await ann.app.identity.show_factor(token, f" {phone.code()[:3]} {phone.code()[3:]} ")
    session = await ann.app.identity.session_user(await begin(ann, shown), active=True)
    assert session.session.mfa == clock.now()


async def test_a_factor_that_comes_after_the_password_is_asked_for(ann):
    """Somebody who has the password, and shows it just before its owner turns the factor on, gets no session."""
    user = await password(ann)
    assert user.factors == ()
    await enable(ann, await device(ann))
    with pytest.raises(AccessDenied, match="second factor"):
        await begin(ann, user)


async def test_a_code_counts_once(ann, phone, clock):
    clock.advance(STEP)
    tokens = [await step(ann) for _ in range(4)]
    code = phone.code()
    answers = await asyncio.gather(
        *(ann.app.identity.show_factor(token, code) for token in tokens), return_exceptions=True
    )
    assert sum(isinstance(answer, AccessDenied) for answer in answers) == 3, answers
    with pytest.raises(AccessDenied, match="wrong, or was used already"):
        await ann.app.identity.show_factor(tokens[0], code)


@SQLITE
async def test_the_codes_that_turned_a_device_on_are_used(ann, phone):
    for code in (phone.code(-1), phone.code()):
        with pytest.raises(AccessDenied):
            await ann.app.identity.show_factor(await step(ann), code)


@SQLITE
async def test_guesses_are_counted_by_user_wherever_they_come_from(ann, phone, clock):
    clock.advance(STEP)
    tokens = [await step(ann) for _ in range(6)]
    for token in tokens[:4]:
        with pytest.raises(AccessDenied, match="left before a pause"):
            await ann.app.identity.show_factor(token, WRONG)
    with pytest.raises(AccessDenied, match="last try before a pause of 5 min"):
        await ann.app.identity.show_factor(tokens[4], WRONG)
    with pytest.raises(AccessDenied, match="Too many tries. The next one is possible in 5 min"):
        await ann.app.identity.show_factor(tokens[5], phone.code())


@SQLITE
async def test_a_token_between_the_steps_is_for_that_alone(ann, phone, clock):
    identity, token = ann.app.identity, await step(ann)
    for wrong in ("", "x", token[:-3], token + "A", "x" * 2000):
        with pytest.raises(AccessDenied, match="Sign in again"):
            await identity.show_factor(wrong, phone.code())
    with pytest.raises(AccessDenied, match="does not work any more"):
        await identity.invited(token)  # no link to choose a password
    clock.advance(5 * 60_000)
    with pytest.raises(AccessDenied, match="took too long"):
        await identity.show_factor(token, phone.code())
    token = await step(ann)
    await ann.iam("UpdateLoginProfile", UserName="ann", Password="another horse")
    with pytest.raises(AccessDenied, match="password is another"):
        await identity.show_factor(token, phone.code())


async def test_sessions_end_when_factors_change(ann, clock):
    identity = ann.app.identity
    before = await begin(ann, await password(ann))
    phone = await device(ann)
    await enable(ann, phone)
    assert await identity.session_user(before, active=True) is None
    clock.advance(STEP)
    after = await begin(ann, await identity.show_factor(await step(ann), phone.code()))
    assert await identity.session_user(after, active=True)
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=SERIAL)
    assert await identity.session_user(after, active=True) is None
    assert (await password(ann)).factors == ()


@SQLITE
async def test_the_session_that_changes_a_factor_stays(ann, clock):
    identity = ann.app.identity
    here, there = await begin(ann, await password(ann)), await begin(ann, await password(ann))
    me = (await identity.session_user(here, active=True)).session
    phone = await device(ann)
    await ann.iam(
        "EnableMFADevice", UserName="ann", SerialNumber=SERIAL, AuthenticationCode1=phone.code(-1),
        AuthenticationCode2=phone.code(), by=me,
    )  # fmt: skip
    assert await identity.session_user(there, active=True) is None
    found = await identity.session_user(here, active=True)
    assert found.session.mfa == clock.now()
    await ann.iam("ChangePassword", OldPassword=PASSWORD, NewPassword="another horse", by=found.session)
    assert (await identity.session_user(here, active=True)).session.mfa
    new = await identity.renew_session(here)
    assert await identity.session_user(here, active=True) is None
    assert (await identity.session_user(new, active=True)).user_name == "ann"


async def codes(harness) -> list[str]:
    """Recovery codes, as CreateRecoveryCodes makes them (its model is not in this harness)."""
    user = await password(harness)
    return await harness.app.store.write(second_factors.new_recovery_codes, ACCOUNT, user.session.principal_id)


async def test_a_recovery_code_counts_once_and_for_its_user_only(ann, phone):
    first, second, *_rest = await codes(ann)
    assert len({first, second, *_rest}) == 10
    shown = await ann.app.identity.show_factor(await step(ann), first.lower().replace("-", " "))
    assert shown.session.mfa
    with pytest.raises(AccessDenied):
        await ann.app.identity.show_factor(await step(ann), first)
    rows = await ann.app.store.read(lambda conn: conn.execute(sa.select(sign_in_records.recovery_codes)).all())
    assert len(rows) == 9
    assert second.replace("-", "") not in repr(rows)
    bob = dataclasses.replace(shown, session=dataclasses.replace(shown.session, principal_id="AIDABOB"))
    with pytest.raises(AccessDenied):
        await second_factors.show(ann.app, bob, second)
    await codes(ann)
    with pytest.raises(AccessDenied):  # newer ones make them void
        await ann.app.identity.show_factor(await step(ann), second)


@SQLITE
async def test_recovery_codes_go_with_the_last_device(ann, phone):
    await codes(ann)
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=SERIAL)
    assert await ann.app.store.read(lambda conn: conn.execute(sa.select(sign_in_records.recovery_codes)).all()) == []


@SQLITE
async def test_a_device_whose_clock_is_wrong_is_learnt_and_resynced(ann, clock):
    phone = await device(ann, ahead=40)
    await enable(ann, phone)
    clock.advance(STEP)
    assert await ann.app.identity.show_factor(await step(ann), phone.code())
    phone._ahead = -40
    clock.advance(100 * STEP)
    with pytest.raises(AccessDenied):
        await ann.app.identity.show_factor(await step(ann), phone.code())
    both = {"AuthenticationCode1": phone.code(-1), "AuthenticationCode2": phone.code()}
    assert (await refused(ann.iam("ResyncMFADevice", UserName="ann", SerialNumber=SERIAL, **(both | {"AuthenticationCode1": WRONG}))))[0] == "InvalidAuthenticationCode"  # fmt: skip
    await ann.iam("ResyncMFADevice", UserName="ann", SerialNumber=SERIAL, **both)
    clock.advance(STEP)
    assert await ann.app.identity.show_factor(await step(ann), phone.code())


@SQLITE
async def test_a_user_with_a_device_is_not_deleted(ann, phone):
    await ann.iam("DeleteLoginProfile", UserName="ann")
    (key,) = (await ann.iam("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    await ann.iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    assert await refused(ann.iam("DeleteUser", UserName="ann")) == (
        "DeleteConflict",
        "Cannot delete entity, must delete MFA device first.",
    )
    await ann.iam("DeactivateMFADevice", UserName="ann", SerialNumber=SERIAL)


async def keyed(harness):
    """A session by an access key of ann."""
    made = await harness.iam("CreateAccessKey", UserName="ann")
    return await harness.session(made["AccessKey"]["AccessKeyId"])


FAILED = "MultiFactorAuthentication failed with invalid MFA one time pass code."


@SQLITE
async def test_a_code_gives_a_session_that_says_so(ann, phone, clock):
    by = await keyed(ann)
    clock.advance(STEP)
    made = await ann.sts("GetSessionToken", by=by, SerialNumber=SERIAL, TokenCode=phone.code())
    session = await ann.session(made["Credentials"]["AccessKeyId"], made["Credentials"]["SessionToken"])
    assert session.mfa == clock.now()
    await ann.iam("ListUsers", by=session)  # which a session without a factor may not
    again = ann.sts("GetSessionToken", by=by, SerialNumber=SERIAL, TokenCode=phone.code())
    assert await refused(again) == ("AccessDenied", FAILED)
    for wrong in (
        {"SerialNumber": f"{SERIAL}x", "TokenCode": phone.code(1)},
        {"SerialNumber": SERIAL, "TokenCode": WRONG},
    ):
        assert await refused(ann.sts("GetSessionToken", by=by, **wrong)) == ("AccessDenied", FAILED)
    assert await refused(ann.sts("GetSessionToken", by=by, TokenCode=phone.code(1))) == (
        "AccessDenied",
        "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code.",
    )


@SQLITE
async def test_a_device_of_somebody_else_is_no_factor(ann, phone, clock):
    bob = await ann.user("bob", allow("*"))
    clock.advance(STEP)
    shown = ann.sts("GetSessionToken", by=bob, SerialNumber=SERIAL, TokenCode=phone.code())
    assert await refused(shown) == ("AccessDenied", FAILED)


@SQLITE
async def test_a_role_may_ask_for_a_factor(ann, phone, clock):
    statement = {
        "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }  # fmt: skip
    role, by = await ann.role("careful", document(statement), allow("*")), await keyed(ann)
    assert (await refused(ann.assumed(role, by=by)))[0] == "AccessDenied"
    clock.advance(STEP)
    session = await ann.assumed(role, by=by, SerialNumber=SERIAL, TokenCode=phone.code())
    assert session.mfa == 0  # as on AWS: the role's credentials do not say it
    guessed = ann.assumed(role, by=by, SerialNumber=SERIAL, TokenCode=WRONG)
    assert await refused(guessed) == ("AccessDenied", FAILED)


@SQLITE
async def test_guesses_by_an_access_key_are_counted(ann, phone, clock):
    by = await keyed(ann)
    clock.advance(STEP)
    for _ in range(5):
        await refused(ann.sts("GetSessionToken", by=by, SerialNumber=SERIAL, TokenCode=WRONG))
    paused = ann.sts("GetSessionToken", by=by, SerialNumber=SERIAL, TokenCode=phone.code())
    assert "Too many tries" in (await refused(paused))[1]


@SQLITE
async def test_codes_are_not_on_record(ann):
    for service, shape in (("iam", "EnableMFADeviceRequest"), ("sts", "GetSessionTokenRequest")):
        secrets = ann.app.services.get(service).secrets
        assert any(secret.startswith(shape) for secret in secrets), json.dumps(sorted(secrets))
