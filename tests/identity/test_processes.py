"""Two processes on one PostgreSQL: what one changes, the other notices."""

import asyncio

import pytest
from penstock_identity_harness import allow, harness_on, trusting

from penstock.identity.errors import AccessDeniedException
from penstock.store.database import Store
from penstock.wire.errors import AccessDenied, UnknownAccessKey


@pytest.mark.needs("postgresql")
@pytest.mark.parametrize("notify", [True, False])
async def test_a_change_reaches_the_other_process(postgresql_url, clock, tmp_path, notify):
    stores = [await Store.open(postgresql_url, clock=clock, notify=notify) for _ in range(2)]
    async with harness_on(stores[0], clock, tmp_path) as one, harness_on(stores[1], clock, tmp_path) as two:
        ann = await one.user("ann", allow("s3:*"))
        theirs = await two.session(ann.access_key_id)
        await two.may(theirs, "s3:GetObject")
        role = await one.role("r", trusting(AWS=ann.arn))
        await two.assumed(role, by=theirs)

        async def until_refused(refused, asked):
            async with asyncio.timeout(60):
                while True:
                    try:
                        await asked()
                    except refused:
                        return
                    await asyncio.sleep(0.01)

        await one.iam("DeleteUserPolicy", UserName="ann", PolicyName="p0")
        with pytest.raises(AccessDenied):
            await one.may(ann, "s3:GetObject")
        await until_refused(AccessDenied, lambda: two.may(theirs, "s3:GetObject"))
        await one.iam("UpdateAssumeRolePolicy", RoleName="r", PolicyDocument=trusting(Service="lambda.amazonaws.com"))
        with pytest.raises(AccessDeniedException):
            await one.assumed(role, by=ann)
        await until_refused(AccessDeniedException, lambda: two.assumed(role, by=theirs))
        await one.iam("UpdateAccessKey", UserName="ann", AccessKeyId=ann.access_key_id, Status="Inactive")
        await until_refused(UnknownAccessKey, lambda: two.session(ann.access_key_id))
    for store in stores:
        await store.close()
