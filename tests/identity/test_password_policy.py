"""The password policy of an account: kept as it was put, and obeyed wherever a password is set, changed or shown."""

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, document, refused

from penstock.identity import invitations
from penstock.identity.errors import PasswordPolicyViolationException
from penstock.identity.password_policy import SYMBOLS, PasswordPolicy, new_password, password_rules
from penstock.identity.passwords import LONGEST
from penstock.wire.errors import AccessDenied, ServiceError

HOME = "192.0.2.1"
DAY = 86_400_000
EVERYTHING = {
    "MinimumPasswordLength": 14,
    "RequireSymbols": True,
    "RequireNumbers": True,
    "RequireUppercaseCharacters": True,
    "RequireLowercaseCharacters": True,
    "AllowUsersToChangePassword": True,
    "MaxPasswordAge": 90,
    "PasswordReusePrevention": 24,
    "HardExpiry": True,
}


@pytest.mark.parametrize(
    ("policy", "password", "lacking"),
    [
        ({}, "x" * 7, ["minimum length of 8"]),
        ({}, "x" * 8, []),
        ({"minimum": 6}, "x" * 6, []),
        ({}, "x" * (LONGEST + 1), ["maximum length of 128"]),
        ({"symbols": True, "numbers": True}, "abcdefgh", ["symbol", "number"]),
        ({"uppercase": True, "lowercase": True}, "12345678", ["uppercase letter", "lowercase letter"]),
        ({"numbers": True, "uppercase": True}, "ä٣Ä-----", ["number", "uppercase letter"]),  # AWS: of A to Z, 0 to 9
        *(({"symbols": True}, f"abcdefg{symbol}", []) for symbol in SYMBOLS),
        *(
            ({name: True}, f"-------{of}", [])
            for name, some in (("numbers", "09"), ("uppercase", "AZ"), ("lowercase", "az"))
            for of in some
        ),
        *(
            (
                {"numbers": True, "uppercase": True, "lowercase": True},
                f"-------{of}",
                ["number", "uppercase letter", "lowercase letter"],
            )
            for of in "/:@[`{"
        ),
    ],
)
def test_rules(policy, password, lacking):
    if not lacking:
        password_rules(PasswordPolicy(**policy), password)
        return
    with pytest.raises(ServiceError) as caught:
        password_rules(PasswordPolicy(**policy), password)
    assert caught.value.wire_code == "PasswordPolicyViolation"
    assert [part.rpartition(" a ")[2].rpartition("one ")[2] for part in caught.value.message.split(", ")] == lacking


async def test_a_policy_is_read_back_as_it_was_put(harness):
    assert await refused(harness.iam("GetAccountPasswordPolicy")) == (
        "NoSuchEntity",
        f"The Password Policy with domain name {ACCOUNT} cannot be found.",
    )
    gone = ("NoSuchEntity", "The account policy with name PasswordPolicy cannot be found.")
    assert await refused(harness.iam("DeleteAccountPasswordPolicy")) == gone
    await harness.iam("UpdateAccountPasswordPolicy", **EVERYTHING)
    shown = (await harness.iam("GetAccountPasswordPolicy"))["PasswordPolicy"]
    assert shown == {**EVERYTHING, "ExpirePasswords": True}
    # What a later call leaves out is asked no more.
    await harness.iam("UpdateAccountPasswordPolicy", RequireNumbers=True)
    assert (await harness.iam("GetAccountPasswordPolicy"))["PasswordPolicy"] == {
        "MinimumPasswordLength": 6,
        **dict.fromkeys((*list(EVERYTHING)[1:6], "HardExpiry", "ExpirePasswords"), False),
        "RequireNumbers": True,
    }
    other = await harness.administrator(OTHER)
    assert (await refused(harness.iam("GetAccountPasswordPolicy", by=other)))[0] == "NoSuchEntity"
    await harness.iam("DeleteAccountPasswordPolicy")
    assert await refused(harness.iam("DeleteAccountPasswordPolicy")) == gone


