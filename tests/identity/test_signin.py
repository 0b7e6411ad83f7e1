"""Signing in: the same answer and the same work for every name, pauses that hit the guesser only, and hashes of today's cost."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import sqlalchemy as sa
from penstock_identity_harness import ACCOUNT

from penstock.identity import invitations, passwords, records, signin
from penstock.identity.errors import PasswordPolicyViolationException
from penstock.identity.passwords import COST, Cost
from penstock.wire.errors import AccessDenied, Throttled

HOME, ABROAD = "192.0.2.1", "203.0.113.9"
RIGHT = "correct horse"


def test_the_cost_is_what_is_recommended():
    """OWASP: Password Storage Cheat Sheet. The suite runs at a thousandth of it."""
    assert Cost(17, 8, 1) == COST


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
        lambda conn: conn.execute(sa.select(records.login_profiles.c.password)).scalar()
    )


async def test_names_cannot_be_reported_apart(ann, monkeypatch):
    """An unknown name, a user without a password, and one with another password: the same message and the same hashes."""
    await ann.user("keys-only")
    made: list[tuple[Cost, str]] = []
    derive = passwords._derive

    def noted(password, cost, salt):
        made.append((cost, password))
        return derive(password, cost, salt)

    monkeypatch.setattr(passwords, "_derive", noted)
    said = {}
    for name in ("ann", "ANN2", "keys-only", "no\0body", "x" * 5000):
        made.clear()
        said[name] = ([await refusal(ann, name, "wrong") for _ in range(7)], list(made))
    assert all(one == said["ann"] for one in said.values())
    reason, work = said["ann"]
    assert reason[0] == "That user name and password do not belong together. 4 tries are left before a pause of 5 min."
    assert "last try" in reason[4]
    assert reason[5] == "Too many tries from your address. The next one is possible in 5 min."
    assert work == [(passwords.COST, "wrong")] * 5  # and none during the pause


async def test_a_stranger_locks_nobody_out(ann):
    for _ in range(20):
        await refusal(ann, password="wrong", address=ABROAD)
    assert (await sign_in(ann)).user_name == "ann"
    assert "Too many tries" in await refusal(ann, address=ABROAD)  # not even with the right password


async def test_a_pause_ends_and_a_success_forgives(ann, clock):
    for _ in range(5):
        await refusal(ann, password="wrong")
    assert "Too many tries" in await refusal(ann)
    clock.advance(signin.PAUSE_MS - 1)
    assert "possible in 1 min" in await refusal(ann)
    clock.advance(1)
    await sign_in(ann)
    for _ in range(3):
        for _ in range(4):
            await refusal(ann, password="wrong")
        await sign_in(ann)


async def test_tries_at_the_same_moment_are_counted_each(ann):
    """No more than TRIES passwords are compared in one window, however they arrive."""
    await asyncio.gather(*(sign_in(ann, password=f"p{n}", address=HOME) for n in range(20)), return_exceptions=True)
    for _ in range(5):
        await asyncio.gather(*(sign_in(ann, password="p") for _ in range(2)), return_exceptions=True)
    assert "Too many tries" in await refusal(ann)


async def test_what_was_counted_is_forgotten(ann, clock):
    for number in range(30):
        await refusal(ann, f"name{number}", "wrong")
    clock.advance(signin.PAUSE_MS + 1)
    await refusal(ann, "last", "wrong")
    count = sa.select(sa.func.count()).select_from(records.sign_in_tries)
    assert await ann.app.store.read(lambda conn: conn.execute(count).scalar()) == 1


async def test_one_address_takes_two_places_of_the_queue(ann, monkeypatch):
    gate, waiting = asyncio.Event(), []

    async def held(*_call):
        waiting.append(1)
        await gate.wait()
        return bytes(51)

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


async def test_an_older_hash_is_replaced_when_its_password_is_shown(ann):
    salt = b"s" * 16
    old = salt + hashlib.scrypt(RIGHT.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32)
    profiles = records.login_profiles
    await ann.app.store.write(lambda conn: conn.execute(profiles.update().values(password=old)))
    await refusal(ann, password="wrong")
    assert await kept(ann) == old
    first = await sign_in(ann)
    better = await kept(ann)
    assert better[:3] == bytes([*passwords.COST])
    assert better != old
    assert (await sign_in(ann)).changed == first.changed
    assert await kept(ann) == better


async def test_sessions_end(ann, clock):
    identity = ann.app.identity

    async def begin():
        return await identity.begin_session(await sign_in(ann))

    one, other = await begin(), await begin()
    assert (await identity.session_user(one)).user_name == "ann"
    await identity.end_session(one)
    assert await identity.session_user(one) is None
    assert await identity.session_user(other) is not None
    await ann.iam("UpdateLoginProfile", UserName="ann", Password=RIGHT)
    assert await identity.session_user(other) is None

    late = await begin()
    clock.advance(signin.SESSION_MS)
    assert await identity.session_user(late) is None

    gone = await begin()
    await ann.iam("DeleteLoginProfile", UserName="ann")
    assert await identity.session_user(gone) is None
    await ann.iam("CreateLoginProfile", UserName="ann", Password=RIGHT)
    assert await identity.session_user(gone) is None
    for nonsense in ("", "x", "\ud800", "x" * 10_000):
        assert await identity.session_user(nonsense) is None
        await identity.end_session(nonsense)


async def test_the_database_holds_no_session_that_could_be_used(ann):
    session = await ann.app.identity.begin_session(await sign_in(ann))
    rows = await ann.app.store.read(lambda conn: conn.execute(sa.select(records.console_sessions)).all())
    assert session not in repr(rows)


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
    chosen = await identity.choose_password(first, "x" * 8)
    assert chosen.session.arn.endswith(":user/bob")
    user = await sign_in(ann, "bob", "x" * 8)
    # Who has just chosen is signed in with what was kept, and nobody else's password is another.
    assert user.changed == chosen.changed
    assert await sign_in(ann)
    for used in (first, second):
        with pytest.raises(AccessDenied, match="does not work any more"):
            await identity.choose_password(used, "y" * 8)
    assert await sign_in(ann, "bob", "x" * 8)
    # A link of a user who has a password replaces it, and ends what was signed in with it.
    again = await link(ann, "bob")
    assert (await identity.choose_password(again, "z" * 8)).changed > user.changed
    assert await signin.still_signed_in(ann.app, user.session.principal_id, user.changed) is None
    assert "do not belong together" in await refusal(ann, "bob", "x" * 8)


async def test_of_two_with_one_link_the_first_chooses(ann):
    identity = ann.app.identity
    token = await link(ann, "ann")
    answers = await asyncio.gather(
        *(identity.choose_password(token, each * 8) for each in "xy"), return_exceptions=True
    )
    assert sorted(isinstance(answer, AccessDenied) for answer in answers) == [False, True]


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
