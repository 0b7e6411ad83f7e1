"""Tables of topics: what they are, who gets their messages, and which messages are still on their way.

A topic's row has an id of its own, so that one made anew under an old name has nothing of the old one. Its messages are counted: by that number they
stand in order, and are handed to subscriptions in it. A message's content is sealed under the master key while it waits.
"""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store.schema import Json, State, metadata, partial_index, sealed


def content_context(message: str) -> str:
    """For what the content of a message is sealed."""
    return f"content of message {message}"


SIGNER_CONTEXT = "key that signs messages"

topics = sa.Table(
    "sns_topics",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("attributes", Json, nullable=False),  # those that were set, but the policy
    sa.Column("tags", Json, nullable=False),  # {key: value}
    sa.Column("policy", sa.Text, nullable=True),  # None: the one that every topic has at first
    sa.Column("policy_ids", Json, nullable=False),  # of the users and roles that it names
    sa.Column("sequence", sa.BigInteger, nullable=False),  # of the last message
    sa.UniqueConstraint("account", "region", "name"),
)

subscriptions = sa.Table(
    "sns_subscriptions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),  # the end of its ARN
    sa.Column("topic", sa.String(32), nullable=False),
    sa.Column("account", sa.String(12), nullable=False),  # of the topic, as region and name
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("owner", sa.String(12), nullable=False),
    sa.Column("protocol", sa.String(16), nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),  # of protocol and endpoint
    sa.Column("state", State(16), nullable=False),  # pending, confirmed, deleted
    sa.Column("authenticated", sa.Boolean, nullable=False),  # unsubscribing asks for a signature
    sa.Column("principal", sa.Text, nullable=False),  # ARN of who subscribed
    sa.Column("attributes", Json, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=True),  # when one that is pending or deleted is forgotten
)
partial_index(
    "ix_sns_subscriptions_live",
    subscriptions.c.topic,
    subscriptions.c.digest,
    where=subscriptions.c.state != "deleted",
    unique=True,
)
sa.Index("ix_sns_subscriptions_topic", subscriptions.c.topic, subscriptions.c.id)
sa.Index("ix_sns_subscriptions_owner", subscriptions.c.owner, subscriptions.c.region, subscriptions.c.id)
partial_index("ix_sns_subscriptions_until", subscriptions.c.until, where=subscriptions.c.until.is_not(None))

messages = sa.Table(
    "sns_messages",
    metadata,
    sa.Column("topic", sa.String(32), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(36), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.String(64), nullable=False),  # messages of one are delivered one after the other; "" of none
    sa.Column("content", sa.LargeBinary, nullable=False, info=sealed(lambda row: content_context(row.id))),
    sa.Column("state", State(16), nullable=False),  # waiting until each subscription has its delivery, then written
    sa.Column("after", sa.String(36), nullable=False),  # the subscription up to which they are
)
partial_index("ix_sns_messages_waiting", messages.c.topic, messages.c.sequence, where=messages.c.state == "waiting")

deliveries = sa.Table(
    "sns_deliveries",
    metadata,
    sa.Column("subscription", sa.String(36), primary_key=True),
    sa.Column("lane", sa.String(64), primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("topic", sa.String(32), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Index("ix_sns_deliveries_message", "topic", "sequence"),
)

deduplications = sa.Table(
    "sns_deduplications",
    metadata,
    sa.Column("topic", sa.String(32), primary_key=True),
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("message", sa.String(36), nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False, index=True),
)

confirmations = sa.Table(
    "sns_confirmations",  # how many messages asked somebody to confirm, on a day
    metadata,
    sa.Column("subject", sa.String(80), primary_key=True),  # an endpoint's digest, or an account
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.Integer, nullable=False),
)

signers = sa.Table(
    "sns_signers",  # the one key that signs what is sent over HTTP
    metadata,
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(32), nullable=False),  # in the address of its certificate
    sa.Column("certificate", sa.Text, nullable=False),
    sa.Column("key", sa.LargeBinary, nullable=False, info=sealed(lambda _row: SIGNER_CONTEXT)),
)


def webhook_context(subscription: str) -> str:
    """For what the secret of a subscription is sealed."""
    return f"secret of subscription {subscription}"


webhook_secrets = sa.Table(
    "sns_webhook_secrets",  # what messages to a webhook are signed with
    metadata,
    sa.Column("subscription", sa.String(36), primary_key=True),
    sa.Column("secret", sa.LargeBinary, nullable=False, info=sealed(lambda row: webhook_context(row.subscription))),
)

dead_letters = sa.Table(
    "sns_dead_letters",  # messages that a subscription was not given, after the last try
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),  # of the subscription's owner, as a queue of AWS would be
    sa.Column("region", sa.String(32), nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("topic", sa.String(32), nullable=False),
    sa.Column("arn", sa.Text, nullable=False),  # of the subscription
    sa.Column("subscription", sa.String(36), nullable=False),
    sa.Column("protocol", sa.String(16), nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("queue", sa.Text),  # deadLetterTargetArn of its RedrivePolicy, as it was given
    sa.Column("sequence", sa.BigInteger, nullable=False),  # of the message, as what follows
    sa.Column("message", sa.String(36), nullable=False),
    sa.Column("published", sa.BigInteger, nullable=False),
    sa.Column("lane", sa.String(64), nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False, info=sealed(lambda row: content_context(row.message))),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),  # of HTTP; 0 where nothing was answered
    sa.Column("attempts", sa.Integer, nullable=False),
)
sa.Index(
    "ix_sns_dead_letters_place", dead_letters.c.account, dead_letters.c.region, dead_letters.c.at, dead_letters.c.id
)
sa.Index("ix_sns_dead_letters_at", dead_letters.c.at)
