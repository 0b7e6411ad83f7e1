"""Log groups that several processes make at the same time, on both databases."""

from __future__ import annotations

import asyncio

from penstock.logs.records import insert_group
from penstock.store.database import Store


async def test_of_many_who_make_a_group_at_once_one_does(any_store: Store):
    row = {
        "account": "1" * 12, "region": "us-east-1", "name": "/aws/codebuild/new", "created": 5,
        "group_class": "STANDARD", "protected": False, "tags": {},
    }  # fmt: skip
    makes = (any_store.write(insert_group, row) for _ in range(8))
    assert sorted(await asyncio.gather(*makes)) == [False] * 7 + [True]
