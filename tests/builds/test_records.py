"""Projects that several processes make at the same time, on both databases."""

from __future__ import annotations

import asyncio

from penstock.builds.records import insert_project
from penstock.store.database import Store


async def test_of_many_who_make_a_project_at_once_one_does(any_store: Store):
    row = {"account": "1" * 12, "region": "us-east-1", "name": "new", "document": {}, "created": 5, "modified": 5}
    makes = (any_store.write(insert_project, row | {"number": 0}) for _ in range(8))
    assert sorted(await asyncio.gather(*makes)) == [False] * 7 + [True]
