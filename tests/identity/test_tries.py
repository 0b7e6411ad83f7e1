"""Tries that are counted, pauses between them, and codes for who has lost the second factor: at every boundary."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from penstock.identity import second_factors, sign_in_records, tries
from penstock.identity.password_policy import PasswordPolicy
from penstock.identity.tries import Tries, source_of
from penstock.store.database import Store
from penstock.wire.errors import AccessDenied

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("failures", "minutes"), [(0, 5), (1, 5), (5, 5), (6, 10), (7, 20), (8, 40), (9, 60), (10, 60), (10_000, 60)]
)
def test_pauses_grow_to_an_hour(failures, minutes):
    assert tries._pause(failures) == minutes * MINUTE


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"), ("a socket", "a socket"), ("", ""),
    ],
)  # fmt: skip
def test_what_is_one_source(address, source):
    assert source_of(address) == source


async def test_tries_are_counted_until_a_pause_and_forgotten_an_hour_later(store: Store):
    async def count(at: int) -> tuple[int, int]:
        return await store.write(tries._count, "one", at)

    assert [await count(0) for _ in range(4)] == [(0, 1), (0, 2), (0, 3), (0, 4)]
    assert await count(HOUR - 1) == (0, 5)
    began = HOUR - 1
    for at in (began, began + 5 * MINUTE - 1):  # what is tried during a pause does not count
        assert await count(at) == (began + 5 * MINUTE, 5)
    assert await count(began + 5 * MINUTE) == (0, 6)
    over = began + 15 * MINUTE
    assert await count(over - 1) == (over, 6)
    assert await count(over + HOUR) == (0, 1)


async def test_what_is_said_of_tries(store: Store):
    now = [0]
    app: Any = SimpleNamespace(store=store, clock=SimpleNamespace(now=lambda: now[0]))
    mine, other = Tries(app, "a", "b", where="from your address"), Tries(app, "ab")
    said = []
    for _ in range(5):
        await mine.begin()
        said.append(mine.left)
    assert said == [
        "4 tries are left before a pause of 5 min.", "3 tries are left before a pause of 5 min.", "2 tries are left before a pause of 5 min.",
        "1 try is left before a pause of 5 min.", "That was the last try before a pause of 5 min.",
    ]  # fmt: skip
    for at, minutes in ((0, 5), (1, 5), (MINUTE, 4), (5 * MINUTE - 1, 1)):
        now[0] = at
        with pytest.raises(AccessDenied) as refused:
            await mine.begin()
        assert refused.value.message == f"Too many tries from your address. The next one is possible in {minutes} min."
    await other.begin()
    assert other.left == "4 tries are left before a pause of 5 min."
    await store.write(mine.forgive)
    await mine.begin()
    await other.begin()
    assert (mine.left[0], other.left[0]) == ("4", "3")


async def test_a_hundred_rows_whose_time_is_over_go_with_a_try(store: Store):
    table = tries.sign_in_records.sign_in_tries

    def fill(conn: sa.Connection) -> None:
        rows = [{"id": str(number), "count": 1, "until": number // 102, "paused": 0} for number in range(103)]
        conn.execute(table.insert(), rows)

    def left(conn: sa.Connection) -> int:
        return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    await store.write(fill)
    for rows in (3, 1):
        await store.write(tries.prune, table, 0)
        assert await store.read(left) == rows
    await store.write(tries.prune, table, 1)
    assert await store.read(left) == 0


async def test_recovery_codes_count_once_and_for_their_user(store: Store):
    codes = await store.write(second_factors.new_recovery_codes, "1" * 12, "me")
    assert len(set(codes)) == 10
    assert all(re.fullmatch("([A-Z2-7]{4}-){5}[A-Z2-7]{4}", code) for code in codes)
    theirs = await store.write(second_factors.new_recovery_codes, "1" * 12, "other")

    async def take(user: str, code: str) -> bool:
        return await store.write(second_factors._take_recovery_code, user, code.replace("-", ""))

    async def left() -> int:
        own = sa.select(sa.func.count()).where(sign_in_records.recovery_codes.c.user_id == "me")
        return await store.read(lambda conn: conn.execute(own).scalar_one())

    assert not await take("other", codes[0])
    assert [await take("me", codes[0].lower()) for _ in range(2)] == [True, False]
    assert await left() == 9
    await store.write(second_factors.new_recovery_codes, "1" * 12, "me")
    assert await left() == 10
    assert not await take("me", codes[1])
    await store.write(second_factors.forget_recovery_codes, "me")
    assert await left() == 0
    assert await take("other", theirs[9])


def test_what_an_account_asks_that_has_no_policy_and_when_a_password_expires():
    asked = PasswordPolicy(minimum=8, symbols=False, numbers=False, uppercase=False, lowercase=False, users_change=None, days=0, former=0, hard=False)  # fmt: skip
    assert PasswordPolicy() == asked
    for days, changed, passed, expired in ((1, 5, DAY - 1, False), (1, 5, DAY, True), (2, 5, DAY, False), (0, 5, DAY, False), (1, 0, DAY, False), (1, 1, DAY, True)):  # fmt: skip
        assert PasswordPolicy(days=days).expired(changed, changed + passed) is expired
