"""What identity remembers: bounded in bytes, and never older than a change."""

import asyncio
from types import SimpleNamespace

import pytest
from penstock_identity_harness import ACCOUNT, allow, document, trusting

from penstock.identity import cache, credentials, decisions, principals, records
from penstock.identity.authority import Authority
from penstock.identity.documents import identity_policy
from penstock.identity.wildcards import MAX_TEXT
from penstock.wire.errors import AccessDenied, InvalidSessionToken, UnknownAccessKey


class Held:
    """The store's next read by one function, or look-up by one statement, stopped between its answer and the caller."""

    def __init__(self, store, name, monkeypatch):
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        read, lookup = store.read, store.lookup
        wanted = getattr(credentials, name, None)  # a statement; functions are known by their names

        async def stop():
            if not self.reached.is_set():
                self.reached.set()
                await self.go.wait()

        async def slow(fn, *args):
            found = await read(fn, *args)
            if fn.__name__ == name:
                await stop()
            return found

        async def slow_lookup(statement, **parameters):
            found = await lookup(statement, **parameters)
            if statement is wanted:
                await stop()
            return found

        monkeypatch.setattr(store, "read", slow)
        monkeypatch.setattr(store, "lookup", slow_lookup)


async def test_a_slow_read_does_not_bring_back_a_revoked_key(harness, monkeypatch):
    ann = await harness.user("ann", allow("s3:GetObject"))
    harness.app.identity.forget()
    held = Held(harness.app.store, "_KEY_AND_USER", monkeypatch)
    slow = asyncio.create_task(harness.session(ann.access_key_id))
    await held.reached.wait()
    await harness.iam("UpdateAccessKey", UserName="ann", AccessKeyId=ann.access_key_id, Status="Inactive")
    held.go.set()
    await slow  # asked before the change, so answered as of then
    with pytest.raises(UnknownAccessKey):
        await harness.session(ann.access_key_id)


async def test_a_slow_read_does_not_bring_back_a_policy(harness, monkeypatch):
    ann = await harness.user("ann", allow("s3:GetObject"))
    harness.app.identity.forget()
    held = Held(harness.app.store, "_documents_of", monkeypatch)
    slow = asyncio.create_task(harness.may(ann, "s3:GetObject"))
    await held.reached.wait()
    await harness.iam("DeleteUserPolicy", UserName="ann", PolicyName="p0")
    held.go.set()
    await slow
    with pytest.raises(AccessDenied):
        await harness.may(ann, "s3:GetObject")


async def test_a_slow_read_does_not_bring_back_a_session(harness, monkeypatch):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn), allow("s3:GetObject"))
    made = await harness.sts("AssumeRole", by=ann, RoleArn=role, RoleSessionName="testing")
    key, token = made["Credentials"]["AccessKeyId"], made["Credentials"]["SessionToken"]
    harness.app.identity.forget()
    held = Held(harness.app.store, "_documents_of", monkeypatch)
    slow = asyncio.create_task(harness.session(key, token))
    await held.reached.wait()
    await harness.iam("DeleteRolePolicy", RoleName="r", PolicyName="p0")
    await harness.iam("DeleteRole", RoleName="r")
    held.go.set()
    await slow
    with pytest.raises(InvalidSessionToken):
        await harness.session(key, token)


async def test_a_slow_read_does_not_bring_back_a_session_policy(harness, monkeypatch):
    ann = await harness.user("ann")
    role = await harness.role("r", trusting(AWS=ann.arn), allow("*"))
    policy = f"arn:aws:iam::{ACCOUNT}:policy/narrow"
    await harness.iam("CreatePolicy", PolicyName="narrow", PolicyDocument=allow("s3:*"))
    session = await harness.assumed(role, by=ann, PolicyArns=[{"arn": policy}])
    harness.app.identity.forget()
    held = Held(harness.app.store, records.merged_documents.__name__, monkeypatch)
    slow = asyncio.create_task(harness.may(session, "s3:GetObject"))
    await held.reached.wait()
    deny = document({"Effect": "Deny", "Action": "*", "Resource": "*"})
    await harness.iam("CreatePolicyVersion", PolicyArn=policy, PolicyDocument=deny, SetAsDefault=True)
    held.go.set()
    await slow
    with pytest.raises(AccessDenied, match="session policy"):
        await harness.may(session, "s3:GetObject")


