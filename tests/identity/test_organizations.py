"""Accounts as Organizations makes and shows them, on either database."""

import pytest
from penstock_identity_harness import ACCOUNT, OTHER, refused

from penstock.store.retention import Sweeper
from penstock.wire.errors import AccessDenied

OPERATIONS = {
    "CreateAccount": {"Email": "b@example.com", "AccountName": "b"},
    "DescribeCreateAccountStatus": {"CreateAccountRequestId": "car-00000000"},
    "DescribeAccount": {"AccountId": ACCOUNT},
    "ListAccounts": {},
}


async def ask(harness, operation, by=None, **input):
    by = by or await harness.administrator()
    return await harness.app.invoke(by, "organizations", operation, input, region="us-east-1")


async def test_an_email_makes_one_account(harness):
    first = (await ask(harness, "CreateAccount", Email="a@example.com", AccountName="a"))["CreateAccountStatus"]
    again = (await ask(harness, "CreateAccount", Email="A@EXAMPLE.com", AccountName="c"))["CreateAccountStatus"]
    assert (first["State"], again["State"], again["FailureReason"]) == ("SUCCEEDED", "FAILED", "EMAIL_ALREADY_EXISTS")
    assert "AccountId" not in again
    known = await ask(harness, "DescribeCreateAccountStatus", CreateAccountRequestId=again["Id"])
    assert known == {"CreateAccountStatus": again}
    listed = (await ask(harness, "ListAccounts"))["Accounts"]
    assert [one["Id"] for one in listed] == sorted([ACCOUNT, first["AccountId"]])


async def test_a_new_account_has_a_role_and_nothing_else(harness):
    made = await ask(harness, "CreateAccount", Email="a@example.com", AccountName="a", RoleName="way-in")
    account = made["CreateAccountStatus"]["AccountId"]
    entered = await harness.assumed(f"arn:aws:iam::{account}:role/way-in", by=await harness.administrator())
    summary = (await harness.iam("GetAccountSummary", by=entered))["SummaryMap"]
    assert {name: summary[name] for name in ("Users", "Roles", "Groups", "Policies")} == {
        "Users": 0,
        "Roles": 1,
        "Groups": 0,
        "Policies": 0,
    }
    stranger = await harness.administrator(OTHER)
    role = f"arn:aws:iam::{account}:role/way-in"
    assert (await refused(harness.assumed(role, by=stranger)))[0] == "AccessDenied"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_only_the_first_account_knows_the_others(harness, operation):
    stranger = await harness.administrator(OTHER)
    with pytest.raises(AccessDenied, match="You don't have permissions to access this resource"):
        await ask(harness, operation, stranger, **OPERATIONS[operation])


async def test_what_is_not_there_and_what_is_not_taken(harness):
    assert await refused(ask(harness, "DescribeAccount", AccountId="999999999999")) == (
        "AccountNotFoundException",
        "You specified an account that doesn't exist.",
    )
    assert await refused(ask(harness, "DescribeCreateAccountStatus", CreateAccountRequestId="car-00000000")) == (
        "CreateAccountStatusNotFoundException",
        "You specified a create account request that doesn't exist.",
    )
    tagged = {**OPERATIONS["CreateAccount"], "Tags": [{"Key": "k", "Value": "v"}]}
    assert (await refused(ask(harness, "CreateAccount", **tagged)))[0] == "InvalidInputException"
    assert (await refused(ask(harness, "ListAccounts", NextToken="x")))[0] == "InvalidInputException"
    assert (await refused(ask(harness, "CreateAccount", Email="nobody", AccountName="b")))[0] == "InvalidInputException"


async def test_requests_are_forgotten_after_three_months(harness, clock):
    made = await ask(harness, "CreateAccount", Email="a@example.com", AccountName="a")
    request = {"CreateAccountRequestId": made["CreateAccountStatus"]["Id"]}
    sweeper = Sweeper(harness.app.store, expiring=harness.app.expiring)
    await sweeper.sweep()
    assert await ask(harness, "DescribeCreateAccountStatus", **request) == made
    clock.advance(91 * 86_400_000)
    await sweeper.sweep()
    assert (await refused(ask(harness, "DescribeCreateAccountStatus", **request)))[0].startswith("CreateAccountStatus")
