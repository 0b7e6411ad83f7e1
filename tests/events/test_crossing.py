"""Events that go to buses of other accounts and regions."""

import json
from types import SimpleNamespace

import penstock_identity_harness
import pytest
import sqlalchemy as sa
from penstock_bridge import Stand, component
from penstock_identity_harness import ACCOUNT, OTHER, REGION, allow, document, trusting
from penstock_waiting import eventually

import penstock.events
from penstock.events import records
from penstock.events.destinations import topics
from penstock.wire.errors import AccessDenied, ServiceError

AFAR, THIRD = "eu-central-1", "333333333333"
TRUST = trusting(Service="events.amazonaws.com")


def bus(account=ACCOUNT, region=REGION, name="default"):
    return f"arn:aws:events:{region}:{account}:event-bus/{name}"


@pytest.fixture
async def world(store, clock, tmp_path, monkeypatch):
    """Three accounts in two regions; each has a topic that notes what it gets."""
    stand = Stand()
    components = (component(stand), penstock.events.component)
    async with penstock_identity_harness.harness_on(store, clock, tmp_path, *components, regions=(AFAR,)) as harness:
        admins = {account: await harness.administrator(account) for account in (ACCOUNT, OTHER, THIRD)}
        monkeypatch.setattr(topics, "service_session", lambda _service, account, _source: admins[account])

        async def events(operation, account=ACCOUNT, region=REGION, by=None, **input):
            return await harness.app.invoke(by or admins[account], "events", operation, input, region=region)

        async def rule(*targets, account=ACCOUNT, region=REGION):
            await events("PutRule", account, region, Name="r", EventPattern='{"source": ["shop"]}')
            await events("PutTargets", account, region, Rule="r", Targets=list(targets))

        async def topic(account, region=REGION):
            await rule(
                {"Id": "t", "Arn": f"arn:aws:sns:{region}:{account}:at-{account}"}, account=account, region=region
            )

        async def letters():
            return await store.read(lambda conn: conn.execute(sa.select(records.dead_letters)).all())

        role = await harness.role("crosses", TRUST, allow("events:PutEvents"))
        await harness.app.work.start(harness.app)
        yield SimpleNamespace(
            harness=harness,
            events=events,
            rule=rule,
            topic=topic,
            letters=letters,
            role=role,
            stand=stand,
            admins=admins,
        )
        await harness.app.work.stop()


def entry(**more):
    return {"Source": "shop", "DetailType": "Ordered", "Detail": "{}", **more}


async def let_in(world, account, whom, region=REGION):
    await world.events(
        "PutPermission", account, region, Action="events:PutEvents", Principal=whom, StatementId=f"from{whom}"
    )


async def test_another_account_and_region_get_the_event(world):
    """The account of where it happened stays, its id does within the region, and both sides have to allow it."""
    await world.topic(OTHER)
    await world.topic(ACCOUNT, AFAR)
    powerless = await world.harness.role("powerless", TRUST)
    targets = [
        {"Id": "account", "Arn": bus(OTHER), "RoleArn": world.role},
        {"Id": "region", "Arn": bus(region=AFAR), "RoleArn": world.role},
        {"Id": "powerless", "Arn": bus(region=AFAR), "RoleArn": powerless},
    ]
    await world.rule(*targets)
    await world.events("PutEvents", Entries=[entry()])
    await eventually(lambda: _dead(world, {"account": "NO_PERMISSIONS", "powerless": "NO_PERMISSIONS"}))
    await eventually(lambda: len(world.stand.asked) == 1)
    await let_in(world, OTHER, ACCOUNT)
    answer = await world.events("PutEvents", Entries=[entry()])
    await eventually(lambda: len(world.stand.asked) == 3)
    id = answer["Entries"][0]["EventId"]
    _, *later = ((name, json.loads(text)) for name, text, _ in world.stand.asked)
    found = {name: (event["id"] == id, event["account"], event["region"]) for name, event in later}
    assert found == {f"at-{OTHER}": (True, ACCOUNT, REGION), f"at-{ACCOUNT}": (False, ACCOUNT, REGION)}


async def _dead(world, wanted):
    return {one.target: one.code for one in await world.letters()} == wanted


async def test_a_third_account_or_region_is_refused(world):
    back = await world.harness.role("back", TRUST, allow("events:PutEvents"), account=OTHER)
    for account, whom in ((OTHER, ACCOUNT), (THIRD, OTHER)):
        await let_in(world, account, whom)
    await world.topic(THIRD)
    await world.rule({"Id": "on", "Arn": bus(THIRD), "RoleArn": back}, account=OTHER)
    await world.rule({"Id": "back", "Arn": bus(), "RoleArn": world.role}, region=AFAR)
    targets = [
        {"Id": "1", "Arn": bus(OTHER), "RoleArn": world.role},
        {"Id": "2", "Arn": bus(region=AFAR), "RoleArn": world.role},
    ]
    await world.rule(*targets)
    await world.events("PutEvents", Entries=[entry()])
    wanted = {"on": "THIRD_ACCOUNT_HOP_DETECTED", "back": "THIRD_REGION_HOP_DETECTED"}
    await eventually(lambda: _dead(world, wanted))
    assert world.stand.asked == []


async def test_what_is_put_at_a_bus_of_another_account_asks_its_policy(world):
    await world.topic(OTHER)
    with pytest.raises(AccessDenied, match="events:PutEvents"):
        await world.events("PutEvents", Entries=[entry(EventBusName=bus(OTHER))])
    await let_in(world, OTHER, ACCOUNT)
    nobody = await world.harness.user("nobody")
    with pytest.raises(AccessDenied, match="events:PutEvents"):
        await world.events("PutEvents", by=nobody, Entries=[entry(EventBusName=bus(OTHER))])
    answer = await world.events("PutEvents", Entries=[entry(EventBusName=bus(OTHER))])
    await eventually(lambda: world.stand.asked)
    ((name, text, _),) = world.stand.asked
    event = json.loads(text)
    assert (name, event["id"], event["account"]) == (f"at-{OTHER}", answer["Entries"][0]["EventId"], ACCOUNT)


@pytest.mark.parametrize(
    ("arn", "more", "says"),
    [
        (bus(OTHER), {}, "RoleArn is required for target"),
        (bus(region=AFAR), {}, "RoleArn is required for target"),
        (bus(region="mars-1"), {"RoleArn": "role"}, "The region mars-1 is not configured."),
    ],
    ids=["account", "region", "unknown"],
)
async def test_targets_elsewhere_are_refused(world, arn, more, says):
    with pytest.raises(ServiceError, match=says):
        await world.rule({"Id": "t", "Arn": arn, **({"RoleArn": world.role} if more else {})})


async def test_a_role_may_be_kept_to_one_bus(world):
    """A policy of the target's role names the bus by its own ARN."""
    narrow = await world.harness.role(
        "narrow", TRUST, document({"Effect": "Allow", "Action": "events:PutEvents", "Resource": bus(region=AFAR)})
    )
    await world.topic(ACCOUNT, AFAR)
    await let_in(world, OTHER, ACCOUNT)
    await world.rule(
        {"Id": "in", "Arn": bus(region=AFAR), "RoleArn": narrow}, {"Id": "out", "Arn": bus(OTHER), "RoleArn": narrow}
    )
    await world.events("PutEvents", Entries=[entry()])
    await eventually(lambda: _dead(world, {"out": "NO_PERMISSIONS"}))
    await eventually(lambda: world.stand.asked)
