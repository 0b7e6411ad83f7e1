"""What will end: certificates that are trusted, and keys that are to be deleted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import sqlalchemy as sa
from cryptography import x509

from penstock.certificates.records import anchors
from penstock.cli.checks.findings import Finding, Installation, Verdict
from penstock.keys.records import keys

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
