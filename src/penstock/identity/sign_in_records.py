"""Tables of what people sign in with to the console: passwords, second factors, passkeys, and the sessions that they begin."""

from __future__ import annotations

import sqlalchemy as sa

from penstock.store.schema import Json, metadata, sealed

login_profiles = sa.Table(
    "iam_login_profiles",
    metadata,
    sa.Column("user_id", sa.String(32), primary_key=True),
    sa.Column("account", sa.String(12), nullable=False),
    # A PHC string, or bytes of scrypt; empty: none was chosen yet.
    sa.Column("password", sa.LargeBinary, nullable=False),
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Column("used", sa.BigInteger),  # ms; when it last signed in
)
sign_in_tries = sa.Table(
    "iam_sign_in_tries",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # digest of what is counted together
    sa.Column("count", sa.Integer, nullable=False),  # tries since the last success
    sa.Column("until", sa.BigInteger, nullable=False, index=True),  # ms; then it is forgotten
    sa.Column("paused", sa.BigInteger, nullable=False, server_default="0"),  # ms; until then no try is taken
)
password_policies = sa.Table(
    "iam_password_policies",
    metadata,
    sa.Column("account", sa.String(12), primary_key=True),
    sa.Column("rules", Json, nullable=False),  # the fields of PasswordPolicy
)
former_passwords = sa.Table(
    "iam_former_passwords",
    metadata,
    sa.Column("user_id", sa.String(32), primary_key=True),
    sa.Column("password", sa.String(128), primary_key=True),  # a PHC string with a salt of the user's own
    sa.Column("at", sa.BigInteger, nullable=False),  # ms; when it was set
)
console_sessions = sa.Table(
    "iam_console_sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # digest of what the cookie holds
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("user_id", sa.String(32), nullable=False, index=True),
    sa.Column("changed", sa.BigInteger, nullable=False),  # ms; of the password that began it
    sa.Column("until", sa.BigInteger, nullable=False, index=True),  # ms; the idle limit, or that of all sessions
    sa.Column("begun", sa.BigInteger, nullable=False, server_default="0"),  # ms
    sa.Column("seen", sa.BigInteger, nullable=False, server_default="0"),  # ms; the last request, to the minute
    sa.Column("address", sa.String(64), nullable=False, server_default=""),
    sa.Column("agent", sa.String(256), nullable=False, server_default=""),  # what the browser says of itself
    sa.Column("mfa", sa.BigInteger, nullable=False, server_default="0"),  # ms; when a second factor was shown
    # Of single sign-on. The token is sealed by itself, and is worth nothing without the secret in it.
    sa.Column("person", sa.String(64), nullable=False, server_default="", index=True),  # digest of issuer and subject
    sa.Column("name", sa.String(64), nullable=False, server_default=""),
    sa.Column("access_key", sa.String(32), nullable=False, server_default=""),
    sa.Column("token", sa.Text, nullable=False, server_default=""),
)


def seed_context(arn: str) -> str:
    """For what the seed of a device is sealed."""
    return f"iam/mfa/{arn}"


mfa_devices = sa.Table(
    "iam_mfa_devices",
    metadata,
    sa.Column("arn", sa.String(256), primary_key=True),  # the serial number
    sa.Column("account", sa.String(12), nullable=False, index=True),
    sa.Column("name", sa.String(256), nullable=False),
    sa.Column("seed", sa.LargeBinary, nullable=False, info=sealed(lambda row: seed_context(row.arn))),
    sa.Column("tags", Json, nullable=False),  # [{Key, Value}]
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("user_id", sa.String(32), index=True),  # of whom it is a factor
    sa.Column("enabled", sa.BigInteger),  # ms; since when
    sa.Column("drift", sa.BigInteger, nullable=False),  # steps by which its clock is ahead
    sa.Column("used", sa.BigInteger, nullable=False),  # the step of the last code that was taken
)
recovery_codes = sa.Table(
    "iam_recovery_codes",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # digest of user and code
    sa.Column("account", sa.String(12), nullable=False),
    sa.Column("user_id", sa.String(32), nullable=False, index=True),
)
passkeys = sa.Table(
    "iam_passkeys",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # digest of the next
    sa.Column("credential", sa.LargeBinary, nullable=False),  # by what its authenticator names it; up to 1023 bytes
    sa.Column("account", sa.String(12), nullable=False, index=True),
    sa.Column("user_id", sa.String(32), nullable=False, index=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("public_key", sa.LargeBinary, nullable=False),  # COSE
    sa.Column("party", sa.String(253), nullable=False),  # the name at which it was made, and alone works
    sa.Column("count", sa.BigInteger, nullable=False),  # of its signatures; 0 where it does not count
    sa.Column("synced", sa.Boolean, nullable=False),  # whether it may have copies on its user's other devices
    sa.Column("transports", Json, nullable=False),  # how browsers reach it
    sa.Column("created", sa.BigInteger, nullable=False),
    sa.Column("used", sa.BigInteger),  # ms; when it last signed in
    sa.Column("suspected", sa.BigInteger),  # ms; when its count last went back, as that of a copy would
)
spent_challenges = sa.Table(
    "iam_spent_challenges",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # digest
    sa.Column("until", sa.BigInteger, nullable=False, index=True),  # ms; then its token is worth nothing anyway
)
