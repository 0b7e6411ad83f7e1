"""Tags of an account's managed policies."""

from __future__ import annotations

from functools import partial

from penstock.application import Call
from penstock.identity import records
from penstock.identity.authority import Authority
from penstock.identity.operations import iam
from penstock.identity.operations.entities import POLICY_TAGS, change_row, merged_tags, tags_page, without_tags
from penstock.identity.operations.managed_policies import find_policy, policy_arn, sorted_tags
from penstock.wire.call import Input, Output


@iam("TagPolicy", resource=policy_arn)
async def tag_policy(authority: Authority, call: Call, input: Input) -> None:
    """Add or replace tags."""
    find = partial(find_policy, call=call, arn=input["PolicyArn"])
    await change_row(
        authority, records.policies, find, lambda row: {"tags": merged_tags(row.tags, input["Tags"], POLICY_TAGS)}
    )


@iam("UntagPolicy", resource=policy_arn)
async def untag_policy(authority: Authority, call: Call, input: Input) -> None:
    """Remove tags by key."""
    find = partial(find_policy, call=call, arn=input["PolicyArn"])
    await change_row(
        authority, records.policies, find, lambda row: {"tags": without_tags(row.tags, input["TagKeys"], POLICY_TAGS)}
    )


@iam("ListPolicyTags", resource=policy_arn)
async def list_policy_tags(authority: Authority, call: Call, input: Input) -> Output:
    """A policy's tags, a page at a time."""
    row = await call.app.store.read(find_policy, call, input["PolicyArn"])
    return tags_page(call, input, sorted_tags(row))
