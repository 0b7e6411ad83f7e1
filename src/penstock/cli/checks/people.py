"""People who sign in to the console."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.identity.records import users
from penstock.identity.second_factors import holders
from penstock.identity.sign_in_records import login_profiles

_NAMED = 3


def second_factors(examined: Installation) -> Iterator[Finding]:
    """Who gets in by a password alone?"""
    wanted = (
        sa.select(users.c.arn)
        .join(login_profiles, login_profiles.c.user_id == users.c.id)
        .where(login_profiles.c.password != b"", users.c.id.not_in(holders()))  # empty: none was chosen yet
        .order_by(users.c.arn)
    )
    with examined.engine.connect() as conn:
        found = conn.execute(wanted).scalars().all()
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        yield Finding(
            Verdict.WARN,
            "people",
            f"a password alone signs in {', '.join(found[:_NAMED])}{more}",
            "each adds an authenticator app or a passkey under Security in the menu of the console",
        )