async def test_what_is_remembered_is_bounded_in_bytes(harness, monkeypatch):
    ann = await harness.user("ann", allow("s3:*"))
    identity = harness.app.identity
    limit = identity.decisions._verdicts._limit = 100_000
    for number in range(300):
        await harness.may(ann, "s3:GetObject", f"arn:aws:s3:::b/{number:>01000}")
        assert identity.decisions._verdicts.weight <= limit
    assert 0 < len(identity.decisions._verdicts._entries) <= limit // 1000


async def test_the_hosts_of_a_fleet_share_what_their_policies_are_compiled_to(harness):
    """Four thousand hosts filled the memory of principals with copies that there are not, and were read anew at every request."""
    hosts = [
        await harness.user(f"host{number}", allow("s3:Get*", resource="arn:aws:s3:::fleet/*")) for number in range(3)
    ]
    kept, weights = harness.app.identity.decisions._principals._principals, []
    await asyncio.gather(harness.may(hosts[0], "s3:GetObject", "arn:aws:s3:::fleet/0"))
    harness.app.identity.forget()
    for host in hosts:
        before = kept.weight
        await harness.may(host, "s3:GetObject", "arn:aws:s3:::fleet/0")
        weights.append(kept.weight - before)
    assert len({id(kept.get(host.entity).policies[0]) for host in hosts}) == 1
    assert max(weights) < 1000


async def test_policies_of_its_own_weigh_on_the_principal_that_brings_them(harness, monkeypatch):
    monkeypatch.setattr(principals, "_identity_policy", cache.Remembered(identity_policy, 1 << 20))
    kept, weights = harness.app.identity.decisions._principals._principals, []
    for number in range(2):
        mine = allow("s3:Get*", resource=[f"arn:aws:s3:::fleet/{number}-{one}" for one in range(40)])
        user = await harness.user(f"user{number}", mine)
        before = kept.weight
        await harness.may(user, "s3:GetObject", f"arn:aws:s3:::fleet/{number}-1")
        weights.append(kept.weight - before)
        assert weights[-1] > cache.compiled_bytes(len(mine))


def test_a_cache_starts_anew_and_keeps_nothing_that_is_too_heavy():
    kept = cache.Cache(1000)
    kept.put("a", 1, 300)
    kept.put("a", 2, 300)
    assert (kept.get("a"), kept.weight) == (2, 300 + cache.ENTRY_BYTES)
    kept.put("b", 3, 900)
    assert kept.get("b") is None
    kept.put("b", 3, 400)
    assert (kept.get("a"), kept.get("b")) == (None, 3)
    kept.put("c", 4, 400 - cache.ENTRY_BYTES)  # which fills it to the last byte
    assert (kept.get("b"), kept.get("c"), kept.weight) == (3, 4, 1000)
    kept.put("d", 5, 0)
    assert (kept.get("b"), kept.get("c"), kept.get("d")) == (None, None, 5)
    kept.put("e", 6, 1000 - cache.ENTRY_BYTES)
    assert (kept.get("d"), kept.get("e"), kept.weight) == (None, 6, 1000)


async def test_the_name_of_a_resource_is_bounded_before_it_is_compared(harness):
    ann = await harness.user("ann", allow("s3:*"))
    await harness.may(ann, "s3:GetObject", "x" * MAX_TEXT)
    with pytest.raises(AccessDenied, match="too long"):
        await harness.may(ann, "s3:GetObject", "x" * (MAX_TEXT + 1))


