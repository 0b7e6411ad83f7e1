"""Signing in: the same answer and the same work for every name, pauses that hit the guesser only, and hashes of today's cost."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT, refused

from penstock.identity import invitations, passwords, records, sign_in_records, signin, tries
from penstock.identity.errors import PasswordPolicyViolationException
from penstock.identity.password_policy import PasswordPolicy, password_rules
from penstock.identity.passwords import COST, Cost
from penstock.wire.errors import AccessDenied, Throttled

HOME, ABROAD = "192.0.2.1", "203.0.113.9"
RIGHT = "correct horse"


def test_the_cost_is_what_is_recommended():
    """RFC 9106, "Parameter Choice", and more than the least of OWASP: Password Storage Cheat Sheet. The suite runs at a thousandth of it."""
    assert Cost(64 << 10, 3, 1) == COST


@pytest.fixture
async def ann(harness):
    await harness.user("ann")
    await harness.iam("CreateLoginProfile", UserName="ann", Password=RIGHT)
    return harness


async def sign_in(harness, name="ann", password=RIGHT, address=HOME):
    return await harness.app.identity.sign_in(account=ACCOUNT, user_name=name, password=password, address=address)


async def refusal(harness, *args, **more) -> str:
    with pytest.raises(AccessDenied) as caught:
        await sign_in(harness, *args, **more)
    return caught.value.message


async def test_a_sign_in_counts_until_the_password_is_another(ann):
    app = ann.app
    user = await sign_in(ann)
    id_ = user.session.principal_id
    found = await signin.still_signed_in(app, id_, user.changed)
    assert found is not None
    assert found.session.principal_id == id_
    assert await signin.still_signed_in(app, id_, user.changed + 1) is None
    assert await signin.still_signed_in(app, "AIDANOBODY", user.changed) is None


async def kept(harness) -> bytes:
    return await harness.app.store.read(
        lambda conn: conn.execute(sa.select(sign_in_records.login_profiles.c.password)).scalar()
    )


async def test_names_cannot_be_reported_apart(ann, monkeypatch):
    """An unknown name, a user without a password, and one with another password: the same message and the same hashes."""
    await ann.user("keys-only")
    made: list[tuple[bytes, str]] = []
    matches = passwords._matches

    def noted(password, kept):
        made.append((kept.rpartition(b"$")[0].rpartition(b"$")[0], password))
        return matches(password, kept)

    monkeypatch.setattr(passwords, "_matches", noted)
    said = {}
    for name in ("ann", "ANN2", "keys-only", "no\0body", "x" * 5000):
        made.clear()
        said[name] = ([await refusal(ann, name, "wrong") for _ in range(7)], list(made))
    assert all(one == said["ann"] for one in said.values())
    reason, work = said["ann"]
    assert reason[0] == "That user name and password do not belong together. 4 tries are left before a pause of 5 min."
    assert "last try" in reason[4]
    assert reason[5] == "Too many tries from your address. The next one is possible in 5 min."
    assert work == [(passwords.COST.prefix.rstrip("$").encode(), "wrong")] * 5  # and none during the pause


async def test_a_stranger_locks_nobody_out(ann):
    for _ in range(20):
        await refusal(ann, password="wrong", address=ABROAD)
    assert (await sign_in(ann)).user_name == "ann"
    assert "Too many tries" in await refusal(ann, address=ABROAD)  # not even with the right password


async def test_a_pause_ends_and_a_success_forgives(ann, clock):
    for _ in range(5):
        await refusal(ann, password="wrong")
    assert "Too many tries" in await refusal(ann)
    clock.advance(tries.PAUSE_MS - 1)
    assert "possible in 1 min" in await refusal(ann)
    clock.advance(1)
    await sign_in(ann)
    for _ in range(3):
        for _ in range(4):
            await refusal(ann, password="wrong")
        await sign_in(ann)


async def test_each_failure_makes_the_next_pause_twice_as_long(ann, clock):
    for _ in range(4):
        await refusal(ann, password="wrong")
    pauses = []
    for _ in range(6):
        pauses.append(int((await refusal(ann, password="wrong")).split()[-2]))
        clock.advance(pauses[-1] * 60_000 - 1)
        assert "possible in 1 min" in await refusal(ann)
        clock.advance(1)
    assert pauses == [5, 10, 20, 40, 60, 60]
    await sign_in(ann)
    assert "4 tries are left" in await refusal(ann, password="wrong")


async def test_a_network_of_ipv6_is_one_source(ann):
    """Its owner has 2^64 addresses."""
    for number in range(5):
        await refusal(ann, password="wrong", address=f"2001:db8:1:2::{number}")
    assert "Too many tries" in await refusal(ann, address="2001:db8:1:2:ffff::1")
    assert await sign_in(ann, address="2001:db8:1:3::1")
    assert await sign_in(ann, address="not an address")


async def test_a_password_is_compared_as_a_whole(ann):
    longest = "x" * passwords.LONGEST
    await ann.iam("UpdateLoginProfile", UserName="ann", Password=longest)
    assert "do not belong together" in await refusal(ann, password=longest + "y")
    assert await sign_in(ann, password=longest)
    with pytest.raises(PasswordPolicyViolationException, match="maximum length of 128"):
        password_rules(PasswordPolicy(), longest + "y")


async def test_tries_at_the_same_moment_are_counted_each(ann):
    """No more than TRIES passwords are compared in one window, however they arrive."""
    await asyncio.gather(*(sign_in(ann, password=f"p{n}", address=HOME) for n in range(20)), return_exceptions=True)
    for _ in range(5):
        await asyncio.gather(*(sign_in(ann, password="p") for _ in range(2)), return_exceptions=True)
    assert "Too many tries" in await refusal(ann)


async def test_what_was_counted_is_forgotten(ann, clock):
    for number in range(30):
        await refusal(ann, f"name{number}", "wrong")
    clock.advance(3 * tries.LONGEST_PAUSE_MS)
    await refusal(ann, "last", "wrong")
    count = sa.select(sa.func.count()).select_from(sign_in_records.sign_in_tries)
    assert await ann.app.store.read(lambda conn: conn.execute(count).scalar()) == 1


async def test_one_address_takes_two_places_of_the_queue(ann, monkeypatch):
    gate, waiting = asyncio.Event(), []

    async def held(*_call):
        waiting.append(1)
        await gate.wait()
        return False

    monkeypatch.setattr(passwords.PASSWORDS, "run", held)
    one = [asyncio.create_task(sign_in(ann, f"n{n}", address=ABROAD)) for n in range(2)]
    while len(waiting) < 2:
        await asyncio.sleep(0)
    with pytest.raises(Throttled):
        await sign_in(ann, "n3", address=ABROAD)
    other = asyncio.create_task(sign_in(ann, address=HOME))
    while len(waiting) < 3:
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*one, other, return_exceptions=True)
    assert not ann.app.identity.passwords._addresses._held


async def test_more_than_the_queue_takes_is_refused_at_once(ann):
    kept = ann.app.identity.passwords.kept
    results = await asyncio.gather(*(kept("a password") for _ in range(30)), return_exceptions=True)
    assert {type(one) for one in results} == {bytes, Throttled}


SALT = b"s" * 16
OLDER = {
    "scrypt": bytes([4, 8, 1]) + SALT + hashlib.scrypt(RIGHT.encode(), salt=SALT, n=1 << 4, r=8, p=1, dklen=32),
    "scrypt without its parameters": SALT + hashlib.scrypt(RIGHT.encode(), salt=SALT, n=1 << 14, r=8, p=1, dklen=32),
    "cheaper": passwords._derive(RIGHT, Cost(8, 2, 1)),
}


@pytest.mark.parametrize("how", OLDER)
async def test_an_older_hash_is_replaced_when_its_password_is_shown(ann, how):
    profiles = sign_in_records.login_profiles
    await ann.app.store.write(lambda conn: conn.execute(profiles.update().values(password=OLDER[how])))
    await refusal(ann, password="wrong")
    assert await kept(ann) == OLDER[how]
    first = await sign_in(ann)
    better = await kept(ann)
    assert better.startswith(passwords.COST.prefix.encode())
    assert better != OLDER[how]
    assert (await sign_in(ann)).changed == first.changed
    assert await kept(ann) == better


async def begin(harness, **sign) -> str:
    user = await sign_in(harness, **sign)
    return await harness.app.identity.begin_session(user, address=HOME, agent="Firefox/150.0")


async def user_of(harness, session, *, active=True):
    found = await harness.app.identity.session_user(session, active=active)
    return None if found is None else found.user_name


async def test_sessions_end(ann):
    identity = ann.app.identity
    one, other = await begin(ann), await begin(ann)
    assert await user_of(ann, one) == "ann"
    await identity.end_session(one)
    assert await user_of(ann, one) is None
    assert await user_of(ann, other) == "ann"
    await ann.iam("UpdateLoginProfile", UserName="ann", Password=RIGHT)
    assert await user_of(ann, other) is None
    gone = await begin(ann)
    await ann.iam("DeleteLoginProfile", UserName="ann")
    assert await user_of(ann, gone) is None
    await ann.iam("CreateLoginProfile", UserName="ann", Password=RIGHT)
    assert await user_of(ann, gone) is None
    for nonsense in ("", "x", "\ud800", "x" * 10_000):
        assert await user_of(ann, nonsense) is None
        await identity.end_session(nonsense)


MINUTE = 60_000


async def test_a_session_ends_when_it_is_idle_and_at_the_latest_after_its_hours(ann, clock):
    idle, watched, used = await begin(ann), await begin(ann), await begin(ann)
    for _ in range(12):
        clock.advance(59 * MINUTE)
        await user_of(ann, watched, active=False)  # by a page that is only open
        assert await user_of(ann, used) == "ann"
    assert await user_of(ann, idle) is None
    assert await user_of(ann, watched) is None
    clock.advance(11 * MINUTE)
    assert await user_of(ann, used) == "ann"
    clock.advance(2 * MINUTE)
    assert await user_of(ann, used) is None  # 12 h and 1 min


async def test_requests_of_one_minute_write_once(ann, clock):
    session = await begin(ann)
    clock.advance(MINUTE)
    seen = []
    for _ in range(3):
        await user_of(ann, session)
        clock.advance(10)
        rows = await ann.app.store.read(
            lambda conn: conn.execute(sa.select(sign_in_records.console_sessions.c.seen)).all()
        )
        seen += [row.seen for row in rows]
    assert len(set(seen)) == 1


async def test_the_database_holds_no_session_that_could_be_used(ann):
    session = await begin(ann)
    rows = await ann.app.store.read(lambda conn: conn.execute(sa.select(sign_in_records.console_sessions)).all())
    assert session not in repr(rows)


async def test_what_a_browser_says_of_itself_is_cut_to_its_columns(ann):
    user = await sign_in(ann)
    await ann.app.identity.begin_session(user, address="a" * 65, agent=f"\0{'b' * 256}")
    kept = sign_in_records.console_sessions.c
    [row] = await ann.app.store.read(lambda conn: conn.execute(sa.select(kept.address, kept.agent)).all())
    assert row == ("a" * 64, "b" * 255)


async def test_the_handle_of_a_session_is_no_session(ann):
    handle = (await ann.app.identity.session_user(await begin(ann), active=True)).session.console
    assert await user_of(ann, handle) is None


async def test_a_user_without_a_chosen_password_cannot_sign_in(ann):
    await ann.user("invited")

    def invite(conn):
        invitations.ensure_profile(conn, records.user(conn, ACCOUNT, "invited"), now=1)

    await ann.app.store.write(invite)
    for password in ("", "x"):
        assert "do not belong together" in await refusal(ann, "invited", password)


async def link(harness, name, until=1_000):
    """The token of a sign-in link for a user, good for `until` ms."""
    app = harness.app

    def invite(conn):
        row = records.user(conn, ACCOUNT, name)
        return row.id, invitations.ensure_profile(conn, row, now=app.clock.now())

    user_id, changed = await app.store.write(invite)
    return invitations.token_of(app, user_id=user_id, changed=changed, until=app.clock.now() + until)


async def test_a_link_chooses_a_password_once(ann):
    identity = ann.app.identity
    await ann.user("bob")
    first, second = await link(ann, "bob"), await link(ann, "bob")
    with pytest.raises(PasswordPolicyViolationException):
        await identity.choose_password(first, "x" * 7)
    chosen = await identity.choose_password(first, "x" * 9)
    assert chosen.session.arn.endswith(":user/bob")
    user = await sign_in(ann, "bob", "x" * 9)
    # Who has just chosen is signed in with what was kept, and nobody else's password is another.
    assert user.changed == chosen.changed
    assert await sign_in(ann)
    for used in (first, second):
        with pytest.raises(AccessDenied, match="does not work any more"):
            await identity.choose_password(used, "y" * 9)
    assert await sign_in(ann, "bob", "x" * 9)
    # A link of a user who has a password replaces it, and ends what was signed in with it.
    again = await link(ann, "bob")
    assert (await identity.choose_password(again, "z" * 9)).changed > user.changed
    assert await signin.still_signed_in(ann.app, user.session.principal_id, user.changed) is None
    assert "do not belong together" in await refusal(ann, "bob", "x" * 9)


async def test_a_password_may_be_given_to_a_user_who_has_not_followed_the_link(ann):
    """As after `penstock user add`: there is no password yet, so that CreateLoginProfile gives one, and the link is void."""
    await ann.user("bob")
    token = await link(ann, "bob")
    await ann.iam("CreateLoginProfile", UserName="bob", Password="x" * 9)
    assert await sign_in(ann, "bob", "x" * 9)
    with pytest.raises(AccessDenied, match="does not work any more"):
        await ann.app.identity.choose_password(token, "y" * 9)
    assert (await refused(ann.iam("CreateLoginProfile", UserName="bob", Password="z" * 9)))[0] == "EntityAlreadyExists"


async def test_of_two_with_one_link_the_first_chooses(ann):
    identity = ann.app.identity
    token = await link(ann, "ann")
    answers = await asyncio.gather(
        *(identity.choose_password(token, each * 9) for each in "xy"), return_exceptions=True
    )
    assert sorted(isinstance(answer, AccessDenied) for answer in answers) == [False, True], answers


async def test_links_that_are_none(ann, clock):
    identity = ann.app.identity
    token = await link(ann, "ann")
    padded = token.ljust(1024, "=")
    assert (await identity.invited(padded)).session.arn.endswith(":user/ann")
    for wrong in ("", "x", token[:-2], token.swapcase(), token.ljust(1025, "=")):
        with pytest.raises(AccessDenied, match="does not work any more"):
            await identity.invited(wrong)
    clock.advance(999)
    assert await identity.invited(token)
    clock.advance(1)
    with pytest.raises(AccessDenied, match="does not work any more"):
        await identity.invited(token)
