"""Projects that several processes make at the same time, on both databases."""

from __future__ import annotations

import asyncio

from penstock.builds.records import find_token, insert_project, put_token
from penstock.store.database import Store


async def test_of_many_who_make_a_project_at_once_one_does(any_store: Store):
    row = {"account": "1" * 12, "region": "us-east-1", "name": "new", "document": {}, "created": 5, "modified": 5}
    makes = (any_store.write(insert_project, row | {"number": 0}) for _ in range(8))
    assert sorted(await asyncio.gather(*makes)) == [False] * 7 + [True]


async def test_a_token_goes_when_it_has_run_out_and_not_before(any_store: Store):
    where = {"account": "1" * 12, "region": "us-east-1", "operation": "StartBuild"}
    for number in range(3):
        row = where | {"token": f"t{number}", "digest": "d", "build": "b:1", "expires": 1000 + number}
        await any_store.write(put_token, row, now=0)
    await any_store.write(put_token, where | {"token": "new", "digest": "d", "build": "b:2", "expires": 5000}, now=1001)
    kept = [await any_store.read(find_token, *where.values(), token) is not None for token in ("t0", "t1", "t2", "new")]
    assert kept == [False, False, True, True]
    # The same token again, whose build was deleted: it stands for another build, and others stay.
    await any_store.write(put_token, where | {"token": "new", "digest": "e", "build": "b:3", "expires": 6000}, now=1001)
    elsewhere = where | {"region": "eu-west-1", "token": "new", "digest": "d", "build": "b:4", "expires": 6000}
    await any_store.write(put_token, elsewhere, now=1001)
    found = await any_store.read(find_token, *where.values(), "new")
    assert (found.build, found.digest, found.expires) == ("b:3", "e", 6000)