async def test_every_way_to_a_password_obeys_it(harness, clock):
    change = document({"Effect": "Allow", "Action": "iam:ChangePassword", "Resource": "*"})
    ann = await harness.user("ann", change)
    await harness.iam("UpdateAccountPasswordPolicy", RequireNumbers=True, PasswordReusePrevention=3)
    poor = ("PasswordPolicyViolation", "Password should have at least one number")
    assert await refused(harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")) == poor
    await harness.iam("CreateLoginProfile", UserName="ann", Password="first-1")
    assert await refused(harness.iam("UpdateLoginProfile", UserName="ann", Password="correct horse")) == poor
    old = {"OldPassword": "first-1", "by": ann}
    assert await refused(harness.iam("ChangePassword", NewPassword="correct horse", **old)) == poor
    # The present one and the two before it are not taken again, and the third is.
    reused = (
        "PasswordPolicyViolation",
        "Policy constraint violation with password reuse prevention during password change.",
    )
    assert await refused(harness.iam("ChangePassword", NewPassword="first-1", **old)) == reused
    before = "first-1"
    for new in ("second-2", "third-3"):
        clock.advance(1)
        await harness.iam("ChangePassword", OldPassword=before, NewPassword=new, by=ann)
        before = new
    assert await refused(harness.iam("ChangePassword", OldPassword=before, NewPassword="first-1", by=ann)) == reused
    clock.advance(1)
    await harness.iam("UpdateLoginProfile", UserName="ann", Password="fourth-4")
    assert await refused(harness.iam("UpdateLoginProfile", UserName="ann", Password="third-3")) == reused
    clock.advance(1)
    await harness.iam("ChangePassword", OldPassword="fourth-4", NewPassword="first-1", by=ann)


async def test_users_choose_none_of_the_passwords_that_are_guessed_first(harness):
    ann = await harness.user("ann", document({"Effect": "Allow", "Action": "iam:ChangePassword", "Resource": "*"}))
    await harness.iam("CreateLoginProfile", UserName="ann", Password="password")  # by an administrator, as on AWS
    user = await sign_in(harness, "password")
    token = invitations.token_of(harness.app, user_id=ann.principal_id, changed=user.changed, until=2**53)
    for common in ("iloveyou", "PassWord1", "zzzzzzzz"):
        code, said = await refused(harness.iam("ChangePassword", OldPassword="password", NewPassword=common, by=ann))
        assert (code, "guessed first" in said) == ("PasswordPolicyViolation", True)
        with pytest.raises(PasswordPolicyViolationException, match="guessed first"):
            await harness.app.identity.choose_password(token, common)
    await harness.iam("ChangePassword", OldPassword="password", NewPassword="iloveyou too", by=ann)


async def test_of_two_requests_at_once_one_sets_a_password_that_is_not_taken_again(harness):
    """Both are looked at before either is written."""
    ann = await harness.user("ann")
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")
    await harness.iam("UpdateAccountPasswordPolicy", PasswordReusePrevention=5)
    identity, user_id = harness.app.identity, ann.principal_id
    one, other = [
        await new_password(harness.app, identity.passwords, ACCOUNT, user_id, "third horse", own=True) for _ in "12"
    ]
    await identity.change(lambda conn: one.write(conn, user_id, 1))
    with pytest.raises(PasswordPolicyViolationException, match="reuse prevention"):
        await identity.change(lambda conn: other.write(conn, user_id, 2))


async def test_a_password_from_before_the_policy_is_not_taken_again(harness):
    await harness.user("ann")
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")
    await harness.iam("UpdateAccountPasswordPolicy", PasswordReusePrevention=1)
    answer = await refused(harness.iam("UpdateLoginProfile", UserName="ann", Password="correct horse"))
    assert answer[0] == "PasswordPolicyViolation"


async def sign_in(harness, password):
    return await harness.app.identity.sign_in(account=ACCOUNT, user_name="ann", password=password, address=HOME)


async def test_a_password_that_has_expired_lets_its_user_choose_another_only(harness, clock):
    identity = harness.app.identity
    await harness.user("ann")
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")
    await harness.iam("UpdateAccountPasswordPolicy", MaxPasswordAge=2, MinimumPasswordLength=8)
    clock.advance(2 * DAY - 1)
    user = await sign_in(harness, "correct horse")
    assert await identity.expired(user) == ""
    assert await identity.begin_session(user, address=HOME, agent="")
    clock.advance(1)
    user = await sign_in(harness, "correct horse")
    token = await identity.expired(user)
    with pytest.raises(AccessDenied, match="expired"):
        await identity.begin_session(user, address=HOME, agent="")
    chosen = await identity.choose_password(token, "another horse")
    assert await identity.expired(chosen) == ""
    assert await identity.begin_session(chosen, address=HOME, agent="")
    # Where expiry is hard, it takes an administrator.
    await harness.iam("UpdateAccountPasswordPolicy", MaxPasswordAge=2, HardExpiry=True)
    clock.advance(2 * DAY)
    with pytest.raises(AccessDenied, match="Ask an administrator"):
        await sign_in(harness, "another horse")
    await harness.iam("UpdateLoginProfile", UserName="ann", Password="third horse")
    assert await sign_in(harness, "third horse")


async def test_the_policy_says_whether_users_change_their_own(harness):
    ann = await harness.user("ann")
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")

    async def change(old, new):
        await harness.iam("ChangePassword", OldPassword=old, NewPassword=new, by=ann)

    for allowed in (False, True, False):
        await harness.iam("UpdateAccountPasswordPolicy", AllowUsersToChangePassword=allowed)
        if allowed:
            await change("correct horse", "another horse")
        else:
            with pytest.raises(AccessDenied, match="iam:ChangePassword"):
                await change("correct horse", "another horse")
    deny = document({"Effect": "Deny", "Action": "iam:*", "Resource": "*"})
    await harness.iam("UpdateAccountPasswordPolicy", AllowUsersToChangePassword=True)
    await harness.iam("PutUserPolicy", UserName="ann", PolicyName="no", PolicyDocument=deny)
    with pytest.raises(AccessDenied, match="explicit deny"):
        await change("another horse", "third horse")


async def test_former_passwords_are_bounded_and_go_with_their_user(harness, clock):
    await harness.user("ann")
    await harness.iam("CreateLoginProfile", UserName="ann", Password="correct horse")
    for number in range(26):
        clock.advance(1)
        await harness.iam("UpdateLoginProfile", UserName="ann", Password=f"horse number {number}")

    def rows(conn):
        return conn.exec_driver_sql("SELECT count(*) FROM iam_former_passwords").scalar()

    assert await harness.app.store.read(rows) == 24
    await harness.iam("DeleteLoginProfile", UserName="ann")
    (key,) = (await harness.iam("ListAccessKeys", UserName="ann"))["AccessKeyMetadata"]
    await harness.iam("DeleteAccessKey", UserName="ann", AccessKeyId=key["AccessKeyId"])
    await harness.iam("DeleteUser", UserName="ann")
    assert await harness.app.store.read(rows) == 0
