"""Topics: made, described, changed, deleted."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.application import App, Call
from penstock.topics import attributes, policies, topic_rows
from penstock.topics.errors import TopicLimitExceededException, invalid
from penstock.topics.names import FIFO, Place, check_name
from penstock.topics.operations import PAGE, PAGES, TAGS, found, locked, place_of, sns, topic_arn
from penstock.wire.call import Input, Output
from penstock.wire.tags import pairs_of

_MAX_TOPICS = 10_000  # of an account and region: a tenth of what AWS lets have


def _new_arn(call: Call, input: Input) -> str:
    return call.arn("sns", input["Name"])


@sns("CreateTopic", resource=_new_arn)
async def create_topic(app: App, call: Call, input: Input) -> Output:
    """Make a topic. One of the same name is answered as it is, unless attributes or tags are asked for that it does not have."""
    name, given = input["Name"], input.get("Attributes") or {}
    fifo = attributes.is_fifo(given)
    check_name(name, fifo=fifo)
    if input.get("DataProtectionPolicy"):
        attributes.checked("DataProtectionPolicy", input["DataProtectionPolicy"], fifo=fifo)
    wanted = attributes.of_creation(given, fifo=fifo)
    tags = TAGS.check(pairs_of(input.get("Tags")))
    place = Place(call.account, call.region, name)
    for role in attributes.roles_of(wanted):
        await app.identity.pass_role(call, role, source_arn=place.arn)
    if tags:
        await app.identity.authorize(call, "sns:TagResource", (place.arn,))

    def tx(conn: sa.Connection) -> None:
        row = topic_rows.locked(conn, place)
        policy = given.get("Policy") or None
        if row is not None:
            if any(row.attributes.get(key) != value for key, value in wanted.items()) or policy not in (
                None,
                row.policy,
            ):
                raise invalid("Attributes", "Topic already exists with different attributes")
            if "Tags" in input and row.tags != tags:
                raise invalid("Tags", "Topic already exists with different tags")
            return
        if topic_rows.count(conn, call.account, call.region) >= _MAX_TOPICS:
            raise TopicLimitExceededException(limit=_MAX_TOPICS)
        ids = policies.checked(conn, app, policy, place) if policy else {}
        topic_rows.insert(
            conn, place, id=app.ids.hex(32), created=call.now, attributes=wanted, tags=tags, policy=policy, policy_ids=ids, sequence=0
        )  # fmt: skip

    await app.identity.change(tx)
    return {"TopicArn": place.arn}


@sns("DeleteTopic", resource=topic_arn)
async def delete_topic(app: App, call: Call, input: Input) -> None:
    """Forget a topic with its subscriptions; none is no error. What is on its way is not delivered any more."""
    row = call.memo["topic"]
    if row is not None:
        await app.identity.change(lambda conn: topic_rows.delete(conn, row.id))


@sns("ListTopics")
async def list_topics(app: App, call: Call, input: Input) -> Output:
    """The topics of the caller's account and region by name."""
    (after,) = PAGES.after(call, input) or ("",)
    rows = await app.store.read(topic_rows.page, call.account, call.region, after, PAGE + 1)
    page = PAGES.page(call, input, rows, limit=PAGE, keyset=lambda row: (row.name,))
    return {"Topics": [{"TopicArn": Place(row.account, row.region, row.name).arn} for row in page.rows], **page.more}


@sns("GetTopicAttributes", resource=topic_arn)
async def get_topic_attributes(app: App, call: Call, input: Input) -> Output:
    """What a topic is, and how many subscriptions it has."""
    row, place = found(call), place_of(call)
    counts = await app.store.read(topic_rows.subscriptions_by_state, row.id)
    policy = attributes.default_policy(place)
    if row.policy is not None:
        policy = await app.store.read(app.identity.policy_to_api, row.policy, row.policy_ids)
    return {"Attributes": attributes.shown(row, place, policy, counts)}


@sns("SetTopicAttributes", resource=topic_arn)
async def set_topic_attributes(app: App, call: Call, input: Input) -> None:
    """Set an attribute, or the policy. An empty value takes an attribute away."""
    name, value = input["AttributeName"], input.get("AttributeValue", "")
    found(call)
    place = place_of(call)
    if name == "Policy":
        await _set_policy(app, call, value)
        return
    try:
        kept = attributes.checked(name, value, fifo=place.name.endswith(FIFO))
    except KeyError:
        raise invalid("AttributeName") from None

    for role in attributes.roles_of({name: kept}):
        await app.identity.pass_role(call, role, source_arn=place.arn)

    def tx(conn: sa.Connection) -> None:
        row = locked(conn, call)
        others = {key: other for key, other in row.attributes.items() if key != name}
        topic_rows.change(conn, row.id, attributes=others | ({name: kept} if kept else {}))

    await app.store.write(tx)


async def _set_policy(app: App, call: Call, document: str) -> None:
    def tx(conn: sa.Connection) -> None:
        row = locked(conn, call)
        ids = policies.checked(conn, app, document, place_of(call)) if document else {}
        topic_rows.change(conn, row.id, policy=document or None, policy_ids=ids)

    await app.identity.change(tx)
