"""What ends: certificates that are trusted, keys that are to be deleted, secrets that should have been rotated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import sqlalchemy as sa
from cryptography import x509

from penstock.certificates.records import anchors
from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.keys.records import keys
from penstock.secrets.records import ROTATIONS, secrets

CERTIFICATE_DAYS = 14
_NAMED = 3


def keys_pending(examined: Installation) -> Iterator[Finding]:
    """Which keys of KMS will be gone, and with them what they have encrypted?"""
    wanted = sa.select(keys.c.arn, keys.c.deletion).where(keys.c.deletion.is_not(None)).order_by(keys.c.deletion)
    with examined.engine.connect() as conn:
        found = conn.execute(wanted).all()
    if found:
        named = ", ".join(f"{row.arn} on {_day(row.deletion)}" for row in found[:_NAMED])
        yield Finding(
            Verdict.WARN,
            "KMS",
            f"keys that will be deleted: {named}{f' and {len(found) - _NAMED} more' if len(found) > _NAMED else ''}",
            "see that nothing needs them, or keep one: aws kms cancel-key-deletion --key-id ARN; aws kms enable-key --key-id ARN",
        )


def rotations(examined: Installation) -> Iterator[Finding]:
    """Which secrets were not rotated when they should have been?"""
    c = secrets.c
    wanted = sa.select(c.name, c.account, c.rotation, c.rotation_failed).where(c.rotation_failed.is_not(None))
    with examined.engine.connect() as conn:
        count = conn.execute(sa.select(sa.func.count()).select_from(wanted.subquery())).scalar_one()
        found = conn.execute(wanted.order_by(c.rotation_failed.desc()).limit(_NAMED)).all()
    for row in found:
        why = ROTATIONS.load(row.rotation).reason
        yield Finding(
            Verdict.WARN,
            "secrets",
            f"{row.name} of account {row.account} was not rotated on {_day(row.rotation_failed)}: {why}",
            "mend the command, and rotate it with the id of its version AWSPENDING, if it has one, as --client-request-token",
        )
    if count > _NAMED:
        yield Finding(Verdict.WARN, "secrets", f"{count - _NAMED} more secrets were not rotated")


def trust_anchors(examined: Installation) -> Iterator[Finding]:
    """Do the authorities that hosts get credentials by last?"""
    with examined.engine.connect() as conn:
        found = conn.execute(sa.select(anchors.c.arn, anchors.c.bundle).where(anchors.c.enabled)).all()
    for row in found:
        ends = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(row.bundle.encode()))
        yield from lasts("hosts", f"a certificate of the trust anchor {row.arn}", ends, "give it the next one as well")


def lasts(what: str, subject: str, ends: dt.datetime, mend: str) -> Iterator[Finding]:
    """Does a certificate last?"""
    days = (ends - dt.datetime.now(tz=dt.UTC)).days
    verdict = Verdict.OK if days > CERTIFICATE_DAYS else Verdict.FAIL if days < 0 else Verdict.WARN
    message = f"{subject} lasts {days} more days" if days >= 0 else f"{subject} has ended on {ends:%Y-%m-%d}"
    yield Finding(verdict, what, message, "" if verdict is Verdict.OK else mend)


def _day(at: int) -> str:
    return f"{dt.datetime.fromtimestamp(at / 1000, tz=dt.UTC):%Y-%m-%d}"