async def test_a_thousand_decisions_leave_the_loop_to_others(harness, monkeypatch):
    ann = await harness.user("ann", allow("s3:*", resource="arn:aws:s3:::b/" + "*a" * 700))
    monkeypatch.setattr(decisions, "_SLICE_S", 0.0)  # however fast one is
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await harness.may(ann, "s3:GetObject", "arn:aws:s3:::b/" + "a" * 1000)
    running = asyncio.create_task(others())
    await asyncio.sleep(0)
    before = turns
    try:
        await harness.may(ann, "s3:GetObject", *(f"arn:aws:s3:::b/{number}{'a' * 1000}" for number in range(200)))
    finally:
        running.cancel()
    assert turns - before >= 10


async def test_of_a_principals_large_policies_one_is_looked_at_in_a_turn_of_the_loop(harness, monkeypatch):
    """Eight clients with a dozen policies each had the loop for themselves: a second for every decision."""
    large = [f"arn:aws:s3:::b/*a?{number}*?b" for number in range(12)]
    ann = await harness.user("ann", *(allow("s3:*", resource=pattern) for pattern in large))
    bob = await harness.user("bob", allow("s3:*"))
    monkeypatch.setattr(principals, "_SMALL", 0)
    for user in (ann, bob):  # their policies are in memory
        await asyncio.gather(harness.may(user, "s3:GetObject"), return_exceptions=True)
    monkeypatch.setattr(decisions, "_SLICE_S", -1)  # however fast one is
    decide, turn, inspected = decisions.decide, 0, []
    monkeypatch.setattr(decisions, "decide", lambda policies, *what: inspected.append(turn) or decide(policies, *what))

    async def others():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(others())
    names = [f"arn:aws:s3:::b/{number}{'a' * 1000}" for number in range(8)]
    try:
        asked = [asyncio.create_task(harness.may(ann, "s3:GetObject", name)) for name in names]
        await asyncio.sleep(0)
        await harness.may(bob, "s3:GetObject", "arn:aws:s3:::b/mine")
        assert not any(task.done() for task in asked), "nobody waits for the decisions of another principal"
        said = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        running.cancel()
    assert {type(refused) for refused in said} == {AccessDenied}
    assert max(map(inspected.count, inspected)) <= 2, "one of each principal"
    assert len(inspected) == len(large) * len(names) + 1


@pytest.mark.parametrize("order", [("Allow", "Deny"), ("Deny", "Allow"), ("Allow", "Other")])
async def test_policies_that_are_looked_at_one_by_one_say_what_they_say_together(harness, monkeypatch, order):
    kinds = {
        "Allow": allow("s3:*"),
        "Deny": document({"Effect": "Deny", "Action": "s3:Put*", "Resource": "*"}),
        "Other": allow("iam:*"),
    }
    ann = await harness.user("ann", *(kinds[kind] for kind in order))
    monkeypatch.setattr(decisions, "_SLICE_S", -1)
    await harness.may(ann, "s3:GetObject")
    if "Deny" in order:
        with pytest.raises(AccessDenied, match="explicit deny"):
            await harness.may(ann, "s3:PutObject")
    else:
        await harness.may(ann, "s3:PutObject")
    with pytest.raises(AccessDenied, match="because no"):
        await harness.may(ann, "sts:AssumeRole")


@pytest.mark.parametrize(
    ("known", "found", "forgets"), [(3, 3, False), (3, 4, True), (None, 4, True), (3, OSError, True)]
)
async def test_what_cannot_be_checked_or_has_changed_is_forgotten(known, found, forgets):
    forgot = []

    async def read(_fn):
        if found is OSError:
            raise OSError
        return found

    one = object.__new__(Authority)
    one._generation, one._app = known, SimpleNamespace(store=SimpleNamespace(read=read))
    one.forget = lambda: forgot.append(1)
    if found is OSError:
        with pytest.raises(OSError):  # noqa: PT011 - the store's own
            await one._check()
    else:
        await one._check()
    assert (bool(forgot), one._generation) == (forgets, None if found is OSError else found)
